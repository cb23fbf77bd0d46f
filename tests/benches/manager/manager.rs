//! The manager as a process of its own: started, read from /proc, killed.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use warren_manager::{Manager, ManagerConfig, Policy, Timing, bind_tcp, bind_unix};

/// In its data directory, for people.
const SOCKET: &str = "warren.sock";

/// In the process that was started: serves until it is killed. Says where.
pub fn run(args: &[String]) {
    let (data_dir, port) = (PathBuf::from(&args[0]), args[1].parse().unwrap());
    // As `warren manager` makes it.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let begun = Instant::now();
        let listener = bind_tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), None).await.unwrap();
        let address = listener.tcp_address().unwrap();
        let socket = bind_unix(&data_dir.join(SOCKET)).await.unwrap();
        let config =
            ManagerConfig { data_dir, timing: Timing::default(), policy: Policy::default() };
        let manager = tokio::task::block_in_place(|| Manager::open(config)).unwrap();
        println!("{address} {}", begun.elapsed().as_millis());
        manager.serve(vec![listener, socket], CancellationToken::new()).await.unwrap();
    });
}

#[derive(Debug)]
pub struct Process {
    child: Child,
    /// For workers.
    pub address: SocketAddr,
    /// For people.
    pub socket: PathBuf,
    /// Of its start, what the database took.
    pub opened_ms: u64,
}

impl Process {
    /// Waits until it has read its database. Port 0: any.
    pub fn start(data_dir: &Path, port: u16) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("manager")
            .arg(data_dir)
            .arg(port.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (address, opened) = line.trim_end().split_once(' ').expect("the manager has ended");
        let (address, opened_ms) = (address.parse().unwrap(), opened.parse().unwrap());
        Self { child, address, socket: data_dir.join(SOCKET), opened_ms }
    }

    /// What all its threads have taken of the processor.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The name, in brackets, may hold anything.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks = |field| fields.split_whitespace().nth(field).unwrap().parse::<u64>().unwrap();
        Duration::from_millis((ticks(11) + ticks(12)) * 10)
    }

    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib * 1024
    }

    /// SIGKILL, as a crash would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
