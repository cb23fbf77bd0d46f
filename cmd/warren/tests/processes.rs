//! The processes as they are started and ended, and clients that talk to them.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail like the test")]

use std::{
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    path::Path,
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const WARREN: &str = env!("CARGO_BIN_EXE_warren");

fn warren(dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(WARREN);
    command
        .args(words)
        .env_remove("RUST_LOG")
        .env_remove("WARREN_HOST")
        .env("WARREN_DATA_DIR", dir)
        .stdin(Stdio::null());
    command
}

fn output(dir: &Path, words: &[&str]) -> Output {
    warren(dir, words).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A process that is killed with the test.
struct Process {
    child: Child,
    /// Kept open: who writes to a closed one is told so.
    out: BufReader<ChildStdout>,
    ready: String,
}

impl Process {
    /// Returns when the process is ready.
    fn start(dir: &Path, words: &[&str]) -> Self {
        let mut child =
            warren(dir, words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        out.read_line(&mut ready).unwrap();
        Self { child, out, ready }
    }

    fn run(dir: &Path) -> Self {
        let started = Self::start(dir, &["run", "--listen", "127.0.0.1:0", "--no-containerd"]);
        assert!(started.ready.starts_with("warren is ready: unix://"), "{}", started.ready);
        started
    }

    /// Sends a signal and waits: the exit code, and the log.
    fn end(mut self, signal: Signal) -> (Option<i32>, String) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(pid, signal).unwrap();
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        let code = self.child.wait().unwrap().code();
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "only one line goes to stdout");
        (code, log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn run_serves_its_socket_and_its_address_and_ends_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::run(dir.path());
    let listed = output(dir.path(), &["node", "ls", "-o", "json"]);
    assert_eq!(listed.status.code(), Some(0), "{}", text(&listed.stderr));
    let address = process.ready.trim().rsplit(' ').next().unwrap().to_owned();
    assert!(address.starts_with("http://127.0.0.1:"), "{address}");
    let over_tcp = output(Path::new("/nonexistent"), &["--host", &address, "service", "ls"]);
    assert_eq!(over_tcp.status.code(), Some(0), "{}", text(&over_tcp.stderr));
    let (code, log) = process.end(Signal::SIGTERM);
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("driver found"), "{log}");
    assert!(!dir.path().join("warren.sock").exists());
}

#[test]
fn a_second_process_on_the_same_directory_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let first = Process::run(dir.path());
    let second = output(dir.path(), &["manager", "--listen", "none"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("in use by another process"), "{}", text(&second.stderr));
    assert_eq!(output(dir.path(), &["service", "ls"]).status.code(), Some(0));
    assert_eq!(first.end(Signal::SIGINT).0, Some(0));
}

#[test]
fn a_port_that_is_taken_is_a_fatal_error_that_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let ended = output(dir.path(), &["manager", "--listen", &address]);
    assert_eq!((ended.status.code(), text(&ended.stdout)), (Some(1), String::new()));
    assert!(
        text(&ended.stderr).contains(&format!("another process listens on {address}")),
        "{}",
        text(&ended.stderr)
    );
}

#[test]
fn a_database_that_is_none_is_a_fatal_error() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("warren.redb"), "this is no database").unwrap();
    let ended = output(dir.path(), &["manager", "--listen", "none"]);
    assert_eq!(ended.status.code(), Some(1), "{}", text(&ended.stderr));
    assert!(text(&ended.stderr).contains("warren.redb"), "{}", text(&ended.stderr));
}

#[test]
fn a_containerd_that_does_not_answer_is_a_fatal_error_that_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("none.sock");
    let words = ["run", "--listen", "none", "--containerd-socket", socket.to_str().unwrap()];
    let ended = output(dir.path(), &words);
    assert_eq!(ended.status.code(), Some(1));
    assert!(text(&ended.stderr).contains("cannot use containerd at"), "{}", text(&ended.stderr));
    assert!(text(&ended.stderr).contains("--no-containerd"), "{}", text(&ended.stderr));
}

#[test]
fn a_worker_needs_something_to_run_tasks_with() {
    let dir = tempfile::tempdir().unwrap();
    let words = ["run", "--listen", "none", "--no-containerd", "--no-process-driver"];
    let ended = output(dir.path(), &words);
    assert_eq!(ended.status.code(), Some(1));
    assert!(text(&ended.stderr).contains("nothing to run tasks with"), "{}", text(&ended.stderr));
}

#[test]
fn wrong_usage_of_a_process_exits_with_2() {
    let dir = tempfile::tempdir().unwrap();
    for words in [
        &["run", "--listen", "0.0.0.0:7470"][..],
        &["run", "--subnet", "10.77.0.1/16"],
        &["run", "--host", "127.0.0.1:1"],
        &["run", "--log", "web=nonsense"],
        &["run", "--log-format", "xml"],
        &["worker"],
        &["worker", "--manager", "nowhere"],
        &["no-such-verb"],
    ] {
        let ended = output(dir.path(), words);
        assert_eq!(ended.status.code(), Some(2), "{words:?}: {}", text(&ended.stderr));
    }
}

#[test]
fn a_manager_that_is_not_there_exits_with_3() {
    let dir = tempfile::tempdir().unwrap();
    let ended = output(dir.path(), &["service", "ls"]);
    assert_eq!(ended.status.code(), Some(3));
    assert!(text(&ended.stderr).contains("warren.sock"), "{}", text(&ended.stderr));
}

#[test]
fn a_closed_stdout_ends_a_client_quietly() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::run(dir.path());
    let mut child = warren(dir.path(), &["service", "ls"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), text(&ended.stderr)), (Some(0), String::new()));
    assert_eq!(process.end(Signal::SIGTERM).0, Some(0));
}

#[test]
fn the_log_can_be_json() {
    let dir = tempfile::tempdir().unwrap();
    let words = ["run", "--listen", "none", "--no-containerd", "--log-format", "json"];
    let (code, log) = Process::start(dir.path(), &words).end(Signal::SIGTERM);
    assert_eq!(code, Some(0));
    assert!(log.lines().count() > 0);
    for line in log.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(value.get("message").is_some(), "{line}");
    }
}

#[test]
fn a_service_without_an_image_becomes_healthy_and_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::run(dir.path());
    let create = [
        "service",
        "create",
        "tick",
        "--health-cmd",
        "true",
        "--health-interval",
        "100ms",
        "--wait",
        "--",
        "sh",
        "-c",
        "echo hello; exec sleep 600",
    ];
    let created = output(dir.path(), &create);
    assert_eq!(created.status.code(), Some(0), "{}", text(&created.stderr));
    assert_eq!(text(&created.stdout), "tick\n");
    let shown = text(&output(dir.path(), &["service", "inspect", "tick"]).stdout);
    assert!(shown.contains("\nHealth: 1/1 healthy\n"), "{shown}");
    let logs = output(dir.path(), &["task", "logs", "tick.1"]);
    assert_eq!(text(&logs.stdout), "hello\n", "{}", text(&logs.stderr));
    let mut follower = Process::start(dir.path(), &["task", "logs", "tick.1", "-f"]);
    assert_eq!(std::mem::take(&mut follower.ready), "hello\n");
    assert_eq!(follower.end(Signal::SIGINT), (Some(0), String::new()));
    let removed = output(dir.path(), &["service", "rm", "tick", "--wait"]);
    assert_eq!(removed.status.code(), Some(0), "{}", text(&removed.stderr));
    assert_eq!(process.end(Signal::SIGTERM).0, Some(0));
}
