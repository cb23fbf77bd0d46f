//! Runs tasks as programs of the node, each under a supervisor of its own, for machines without
//! containerd. All that it knows lies in a directory for each task, so the next worker finds it.

use std::{
    collections::BTreeMap,
    error::Error,
    ffi::OsString,
    io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{io::AsyncReadExt, process, task::spawn_blocking, time::timeout};
use tokio_util::task::TaskTracker;
use warren_core::{
    check::Command,
    id::{NodeId, TaskId},
    node::Driver,
    spec::{ImageRef, Pull, StopSignal, User},
};

use self::{
    files::{Answer, LaunchFile, TaskDir},
    state::{SUPERVISOR_ENV, State},
};
use crate::{
    exec::Turns,
    expand,
    port::{
        ExecEnd, Exit, Found, FoundState, ImageFacts, ImageRecord, Launch, Running, Runtime,
        RuntimeError,
    },
};

pub(crate) mod command;
mod exec;
pub(crate) mod files;
mod here;
mod launch;
pub(crate) mod proc;
mod signal;
mod state;

pub use self::here::Here;

/// A supervisor answers within milliseconds of its start; a machine under load may take seconds.
const START_WITHIN: Duration = Duration::from_secs(10);
/// The supervisor waits at most 5 s for killed processes and 1 s for the log.
const END_WITHIN: Duration = Duration::from_secs(7);
/// An answer is a sentence.
const ANSWER_MAX: u64 = 64 * 1024;

#[derive(Debug, Clone)]
pub struct ProcessConfig {
    /// For what the driver must know of its tasks.
    pub dir: PathBuf,
    /// For their logs; see [`crate::logs::path`].
    pub log_dir: PathBuf,
    /// The program and first arguments that run [`crate::supervisor::supervisor_main`] with the
    /// directory that follows as the last one.
    pub supervisor: Vec<OsString>,
    /// Whose tasks these are.
    pub node: NodeId,
}

/// The process driver.
#[derive(Debug)]
pub struct ProcessDriver {
    config: ProcessConfig,
    /// The addresses that tasks have.
    addresses: Mutex<BTreeMap<TaskId, Ipv4Addr>>,
    /// Only one at a time may find that a task has lost its supervisor.
    settling: Arc<Mutex<()>>,
    /// Each waits for a supervisor that this worker started.
    supervisors: TaskTracker,
    turns: Turns,
    /// The commands beside tasks, each to its end.
    commands: TaskTracker,
}

/// Whether this machine can run the driver, and what it is.
pub fn check_supported() -> Result<String, RuntimeError> {
    let refuse = |what: &str| RuntimeError::Refused(format!("the process driver needs {what}"));
    let own = proc::Identity::of(std::process::id()).ok_or_else(|| refuse("/proc"))?;
    own.signal_check().map_err(|_| refuse("Linux 5.3 or later"))?;
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Ok(format!("process driver (Linux {})", release.trim()))
}

impl ProcessDriver {
    /// Makes its directories, and takes note of the tasks that are there.
    pub fn new(mut config: ProcessConfig) -> Result<Self, RuntimeError> {
        check_supported()?;
        for dir in [&mut config.dir, &mut config.log_dir] {
            files::make_dir(dir).map_err(|error| {
                RuntimeError::Refused(format!("cannot make {}: {error}", dir.display()))
            })?;
        }
        let mut addresses = BTreeMap::new();
        for (task, dir) in task_dirs(&config.dir).map_err(unavailable)? {
            if let Some(launch) = dir.launch().map_err(unavailable)? {
                addresses.insert(task, launch.address);
            }
        }
        Ok(Self {
            config,
            addresses: Mutex::new(addresses),
            settling: Arc::default(),
            supervisors: TaskTracker::new(),
            turns: Turns::default(),
            commands: TaskTracker::new(),
        })
    }

    /// Waits until every command has ended. Those that nobody waits for any more are being killed,
    /// which is bounded by itself.
    pub async fn settle(&self) {
        self.commands.close();
        self.commands.wait().await;
    }

    fn dir(&self, task: TaskId) -> TaskDir {
        TaskDir::new(self.config.dir.join(task.to_string()))
    }

    fn addresses(&self) -> MutexGuard<'_, BTreeMap<TaskId, Ipv4Addr>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs blocking work on the task's directory.
    async fn on<T: Send + 'static>(
        &self,
        task: TaskId,
        work: impl FnOnce(&TaskDir) -> io::Result<T> + Send + 'static,
    ) -> Result<T, RuntimeError> {
        let dir = self.dir(task);
        let done = spawn_blocking(move || work(&dir)).await;
        done.map_err(io::Error::other).and_then(|done| done).map_err(unavailable)
    }

    async fn state(&self, task: TaskId) -> Result<State, RuntimeError> {
        let settling = Arc::clone(&self.settling);
        let settled = self.on(task, move |dir| {
            let _one = settling.lock().unwrap_or_else(PoisonError::into_inner);
            state::settle(dir, task)
        });
        settled.await?.ok_or(RuntimeError::NoSuchTask(task))
    }

    async fn launch(&self, task: TaskId) -> Result<LaunchFile, RuntimeError> {
        self.on(task, TaskDir::launch).await?.ok_or(RuntimeError::NoSuchTask(task))
    }

    /// Starts a supervisor and waits for its word on the task.
    async fn supervise(&self, task: TaskId) -> Result<(), RuntimeError> {
        let [program, args @ ..] = self.config.supervisor.as_slice() else {
            return Err(RuntimeError::Refused("no supervisor is configured".to_owned()));
        };
        let dir = self.dir(task);
        let stderr = self.on(task, TaskDir::create_stderr).await?;
        let mut child = process::Command::new(program)
            .args(args)
            .arg(dir.path())
            .env(SUPERVISOR_ENV, task.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(|error| unavailable(format!("cannot start {}: {error}", program.display())))?;
        let stdout = child.stdout.take();
        self.supervisors.spawn(async move {
            // How it ended is in the task's directory.
            drop(child.wait().await);
        });
        let mut answer = Vec::new();
        if let Some(stdout) = stdout {
            let mut stdout = stdout.take(ANSWER_MAX);
            let read = timeout(START_WITHIN, stdout.read_to_end(&mut answer)).await;
            let late = |_| unavailable("the supervisor of the task does not answer");
            read.map_err(late)?.map_err(unavailable)?;
        }
        match serde_json::from_slice(&answer) {
            Ok(Answer::Running) => Ok(()),
            Ok(Answer::Refused(reason)) => Err(RuntimeError::Refused(reason)),
            Err(_) => {
                let why = self.on(task, |dir| Ok(dir.stderr())).await?;
                Err(unavailable(format!("the supervisor of the task ended: {why}")))
            }
        }
    }

    /// Waits for the supervisor's end, unless the task is in another state than running.
    async fn supervisor_end(&self, task: TaskId) -> Result<State, RuntimeError> {
        // Opened before the look: from then on its end cannot be missed.
        let alive = self.dir(task).watch_alive();
        let state = self.state(task).await?;
        if let State::Running(_) = state {
            // Nothing is ever written to it.
            alive.map_err(unavailable)?.read(&mut [0]).await.map_err(unavailable)?;
        }
        Ok(state)
    }
}

#[async_trait]
impl Runtime for ProcessDriver {
    fn driver(&self) -> Driver {
        Driver::Process
    }

    async fn ping(&self) -> Result<String, RuntimeError> {
        check_supported()
    }

    async fn ensure_image(&self, _: &ImageRef, _: Pull) -> Result<ImageFacts, RuntimeError> {
        Err(no_images())
    }

    async fn images(&self) -> Result<Vec<ImageRecord>, RuntimeError> {
        Err(no_images())
    }

    async fn import(&self, _: PathBuf) -> Result<Vec<ImageRecord>, RuntimeError> {
        Err(no_images())
    }

    async fn create(&self, launch: &Launch) -> Result<(), RuntimeError> {
        if self.on(launch.task, |dir| Ok(dir.exists())).await? {
            return Ok(());
        }
        let (config, launch, task) = (self.config.clone(), launch.clone(), launch.task);
        let address = launch::address(task, &mut self.addresses())?;
        let created = self.on(task, move |dir| match launch::file(&config, &launch, address) {
            Ok(file) => dir.create(&file).map(Ok),
            Err(refused) => Ok(Err(refused)),
        });
        let created = created.await.and_then(|created| created);
        if created.is_err() {
            self.addresses().remove(&task);
        }
        created
    }

    async fn start(&self, task: TaskId) -> Result<Running, RuntimeError> {
        if self.state(task).await? == State::Created {
            // A supervisor whose start was interrupted may have begun the task.
            self.on(task, move |dir| if dir.was_started() { state::sweep(task) } else { Ok(()) })
                .await?;
            self.supervise(task).await?;
        }
        let launch = self.launch(task).await?;
        match self.state(task).await? {
            State::Running(running) | State::Exited { running: Some(running), .. } => {
                Ok(state::running(&launch, &running))
            }
            State::Created | State::Exited { running: None, .. } => {
                Err(unavailable("the supervisor of the task left no record"))
            }
        }
    }

    async fn signal(&self, task: TaskId, signal: StopSignal) -> Result<(), RuntimeError> {
        match self.state(task).await? {
            State::Created => Err(RuntimeError::Refused(format!("task {task} is not started"))),
            State::Exited { .. } => Ok(()),
            State::Running(running) if signal == StopSignal::KILL => {
                self.on(task, move |_| state::kill(task, Some(&running))).await
            }
            State::Running(running) => {
                self.on(task, move |_| signal::send(running.process, signal)).await
            }
        }
    }

    async fn wait(&self, task: TaskId) -> Result<Exit, RuntimeError> {
        loop {
            match self.supervisor_end(task).await? {
                State::Created => {
                    return Err(RuntimeError::Refused(format!("task {task} is not started")));
                }
                State::Running(_) => {}
                State::Exited { exit, .. } => return Ok(state::exit(exit)),
            }
        }
    }

    async fn delete(&self, task: TaskId) -> Result<(), RuntimeError> {
        let state = match self.state(task).await {
            Ok(state) => Some(state),
            Err(RuntimeError::NoSuchTask(_)) => None,
            Err(error) => return Err(error),
        };
        if let Some(State::Running(running)) = state {
            self.on(task, move |_| state::kill(task, Some(&running))).await?;
            // It ends with its task; one that does not is killed with all that is left.
            drop(timeout(END_WITHIN, self.supervisor_end(task)).await);
        }
        // So that nothing writes into the directory that is removed.
        let _turn = self.turns.take(task).await;
        self.on(task, move |dir| {
            if dir.was_started() {
                state::sweep(task)?;
            }
            dir.remove()
        })
        .await?;
        self.addresses().remove(&task);
        self.turns.forget(task);
        Ok(())
    }

    async fn end_commands(&self) {
        let (root, node) = (self.config.dir.clone(), self.config.node.to_string());
        let ended = spawn_blocking(move || {
            for (task, dir) in task_dirs(&root)? {
                let is_ours = dir.launch()?.is_some_and(|launch| launch.node == node);
                if is_ours && let Err(error) = Self::end_commands_in(&dir) {
                    tracing::warn!(task.id = %task, %error, "a command that was left may run on");
                }
            }
            Ok(())
        });
        if let Err(error) = ended.await.map_err(io::Error::other).flatten() {
            tracing::warn!(%error, "cannot look for commands that were left");
        }
    }

    async fn list(&self) -> Result<Vec<Found>, RuntimeError> {
        let root = self.config.dir.clone();
        let dirs = spawn_blocking(move || task_dirs(&root)).await;
        let dirs = dirs.map_err(io::Error::other).and_then(|dirs| dirs).map_err(unavailable)?;
        let node = self.config.node.to_string();
        let mut found = Vec::new();
        for (task, _) in dirs {
            let launch = match self.launch(task).await {
                Ok(launch) if launch.node == node => launch,
                // Another worker's, or deleted meanwhile.
                Ok(_) | Err(RuntimeError::NoSuchTask(_)) => continue,
                Err(error) => return Err(error),
            };
            let state = match self.state(task).await? {
                State::Created => FoundState::Created,
                State::Running(file) => FoundState::Running(state::running(&launch, &file)),
                State::Exited { exit, .. } => FoundState::Exited(state::exit(exit)),
            };
            found.push(Found { task, state });
        }
        Ok(found)
    }

    async fn exec(
        &self,
        task: TaskId,
        command: &Command,
        user: Option<&User>,
        limit: Duration,
    ) -> Result<ExecEnd, RuntimeError> {
        let mut launch = self.launch(task).await?;
        match self.state(task).await? {
            State::Running(_) => {
                match user.map(command::user).transpose() {
                    Ok(None) => {}
                    Ok(Some((ids, _home))) => launch.user = Some(ids),
                    Err(reason) => return Ok(ExecEnd::NotRun { reason }),
                }
                let argv = expand::words(command, |name| launch.var(name));
                self.run_command(task, launch, argv, limit).await
            }
            State::Created | State::Exited { .. } => {
                Ok(ExecEnd::NotRun { reason: "the task does not run".to_owned() })
            }
        }
    }
}

/// The tasks that have a directory.
fn task_dirs(root: &Path) -> io::Result<Vec<(TaskId, TaskDir)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root)? {
        let entry = entry?;
        if let Some(task) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            found.push((task, TaskDir::new(entry.path())));
        }
    }
    Ok(found)
}

fn no_images() -> RuntimeError {
    RuntimeError::Refused("the process driver has no images".to_owned())
}

fn unavailable(reason: impl Into<Box<dyn Error + Send + Sync>>) -> RuntimeError {
    RuntimeError::Unavailable { driver: Driver::Process, reason: reason.into().to_string() }
}
