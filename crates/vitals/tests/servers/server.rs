//! A server of a test's own: on a free port, in a temporary directory, gone with the test.

use std::{
    fs,
    net::TcpListener,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use vitals::{Check, Component, Report, Status, Vitals};

/// More than a loaded machine needs.
const PATIENCE: Duration = Duration::from_mins(1);
/// Of a check in these tests: hanging is seen soon, and a loaded machine still answers.
pub const TIMEOUT: Duration = Duration::from_secs(1);

pub struct Server {
    command: Box<dyn Fn() -> Command>,
    child: Child,
    _dir: TempDir,
    pub port: u16,
}

impl Server {
    /// `command` makes the command for a directory and a port.
    pub fn start(dir: TempDir, command: impl Fn(&Path, u16) -> Command + 'static) -> Self {
        let port = free_port();
        let path = dir.path().to_owned();
        let command = Box::new(move || command(&path, port));
        let child = spawn(&command());
        Self { command, child, _dir: dir, port }
    }

    /// Everything of it stands still: its connections stay open and nobody answers.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Kills it.
    pub fn stop(&mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().unwrap();
    }

    /// Starts it again, at the same place.
    pub fn restart(&mut self) {
        self.child = spawn(&(self.command)());
    }

    /// Children as well: a server may have a process, and a process group, for each connection.
    fn signal(&self, signal: Signal) {
        let pid = self.child.id();
        let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = list.unwrap_or_default();
        let pids = children.split_whitespace().map(|pid| pid.parse().unwrap());
        for pid in [pid.cast_signed()].into_iter().chain(pids) {
            // One that has gone needs no signal.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        drop(self.child.wait());
    }
}

fn spawn(command: &Command) -> Child {
    let mut again = Command::new(command.get_program());
    again.args(command.get_args()).stdin(Stdio::null());
    // Quiet unless a test fails: its output is captured with the test's.
    again.stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(user) = unprivileged() {
        again.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    again.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// `PostgreSQL` does not run as root, and the others need not.
pub fn unprivileged() -> Option<nix::unistd::User> {
    nix::unistd::geteuid()
        .is_root()
        .then(|| nix::unistd::User::from_name("nobody").unwrap().unwrap())
}

/// A directory that the server may write.
pub fn directory() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    if let Some(user) = unprivileged() {
        std::os::unix::fs::chown(dir.path(), Some(user.uid.as_raw()), None).unwrap();
    }
    dir
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A service with nothing but this check, which is run for each question.
pub fn service(check: impl Check) -> Vitals {
    let component = Component::critical("it", check).timeout(TIMEOUT).on_demand(Duration::ZERO);
    Vitals::new("test", "1.0.0").component(component)
}

/// Asks until the answer is the expected one.
pub async fn until(health: &Vitals, expected: Status) -> Report {
    let started = Instant::now();
    loop {
        let report = health.report().await;
        if report.status == expected {
            return report;
        }
        assert!(started.elapsed() < PATIENCE, "not {expected:?}: {report:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn message(report: &Report) -> &str {
    report.components[0].message.as_deref().unwrap_or_default()
}

/// An answer comes whatever the server does. The check's own time and a little more is the promise;
/// the rest is for a loaded machine. A server that is frozen would never answer.
const IN_TIME: Duration = Duration::from_secs(10);

/// Each answer in this state, whatever it is.
async fn answered_in_time(health: &Vitals) {
    for _ in 0..3 {
        let (parts, ()) = http::Request::get("/health/ready").body(()).unwrap().into_parts();
        let answer = tokio::time::timeout(IN_TIME, health.answer(&parts, None)).await.unwrap();
        assert_eq!(answer.status(), 503);
    }
}

/// What every check must see: the server frozen, and back; stopped, and back. Nobody starts the
/// service anew meanwhile.
pub async fn through_thick_and_thin(health: &Vitals, server: &mut Server) {
    until(health, Status::Healthy).await;
    server.freeze();
    let report = until(health, Status::Unhealthy).await;
    answered_in_time(health).await;
    // Ours, or that of a client that is less patient.
    let said = message(&report);
    assert!(["no answer within 1 s", "timed out"].contains(&said), "{said}");
    server.thaw();
    until(health, Status::Healthy).await;
    server.stop();
    let report = until(health, Status::Unhealthy).await;
    assert_ne!(message(&report), "");
    answered_in_time(health).await;
    server.restart();
    until(health, Status::Healthy).await;
}
