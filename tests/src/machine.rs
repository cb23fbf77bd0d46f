//! A machine for tests: a directory, and in it a containerd with its own root, state and socket.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use nix::{
    mount::{MntFlags, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::{Daemon, Warren, eventually, text};

/// Machines of this process so far; with the pid it makes names that no other test has.
static MACHINES: AtomicU32 = AtomicU32::new(0);

#[derive(Debug)]
pub struct Machine {
    directory: TempDir,
    containerd: Option<Daemon>,
    /// Of containerd, and the label by which leftovers are found.
    namespace: String,
    bridge: String,
    subnet: String,
}

impl Machine {
    /// With a containerd of its own.
    pub fn new() -> Self {
        let mut machine = Self::without_containerd();
        machine.start_containerd();
        machine
    }

    /// For the process driver.
    pub fn without_containerd() -> Self {
        let number = MACHINES.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        Self {
            directory: tempfile::Builder::new().prefix("warren-test.").tempdir().unwrap(),
            containerd: None,
            namespace: format!("wt-{pid}-{number}"),
            // A device name has at most 15 characters.
            bridge: format!("wt{}x{number}", pid % 1_000_000),
            subnet: format!("10.{}.{}.0/24", 128 + pid / 200 % 120, (pid % 200) + number % 50),
        }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    pub fn bridge(&self) -> &str {
        &self.bridge
    }

    /// Where the tasks on the bridge reach what listens on this machine.
    pub fn gateway(&self) -> String {
        self.subnet.replace(".0/24", ".1")
    }

    pub fn socket(&self) -> PathBuf {
        self.path().join("containerd/containerd.sock")
    }

    pub fn start_containerd(&mut self) {
        let directory = self.path().join("containerd");
        fs::create_dir_all(&directory).unwrap();
        let here = directory.display();
        let config = format!(
            "version = 2\nroot = \"{here}/root\"\nstate = \"{here}/state\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = \"{here}/containerd.sock\"\n"
        );
        fs::write(directory.join("config.toml"), config).unwrap();
        let mut command = Command::new("containerd");
        command.arg("--config").arg(directory.join("config.toml")).args(["--log-level", "warn"]);
        self.containerd = Some(Daemon::start(command, directory.join("log")));
        eventually("containerd to answer", Duration::from_secs(30), || {
            let version = self.ctr(&["version"]);
            if version.status.success() { Ok(()) } else { Err(text(&version)) }
        });
    }

    pub fn kill_containerd(&mut self) {
        self.containerd.take().unwrap().kill();
    }

    /// SIGSTOP and SIGCONT: it stays there and answers nothing.
    pub fn signal_containerd(&self, signal: Signal) {
        self.containerd.as_ref().unwrap().signal(signal);
    }

    /// containerd's own tool, for looking behind Warren's back.
    pub fn ctr(&self, arguments: &[&str]) -> std::process::Output {
        let mut ctr = Command::new("ctr");
        ctr.arg("--address").arg(self.socket()).args(["--namespace", &self.namespace]);
        ctr.args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// The ids of the containers that are there.
    pub fn containers(&self) -> Vec<String> {
        let listed = self.ctr(&["containers", "ls", "-q"]);
        assert!(listed.status.success(), "{}", text(&listed));
        String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// Manager and worker in one process.
    pub fn run(&self) -> Warren {
        self.start("run", &[])
    }

    /// A process of this role, with data in a directory of its own.
    pub fn start(&self, role: &str, more: &[&str]) -> Warren {
        let mut arguments = vec![role.to_owned()];
        if role != "worker" {
            arguments.extend(["--listen".to_owned(), "none".to_owned()]);
        }
        if role != "manager" {
            arguments.extend(self.worker_flags());
        }
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        let data = if role == "run" { "data".to_owned() } else { format!("data-{role}") };
        Warren::start(&self.path().join(data), &arguments)
    }

    fn worker_flags(&self) -> Vec<String> {
        if self.containerd.is_some() {
            vec![
                "--containerd-socket".to_owned(),
                self.socket().display().to_string(),
                "--containerd-namespace".to_owned(),
                self.namespace.clone(),
                "--bridge".to_owned(),
                self.bridge.clone(),
                "--subnet".to_owned(),
                self.subnet.clone(),
            ]
        } else {
            vec!["--no-containerd".to_owned()]
        }
    }

    /// Shims and supervisors outlive whoever started them, by design.
    fn kill_leftovers(&self) {
        let ours = self.path().display().to_string();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else {
                continue;
            };
            let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            let shim = command.contains("containerd-shim") && command.contains(&self.namespace);
            if shim || (command.contains("task-supervisor") && command.contains(&ours)) {
                // It may have ended meanwhile.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.containerd.is_some() {
            for id in self.containers() {
                drop(self.ctr(&["tasks", "kill", "--all", "--signal", "SIGKILL", &id]));
            }
        }
        self.containerd = None;
        self.kill_leftovers();
        drop(Command::new("ip").args(["link", "delete", &self.bridge]).output());
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let mut ours: Vec<_> = mounts
            .lines()
            .filter_map(|line| line.split(' ').nth(1))
            .filter(|mount| Path::new(mount).starts_with(self.path()))
            .collect();
        ours.sort_unstable();
        for mount in ours.into_iter().rev() {
            let _ = umount2(mount, MntFlags::MNT_DETACH);
        }
    }
}
