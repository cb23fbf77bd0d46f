//! What survives `kill -9`: everything.

use std::time::{Duration, Instant};

use serde_json::Value;
use warren_tests::{Machine, Warren, eventually, have_root};

const LIMIT: Duration = Duration::from_secs(90);

/// What must be the same before and after: services, tasks with their processes, history.
fn facts(warren: &Warren) -> (Value, Vec<(Value, Value, Value, Value)>) {
    let services = warren.json("service ls");
    let tasks = warren.json("task ls --all");
    let facts = tasks["tasks"].as_array().unwrap().iter().map(|task| {
        let status = &task["task"]["status"];
        let health = task["effective"]["status"].clone();
        (task["task"]["id"].clone(), status["pid"].clone(), status["started_at"].clone(), health)
    });
    (services, facts.collect())
}

fn events(warren: &Warren) -> Vec<Value> {
    warren.json("event ls")["events"].as_array().unwrap().clone()
}

fn one_service(warren: &Warren) {
    warren.import("web");
    warren.ok(
        "service create web --image warren-test/web:1 --replicas 2 --health-http /health:8080 \
         --health-interval 500ms --health-start-period 30s",
    );
    warren.shows("web", "Health: 2/2 healthy", LIMIT);
}

#[test]
fn both_roles_killed_and_started_again_adopt_and_replace_nothing() {
    if !have_root("kill -9 of warren run") {
        return;
    }
    let machine = Machine::new();
    let warren = machine.run();
    one_service(&warren);
    let (before, history) = (facts(&warren), events(&warren));
    warren.kill();

    let begun = Instant::now();
    let warren = machine.run();
    eventually("the same state", LIMIT, || {
        let after = facts(&warren);
        if after == before { Ok(()) } else { Err(format!("{after:#?}\n{before:#?}")) }
    });
    println!("the same state {:?} after the start", begun.elapsed());
    let after = events(&warren);
    assert_eq!(after[..history.len()], history[..], "the history is the same");
    let attempts = |warren: &Warren| {
        let shown = warren.ok("task inspect web.1");
        shown
            .lines()
            .filter(|line| line.contains("HTTP 200"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let first = attempts(&warren);
    eventually("checks to go on", LIMIT, || {
        let now = attempts(&warren);
        if now.iter().any(|line| !first.contains(line)) { Ok(()) } else { Err(now.join("\n")) }
    });
    assert_eq!(facts(&warren), before);
}

#[test]
fn a_worker_killed_and_started_again_adopts_what_runs() {
    if !have_root("kill -9 of the worker") {
        return;
    }
    let machine = Machine::new();
    let manager = machine.start("manager", &[]);
    let address = manager.host.clone();
    let start = || machine.start("worker", &["--manager", &address]);
    let worker = start();
    one_service(&manager);
    let before = facts(&manager);
    worker.kill();
    let worker = start();
    eventually("the worker's session", LIMIT, || {
        let log = worker.log();
        if log.contains("session with the manager is open") { Ok(()) } else { Err(log) }
    });
    eventually("the same state", LIMIT, || {
        let after = facts(&manager);
        if after == before { Ok(()) } else { Err(format!("{after:#?}\n{before:#?}")) }
    });
    // And it still looks.
    let pid = manager.task_pid("web.2");
    std::fs::remove_file(format!("/proc/{pid}/root/www/health")).unwrap();
    let broken = manager.task_id("web.2");
    eventually("the broken task to be replaced", LIMIT, || {
        if manager.task_id("web.2") == broken {
            Err(manager.ok("service inspect web"))
        } else {
            Ok(())
        }
    });
    manager.ok("service rm web --wait");
}

#[test]
fn a_manager_killed_while_a_task_breaks_learns_of_it_afterwards() {
    if !have_root("kill -9 of the manager") {
        return;
    }
    let machine = Machine::new();
    let manager = machine.start("manager", &[]);
    let worker = machine.start("worker", &["--manager", &manager.host]);
    one_service(&manager);
    let (_, tasks) = facts(&manager);
    let pid = manager.task_pid("web.1");
    let broken = manager.task_id("web.1");
    manager.kill();
    std::fs::remove_file(format!("/proc/{pid}/root/www/health")).unwrap();
    eventually("the worker to see it alone", LIMIT, || {
        let log = worker.log();
        if log.contains("task health changed") && log.contains("unhealthy") {
            Ok(())
        } else {
            Err(log)
        }
    });
    let manager = machine.start("manager", &[]);
    eventually("web.1 to be replaced", LIMIT, || {
        let shown = manager.ok("service inspect web");
        let healthy = shown.contains("Health: 2/2 healthy");
        if healthy && manager.task_id("web.1") != broken { Ok(()) } else { Err(shown) }
    });
    let other = manager.task_id("web.2");
    assert!(tasks.iter().any(|(id, ..)| *id == other.as_str()), "web.2 stays as it was");
    manager.ok("service rm web --wait");
    assert_eq!(worker.stop(), Some(0));
}

#[test]
fn tasks_run_on_while_the_worker_is_stopped_in_order() {
    if !have_root("SIGTERM") {
        return;
    }
    let machine = Machine::new();
    let warren = machine.run();
    one_service(&warren);
    let before = facts(&warren);
    let pids: Vec<_> = before.1.iter().map(|(_, pid, ..)| pid.as_u64().unwrap()).collect();
    assert_eq!(warren.stop(), Some(0));
    for pid in pids {
        assert!(std::path::Path::new(&format!("/proc/{pid}")).exists(), "{pid} runs on");
    }
    let warren = machine.run();
    eventually("the same state", LIMIT, || {
        let after = facts(&warren);
        if after == before { Ok(()) } else { Err(format!("{after:#?}")) }
    });
}

#[test]
fn a_manager_whose_database_was_emptied_ends_no_task_until_it_is_told_to() {
    let machine = Machine::without_containerd();
    let warren = machine.run();
    warren.ok("service create idle --no-healthcheck --wait -- /bin/sleep 1000");
    let pid = warren.task_pid("idle.1");
    let runs = || std::path::Path::new(&format!("/proc/{pid}")).exists();
    warren.kill();
    std::fs::remove_file(machine.path().join("data/warren.redb")).unwrap();

    let warren = machine.run();
    let advice = eventually("the refusal", LIMIT, || {
        let log = warren.log();
        let advice = log.split_once("--join-cluster ").map(|(_, rest)| rest[..16].to_owned());
        advice.ok_or(log)
    });
    assert!(warren.log().contains("its tasks go on running"), "{}", warren.log());
    assert!(runs());
    assert_eq!(warren.stop(), Some(0));
    assert!(runs());

    let warren = machine.start("run", &["--join-cluster", &advice]);
    eventually("the task to end", LIMIT, || if runs() { Err(warren.log()) } else { Ok(()) });
    warren.ok("service create idle --no-healthcheck --wait -- /bin/sleep 1000");
    warren.ok("service rm idle --wait");
}
