//! What systemd starts, and is told: the unit files, the notifications, the Debian package.

use std::{
    fs,
    net::SocketAddr,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use nix::sys::signal::Signal;
use warren_tests::{
    Daemon, Machine, StoppedThreads, Warren, binary, eventually, have_root, http::wait_for,
    repository, text,
};

const LIMIT: Duration = Duration::from_mins(1);
/// Of the watchdog here: a word each tenth of a second.
const WATCHDOG_USEC: &str = "200000";
/// So many words would have come in this time.
const SILENCE: Duration = Duration::from_secs(2);

/// A process that was started as its unit file says, with a socket of ours in systemd's place.
struct Unit {
    daemon: Daemon,
    told: UnixDatagram,
}

impl Unit {
    fn start(machine: &Machine, name: &str, environment: &[(&str, &str)], more: &[&str]) -> Self {
        let socket = machine.path().join(format!("notify-{name}"));
        let told = UnixDatagram::bind(&socket).unwrap();
        let unit = repository().join(format!("deploy/systemd/{name}.service"));
        let unit = fs::read_to_string(unit).unwrap();
        for line in ["Type=notify", "WatchdogSec=30s", "Restart=always"] {
            assert!(unit.lines().any(|l| l == line), "{name} has no {line}");
        }
        let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some("/usr/bin/warren"));
        let mut command = Command::new(binary());
        for word in words {
            // The ports of the machine may be in use.
            let word = if word.starts_with("127.0.0.1:") { "127.0.0.1:0" } else { word };
            let variable = word.strip_prefix("${").and_then(|word| word.strip_suffix('}'));
            let value = |name| environment.iter().find(|(n, _)| *n == name).unwrap().1;
            command.arg(variable.map_or(word, value));
        }
        let data = machine.path().join(name);
        command.args(more).env("WARREN_DATA_DIR", &data).env("NOTIFY_SOCKET", &socket);
        command.env("WATCHDOG_USEC", WATCHDOG_USEC);
        let daemon = Daemon::start(command, machine.path().join(format!("{name}.log")));
        Self { daemon, told }
    }

    fn next(&self) -> Option<String> {
        let mut buffer = [0; 256];
        let length = self.told.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap().trim().to_owned())
    }

    /// The next words, in this order.
    fn says(&self, expected: &[&str]) {
        self.told.set_read_timeout(Some(LIMIT)).unwrap();
        for word in expected {
            assert_eq!(self.next().as_deref(), Some(*word), "{}", self.daemon.log());
        }
    }

    /// Until nothing more is said.
    fn falls_silent(&self) {
        self.told.set_read_timeout(Some(SILENCE)).unwrap();
        eventually("silence", LIMIT, || self.next().map_or(Ok(()), Err));
    }

    fn health_address(&self) -> SocketAddr {
        Warren::health_address_in(&self.daemon.log())
    }

    fn stops(mut self) {
        self.daemon.signal(Signal::SIGTERM);
        self.told.set_read_timeout(Some(LIMIT)).unwrap();
        eventually("the end to be told", LIMIT, || {
            let said = self.next().unwrap();
            if said == "STOPPING=1" { Ok(()) } else { Err(said) }
        });
        assert_eq!(self.daemon.exit_code(LIMIT), Some(0));
    }
}

fn manager(machine: &Machine) -> Unit {
    Unit::start(machine, "warren-manager", &[], &[])
}

#[test]
fn systemd_is_told_of_readiness_of_life_and_of_the_end() {
    let machine = Machine::without_containerd();
    let manager = manager(&machine);
    manager.says(&["READY=1", "WATCHDOG=1", "WATCHDOG=1"]);
    let socket = machine.path().join("warren-manager/warren.sock").display().to_string();
    let environment = [("WARREN_MANAGER", &*socket)];
    let worker = Unit::start(&machine, "warren-worker", &environment, &["--no-containerd"]);
    worker.says(&["READY=1", "WATCHDOG=1", "WATCHDOG=1"]);
    wait_for(worker.health_address(), "/health/ready", 200);
    worker.stops();
    manager.stops();
}

/// The threads of the runtime stand, and with them the control loop and everything else.
#[test]
fn a_runtime_that_stands_is_seen_and_the_watchdog_is_not_fed() {
    if !have_root("a thread that stands") {
        return;
    }
    let machine = Machine::without_containerd();
    let manager = manager(&machine);
    manager.says(&["READY=1", "WATCHDOG=1"]);
    let address = manager.health_address();
    wait_for(address, "/liveness", 200);
    let stopped = StoppedThreads::named(manager.daemon.pid(), "tokio-rt-worker");
    let body = wait_for(address, "/liveness?verbose", 503);
    assert!(body.contains("\"name\":\"runtime\",\"status\":\"unhealthy\""), "{body}");
    manager.falls_silent();
    drop(stopped);
    wait_for(address, "/liveness", 200);
    manager.says(&["WATCHDOG=1"]);
    manager.stops();
}

/// The one thread that makes all checks stands, and everything else goes on.
#[test]
fn a_worker_that_checks_nothing_any_more_is_seen_and_its_watchdog_is_not_fed() {
    if !have_root("a thread that stands") {
        return;
    }
    let machine = Machine::without_containerd();
    let manager = machine.start("manager", &[]);
    let environment = [("WARREN_MANAGER", &*manager.host)];
    let worker = Unit::start(&machine, "warren-worker", &environment, &["--no-containerd"]);
    worker.says(&["READY=1", "WATCHDOG=1"]);
    let address = worker.health_address();
    wait_for(address, "/health/ready", 200);
    let stopped = StoppedThreads::named(worker.daemon.pid(), "checks");
    let body = wait_for(address, "/liveness?verbose", 503);
    assert!(body.contains("\"name\":\"engine\",\"status\":\"unhealthy\""), "{body}");
    assert!(body.contains("\"name\":\"runtime\",\"status\":\"healthy\""), "{body}");
    worker.falls_silent();
    drop(stopped);
    wait_for(address, "/liveness", 200);
    worker.says(&["WATCHDOG=1"]);
    worker.stops();
}

/// Made of the binary under test, without its symbols, since a release build would take its time.
fn package(machine: &Machine) -> PathBuf {
    let package = machine.path().join("warren.deb");
    let small = machine.path().join("warren");
    let stripped = Command::new("strip").arg("-o").arg(&small).arg(binary()).status().unwrap();
    assert!(stripped.success());
    let mut script = Command::new(repository().join("deploy/deb/build.sh"));
    run(script.arg(&small).arg(&package));
    package
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output));
    text(&output)
}

fn unpacked(machine: &Machine) -> PathBuf {
    let root = machine.path().join("root");
    run(Command::new("dpkg-deb").arg("-x").arg(package(machine)).arg(&root));
    root
}

#[test]
fn the_debian_package_has_the_binary_and_units_that_systemd_takes() {
    let machine = Machine::without_containerd();
    let root = unpacked(&machine);
    let version = run(Command::new(root.join("usr/bin/warren")).arg("--version"));
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    let info = run(Command::new("dpkg-deb").arg("-I").arg(machine.path().join("warren.deb")));
    assert!(info.contains("Package: warren"), "{info}");
    // What every unit builds upon comes with systemd.
    let units = root.join("lib/systemd/system");
    run(Command::new("cp").args(["-a", "-n", "/lib/systemd/system/."]).arg(&units));
    for unit in ["warren-manager.service", "warren-worker.service"] {
        let path = root.join("lib/systemd/system").join(unit);
        let verified = verify(&root, &path);
        let ours: Vec<_> = verified.lines().filter(|line| line.contains(unit)).collect();
        assert_eq!(ours, Vec::<&str>::new(), "{verified}");
    }
    // What is wrong is seen: else the silence above would mean nothing.
    let wrong = root.join("lib/systemd/system/warren-wrong.service");
    let text = fs::read_to_string(root.join("lib/systemd/system/warren-worker.service")).unwrap();
    fs::write(&wrong, text.replace("WatchdogSec=30s", "WatchdogSec=soon")).unwrap();
    let verified = verify(&root, &wrong);
    assert!(verified.contains("warren-wrong.service") && verified.contains("soon"), "{verified}");
}

/// What systemd says of a unit, below a root where its program is in its place.
fn verify(root: &Path, unit: &Path) -> String {
    let mut analyze = Command::new("systemd-analyze");
    analyze.arg("verify").arg(format!("--root={}", root.display()));
    analyze.arg(Path::new("/").join(unit.strip_prefix(root).unwrap()));
    text(&analyze.output().unwrap())
}
