//! A runtime whose commands end as a test says, and which counts them.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use warren_core::{
    check::Command,
    id::TaskId,
    node::Driver,
    spec::{ImageRef, Pull, StopSignal, User},
};
use warren_runtime::{
    ExecEnd, Exit, Found, ImageFacts, ImageRecord, Launch, Output, Running, Runtime, RuntimeError,
};

type Ending = Box<dyn Fn() -> Result<ExecEnd, RuntimeError> + Send + Sync>;

/// Every command takes `takes` and ends as `ends` says.
pub struct Fake {
    pub takes: Duration,
    pub ends: Ending,
    pub running: AtomicUsize,
    /// The most that ran at once.
    pub peak: AtomicUsize,
    pub timeouts: Mutex<Vec<Duration>>,
    by_task: Mutex<HashMap<TaskId, usize>>,
    /// The most that ran at once in one task.
    pub task_peak: AtomicUsize,
}

impl Default for Fake {
    fn default() -> Self {
        Self::ending(Duration::ZERO, || {
            Ok(ExecEnd::Exited { code: 0, output: Output::from("fine\n") })
        })
    }
}

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fake").finish_non_exhaustive()
    }
}

/// Counts a command as running, until it ends or is dropped.
struct Begun<'a>(&'a Fake, TaskId);

impl Fake {
    /// Every command passes after so long.
    pub fn taking(takes: Duration) -> Self {
        Self { takes, ..Self::default() }
    }

    pub fn ending(
        takes: Duration,
        ends: impl Fn() -> Result<ExecEnd, RuntimeError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            takes,
            ends: Box::new(ends),
            running: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            timeouts: Mutex::default(),
            by_task: Mutex::default(),
            task_peak: AtomicUsize::new(0),
        }
    }

    fn begin(&self, task: TaskId) -> Begun<'_> {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(running, Ordering::SeqCst);
        let mut by_task = self.by_task.lock().unwrap();
        let here = by_task.entry(task).or_default();
        *here += 1;
        self.task_peak.fetch_max(*here, Ordering::SeqCst);
        Begun(self, task)
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
        *self.0.by_task.lock().unwrap().get_mut(&self.1).unwrap() -= 1;
    }
}

#[async_trait]
impl Runtime for Fake {
    fn driver(&self) -> Driver {
        Driver::Process
    }

    async fn exec(
        &self,
        task: TaskId,
        _: &Command,
        _: Option<&User>,
        timeout: Duration,
    ) -> Result<ExecEnd, RuntimeError> {
        let _begun = self.begin(task);
        self.timeouts.lock().unwrap().push(timeout);
        tokio::time::sleep(self.takes).await;
        (self.ends)()
    }

    async fn ping(&self) -> Result<String, RuntimeError> {
        unimplemented()
    }

    async fn ensure_image(&self, _: &ImageRef, _: Pull) -> Result<ImageFacts, RuntimeError> {
        unimplemented()
    }

    async fn images(&self) -> Result<Vec<ImageRecord>, RuntimeError> {
        unimplemented()
    }

    async fn import(&self, _: PathBuf) -> Result<Vec<ImageRecord>, RuntimeError> {
        unimplemented()
    }

    async fn create(&self, _: &Launch) -> Result<(), RuntimeError> {
        unimplemented()
    }

    async fn start(&self, _: TaskId) -> Result<Running, RuntimeError> {
        unimplemented()
    }

    async fn signal(&self, _: TaskId, _: StopSignal) -> Result<(), RuntimeError> {
        unimplemented()
    }

    async fn wait(&self, _: TaskId) -> Result<Exit, RuntimeError> {
        unimplemented()
    }

    async fn delete(&self, _: TaskId) -> Result<(), RuntimeError> {
        unimplemented()
    }

    async fn list(&self) -> Result<Vec<Found>, RuntimeError> {
        unimplemented()
    }
}

/// A probe has no business there.
fn unimplemented<T>() -> Result<T, RuntimeError> {
    Err(RuntimeError::Refused("a probe only runs commands".to_owned()))
}
