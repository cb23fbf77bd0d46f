//! A network that falls apart between machines: a manager and two workers in network namespaces of
//! their own, joined by pairs of veth devices, one of which goes down and comes up again.

use std::{fs, path::Path, process::Command, time::Duration};

use serde_json::Value;
use warren_tests::{Machine, Warren, eventually, have_root, text};

const LIMIT: Duration = Duration::from_secs(50);

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", text(&output));
}

/// One namespace for the manager and one for each worker, gone when it is dropped.
struct Net {
    names: [String; 3],
}

impl Net {
    fn new() -> Self {
        let name = |what: &str| format!("wt-{}-{what}", std::process::id());
        let net = Self { names: ["m", "one", "two"].map(name) };
        let [manager, workers @ ..] = &net.names;
        for netns in &net.names {
            ip(&format!("netns add {netns}"));
            ip(&format!("-n {netns} link set lo up"));
        }
        for (number, worker) in workers.iter().enumerate() {
            let here = format!("to{number}");
            ip(&format!("-n {manager} link add {here} type veth peer name up netns {worker}"));
            ip(&format!("-n {manager} addr add 10.99.{number}.1/24 dev {here}"));
            ip(&format!("-n {worker} addr add 10.99.{number}.2/24 dev up"));
            ip(&format!("-n {manager} link set {here} up"));
            ip(&format!("-n {worker} link set up up"));
        }
        net
    }

    /// The first worker's cable.
    fn cable(&self, state: &str) {
        ip(&format!("-n {} link set to0 {state}", self.names[0]));
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for netns in &self.names {
            drop(Command::new("ip").args(["netns", "del", netns]).output());
        }
    }
}

fn worker(machine: &Machine, net: &Net, number: usize, name: &str) -> Warren {
    let manager = format!("10.99.{number}.1:7470");
    let words = ["worker", "--no-containerd", "--manager", &manager, "--node-name", name];
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    Warren::start_in(&net.names[number + 1], &machine.path().join(format!("data-{name}")), &words)
}

/// The node of a service's task that is wanted.
fn node_of(manager: &Warren, slot: &str) -> String {
    manager.task(slot)["node_name"].as_str().unwrap_or_default().to_owned()
}

fn node_state(manager: &Warren, name: &str) -> String {
    manager.json(&format!("node inspect {name}"))["state"].as_str().unwrap_or_default().to_owned()
}

fn runs(pid: u64) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Since 1970, of what date(1) understands.
fn millis(moment: &str) -> u64 {
    let output = Command::new("date").args(["-d", moment, "+%s%3N"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

///
#[test]
fn what_is_parted_is_unknown_then_replaced_and_tells_its_story_when_it_returns() {
    if !have_root("network namespaces") {
        return;
    }
    let (machine, net) = (Machine::without_containerd(), Net::new());
    let words = ["manager", "--listen", "0.0.0.0:7470", "--insecure-listen-anywhere"];
    let words = words.map(str::to_owned);
    let manager = Warren::start_in(&net.names[0], &machine.path().join("data-m"), &words);
    let _one = worker(&machine, &net, 0, "one");
    let _two = worker(&machine, &net, 1, "two");
    let sign = machine.path().join("works");
    fs::write(&sign, "").unwrap();
    let tail = "--wait -- /bin/sleep 1000";
    manager.ok(&format!("service create web --replicas 2 --no-healthcheck {tail}"));
    // Where else could it be? So it is kept, and tells what it saw.
    manager.ok(&format!(
        "service create solo --constraint node.name==one --readiness-file \
         path={},period=200ms,failures=2 {tail}",
        sign.display()
    ));
    let slot = ["web.1", "web.2"].into_iter().find(|slot| node_of(&manager, slot) == "one");
    let slot = slot.expect("the service is spread");
    let (pid, parted, solo) =
        (manager.task_pid(slot), manager.task_id(slot), manager.task_id("solo.1"));

    net.cable("down");
    fs::remove_file(&sign).unwrap();
    let broken_at = millis("now");
    eventually("the node to be lost", LIMIT, || {
        let state = node_state(&manager, "one");
        if state == "NODE_STATE_LOST" { Ok(()) } else { Err(state) }
    });
    let status = manager.task("solo.1")["effective"]["status"].clone();
    assert_eq!(status, "HEALTH_STATUS_UNKNOWN");
    assert!(runs(pid), "the parted worker keeps its tasks");
    eventually("its task to be replaced on the other node", LIMIT, || {
        let shown = manager.ok("task ls --all");
        let elsewhere = manager.task_id(slot) != parted && node_of(&manager, slot) == "two";
        if elsewhere { Ok(()) } else { Err(shown) }
    });
    manager.shows("web", "Health: 2/2 healthy", LIMIT);
    assert!(runs(pid));

    net.cable("up");
    eventually("the superseded task to end", LIMIT, || {
        if runs(pid) { Err(manager.ok("task ls --all")) } else { Ok(()) }
    });
    assert_eq!(manager.task_id("solo.1"), solo, "the one that nobody replaced is kept");
    // Told when it happened, half a minute before anybody could hear of it.
    let told = eventually("the story of the partition", LIMIT, || {
        let events = manager.json("event ls solo");
        let events = events["events"].as_array().cloned().unwrap_or_default();
        let unready =
            |event: &&Value| event["message"].as_str().unwrap_or_default().contains("is not ready");
        events.iter().find(unready).cloned().ok_or_else(|| format!("{events:#?}"))
    });
    let at = millis(told["at"].as_str().unwrap());
    assert!((broken_at - 1_000..broken_at + 5_000).contains(&at), "{at} for {broken_at}");
    manager.ok("service rm web --wait");
}
