//! One process that asks: started, asked how it does, read from /proc, ended.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use tempfile::TempDir;

/// Names the directory of a process to it.
const DIR: &str = "WARREN_BENCH_DIR";

/// What it has taken of the processor since its start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    pub user: Duration,
    pub system: Duration,
}

#[derive(Debug)]
pub struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// Goes after the process, which is killed and cannot clean up.
    _dir: TempDir,
}

impl Process {
    /// Starts this program in another role and waits until it is ready.
    pub fn start(args: &[String]) -> Self {
        let dir = tempfile::tempdir_in(memory()).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(args)
            .env(DIR, dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut process = Self { child, stdin, stdout, _dir: dir };
        let line = process.line();
        assert_eq!(line, "ready", "{args:?}");
        process
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// One line for one line.
    pub fn ask(&mut self, request: &str) -> String {
        writeln!(self.stdin, "{request}").unwrap();
        self.line()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What processes write is not what is measured, so it is spared the disk.
fn memory() -> &'static Path {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { shm } else { Path::new("/tmp") }
}

/// Of the process that was started.
pub fn dir() -> PathBuf {
    std::env::var_os(DIR).unwrap().into()
}

/// In the process that was started: it can be asked from now on.
pub fn ready() {
    println!("ready");
}

pub fn answer(answer: &str) {
    println!("{answer}");
}

/// The lines that it is asked. When nobody can ask any more, the process ends.
pub fn requests() -> mpsc::Receiver<String> {
    let (sender, requests) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
        std::process::exit(0);
    });
    requests
}

/// From /proc, of all its threads.
pub fn cpu(pid: u32) -> Cpu {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name, in brackets, may hold anything.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = |field: usize| {
        let ticks: u64 = fields.split_whitespace().nth(field).unwrap().parse().unwrap();
        Duration::from_millis(ticks * 10)
    };
    Cpu { user: ticks(11), system: ticks(12) }
}

pub fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

/// Sockets of this network namespace in that state of /proc/net/tcp.
pub fn time_wait() -> usize {
    let table = fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
    table.lines().filter(|line| line.split_whitespace().nth(3) == Some("06")).count()
}
