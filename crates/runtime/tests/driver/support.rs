//! A driver in a directory of its own, and what the tests ask of it and of the machine.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use warren_core::{
    check::Command,
    id::{NodeId, ServiceId, TaskId},
    spec::{TaskTemplate, Workload},
};
use warren_runtime::{
    Launch, Runtime, logs,
    process::{ProcessConfig, ProcessDriver},
};

/// Longer than anything here takes on a slow machine.
pub const LONG: Duration = Duration::from_secs(30);

/// How often the hammer comes down.
pub fn hammer_runs() -> u32 {
    std::env::var("WARREN_HAMMER_RUNS").map_or(24, |runs| runs.parse().unwrap())
}

pub fn run(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(async {
        let limit = 2 * LONG + Duration::from_millis(500) * hammer_runs();
        tokio::time::timeout(limit, test).await.expect("the test takes too long");
    });
}

macro_rules! trials {
    ($($name:ident),+ $(,)?) => {
        pub fn trials() -> Vec<libtest_mimic::Trial> {
            vec![$(libtest_mimic::Trial::test(stringify!($name), || {
                $crate::support::run($name());
                Ok(())
            })),+]
        }
    };
}
pub(crate) use trials;

/// Deletes its tasks when it goes, also from a test that fails.
pub struct Bench {
    pub driver: Option<ProcessDriver>,
    pub root: TempDir,
    pub config: ProcessConfig,
}

impl Bench {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let config = config(root.path());
        let driver = Some(ProcessDriver::new(config.clone()).unwrap());
        Self { driver, root, config }
    }

    pub fn driver(&self) -> &ProcessDriver {
        self.driver.as_ref().unwrap()
    }

    /// As after a restart of the worker.
    pub fn replace_driver(&mut self) {
        self.driver = None;
        self.driver = Some(ProcessDriver::new(self.config.clone()).unwrap());
    }

    /// A started task that runs the script.
    pub async fn start(&self, script: &str) -> TaskId {
        let launch = shell(script);
        self.driver().create(&launch).await.unwrap();
        self.driver().start(launch.task).await.unwrap();
        launch.task
    }

    pub fn log_path(&self, task: TaskId) -> PathBuf {
        logs::path(&self.config.log_dir, task)
    }

    /// `stdout text` for each line.
    pub async fn log(&self, task: TaskId) -> Vec<String> {
        read_log(&self.log_path(task), None).await
    }

    pub async fn until_log_has(&self, task: TaskId, line: &str) {
        until(|| {
            let log = fs::read(self.log_path(task)).unwrap_or_default();
            String::from_utf8_lossy(&log).lines().any(|l| l.ends_with(line))
        })
        .await;
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let config = self.config.clone();
        let cleaning = thread::spawn(move || {
            run(async {
                let driver = ProcessDriver::new(config).unwrap();
                for found in driver.list().await.unwrap() {
                    driver.delete(found.task).await.unwrap();
                }
            });
        });
        // A second panic would hide the first.
        if cleaning.join().is_err() {
            eprintln!("tasks were left in {}", self.root.path().display());
        }
    }
}

pub fn own_program() -> PathBuf {
    std::env::current_exe().unwrap()
}

pub fn config(root: &Path) -> ProcessConfig {
    ProcessConfig {
        dir: root.join("tasks"),
        log_dir: root.join("logs"),
        supervisor: vec![own_program().into(), "task-supervisor".into()],
        node: NodeId::from_u64(1),
    }
}

pub fn shell(script: &str) -> Launch {
    command(&["sh", "-c", script])
}

pub fn command(words: &[&str]) -> Launch {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let command = words.iter().map(ToString::to_string).collect();
    // The test's own number, so that two runs of it have tasks of their own.
    let task = u64::from(std::process::id()) << 32 | NEXT.fetch_add(1, Ordering::Relaxed);
    Launch {
        task: TaskId::from_u64(task),
        service: ServiceId::from_u64(7),
        service_name: "web".parse().unwrap(),
        slot: 3,
        template: Arc::new(template(Workload::Process { command })),
    }
}

pub fn template(workload: Workload) -> TaskTemplate {
    TaskTemplate::new(workload)
}

pub fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// To be run beside a task.
pub fn argv(argv: &[&str]) -> Command {
    Command::argv(words(argv)).unwrap()
}

pub async fn read_log(path: &Path, tail: Option<u32>) -> Vec<String> {
    let mut lines = logs::read(path.to_owned(), tail, false, std::future::pending());
    let mut found = Vec::new();
    while let Some(line) = lines.recv().await {
        let line = line.unwrap();
        let stream = match line.stream {
            logs::Stream::Stdout => "stdout",
            logs::Stream::Stderr => "stderr",
        };
        found.push(format!("{stream} {}", String::from_utf8_lossy(&line.bytes)));
    }
    found
}

pub async fn until(mut what: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < LONG, "it does not come true");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The processes that have not ended and whose environment says that they belong to the task.
pub fn processes_of(task: TaskId) -> Vec<u32> {
    let mark = format!("WARREN_TASK_ID={task}");
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|b| *b == 0).any(|var| var == mark.as_bytes()) && is_alive(*pid)
    })
    .collect()
}

pub fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != "Z" && state != "X")
}

/// State and parent.
pub fn stat(pid: u32) -> Option<(String, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

pub fn kill9(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(pid.try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}
