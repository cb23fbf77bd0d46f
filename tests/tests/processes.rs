//! The same job without containers: the process driver, for machines that have no containerd.

use std::{fs, path::Path, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use warren_tests::{Machine, Warren, eventually, text};

const LIMIT: Duration = Duration::from_mins(1);

/// Serves its own directory on its own address.
fn service(warren: &Warren, work: &Path, replicas: &str) {
    let serve = format!(
        "dir={}/$WARREN_TASK_ID; mkdir -p \"$dir\"; echo ok >\"$dir/health\"; \
         exec python3 -u -m http.server --bind \"$WARREN_TASK_IP\" -d \"$dir\" 8080",
        work.display()
    );
    let create = format!(
        "service create web --replicas {replicas} --health-http /health:8080 \
         --health-interval 300ms --health-timeout 5s --health-start-period 30s -- /bin/sh -c"
    );
    warren.ok((&*create, &[&*serve][..]));
}

#[test]
fn replicas_listen_on_the_same_port_and_the_broken_one_alone_is_replaced() {
    let machine = Machine::without_containerd();
    let warren = machine.run();
    service(&warren, machine.path(), "3");
    warren.shows("web", "Health: 3/3 healthy", LIMIT);
    let ids = ["web.1", "web.2", "web.3"].map(|slot| warren.task_id(slot));

    fs::remove_file(machine.path().join(&ids[1]).join("health")).unwrap();
    eventually("web.2 to be replaced", LIMIT, || {
        let shown = warren.ok("service inspect web");
        let healthy = shown.contains("Health: 3/3 healthy");
        if healthy && warren.task_id("web.2") != ids[1] { Ok(()) } else { Err(shown) }
    });
    assert_eq!(warren.task_id("web.1"), ids[0]);
    assert_eq!(warren.task_id("web.3"), ids[2]);
    // It is stopped once its successor is ready, so a moment after that is seen.
    let why = eventually("the broken one to be stopped", LIMIT, || {
        let broken = warren.task(&ids[1]);
        let why = broken["task"]["stop"]["reason"].as_str().map(str::to_owned);
        why.ok_or_else(|| format!("{broken:#}"))
    });
    assert!(why.contains("HTTP 404"), "{why}");
    let log = warren.ok(&format!("task logs {}", ids[1]));
    assert!(log.contains("GET /health") || log.contains("Serving HTTP"), "{log}");

    warren.ok("service rm web --wait");
    let kept: Vec<_> = fs::read_dir(machine.path().join("data/logs")).unwrap().collect();
    assert!(kept.is_empty(), "{kept:?}");
}

#[test]
fn a_restart_adopts_running_processes() {
    let machine = Machine::without_containerd();
    let warren = machine.run();
    service(&warren, machine.path(), "2");
    warren.shows("web", "Health: 2/2 healthy", LIMIT);
    let before = ["web.1", "web.2"].map(|s| (warren.task_id(s), warren.task_pid(s)));
    warren.kill();
    for (_, pid) in &before {
        assert!(Path::new(&format!("/proc/{pid}")).exists(), "{pid} runs on");
    }
    let warren = machine.run();
    warren.shows("web", "Health: 2/2 healthy", LIMIT);
    let after = ["web.1", "web.2"].map(|s| (warren.task_id(s), warren.task_pid(s)));
    assert_eq!(before, after);
}

#[test]
fn a_task_that_exits_is_replaced_and_its_exit_code_is_kept() {
    let machine = Machine::without_containerd();
    let warren = machine.run();
    warren.ok("service create exits -- /bin/sh -c 'sleep 0.2; exit 7'");
    let ended = eventually("an ended task", LIMIT, || {
        let all = warren.json("task ls exits --all");
        let tasks = all["tasks"].as_array().unwrap();
        let ended = tasks.iter().find(|t| !t["task"]["status"]["end"].is_null());
        ended.cloned().ok_or_else(|| format!("{all:#}"))
    });
    let end = &ended["task"]["status"]["end"];
    assert_eq!(
        (end["exit_code"].as_i64(), end["kind"].as_str()),
        (Some(7), Some("END_KIND_EXITED"))
    );
    eventually("the next attempt", LIMIT, || {
        let shown = warren.ok("service inspect exits");
        if shown.contains("1/1 restarting") { Ok(()) } else { Err(shown) }
    });
}

#[test]
fn a_hanging_task_times_out_and_readiness_alone_never_replaces() {
    let machine = Machine::without_containerd();
    let warren = machine.run();
    let serve = "exec python3 -u -m http.server --bind \"$WARREN_TASK_IP\" 8080";
    warren.ok((
        "service create ready --startup-tcp port=8080,failures=200,period=100ms \
         --readiness-http path=/,port=8080,period=200ms,timeout=300ms,failures=2 -- /bin/sh -c",
        &[serve][..],
    ));
    warren.shows("ready", "Health: 1/1 healthy", LIMIT);
    let id = warren.task_id("ready.1");
    eventually("it to be ready", LIMIT, || {
        let listed = warren.ok("service ls");
        if listed.contains("1/1") { Ok(()) } else { Err(listed) }
    });
    let pid = Pid::from_raw(i32::try_from(warren.task_pid("ready.1")).unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    eventually("it to be out of traffic", LIMIT, || {
        let listed = warren.ok("service ls");
        if listed.contains("0/1") { Ok(()) } else { Err(listed) }
    });
    let why = warren.ok("task inspect ready.1");
    assert!(why.contains("no answer within 300ms"), "{why}");
    kill(pid, Signal::SIGCONT).unwrap();
    eventually("it to be ready again", LIMIT, || {
        let listed = warren.ok("service ls");
        if listed.contains("1/1") { Ok(()) } else { Err(listed) }
    });
    assert_eq!(warren.task_id("ready.1"), id, "never replaced");
}

/// C-150. Its own checks look once an hour, so whatever else is seen is seen by hand.
#[test]
fn a_task_is_checked_by_hand_outside_of_its_verdicts() {
    let machine = Machine::without_containerd();
    let warren = machine.run();
    let serve = format!(
        "cd {}; echo ok >health; exec python3 -u -m http.server --bind \"$WARREN_TASK_IP\" 8080",
        machine.path().display()
    );
    warren.ok((
        "service create web --startup-tcp port=8080,failures=200,period=100ms \
         --liveness-http path=/health,port=8080,period=1h,timeout=500ms -- /bin/sh -c",
        &[&*serve][..],
    ));
    warren.shows("web", "Health: 1/1 healthy", LIMIT);
    let id = warren.task_id("web.1");
    let seen = warren.ok("task check web.1");
    assert!(seen.contains("Role: startup\n") && seen.contains("Role: liveness\n"), "{seen}");
    assert!(seen.contains("Clause: C-60") && seen.contains("Clause: C-51"), "{seen}");
    assert!(seen.contains("first byte "), "{seen}");

    let check = || warren.cli("task check web.1 --role liveness");
    fs::remove_file(machine.path().join("health")).unwrap();
    let failed = check();
    assert_eq!(failed.status.code(), Some(1), "{}", text(&failed));
    assert!(text(&failed).contains("HTTP 404 from GET /health"), "{}", text(&failed));
    let pid = Pid::from_raw(i32::try_from(warren.task_pid("web.1")).unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    let late = check();
    assert_eq!(late.status.code(), Some(1), "{}", text(&late));
    assert!(text(&late).contains("Outcome: fail (timeout)"), "{}", text(&late));
    kill(pid, Signal::SIGCONT).unwrap();
    let kept = warren.task("web.1");
    assert_eq!(kept["health"]["observed"]["liveness"]["failures"], 0, "{kept:#}");
    assert_eq!(warren.task_id("web.1"), id);

    for (words, code) in [
        ("task check web.1 --role readiness", 4),
        ("task check nope.1", 4),
        ("task check web.1 --role mood", 2),
    ] {
        let output = warren.cli(words);
        assert_eq!(output.status.code(), Some(code), "{words}: {}", text(&output));
    }
}

#[test]
fn scaling_up_and_down_keeps_the_slots_that_stay() {
    let machine = Machine::without_containerd();
    let warren = machine.run();
    warren.ok("service create idle --replicas 2 -- /bin/sleep 1000");
    warren.shows("idle", "Health: 2/2 healthy", LIMIT);
    let first = warren.task_id("idle.1");
    warren.ok("service scale idle=4");
    warren.shows("idle", "Health: 4/4 healthy", LIMIT);
    warren.ok("service scale idle=1");
    warren.shows("idle", "Health: 1/1 healthy", LIMIT);
    eventually("the others to stop", LIMIT, || {
        let running = warren.json("task ls idle");
        let count = running["tasks"].as_array().unwrap().len();
        if count == 1 { Ok(()) } else { Err(format!("{running:#}")) }
    });
    assert_eq!(warren.task_id("idle.1"), first);
}

#[test]
fn logs_are_followed_to_the_task_s_end() {
    let machine = Machine::without_containerd();
    let warren = machine.run();
    let script = "for i in 1 2 3; do echo out $i; echo err $i >&2; sleep 0.3; done; sleep 1000";
    warren.ok(("service create talks -- /bin/sh -c", &[script][..]));
    let task = eventually("the third line", LIMIT, || {
        let id = warren.task_id("talks.1");
        let output = warren.cli(&format!("task logs {id}"));
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        if out.contains("out 3") && err.contains("err 3") { Ok(id) } else { Err(out + &err) }
    });
    let last = warren.cli(&format!("task logs {task} --tail 1"));
    assert!(matches!((&*last.stdout, &*last.stderr), (b"out 3\n", b"") | (b"", b"err 3\n")));
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| warren.cli(&format!("task logs -f {task}")));
        warren.ok(&format!("task rm {task}"));
        let said = follower.join().unwrap();
        let out = String::from_utf8(said.stdout).unwrap();
        assert_eq!(out, "out 1\nout 2\nout 3\n");
    });
}
