//! How the checks of real processes begin, pause, change and end.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use warren_tests::{Machine, Warren, eventually, http::get, text};

const LIMIT: Duration = Duration::from_mins(1);

/// How often something was said in this file.
fn said(file: &Path) -> usize {
    fs::read_to_string(file).unwrap_or_default().lines().count()
}

/// Notes each attempt in `attempts`, and passes while there is `good`.
fn noted(machine: &Machine) -> String {
    format!("cd {} && echo x >>attempts && test -e good", machine.path().display())
}

fn create(warren: &Warren, check: &str) {
    warren.ok((
        "service create web --health-interval 200ms --health-retries 3 --health-cmd",
        &[check, "--", "/bin/sleep", "1000"][..],
    ));
}

fn events(warren: &Warren, message: &str) {
    eventually(message, LIMIT, || {
        let events = warren.ok("event ls web");
        if events.contains(message) { Ok(()) } else { Err(events) }
    });
}

/// Until some more attempts have been made.
fn is_attempted(attempts: &Path) {
    let before = said(attempts);
    eventually("more attempts", LIMIT, || match said(attempts) {
        now if now > before + 3 => Ok(()),
        now => Err(format!("{now} of {before}")),
    });
}

/// For as long as ten attempts take. A task that is attempted is found out.
fn is_not_attempted(attempts: &Path) {
    let before = said(attempts);
    thread::sleep(Duration::from_secs(2));
    assert_eq!(said(attempts), before);
}

fn is_paused(warren: &Warren) {
    eventually("the worker to know of the pause", LIMIT, || {
        let shown = warren.ok("task inspect web.1");
        if shown.contains("; paused until ") { Ok(()) } else { Err(shown) }
    });
}

// C-90, C-91, C-96, R-26
#[test]
fn a_pause_outlives_manager_and_worker_and_after_it_a_broken_task_is_replaced() {
    let machine = Machine::without_containerd();
    let good = machine.path().join("good");
    let attempts = machine.path().join("attempts");
    fs::write(&good, "").unwrap();
    let warren = machine.run();
    create(&warren, &noted(&machine));
    warren.shows("web", "Health: 1/1 healthy", LIMIT);
    let (id, pid) = (warren.task_id("web.1"), warren.task_pid("web.1"));

    let told = warren.ok("service health pause web --for 10m --by ada");
    assert!(told.starts_with("web is not checked until 20"), "{told}");
    is_paused(&warren);
    fs::remove_file(&good).unwrap();
    is_not_attempted(&attempts);
    let shown = warren.ok("service inspect web");
    assert!(shown.contains("Health: 1/1 healthy\n") && shown.contains(", by ada"), "{shown}");
    assert!(shown.contains("Checks paused: until 20"), "{shown}");
    assert!(warren.json("service inspect web")["service"]["checks_paused"]["until"].is_string());
    events(&warren, "the checks of web are paused by ada for 600s");
    // By hand it may still be asked.
    assert_eq!(warren.cli("task check web.1").status.code(), Some(1));

    warren.kill();
    let warren = machine.run();
    is_paused(&warren);
    is_not_attempted(&attempts);
    assert_eq!((warren.task_id("web.1"), warren.task_pid("web.1")), (id.clone(), pid));

    warren.ok("service health resume web");
    events(&warren, "the checks of web go on as somebody asked");
    fs::write(&good, "").unwrap();
    is_attempted(&attempts);
    assert_eq!(warren.task_id("web.1"), id);
    fs::remove_file(&good).unwrap();
    eventually("the broken task to be replaced", LIMIT, || {
        let ended = warren.task(&id)["task"]["stop"]["cause"].clone();
        if ended == "STOP_CAUSE_UNHEALTHY" { Ok(()) } else { Err(ended.to_string()) }
    });
    warren.ok("service rm web --wait");
}

// C-91
#[test]
fn a_pause_ends_by_itself_with_a_worker_of_its_own() {
    let machine = Machine::without_containerd();
    let attempts = machine.path().join("attempts");
    fs::write(machine.path().join("good"), "").unwrap();
    let manager = machine.start("manager", &[]);
    let worker = machine.start("worker", &["--manager", &manager.host]);
    create(&manager, &noted(&machine));
    manager.shows("web", "Health: 1/1 healthy", LIMIT);
    manager.ok("service health pause web --for 3s");
    is_paused(&manager);
    events(&manager, "the checks of web go on after their pause");
    is_attempted(&attempts);
    // Also where nobody tells the worker.
    manager.ok("service health pause web --for 4s");
    is_paused(&manager);
    let host = manager.host.clone();
    manager.kill();
    is_attempted(&attempts);
    drop(worker);
    let manager = machine.start("manager", &[]);
    assert_eq!(manager.host, host);
    let _worker = machine.start("worker", &["--manager", &manager.host]);
    events(&manager, "the checks of web go on after their pause");
    manager.ok("service rm web --wait");
}

#[test]
fn a_pause_without_an_end_and_one_of_nothing_are_refused() {
    let machine = Machine::without_containerd();
    let warren = machine.run();
    for (line, code, why) in [
        ("service health pause web", 2, "--for"),
        ("service health pause web --for 25h", 2, "--for: 90000s is not in 1s..=86400s"),
        ("service health pause web --for 0s", 2, "--for: 0ns is not in 1s..=86400s"),
        ("service health pause web --for 10m", 4, "there is no service"),
        ("service health resume web", 4, "there is no service"),
        ("service update web --health-interval 5s", 4, "there is no service"),
    ] {
        let refused = warren.cli(line);
        assert_eq!(refused.status.code(), Some(code), "{line}: {}", text(&refused));
        assert!(text(&refused).contains(why), "{line}: {}", text(&refused));
    }
}

// C-92, C-93, C-94
#[test]
fn a_running_task_takes_up_other_checks_and_is_judged_by_them() {
    let machine = Machine::without_containerd();
    let good = machine.path().join("good");
    let attempts = machine.path().join("attempts");
    fs::write(&good, "").unwrap();
    let warren = machine.run();
    create(&warren, &noted(&machine));
    warren.shows("web", "Health: 1/1 healthy", LIMIT);
    let (id, pid) = (warren.task_id("web.1"), warren.task_pid("web.1"));
    let checks = |warren: &Warren| warren.task("web.1")["task"]["status"]["checks"].clone();

    // So patient that the task is out of traffic, but never replaced for it.
    warren.ok("service update web --health-interval 100ms --health-min-failing 1h");
    eventually("the other timing to be taken up", LIMIT, || {
        let timing = checks(&warren)["liveness"]["timing"].clone();
        let known = timing["period"] == "0.100s" && timing["min_failing"] == "3600s";
        if known { Ok(()) } else { Err(timing.to_string()) }
    });
    events(&warren, "the checks of service web change in its tasks");
    is_attempted(&attempts);
    fs::remove_file(&good).unwrap();
    eventually("it to be out of traffic", LIMIT, || {
        let listed = warren.task("web.1")["health"]["observed"].clone();
        if listed["ready"] == false { Ok(()) } else { Err(listed.to_string()) }
    });
    is_attempted(&attempts);
    assert_eq!(warren.task_id("web.1"), id);

    // It never does what the old check asked, and works by the new one.
    warren.ok(("service update web --health-interval 100ms --health-cmd", &["true"][..]));
    eventually("it to be ready by the new check", LIMIT, || {
        let task = warren.task("web.1");
        let ready = task["health"]["observed"]["ready"] == true;
        if ready { Ok(()) } else { Err(format!("{task:#}")) }
    });
    warren.kill();
    let warren = machine.run();
    warren.shows("web", "Health: 1/1 healthy", LIMIT);
    warren.ok("service update web --no-healthcheck");
    eventually("it to be unchecked", LIMIT, || {
        let status = warren.task("web.1")["health"]["observed"]["status"].clone();
        if status == "HEALTH_STATUS_UNCHECKED" { Ok(()) } else { Err(status.to_string()) }
    });
    is_not_attempted(&attempts);
    assert_eq!((warren.task_id("web.1"), warren.task_pid("web.1")), (id, pid));
    assert_eq!(warren.json("service inspect web")["service"]["revision"], 4);
    assert_eq!(warren.json("service inspect web")["service"]["template_revision"], 1);
    warren.ok("service rm web --wait");
}

// C-18, C-9
#[test]
fn a_task_that_drains_is_seen_draining_and_its_liveness_is_left_alone() {
    let machine = Machine::without_containerd();
    let here = machine.path().display();
    let warren = machine.run();
    // It notes how often each was attempted when it heard the signal, and takes its time.
    let program = format!(
        "cd {here}; touch good; \
         trap 'wc -l <live >live-then; wc -l <ready >ready-then; rm good; sleep 3; exit 0' TERM; \
         while :; do sleep 0.1; done"
    );
    let live = format!("period=100ms,cmd=cd {here} && echo x >>live");
    let ready = format!("period=100ms,cmd=cd {here} && echo x >>ready && test -e good");
    warren.ok((
        "service create drains --liveness-cmd",
        &[&*live, "--readiness-cmd", &*ready, "--", "/bin/sh", "-c", &*program][..],
    ));
    warren.shows("drains", "Health: 1/1 healthy", LIMIT);
    let id = warren.task_id("drains.1");
    warren.ok("service rm drains");
    eventually("it to be seen draining", LIMIT, || {
        let task = warren.task(&id);
        let (state, seen) = (&task["task"]["status"]["state"], &task["health"]["observed"]);
        let drains = state == "TASK_STATE_STOPPING"
            && seen["readiness"]["verdict"] == "VERDICT_FAILING"
            && seen["liveness"]["verdict"] == "VERDICT_PASSING"
            && seen["ready"] == false;
        if drains { Ok(()) } else { Err(format!("{task:#}")) }
    });
    eventually("the service to be gone", LIMIT, || match warren.cli("service inspect drains") {
        shown if shown.status.code() == Some(4) => Ok(()),
        shown => Err(text(&shown)),
    });
    let count = |name: &str| -> usize {
        fs::read_to_string(machine.path().join(name)).unwrap().trim().parse().unwrap()
    };
    let (live, ready) = (machine.path().join("live"), machine.path().join("ready"));
    // One that was under way may have written its line while it was cancelled.
    assert!(said(&live) <= count("live-then") + 1, "{} {}", said(&live), count("live-then"));
    assert!(said(&ready) >= count("ready-then") + 5, "{} {}", said(&ready), count("ready-then"));
    // With the task its loops have ended.
    is_not_attempted(&ready);
    is_not_attempted(&live);
}

// C-45
#[test]
fn a_hanging_task_has_the_grace_of_the_check_that_it_failed() {
    let machine = Machine::without_containerd();
    let good = machine.path().join("good");
    fs::write(&good, "").unwrap();
    let warren = machine.run();
    let deaf = "trap '' TERM; while :; do sleep 0.1; done";
    warren.ok((
        "service create web --health-interval 200ms --health-stop-grace-period 500ms \
         --stop-grace-period 50s --health-cmd",
        &[&*noted(&machine), "--", "/bin/sh", "-c", deaf][..],
    ));
    warren.shows("web", "Health: 1/1 healthy", LIMIT);
    let id = warren.task_id("web.1");
    let begun = Instant::now();
    fs::remove_file(&good).unwrap();
    let task = eventually("its end", LIMIT, || {
        let task = warren.task(&id);
        if task["task"]["status"]["end"].is_null() { Err(format!("{task:#}")) } else { Ok(task) }
    });
    assert_eq!(task["task"]["stop"]["cause"], "STOP_CAUSE_UNHEALTHY");
    assert_eq!(task["task"]["status"]["end"]["exit_code"], 137, "it had to be killed");
    assert!(begun.elapsed() < Duration::from_secs(45), "{:?}", begun.elapsed());
}

// C-2: a statistic, since the machine may have other things to do at any single moment.
#[test]
fn attempts_begin_within_ten_milliseconds_of_their_time() {
    let machine = Machine::without_containerd();
    let warren = machine.start("run", &["--health-listen", "127.0.0.1:0"]);
    warren.ok((
        "service create web --replicas 5 --health-interval 100ms --health-retries 100 \
         --health-tcp 1 --",
        &["/bin/sleep", "1000"][..],
    ));
    let address = warren.health_address();
    let number = |page: &str, name: &str| -> f64 {
        let line = page.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
    };
    let (all, in_time) = eventually("two hundred attempts", LIMIT, || {
        let (_, page) = get(address, "/metrics");
        let all = number(&page, "warren_probe_schedule_lag_seconds_count");
        let in_time = number(&page, "warren_probe_schedule_lag_seconds_bucket{le=\"0.01\"}");
        if all >= 200.0 { Ok((all, in_time)) } else { Err(page) }
    });
    println!("{in_time} of {all} attempts began within 10 ms of their time");
    assert!(in_time * 2.0 >= all, "{in_time} of {all}");
    warren.ok("service rm web");
}
