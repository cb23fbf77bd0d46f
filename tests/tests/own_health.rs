//! What Warren says of its own health: 503 while something is wrong with it, and 200 by itself
//! when it is right again.

use std::{fs, net::TcpListener, os::unix::net::UnixDatagram, process::Command, time::Duration};

use nix::sys::signal::Signal;
use warren_tests::{
    Daemon, Machine, binary, eventually, have_root,
    http::{get, wait_for},
    repository, text,
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

#[test]
fn metrics_tell_of_services_and_forget_those_that_are_gone() {
    let machine = Machine::without_containerd();
    let warren = machine.start("run", &ANYWHERE);
    let address = warren.health_address();
    warren.ok("service create idle --replicas 2 --no-healthcheck --wait -- /bin/sleep 1000");
    let page = eventually("the service's series", LIMIT, || {
        let (_, page) = get(address, "/metrics");
        let ready = page.contains("warren_service_tasks{service=\"idle\",state=\"healthy\"} 2");
        if ready { Ok(page) } else { Err(page) }
    });
    for series in [
        "warren_service_desired_tasks{service=\"idle\"} 2",
        "warren_service_tasks{service=\"idle\",state=\"unhealthy\"} 0",
        "warren_nodes{state=\"up\"} 1",
        "warren_events_total{kind=\"service_created\"} 1",
        "health_component_up{component=\"control-loop\",critical=\"true\"} 1",
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

/// Started as the unit file says, with a socket of ours in systemd's place.
#[test]
fn systemd_is_told_of_readiness_of_life_and_of_the_end() {
    let machine = Machine::without_containerd();
    let socket = machine.path().join("notify");
    let told = UnixDatagram::bind(&socket).unwrap();
    told.set_read_timeout(Some(LIMIT)).unwrap();
    let next = || {
        let mut buffer = [0; 256];
        let length = told.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap().trim().to_owned()
    };
    let unit = repository().join("deploy/systemd/warren-manager.service");
    let unit = fs::read_to_string(unit).unwrap();
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let mut words = line.split(' ');
    assert_eq!(words.next(), Some("/usr/bin/warren"));
    let data = machine.path().join("data");
    let mut command = Command::new(binary());
    // The ports of the machine may be in use.
    command
        .args(words.map(|word| if word.starts_with("127.0.0.1:") { "127.0.0.1:0" } else { word }));
    command.env("WARREN_DATA_DIR", &data).env("NOTIFY_SOCKET", &socket);
    command.env("WATCHDOG_USEC", "200000");
    let mut daemon = Daemon::start(command, machine.path().join("log"));
    assert_eq!(next(), "READY=1", "{}", daemon.log());
    assert_eq!([next(), next()], ["WATCHDOG=1", "WATCHDOG=1"]);
    daemon.signal(Signal::SIGTERM);
    eventually("the end to be told", LIMIT, || {
        let said = next();
        if said == "STOPPING=1" { Ok(()) } else { Err(said) }
    });
    assert_eq!(daemon.exit_code(LIMIT), Some(0));
}

/// Made of the binary under test, without its symbols, since a release build would take its time.
#[test]
fn the_debian_package_has_the_binary_and_the_units() {
    let machine = Machine::without_containerd();
    let package = machine.path().join("warren.deb");
    let small = machine.path().join("warren");
    let stripped = Command::new("strip").arg("-o").arg(&small).arg(binary()).status().unwrap();
    assert!(stripped.success());
    let mut script = Command::new(repository().join("deploy/deb/build.sh"));
    let built = script.arg(&small).arg(&package).output().unwrap();
    assert!(built.status.success(), "{}", text(&built));
    let root = machine.path().join("root");
    let unpacked = Command::new("dpkg-deb").arg("-x").arg(&package).arg(&root).output().unwrap();
    assert!(unpacked.status.success(), "{}", text(&unpacked));
    let version = Command::new(root.join("usr/bin/warren")).arg("--version").output().unwrap();
    assert!(text(&version).contains(env!("CARGO_PKG_VERSION")), "{}", text(&version));
    for unit in ["warren-manager", "warren-worker"] {
        let path = root.join(format!("lib/systemd/system/{unit}.service"));
        assert!(path.exists(), "{}", path.display());
    }
    let info = Command::new("dpkg-deb").arg("-I").arg(&package).output().unwrap();
    assert!(text(&info).contains("Package: warren"), "{}", text(&info));
}
