//! Several nodes: where tasks go, how a node is emptied, and what happens when one is lost. R-n are
//! clauses of docs/replacement.md.

use std::{path::Path, time::Duration};

use warren_tests::{Machine, Warren, eventually};

const LIMIT: Duration = Duration::from_secs(90);

fn worker(machine: &Machine, manager: &Warren, name: &str, zone: &str) -> Warren {
    let label = format!("zone={zone}");
    let words = [
        "worker",
        "--no-containerd",
        "--manager",
        &manager.host,
        "--node-name",
        name,
        "--label",
        &label,
    ];
    let words = words.map(str::to_owned);
    Warren::start(&machine.path().join(format!("data-{name}")), &words)
}

/// The nodes of the service's running tasks, sorted.
fn nodes(manager: &Warren, service: &str) -> Vec<String> {
    let list = manager.json(&format!("task ls {service}"));
    let empty = Vec::new();
    let tasks = list["tasks"].as_array().unwrap_or(&empty);
    let wanted = tasks.iter().filter(|task| task["task"]["stop"].is_null());
    let mut nodes: Vec<String> =
        wanted.map(|task| task["node_name"].as_str().unwrap_or_default().to_owned()).collect();
    nodes.sort();
    nodes
}

fn until_on(manager: &Warren, service: &str, expected: &[&str]) {
    eventually(&format!("{service} on {expected:?}"), LIMIT, || {
        let seen = nodes(manager, service);
        if seen == expected { Ok(()) } else { Err(manager.ok("task ls --all")) }
    });
}

///
#[test]
fn tasks_follow_labels_leave_a_drained_node_and_survive_a_lost_one() {
    let machine = Machine::without_containerd();
    let manager = machine.start("manager", &[]);
    let _one = worker(&machine, &manager, "one", "a");
    let _two = worker(&machine, &manager, "two", "b");
    let three = worker(&machine, &manager, "three", "b");
    let tail = "--no-healthcheck -- /bin/sleep 1000";
    manager.ok(&format!(
        "service create web --replicas 2 --constraint node.labels.zone==b --wait {tail}"
    ));
    manager
        .ok(&format!("service create wide --replicas 2 --spread node.labels.zone --wait {tail}"));
    assert_eq!(nodes(&manager, "web"), ["three", "two"]);
    assert!(nodes(&manager, "wide").contains(&"one".to_owned()), "{:?}", nodes(&manager, "wide"));
    let inspected = manager.ok("service inspect web");
    assert!(inspected.contains("Constraint: node.labels.zone==b"), "{inspected}");

    manager.ok("node label one zone=b rack=r7");
    let shown = manager.ok("node inspect one");
    for line in [
        "Label: rack=r7 (set by an operator)",
        "Label: zone=b (set by an operator; its worker says a)",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    manager.ok(&format!(
        "service create third --replicas 3 --constraint node.labels.zone==b --wait {tail}"
    ));
    assert_eq!(nodes(&manager, "third"), ["one", "three", "two"]);
    assert_eq!(nodes(&manager, "web"), ["three", "two"], "what runs stays where it fits");
    manager.ok("node label one zone-");
    eventually("third to leave where it no longer fits", LIMIT, || {
        let seen = nodes(&manager, "third");
        if seen.iter().any(|node| node == "one") { Err(format!("{seen:?}")) } else { Ok(()) }
    });
    let refused = manager.cli("node label one zone-");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(5), "{said}");
    assert!(said.contains("was started with --label zone=a"), "{said}");
    manager.ok("service rm third --wait");

    manager.ok(("node drain two --wait --wait-timeout 60s --reason", &["new disk"][..]));
    assert_eq!(nodes(&manager, "web"), ["three", "three"]);
    let shown = manager.ok("node inspect two");
    assert!(shown.contains("Takes: drained") && shown.contains("new disk"), "{shown}");
    manager.ok("node uncordon two");

    let pids = ["web.1", "web.2"].map(|slot| manager.task_pid(slot));
    three.kill();
    until_on(&manager, "web", &["two", "two"]);
    manager.shows("web", "Health: 2/2 healthy", LIMIT);
    let why = manager.ok("task why web.1");
    assert!(why.contains("node three is lost"), "{why}");
    let _three = worker(&machine, &manager, "three", "b");
    eventually("the superseded tasks to end", LIMIT, || {
        let alive = pids.iter().filter(|pid| Path::new(&format!("/proc/{pid}")).exists()).count();
        if alive == 0 { Ok(()) } else { Err(manager.ok("task ls --all")) }
    });
    assert_eq!(nodes(&manager, "web"), ["two", "two"]);
}
