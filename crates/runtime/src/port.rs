//! What a worker asks of a driver.

use std::{fmt, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use warren_core::{
    check::{Checks, Command},
    id::{ServiceId, TaskId},
    node::Driver,
    spec::{ImageRef, Pull, ServiceName, StopSignal, TaskTemplate, User},
    time::Timestamp,
};

/// Runs tasks. Every call may be repeated after an interruption: `create` of what is there,
/// `start` of what runs and `delete` of what is gone succeed.
#[async_trait]
pub trait Runtime: fmt::Debug + Send + Sync + 'static {
    fn driver(&self) -> Driver;

    /// Whether the runtime answers. Its version, for a person.
    async fn ping(&self) -> Result<String, RuntimeError>;

    /// Makes the image present, ready to run from. The process driver refuses.
    async fn ensure_image(&self, image: &ImageRef, pull: Pull) -> Result<ImageFacts, RuntimeError>;

    /// The images that are there.
    async fn images(&self) -> Result<Vec<ImageRecord>, RuntimeError>;

    /// Takes in every image of an OCI or docker archive.
    async fn import(&self, archive: PathBuf) -> Result<Vec<ImageRecord>, RuntimeError>;

    /// Makes everything that the task needs to start: files, network, container.
    async fn create(&self, launch: &Launch) -> Result<(), RuntimeError>;

    /// Starts a created task.
    async fn start(&self, task: TaskId) -> Result<Running, RuntimeError>;

    /// Signals the task's first process; KILL reaches all of its processes.
    async fn signal(&self, task: TaskId, signal: StopSignal) -> Result<(), RuntimeError>;

    /// Waits until the task's first process has ended. May be asked repeatedly and by several;
    /// answers until the task is deleted.
    async fn wait(&self, task: TaskId) -> Result<Exit, RuntimeError>;

    /// Removes all that the task has but its log; kills what still runs.
    async fn delete(&self, task: TaskId) -> Result<(), RuntimeError>;

    /// Ends the commands that a worker left behind which was killed, or sees to it that they are
    /// dead before the next one of the same task begins. To be called once, before all else that
    /// concerns tasks: what is left of a command may keep a driver from knowing how its task is.
    async fn end_commands(&self) {}

    /// The tasks of this worker that the runtime holds, in whatever state.
    async fn list(&self) -> Result<Vec<Found>, RuntimeError>;

    /// Runs a command beside the task's process, in its container, as `user` or as the task's own.
    /// Past the timeout the command and all that it started are killed, and also when the call is
    /// dropped. One at a time for each task: the next one waits until the last one is dead.
    async fn exec(
        &self,
        task: TaskId,
        command: &Command,
        user: Option<&User>,
        timeout: Duration,
    ) -> Result<ExecEnd, RuntimeError>;
}

/// A task to create.
#[derive(Debug, Clone)]
pub struct Launch {
    pub task: TaskId,
    pub service: ServiceId,
    pub service_name: ServiceName,
    pub slot: u32,
    pub template: Arc<TaskTemplate>,
}

impl Launch {
    /// Such as `web-1`: the hostname where the template has none.
    pub fn display_name(&self) -> String {
        format!("{}-{}", self.service_name, self.slot)
    }
}

/// What a worker must know of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageFacts {
    /// Its HEALTHCHECK. `None`: it has none, or NONE.
    pub checks: Option<Checks>,
    /// Its STOPSIGNAL.
    pub stop_signal: Option<StopSignal>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRecord {
    /// In full, such as `docker.io/library/nginx:latest`.
    pub name: String,
    /// `sha256:...`
    pub digest: String,
    pub size_bytes: u64,
    pub updated_at: Timestamp,
}

/// A task whose process was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// As the node sees it.
    pub pid: u32,
    /// When it was started; the same after an adoption.
    pub started_at: Timestamp,
    pub reach: Reach,
}

/// Where a check finds the task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The network namespace to make the socket in. `None`: the worker's own.
    pub netns: Option<PathBuf>,
    /// The task's address; loopback where it has none of its own.
    pub address: IpAddr,
    /// The process whose root directory the task's files are under. `None`: the worker's own.
    pub root_of: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// 128+n for signal n. `None`: it has ended, and how is not known.
    pub code: Option<i32>,
    pub at: Timestamp,
    pub oom_killed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub task: TaskId,
    pub state: FoundState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundState {
    Created,
    Running(Running),
    Exited(Exit),
}

/// How a command in a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecEnd {
    Exited {
        code: i32,
        output: Output,
    },
    /// Killed at its deadline.
    TimedOut {
        output: Output,
    },
    /// It could not be run at all: not found, not executable. The text says which.
    NotRun {
        reason: String,
    },
}

/// What a command wrote, stdout and stderr as they came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// For a person: head and tail within [`Output::MAX`] bytes, with a line between them that
    /// says what was left out.
    pub shown: String,
    /// To be searched: the first [`Output::FIRST`] bytes, and nothing that is not the command's.
    pub first: Vec<u8>,
}

impl Output {
    pub const MAX: usize = 4096;
    /// As much as of an HTTP body.
    pub const FIRST: usize = 10 * 1024;
}

/// All of a short output.
impl From<&str> for Output {
    fn from(text: &str) -> Self {
        Self { shown: text.to_owned(), first: text.as_bytes().to_vec() }
    }
}

/// Why a driver could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The runtime does not answer, or was restarted meanwhile. Nothing is known about the task;
    /// worth another try.
    #[error("the {driver} runtime does not answer: {reason}", driver = driver.name())]
    Unavailable { driver: Driver, reason: String },
    /// The runtime does not have the task.
    #[error("the runtime does not have task {0}")]
    NoSuchTask(TaskId),
    /// It will not work this way however often it is tried: no such image, a bad user, a mount
    /// that fails. The text is for the user.
    #[error("{0}")]
    Refused(String),
}
