//! Processes that a test starts, and the CLI that it talks to them with.

use std::{
    fs::File,
    io::Read,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{binary, eventually, text};

/// A process whose log goes to a file; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    pub fn start(mut command: Command, log: PathBuf) -> Self {
        let out = File::create(&log).unwrap();
        let err = out.try_clone().unwrap();
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().unwrap();
        Self { child, log }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        let mut text = String::new();
        File::open(&self.log).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// SIGKILL, as a crash would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and its exit code within ten seconds.
    pub fn stop(mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.exit_code(Duration::from_secs(10))
    }

    /// Its exit code, once it has ended.
    pub fn exit_code(&mut self, limit: Duration) -> Option<i32> {
        let log = self.log.clone();
        let child = &mut self.child;
        eventually("a process to end", limit, || match child.try_wait().unwrap() {
            Some(status) => Ok(status.code()),
            None => Err(std::fs::read_to_string(&log).unwrap_or_default()),
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A running Warren with an API, and the CLI aimed at it.
#[derive(Debug)]
pub struct Warren {
    daemon: Option<Daemon>,
    pub host: String,
}

impl Warren {
    /// Starts `warren` with these arguments and waits until it says that it is ready.
    pub fn start(data_dir: &Path, arguments: &[String]) -> Self {
        Self::launch(Command::new(binary()), data_dir, arguments)
    }

    /// In a network namespace that `ip netns` has made.
    pub fn start_in(netns: &str, data_dir: &Path, arguments: &[String]) -> Self {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{netns}")).arg(binary());
        Self::launch(command, data_dir, arguments)
    }

    fn launch(mut command: Command, data_dir: &Path, arguments: &[String]) -> Self {
        std::fs::create_dir_all(data_dir).unwrap();
        command.args(arguments).arg("--data-dir").arg(data_dir).args(["--log", "info"]);
        let log = data_dir.join(format!("{}.log", arguments[0]));
        let mut daemon = Daemon::start(command, log);
        eventually("warren to be ready", Duration::from_secs(20), || {
            let log = daemon.log();
            if log.contains("warren is ready") {
                return Ok(());
            }
            if let Some(status) = daemon.child.try_wait().unwrap() {
                panic!("warren ended with {status}:\n{log}");
            }
            Err(log)
        });
        let host = format!("unix://{}", data_dir.join("warren.sock").display());
        Self { daemon: Some(daemon), host }
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.daemon.as_ref().map(Daemon::log).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().unwrap().pid()
    }

    /// Where it serves its health, as its log has it.
    pub fn health_address(&self) -> SocketAddr {
        Self::health_address_in(&self.log())
    }

    /// The same of the log of any process, whatever its form.
    pub fn health_address_in(log: &str) -> SocketAddr {
        let line = log.lines().find(|line| line.contains("health endpoints are served"));
        let line = line.unwrap_or_else(|| panic!("no health endpoints:\n{log}"));
        if let Ok(fields) = serde_json::from_str::<Value>(line) {
            return fields["address"].as_str().unwrap().parse().unwrap();
        }
        line.split("address=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
    }

    /// SIGKILL, as a crash would. What it ran runs on.
    pub fn kill(mut self) {
        self.daemon.take().unwrap().kill();
    }

    /// It ends by itself: its exit code, and what it has logged.
    pub fn ended(mut self, limit: Duration) -> (Option<i32>, String) {
        let mut daemon = self.daemon.take().unwrap();
        (daemon.exit_code(limit), daemon.log())
    }

    /// SIGTERM, and its exit code within ten seconds. What it ran runs on.
    pub fn stop(mut self) -> Option<i32> {
        self.daemon.take().unwrap().stop()
    }

    /// Runs the CLI.
    pub fn cli<'a>(&self, line: impl Into<Line<'a>>) -> Output {
        let arguments = line.into().arguments();
        Command::new(binary()).env("WARREN_HOST", &self.host).args(arguments).output().unwrap()
    }

    /// Runs the CLI, which must succeed; its standard output.
    pub fn ok<'a>(&self, line: impl Into<Line<'a>>) -> String {
        let line = line.into();
        let output = self.cli(line);
        assert!(output.status.success(), "warren {line:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the CLI with `-o json`.
    pub fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.ok(&format!("{line} -o json"))).unwrap()
    }

    /// Imports an archive of `tests/images`.
    pub fn import(&self, name: &str) {
        self.ok(&format!("image import {}", crate::image(name).display()));
    }

    /// Waits until `service inspect` shows such a line.
    pub fn shows(&self, service: &str, line: &str, limit: Duration) {
        eventually(&format!("{line:?} of {service}"), limit, || {
            let shown = self.ok(&format!("service inspect {service}"));
            if shown.lines().any(|l| l.trim() == line) { Ok(()) } else { Err(shown) }
        });
    }

    /// The task that fills a slot, as `task inspect` has it.
    pub fn task(&self, slot: &str) -> Value {
        self.json(&format!("task inspect {slot}"))
    }

    pub fn task_id(&self, slot: &str) -> String {
        self.task(slot)["task"]["id"].as_str().unwrap().to_owned()
    }

    /// The process of a running task, as the machine sees it.
    pub fn task_pid(&self, slot: &str) -> u64 {
        self.task(slot)["task"]["status"]["pid"].as_u64().unwrap()
    }
}

impl Drop for Warren {
    /// Its services go first, for what they leave in the machine's own tables (port mappings,
    /// masquerade rules) only their worker can undo.
    fn drop(&mut self) {
        if self.daemon.is_none() {
            return;
        }
        let listed = self.cli("service ls -o json");
        let services: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
        for row in services["services"].as_array().into_iter().flatten() {
            let name = row["service"]["spec"]["name"].as_str().unwrap_or_default();
            // Its worker may be gone already.
            drop(self.cli(&format!("service rm {name} --wait --wait-timeout 5s")));
        }
    }
}

/// A command line as one types it after `warren`, quotes and all; and after it, perhaps, arguments
/// that are taken as they are.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a>(&'a str, &'a [&'a str]);

impl Line<'_> {
    fn arguments(self) -> Vec<String> {
        let mut words = shlex::split(self.0).unwrap();
        words.extend(self.1.iter().map(|&word| word.to_owned()));
        words
    }
}

impl<'a> From<&'a str> for Line<'a> {
    fn from(line: &'a str) -> Self {
        Self(line, &[])
    }
}

impl<'a> From<&'a String> for Line<'a> {
    fn from(line: &'a String) -> Self {
        Self(line, &[])
    }
}

impl<'a> From<(&'a str, &'a [&'a str])> for Line<'a> {
    fn from((line, more): (&'a str, &'a [&'a str])) -> Self {
        Self(line, more)
    }
}
