//! The scenarios that users know, with the real servers, on a real containerd.

use std::{path::PathBuf, process::Command, time::Duration};

use serde_json::Value;
use warren_tests::{Machine, eventually, have_root};

/// Generous: the machine that runs this may be slow and busy, and nothing is asserted by it.
const LIMIT: Duration = Duration::from_secs(90);

fn tasks(list: &Value) -> &Vec<Value> {
    list["tasks"].as_array().unwrap()
}

#[test]
fn nginx_with_an_http_check_becomes_healthy_and_leaves_nothing_behind() {
    if !have_root("nginx") {
        return;
    }
    let machine = Machine::new();
    let warren = machine.run();
    warren.import("nginx");
    warren.ok("service create web --image warren-test/nginx:1 --replicas 3 \
         --health-http path=/,port=80 --health-interval 1s");
    warren.shows("web", "Health: 3/3 healthy", LIMIT);
    let listed = warren.ok("service ls");
    assert!(listed.contains("3/3"), "{listed}");
    assert_eq!(machine.containers().len(), 3);

    warren.ok("service rm web --wait");
    eventually("nothing to be left", LIMIT, || leftovers(&machine));
}

/// What is left of tasks in containerd, on disk and in the network.
fn leftovers(machine: &Machine) -> Result<(), String> {
    let mut left = machine.containers();
    let snapshots = machine.ctr(&["snapshots", "ls"]);
    let snapshots = String::from_utf8(snapshots.stdout).unwrap();
    // The image's own layers are committed ones.
    left.extend(snapshots.lines().filter(|l| l.contains("Active")).map(str::to_owned));
    let leases = machine.ctr(&["leases", "ls", "-q"]);
    left.extend(String::from_utf8(leases.stdout).unwrap().lines().map(str::to_owned));
    let ours = machine.path().display().to_string();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let mounted = mounts.lines().filter(|l| l.contains(&ours) && !l.contains("/containerd/"));
    left.extend(mounted.map(str::to_owned));
    let logs: Vec<PathBuf> = std::fs::read_dir(machine.path().join("data/logs"))
        .map(|entries| entries.map(|e| e.unwrap().path()).collect())
        .unwrap_or_default();
    left.extend(logs.iter().map(|path| path.display().to_string()));
    let links = Command::new("ip").args(["-br", "link", "show", "type", "veth"]).output().unwrap();
    let links = String::from_utf8(links.stdout).unwrap();
    left.extend(links.lines().filter(|l| l.contains(machine.bridge())).map(str::to_owned));
    if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
}

#[test]
fn replicas_that_answer_500_are_all_replaced_and_say_why() {
    if !have_root("fail500") {
        return;
    }
    let machine = Machine::new();
    let warren = machine.run();
    warren.import("fail500");
    warren.ok("service create web --image warren-test/fail500:1 --replicas 2 \
         --health-http /health:8080 --health-interval 200ms --health-retries 3");
    warren.shows("web", "Health: 0/2 healthy, 2/2 restarting", LIMIT);

    let all = warren.json("task ls web --all");
    for slot in [1, 2] {
        let replaced = tasks(&all)
            .iter()
            .filter(|t| t["task"]["slot"] == slot && !t["task"]["stop"].is_null())
            .collect::<Vec<_>>();
        assert!(!replaced.is_empty(), "slot {slot}: {all:#}");
        // On a slow machine one may be judged before it listens.
        let why = |task: &Value| task["task"]["stop"]["reason"].as_str().unwrap().to_owned();
        assert!(replaced.iter().any(|task| why(task).contains("HTTP 500")), "{all:#}");
        for task in replaced {
            assert_eq!(task["health"]["observed"]["status"], "HEALTH_STATUS_UNHEALTHY");
        }
    }
}

#[test]
fn redis_with_a_tcp_check_is_replaced_once_when_it_dies() {
    if !have_root("redis") {
        return;
    }
    let machine = Machine::new();
    let warren = machine.run();
    warren.import("redis");
    warren.ok("service create cache --image warren-test/redis:1 \
         --health-tcp port=6379 --health-interval 500ms --health-start-period 30s");
    warren.shows("cache", "Health: 1/1 healthy", LIMIT);

    let dead = warren.task_id("cache.1");
    let pid = i32::try_from(warren.task_pid("cache.1")).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    eventually("a healthy successor", LIMIT, || {
        let shown = warren.ok("service inspect cache");
        let healthy = shown.contains("Health: 1/1 healthy");
        if healthy && warren.task_id("cache.1") != dead { Ok(()) } else { Err(shown) }
    });
    let all = warren.json("task ls cache --all");
    assert_eq!(tasks(&all).len(), 2, "exactly one replacement: {all:#}");
    let end = &warren.task(&dead)["task"]["status"]["end"];
    assert_eq!(end["exit_code"], 137, "{end}");
    assert_eq!(end["reason"], "process exited with code 137 (signal 9)");
}

#[test]
fn postgres_with_pg_isready_starts_within_its_start_period() {
    if !have_root("postgres") {
        return;
    }
    let machine = Machine::new();
    let warren = machine.run();
    warren.import("postgres");
    warren.ok(
        "service create db --image warren-test/postgres:1 --health-cmd 'pg_isready -U postgres' \
         --health-interval 1s --health-start-period 30s",
    );
    warren.shows("db", "Health: 1/1 healthy", LIMIT);
    let all = warren.json("task ls db --all");
    assert_eq!(tasks(&all).len(), 1, "its slow start is no failure: {all:#}");
}

#[test]
fn a_listener_of_the_host_never_makes_a_task_healthy_and_tasks_are_told_apart() {
    if !have_root("namespaces") {
        return;
    }
    let machine = Machine::new();
    let warren = machine.run();
    warren.import("web");
    // The same port on the host's loopback, answering well.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    warren.ok(&format!(
        "service create deaf --image warren-test/web:1 --health-tcp port={port} \
         --health-interval 200ms -- /bin/foreground sleep infinity"
    ));
    warren.ok("service create web --image warren-test/web:1 --replicas 2 \
         --health-http /health:8080 --health-interval 500ms --health-retries 1000");
    warren.shows("web", "Health: 2/2 healthy", LIMIT);
    warren.shows("deaf", "Health: 0/1 healthy, 1/1 restarting", LIMIT);

    // Readiness tells them apart at once; liveness has a thousand failures to wait for.
    let page = format!("/proc/{}/root/www/health", warren.task_pid("web.1"));
    std::fs::remove_file(page).unwrap();
    eventually("web.1 to fail", LIMIT, || {
        let attempts = warren.ok("task inspect web.1");
        if attempts.contains("HTTP 404") { Ok(()) } else { Err(attempts) }
    });
    let other = warren.ok("task inspect web.2");
    assert!(!other.contains("HTTP 404"), "{other}");
}

#[test]
fn an_exec_check_sees_the_files_of_its_container_and_not_those_of_the_host() {
    if !have_root("exec") {
        return;
    }
    let machine = Machine::new();
    let warren = machine.run();
    warren.import("busybox");
    let marker = machine.path().join("only-on-the-host");
    std::fs::write(&marker, "").unwrap();
    let on_host = format!("test -f {}", marker.display());
    for (name, command) in [("inside", "test -f /www/index.html"), ("outside", &on_host)] {
        warren.ok(&format!(
            "service create {name} --image warren-test/busybox:1 --health-cmd '{command}' \
             --health-interval 200ms -- /bin/foreground sleep infinity"
        ));
    }
    warren.shows("inside", "Health: 1/1 healthy", LIMIT);
    warren.shows("outside", "Health: 0/1 healthy, 1/1 restarting", LIMIT);
}

#[test]
fn the_images_own_healthcheck_is_honoured_unless_it_is_switched_off() {
    if !have_root("healthcheck") {
        return;
    }
    let machine = Machine::new();
    let warren = machine.run();
    warren.import("healthcheck");
    let run = "-- /bin/foreground sh -c 'touch /tmp/ok; sleep infinity'";
    for (name, flag) in [("own", ""), ("off", "--no-healthcheck")] {
        let image = "--image warren-test/healthcheck:1";
        warren.ok(&format!("service create {name} {image} {flag} {run}"));
    }
    warren.shows("own", "Health: 1/1 healthy", LIMIT);
    warren.shows("off", "Health: 1/1 healthy", LIMIT);
    let health = |slot: &str| warren.task(slot)["effective"]["status"].clone();
    assert_eq!(health("own.1"), "HEALTH_STATUS_HEALTHY");
    assert_eq!(health("off.1"), "HEALTH_STATUS_UNCHECKED");

    let pid = warren.task_pid("own.1");
    std::fs::remove_file(format!("/proc/{pid}/root/tmp/ok")).unwrap();
    let broken = warren.task_id("own.1");
    eventually("the check to fail and the task to be replaced", LIMIT, || {
        let now = warren.task_id("own.1");
        if now == broken { Err(warren.ok("task inspect own.1")) } else { Ok(()) }
    });
}
