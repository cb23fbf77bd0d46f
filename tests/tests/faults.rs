//! Real processes under real faults: a full disk, a runtime that dies, `kill -9` in a loop while
//! services churn. `crates/sim` plays many more of them; these show that its ports are honest.

use std::{
    fs,
    os::unix::fs::symlink,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use warren_tests::{Machine, SmallDisk, Warren, eventually, have_root, http};

const LIMIT: Duration = Duration::from_secs(90);

fn names(warren: &Warren) -> Vec<String> {
    let services = warren.json("service ls");
    let services = services["services"].as_array().unwrap().iter();
    let name =
        |row: &serde_json::Value| row["service"]["spec"]["name"].as_str().unwrap().to_owned();
    services.map(name).collect()
}

#[test]
fn a_full_disk_ends_the_manager_with_the_cause_and_nothing_acknowledged_is_lost() {
    if !have_root("a full disk") {
        return;
    }
    let machine = Machine::without_containerd();
    let data = machine.path().join("data-manager");
    let disk = SmallDisk::mount(&data);
    // Elsewhere: there must be room for the cause.
    symlink(machine.path().join("manager.log"), data.join("manager.log")).unwrap();
    let manager = machine.start("manager", &[]);
    let create = |manager: &Warren, number: usize| {
        let filling = format!("FILLING={}", "x".repeat(60_000));
        let line = format!("service create s{number:03} --replicas 0 --no-healthcheck --env");
        manager.cli((line.as_str(), &[filling.as_str(), "--", "/bin/true"][..]))
    };
    assert!(create(&manager, 0).status.success());
    disk.fill();
    // The file has some room of its own.
    let mut kept = vec!["s000".to_owned()];
    while create(&manager, kept.len()).status.success() {
        kept.push(format!("s{:03}", kept.len()));
        assert!(kept.len() < 500, "the disk is never full");
    }
    let (code, log) = manager.ended(LIMIT);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("see that its disk is well and has room"), "{log}");
    assert!(log.contains("No space left on device"), "{log}");

    disk.make_room();
    let manager = machine.start("manager", &[]);
    let found = names(&manager);
    // The last one was not acknowledged; it may be there all the same.
    assert_eq!(found[..kept.len()], kept[..]);
    assert!(found.len() <= kept.len() + 1, "{found:?}");
    assert!(create(&manager, 900).status.success());
    assert_eq!(manager.stop(), Some(0));
}

#[test]
fn while_containerd_is_dead_tasks_are_unknown_and_none_is_replaced() {
    if !have_root("a dead containerd") {
        return;
    }
    let mut machine = Machine::new();
    let warren = machine.start("run", &["--health-listen", "127.0.0.1:0"]);
    warren.import("web");
    warren.ok("service create web --image warren-test/web:1 --replicas 2 --health-cmd true \
         --health-interval 500ms --health-start-period 30s");
    warren.shows("web", "Health: 2/2 healthy", LIMIT);
    let tasks = || ["web.1", "web.2"].map(|slot| (warren.task_id(slot), warren.task_pid(slot)));
    let before = tasks();
    machine.kill_containerd();
    let killed = Instant::now();
    eventually("both tasks to be unknown", LIMIT, || {
        let shown = warren.ok("service inspect web");
        if shown.contains("2/2 unknown") { Ok(()) } else { Err(shown) }
    });
    // C-32: counted for themselves, and as no failure.
    let liveness = &warren.task("web.1")["health"]["observed"]["liveness"];
    assert!(liveness["inconclusive"].as_u64() >= Some(3), "{liveness:#}");
    assert!(liveness["failures"].as_u64().unwrap_or_default() == 0, "{liveness:#}");
    let shown = warren.ok("task inspect web.1");
    assert!(shown.contains(" inconclusive"), "{shown}");
    let (_, page) = http::get(warren.health_address(), "/metrics");
    let count = |result: &str| {
        let ours = ["service=\"web\"", "probe=\"liveness\"", "handler=\"exec\"", result];
        let is_ours = |line: &&str| {
            line.starts_with("warren_probe_attempts_total{")
                && ours.iter().all(|l| line.contains(l))
        };
        let count = page.lines().find(is_ours).and_then(|line| line.rsplit(' ').next());
        count.map_or(0, |count| count.parse::<u64>().unwrap())
    };
    assert!(count("result=\"error\"") >= 6, "{page}");
    assert_eq!(count("result=\"failure\"") + count("result=\"timeout\""), 0, "{page}");
    eventually("containerd to have been dead for ten seconds", LIMIT, || {
        let shown = warren.ok("service inspect web");
        assert!(shown.contains("2/2 unknown"), "{shown}");
        assert_eq!(tasks(), before);
        let dead = killed.elapsed();
        if dead >= Duration::from_secs(10) { Ok(()) } else { Err(format!("{dead:?}")) }
    });
    machine.start_containerd();
    warren.shows("web", "Health: 2/2 healthy", LIMIT);
    assert_eq!(tasks(), before);
    let events = warren.ok("event ls");
    assert!(!events.contains("take over"), "{events}");
    warren.ok("service rm web --wait");
}

// C-75
#[test]
fn a_containerd_that_hangs_keeps_no_other_check_waiting() {
    if !have_root("a containerd that hangs") {
        return;
    }
    let machine = Machine::new();
    let warren = machine.run();
    warren.import("web");
    warren.ok("service create asked --image warren-test/web:1 --health-http /health:8080 \
         --health-interval 300ms --health-start-period 30s");
    // More than commands may run at once.
    warren.ok("service create told --image warren-test/web:1 --replicas 6 --health-cmd true \
         --health-interval 300ms --health-timeout 2s --health-start-period 30s");
    warren.shows("asked", "Health: 1/1 healthy", LIMIT);
    warren.shows("told", "Health: 6/6 healthy", LIMIT);
    let www = PathBuf::from(format!("/proc/{}/root/www/health", warren.task_pid("asked.1")));
    machine.signal_containerd(Signal::SIGSTOP);
    eventually("commands that nobody starts", LIMIT, || {
        let shown = warren.ok("service inspect told");
        if shown.contains("/6 unknown") { Ok(()) } else { Err(shown) }
    });
    fs::remove_file(www).unwrap();
    let broken = Instant::now();
    let failing = eventually("the answer of the one that is asked", LIMIT, || {
        let task = warren.task("asked.1");
        let ready = task["health"]["observed"]["ready"].as_bool().unwrap_or_default();
        if ready { Err(format!("{task:#}")) } else { Ok(task) }
    });
    println!("it left traffic after {:.1?}", broken.elapsed());
    assert!(failing.to_string().contains("HTTP 404"), "{failing:#}");
    machine.signal_containerd(Signal::SIGCONT);
    warren.shows("asked", "Health: 1/1 healthy", LIMIT);
    warren.shows("told", "Health: 6/6 healthy", LIMIT);
    for service in ["asked", "told"] {
        warren.ok(&format!("service rm {service} --wait"));
    }
}

/// Processes whose command line is exactly this.
fn alive(command: &str) -> usize {
    let found = Command::new("pgrep").args(["-f", "-x", command]).output().unwrap();
    String::from_utf8(found.stdout).unwrap().lines().count()
}

#[test]
fn services_that_churn_while_everything_is_killed_are_as_they_were_asked_to_be() {
    let machine = Machine::without_containerd();
    // Seconds that nobody else sleeps.
    let sleep = format!("/bin/sleep 8{}", std::process::id());
    let mut manager = machine.start("manager", &[]);
    let address = manager.host.clone();
    let worker = || machine.start("worker", &["--manager", &address]);
    let mut current = worker();
    manager.ok(&format!("service create web --replicas 1 --no-healthcheck -- {sleep}"));
    let mut asked = 1;
    for round in 0..8 {
        let wanted = 1 + (round * 3) % 5;
        manager.ok(&format!("service scale web={wanted}"));
        asked = wanted;
        // In the middle of whatever that led to.
        if round % 2 == 0 {
            manager.kill();
            manager = machine.start("manager", &[]);
        } else {
            current.kill();
            current = worker();
        }
        let detail = manager.json("service inspect web");
        assert_eq!(detail["service"]["spec"]["replicas"], asked, "round {round}");
    }
    manager.shows("web", &format!("Health: {asked}/{asked} healthy"), LIMIT);
    eventually("no process but those", LIMIT, || {
        let (alive, shown) = (alive(&sleep), manager.ok("service inspect web"));
        if alive == asked { Ok(()) } else { Err(format!("{alive} are alive\n{shown}")) }
    });
    manager.ok("service rm web --wait");
    eventually("no process", LIMIT, || match alive(&sleep) {
        0 => Ok(()),
        left => Err(format!("{left} are alive")),
    });
    assert_eq!(current.stop(), Some(0));
}
