//! Wrong input, absent managers, names that lead nowhere: the sentence and the exit code.

use std::{net::TcpListener, process::Command, time::Duration};

use warren_tests::{Daemon, Machine, binary, text};

/// Runs the CLI against no manager at all.
fn offline(line: &str) -> (i32, String) {
    let output = Command::new(binary())
        .env("WARREN_HOST", "unix:///nonexistent/warren.sock")
        .args(line.split(' '))
        .output()
        .unwrap();
    (output.status.code().unwrap(), text(&output))
}

#[test]
fn wrong_values_exit_2_and_name_the_flag() {
    for (flags, named) in [
        ("--health-http path=/,port=70000", "--health-http"),
        ("--health-http /health", "--health-http"),
        ("--health-tcp 0", "--health-tcp"),
        ("--health-tcp 6379 --health-interval 0", "--health-interval"),
        ("--health-tcp 6379 --health-timeout -1s", "--health-timeout"),
        ("--health-tcp 6379 --health-retries 0", "--health-retries"),
        ("--health-tcp 6379 --health-http /:80", "--health-http"),
        ("--health-tcp 6379 --no-healthcheck", "--no-healthcheck"),
        ("--liveness-tcp 1 --liveness-cmd true", "--liveness-cmd"),
        ("--replicas -1", "--replicas"),
        ("--replicas 10001", "--replicas"),
        ("--memory 1", "--memory"),
        ("--cpus 0", "--cpus"),
        ("--publish 80", "--publish"),
        ("--mount relative:/x", "--mount"),
        ("--network moon", "--network"),
        ("--stop-grace-period 2h", "--stop-grace-period"),
        ("--stop-signal -1", "--stop-signal"),
        ("--user -1", "--user"),
        ("--user 4294967295", "--user"),
    ] {
        let (code, said) = offline(&format!("service create web --image nginx {flags}"));
        assert_eq!(code, 2, "{flags}: {said}");
        assert!(said.contains(named), "{flags}: {said}");
    }
}

#[test]
fn a_number_of_lines_that_is_negative_exits_2_and_names_the_flag() {
    for (line, named) in [("task logs web.1 --tail -1", "--tail"), ("event ls -n -1", "--limit")] {
        let (code, said) = offline(line);
        assert!(code == 2 && said.contains(named), "{line}: {said}");
    }
}

#[test]
fn an_absent_manager_exits_3_and_says_where_it_was_looked_for() {
    let (code, said) = offline("service ls");
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("/nonexistent/warren.sock"), "{said}");
}

#[test]
fn not_found_exits_4_and_conflict_exits_5() {
    let machine = Machine::without_containerd();
    let warren = machine.run();
    for missing in [
        "service inspect nope",
        "service rm nope",
        "task inspect nope.1",
        "task logs 0000000000000000",
        "node inspect nope",
    ] {
        let output = warren.cli(missing);
        assert_eq!(output.status.code(), Some(4), "{missing}: {}", text(&output));
    }
    let create = "service create idle -- /bin/sleep 1000";
    warren.ok(create);
    let again = warren.cli(create);
    assert_eq!(again.status.code(), Some(5), "{}", text(&again));
}

#[test]
fn a_service_that_nobody_looks_at_gets_a_warning() {
    let machine = Machine::without_containerd();
    let warren = machine.run();
    let output = warren.cli("service create idle -- /bin/sleep 1000");
    let said = text(&output);
    assert!(output.status.success() && said.contains("only the process"), "{said}");
    let output = warren.cli("service create quiet --no-healthcheck -- /bin/sleep 1000");
    assert!(!text(&output).contains("only the process"), "{}", text(&output));
}

#[test]
fn every_read_speaks_json_and_yaml() {
    let machine = Machine::without_containerd();
    let warren = machine.run();
    warren.ok("service create idle -- /bin/sleep 1000");
    warren.shows("idle", "Health: 1/1 healthy", Duration::from_secs(30));
    let node = warren.json("node ls")["nodes"][0]["node"]["name"].clone();
    let node = node.as_str().unwrap();
    let inspect_node = format!("node inspect {node}");
    for read in [
        "service ls",
        "service inspect idle",
        "task ls",
        "task inspect idle.1",
        "node ls",
        &inspect_node,
        "image ls",
        "event ls",
        "health ls",
    ] {
        assert!(warren.json(read).is_object(), "{read}");
        let yaml = warren.ok(&format!("{read} -o yaml"));
        assert!(yaml.contains(": ") || yaml.contains(":\n"), "{read}: {yaml}");
    }
}

/// Starts `warren run` where it cannot, and returns its exit code and what it said.
fn failed_start(machine: &Machine, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(binary());
    command.arg("run").args(arguments);
    let mut daemon = Daemon::start(command, machine.path().join("failed.log"));
    let code = daemon.exit_code(Duration::from_secs(20));
    (code, daemon.log())
}

#[test]
fn what_cannot_start_says_what_to_do_and_does_not_stay() {
    let machine = Machine::without_containerd();
    let data = machine.path().join("elsewhere");
    let data = data.to_str().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let port = &["--data-dir", data, "--no-containerd", "--listen", &address][..];
    let (code, said) = failed_start(&machine, port);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&address) && said.contains("choose another address"), "{said}");

    let socket = ["--data-dir", data, "--listen", "none", "--containerd-socket", "/nonexistent"];
    let (code, said) = failed_start(&machine, &socket);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("/nonexistent") && said.contains("--no-containerd"), "{said}");

    let file = machine.path().join("file");
    std::fs::write(&file, "").unwrap();
    let place = ["--data-dir", file.to_str().unwrap(), "--no-containerd", "--listen", "none"];
    let (code, said) = failed_start(&machine, &place);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(file.to_str().unwrap()), "{said}");

    let open = ["--data-dir", data, "--no-containerd", "--listen", "0.0.0.0:0"];
    let (code, said) = failed_start(&machine, &open);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--insecure-listen-anywhere"), "{said}");
}

#[test]
fn a_second_warren_on_the_same_data_is_refused_and_a_damaged_database_stays_as_it_is() {
    let machine = Machine::without_containerd();
    let warren = machine.run();
    let data = machine.path().join("data");
    let flags = ["--data-dir", data.to_str().unwrap(), "--no-containerd", "--listen", "none"];
    let (code, said) = failed_start(&machine, &flags);
    assert_eq!(code, Some(1), "{said}");
    warren.ok("node ls");

    let elsewhere = machine.path().join("damaged");
    std::fs::create_dir_all(&elsewhere).unwrap();
    let database = elsewhere.join("warren.redb");
    std::fs::write(&database, "not a database").unwrap();
    let flags = ["--data-dir", elsewhere.to_str().unwrap(), "--no-containerd", "--listen", "none"];
    let (code, said) = failed_start(&machine, &flags);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("warren.redb"), "{said}");
    assert_eq!(std::fs::read(&database).unwrap(), b"not a database");

    std::fs::write(&database, "").unwrap();
    let (code, said) = failed_start(&machine, &flags);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("warren.redb") && said.contains("put back a copy"), "{said}");
}
