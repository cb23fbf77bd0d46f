//! What Warren says of its own health: 503 while something is wrong with it, and 200 by itself
//! when it is right again.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::symlink,
    process::Command,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use warren_tests::{
    Daemon, Machine, SmallDisk, binary, eventually, have_root,
    http::{get, wait_for},
    text,
};

const LIMIT: Duration = Duration::from_mins(1);
const ANYWHERE: [&str; 2] = ["--health-listen", "127.0.0.1:0"];

/// The message of a component that is not healthy.
fn complaint(body: &str, name: &str) -> String {
    let report: serde_json::Value = serde_json::from_str(body).unwrap();
    let parts = report["components"].as_array().unwrap();
    let part = parts.iter().find(|part| part["name"] == name).unwrap();
    assert_ne!(part["status"], "healthy", "{body}");
    part["message"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_containerd_that_hangs_makes_unready_and_not_dead() {
    if !have_root("containerd") {
        return;
    }
    let machine = Machine::new();
    let warren = machine.start("run", &ANYWHERE);
    let address = warren.health_address();
    wait_for(address, "/health/ready", 200);
    let body = wait_for(address, "/health", 200);
    for name in ["clock", "disk", "store", "control-loop", "session", "containerd"] {
        assert!(body.contains(&format!("\"name\":\"{name}\"")), "no {name} in {body}");
    }
    machine.signal_containerd(Signal::SIGSTOP);
    let body = wait_for(address, "/health/ready?verbose", 503);
    assert_eq!(complaint(&body, "containerd"), "no answer within 2 s");
    assert_eq!(get(address, "/liveness").0, 200);
    machine.signal_containerd(Signal::SIGCONT);
    wait_for(address, "/health/ready", 200);
}

#[test]
fn a_worker_without_a_session_is_unready_until_it_has_one_again() {
    let machine = Machine::without_containerd();
    let manager = machine.start("manager", &ANYWHERE);
    let worker = machine.start("worker", &["--manager", &manager.host, ANYWHERE[0], ANYWHERE[1]]);
    let (at_manager, at_worker) = (manager.health_address(), worker.health_address());
    wait_for(at_manager, "/health/ready", 200);
    wait_for(at_worker, "/health/ready", 200);
    manager.kill();
    let body = wait_for(at_worker, "/health/ready?verbose", 503);
    assert_eq!(complaint(&body, "session"), "no session with the manager");
    assert_eq!(get(at_worker, "/liveness").0, 200);
    let _manager = machine.start("manager", &ANYWHERE);
    wait_for(at_worker, "/health/ready", 200);
}

#[test]
fn a_store_that_cannot_be_written_makes_unready() {
    let machine = Machine::without_containerd();
    // The name of the file that is written is taken by a directory.
    let obstacle = machine.path().join("data-manager/health.probe");
    fs::create_dir_all(&obstacle).unwrap();
    let manager = machine.start("manager", &ANYWHERE);
    let address = manager.health_address();
    let body = eventually("the store's complaint", LIMIT, || {
        let (status, body) = get(address, "/health/ready?verbose");
        if status == 503 && body.contains("directory") { Ok(body) } else { Err(body) }
    });
    assert!(complaint(&body, "store").contains("Is a directory"), "{body}");
    fs::remove_dir(&obstacle).unwrap();
    wait_for(address, "/health/ready", 200);
}

/// Whoever runs the test: root may write into any directory, but into no file as if it were one.
#[test]
fn a_workers_state_that_cannot_be_written_makes_unready_until_it_can_again() {
    let machine = Machine::without_containerd();
    let manager = machine.start("manager", &[]);
    let worker = machine.start("worker", &["--manager", &manager.host, ANYWHERE[0], ANYWHERE[1]]);
    let address = worker.health_address();
    wait_for(address, "/health/ready", 200);
    let state = machine.path().join("data-worker/worker");
    let away = state.with_extension("away");
    fs::rename(&state, &away).unwrap();
    fs::write(&state, "in the way").unwrap();
    let body = wait_for(address, "/health/ready?verbose", 503);
    assert!(complaint(&body, "worker-state").contains("Not a directory"), "{body}");
    assert_eq!(get(address, "/liveness").0, 200);
    fs::remove_file(&state).unwrap();
    fs::rename(&away, &state).unwrap();
    wait_for(address, "/health/ready", 200);
    assert_eq!(worker.stop(), Some(0));
}

#[test]
fn a_disk_that_is_full_makes_unready_until_there_is_room_again() {
    if !have_root("a full disk") {
        return;
    }
    let machine = Machine::without_containerd();
    let data = machine.path().join("data-manager");
    let disk = SmallDisk::mount(&data);
    // Elsewhere: there must be room for what is said.
    symlink(machine.path().join("manager.log"), data.join("manager.log")).unwrap();
    let manager = machine.start("manager", &ANYWHERE);
    let address = manager.health_address();
    wait_for(address, "/health/ready", 200);
    disk.fill();
    let body = wait_for(address, "/health/ready?verbose", 503);
    assert!(complaint(&body, "store").contains("No space left on device"), "{body}");
    eventually("the disk's complaint", LIMIT, || {
        let (_, body) = get(address, "/health");
        if body.contains("\"name\":\"disk\",\"status\":\"unhealthy\"") { Ok(()) } else { Err(body) }
    });
    assert_eq!(get(address, "/liveness").0, 200);
    disk.make_room();
    wait_for(address, "/health/ready", 200);
    assert_eq!(manager.stop(), Some(0));
}

/// A disk that hangs is not the process's fault: it is not ready, and it lives, also where a commit
/// is under way. Each change is said once in the log.
#[test]
fn a_disk_that_hangs_makes_unready_and_not_dead() {
    if !have_root("a disk that hangs") {
        return;
    }
    let machine = Machine::without_containerd();
    let data = machine.path().join("data-manager");
    let disk = SmallDisk::mount(&data);
    symlink(machine.path().join("manager.log"), data.join("manager.log")).unwrap();
    let manager = machine.start("manager", &[ANYWHERE[0], ANYWHERE[1], "--log-format", "json"]);
    let address = manager.health_address();
    wait_for(address, "/health/ready", 200);
    disk.freeze();
    let mut create = Command::new(binary());
    create.env("WARREN_HOST", &manager.host).args(["service", "create", "a", "--replicas", "0"]);
    create.args(["--no-healthcheck", "--", "/bin/true"]);
    let mut creating = Daemon::start(create, machine.path().join("create.log"));
    let body = eventually("both complaints", LIMIT, || {
        let (status, body) = get(address, "/health/ready?verbose");
        let both = ["store", "control-loop"]
            .map(|name| body.contains(&format!("\"name\":\"{name}\",\"status\":\"unhealthy\"")));
        if status == 503 && both == [true; 2] { Ok(body) } else { Err(body) }
    });
    assert_eq!(complaint(&body, "control-loop"), "no answer within 2 s");
    // Longer than the loop may stand for reasons of its own.
    let until = Instant::now() + Duration::from_secs(13);
    while Instant::now() < until {
        assert_eq!(get(address, "/liveness").0, 200);
        std::thread::sleep(Duration::from_millis(500));
    }
    disk.thaw();
    wait_for(address, "/health/ready", 200);
    assert_eq!(creating.exit_code(LIMIT), Some(0), "{}", creating.log());
    let log = manager.log();
    let lines = log.lines().filter(|line| line.starts_with('{'));
    let lines: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    let said: Vec<_> = lines
        .iter()
        .filter(|line| line["message"] == "component changed" && line["component"] == "store")
        .map(|line| [&line["level"], &line["from"], &line["to"]].map(|v| v.as_str().unwrap()))
        .collect();
    let once = [
        ["INFO", "unknown", "healthy"],
        ["INFO", "healthy", "unhealthy"],
        ["INFO", "unhealthy", "healthy"],
    ];
    assert_eq!(said, once, "{log}");
    assert_eq!(manager.stop(), Some(0));
}

#[test]
fn metrics_tell_of_services_and_forget_those_that_are_gone() {
    let machine = Machine::without_containerd();
    let warren = machine.start("run", &ANYWHERE);
    let address = warren.health_address();
    let check = "--readiness-cmd 'period=200ms,timeout=5s,cmd=/bin/true'";
    warren.ok(&*format!("service create idle --replicas 2 {check} --wait -- /bin/sleep 1000"));
    let page = eventually("the service's series", LIMIT, || {
        let (_, page) = get(address, "/metrics");
        let ready = page.contains("warren_service_tasks{service=\"idle\",state=\"healthy\"} 2");
        if ready { Ok(page) } else { Err(page) }
    });
    let probe = r#"{service="idle",probe="readiness",handler="exec""#;
    for series in [
        r#"warren_service_desired_tasks{service="idle"} 2"#.to_owned(),
        r#"warren_service_tasks{service="idle",state="unhealthy"} 0"#.to_owned(),
        r#"warren_nodes{state="up"} 1"#.to_owned(),
        r#"warren_events_total{kind="service_created"} 1"#.to_owned(),
        r#"health_component_up{component="control-loop",critical="true"} 1"#.to_owned(),
        format!(r#"warren_probe_attempts_total{probe},result="failure"}} 0"#),
    ] {
        assert!(page.lines().any(|line| line == series), "no {series} in\n{page}");
    }
    // On a busy machine it is not 0.
    assert!(page.lines().any(|line| line.starts_with("warren_worker_observer_score ")), "{page}");
    assert!(page.ends_with("# EOF\n"));
    warren.ok("service rm idle --wait");
    eventually("the series to go", LIMIT, || {
        let (_, page) = get(address, "/metrics");
        if page.contains("service=\"idle\"") { Err(page) } else { Ok(()) }
    });
}

const PROMISED: [(&str, &str); 29] = [
    ("warren_probe_attempts", "counter"),
    ("warren_probe_duration_seconds", "histogram"),
    ("warren_probe_schedule_lag_seconds", "histogram"),
    ("warren_probe_inflight", "gauge"),
    ("warren_probe_queue_wait_seconds", "histogram"),
    ("warren_probe_timeout_stretched", "counter"),
    ("warren_worker_observer_score", "gauge"),
    ("warren_service_tasks", "gauge"),
    ("warren_service_ready_tasks", "gauge"),
    ("warren_service_desired_tasks", "gauge"),
    ("warren_task_health_transitions", "counter"),
    ("warren_task_replacements", "counter"),
    ("warren_task_replacements_suppressed", "counter"),
    ("warren_replacements_held", "gauge"),
    ("warren_health_detection_seconds", "histogram"),
    ("warren_health_propagation_seconds", "histogram"),
    ("warren_worker_last_report_timestamp_seconds", "gauge"),
    ("warren_nodes", "gauge"),
    ("warren_reports", "counter"),
    ("warren_events", "counter"),
    ("warren_store_revision", "counter"),
    ("warren_store_commit_seconds", "histogram"),
    ("health_status", "gauge"),
    ("health_component_up", "gauge"),
    ("health_check_duration_seconds", "histogram"),
    ("health_check_failures", "counter"),
    ("health_check_last_run_timestamp_seconds", "gauge"),
    ("health_check_last_success_timestamp_seconds", "gauge"),
    ("app_info", "gauge"),
];

/// The names are what alerts and dashboards are written against; with their types they are a
/// promise. What follows has happened: a check failed, a task was replaced, a replacement was held.
#[test]
fn every_metric_that_is_promised_is_there_and_counts() {
    let machine = Machine::without_containerd();
    let warren = machine.start("run", &ANYWHERE);
    let address = warren.health_address();
    warren.ok(
        "service create bad --liveness-cmd 'period=200ms,timeout=5s,failures=2,cmd=/bin/false' \
         --restart-max-attempts 2 --restart-window 10m -- /bin/sleep 1000",
    );
    let at_least_one = |page: &str, start: &str| {
        let mut values = page.lines().filter(|line| line.starts_with(start));
        values.any(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() >= 1.0)
    };
    let page = eventually("the tasks to be given up", LIMIT, || {
        let (_, page) = get(address, "/metrics");
        let held = r#"warren_task_replacements_suppressed_total{service="bad",guard="gave-up"}"#;
        if at_least_one(&page, held) { Ok(page) } else { Err(page) }
    });
    for (name, kind) in PROMISED {
        let line = format!("# TYPE {name} {kind}");
        assert!(page.lines().any(|l| l == line), "no {line} in\n{page}");
    }
    for series in [
        r#"warren_probe_attempts_total{service="bad",probe="liveness",handler="exec",result="fail"#,
        r#"warren_probe_duration_seconds_count{service="bad",probe="liveness",handler="exec"}"#,
        "warren_probe_schedule_lag_seconds_count",
        "warren_probe_queue_wait_seconds_count",
        r#"warren_task_health_transitions_total{service="bad",from="starting",to="unhealthy","#,
        r#"warren_task_replacements_total{service="bad",reason="unhealthy"}"#,
        r#"warren_replacements_held{guard="gave-up"}"#,
        r#"warren_service_tasks{service="bad",state="gave_up"}"#,
        "warren_health_detection_seconds_count",
        "warren_health_propagation_seconds_count",
        "warren_worker_last_report_timestamp_seconds{worker=",
        "warren_store_commit_seconds_count",
    ] {
        assert!(at_least_one(&page, series), "no {series} in\n{page}");
    }
    // Whatever the cluster runs, no series names a task.
    let task = warren.task_id("bad.1");
    assert!(!page.contains(&task), "{task} in\n{page}");
}

#[test]
fn an_address_that_is_taken_ends_the_start() {
    let machine = Machine::without_containerd();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let start = |address: &str| {
        let mut command = Command::new(binary());
        command.args(["manager", "--listen", "none", "--health-listen", address, "--data-dir"]);
        command.arg(machine.path().join("data")).output().unwrap()
    };
    let refused = start(&address);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    let advice = format!("cannot serve health on {address}: choose another address");
    assert!(text(&refused).contains(&advice), "{}", text(&refused));
    let wrong = start("nowhere");
    assert_eq!(wrong.status.code(), Some(2), "{}", text(&wrong));
    assert!(text(&wrong).contains("--health-listen: \"nowhere\""), "{}", text(&wrong));
}
