//! The thread that all attempts are made on.
//!
//! One thread, because an attempt is a handful of system calls between two waits: handing it from
//! one thread to another costs more than it takes, and one core makes tens of thousands of them in
//! a second. So nothing that blocks is done here: what a driver does, such as starting a program,
//! goes to the threads of the process. And it goes ahead of other threads, where it may.

use std::{
    fmt, io,
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{getpriority_process, setpriority_process};
use tokio::{runtime::Handle, sync::oneshot};
use tokio_util::task::AbortOnDropHandle;
use tonic::async_trait;
use warren_core::{
    check::Command,
    id::TaskId,
    node::Driver,
    spec::{ImageRef, Pull, StopSignal, User},
};
use warren_runtime::{
    ExecEnd, Exit, Found, ImageFacts, ImageRecord, Launch, Running, Runtime, RuntimeError,
};

/// As a nice value: of a busy machine it has nine times the share of others.
const PRIORITY: i32 = -10;

/// Where tasks are watched over.
pub struct Engine {
    handle: Handle,
    own: Option<Thread>,
}

/// Ends when it is dropped.
struct Thread {
    end: Option<oneshot::Sender<()>>,
    joined: Option<JoinHandle<()>>,
    /// Of whoever started it, for what may block.
    elsewhere: Handle,
}

impl Engine {
    /// On a thread of its own. Must be called in a tokio runtime.
    pub fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        let run = move || {
            go_ahead();
            // The sender is dropped at the latest.
            drop(runtime.block_on(ended));
        };
        let joined = Some(thread::Builder::new().name("checks".to_owned()).spawn(run)?);
        let elsewhere = Handle::current();
        Ok(Self { handle, own: Some(Thread { end: Some(end), joined, elsewhere }) })
    }

    /// In the tokio runtime that this is called in, such as one whose time a test moves.
    pub fn here() -> Self {
        Self { handle: Handle::current(), own: None }
    }

    /// Its runtime, for whoever watches whether it gets on.
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Where what may block, or must not go ahead of the tasks, is done.
    pub(crate) fn elsewhere(&self) -> &Handle {
        self.own.as_ref().map_or(&self.handle, |thread| &thread.elsewhere)
    }

    /// The same driver, as it may be called from here.
    pub(crate) fn driver(&self, runtime: Arc<dyn Runtime>) -> Arc<dyn Runtime> {
        match &self.own {
            Some(thread) => Arc::new(Elsewhere { runtime, handle: thread.elsewhere.clone() }),
            None => runtime,
        }
    }
}

/// Ahead of what the machine has to do for its tasks: it is a little, and what it does late it
/// would take for their lateness. Not everybody may.
fn go_ahead() {
    let ahead = getpriority_process(None).is_ok_and(|now| now <= PRIORITY);
    if ahead {
        return;
    }
    if let Err(error) = setpriority_process(None, PRIORITY) {
        tracing::debug!(%error, "the thread of the checks has no priority");
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("own", &self.own.is_some()).finish_non_exhaustive()
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(joined) = self.joined.take() {
            // One that panicked has said so.
            drop(joined.join());
        }
    }
}

/// A driver whose work is done by other threads than the caller's.
#[derive(Debug)]
struct Elsewhere {
    runtime: Arc<dyn Runtime>,
    handle: Handle,
}

impl Elsewhere {
    /// Ends with the call that it is made for.
    async fn call<T, F>(&self, call: impl FnOnce(Arc<dyn Runtime>) -> F) -> Result<T, RuntimeError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, RuntimeError>> + Send + 'static,
    {
        let call = self.handle.spawn(call(Arc::clone(&self.runtime)));
        match AbortOnDropHandle::new(call).await {
            Ok(answer) => answer,
            // Only when the process ends, or the driver panicked.
            Err(error) => Err(RuntimeError::Unavailable {
                driver: self.runtime.driver(),
                reason: error.to_string(),
            }),
        }
    }
}

#[async_trait]
impl Runtime for Elsewhere {
    fn driver(&self) -> Driver {
        self.runtime.driver()
    }

    async fn ping(&self) -> Result<String, RuntimeError> {
        self.call(|runtime| async move { runtime.ping().await }).await
    }

    async fn ensure_image(&self, image: &ImageRef, pull: Pull) -> Result<ImageFacts, RuntimeError> {
        let image = image.clone();
        self.call(move |runtime| async move { runtime.ensure_image(&image, pull).await }).await
    }

    async fn images(&self) -> Result<Vec<ImageRecord>, RuntimeError> {
        self.call(|runtime| async move { runtime.images().await }).await
    }

    async fn import(&self, archive: PathBuf) -> Result<Vec<ImageRecord>, RuntimeError> {
        self.call(|runtime| async move { runtime.import(archive).await }).await
    }

    async fn create(&self, launch: &Launch) -> Result<(), RuntimeError> {
        let launch = launch.clone();
        self.call(move |runtime| async move { runtime.create(&launch).await }).await
    }

    async fn start(&self, task: TaskId) -> Result<Running, RuntimeError> {
        self.call(move |runtime| async move { runtime.start(task).await }).await
    }

    async fn signal(&self, task: TaskId, signal: StopSignal) -> Result<(), RuntimeError> {
        self.call(move |runtime| async move { runtime.signal(task, signal).await }).await
    }

    async fn wait(&self, task: TaskId) -> Result<Exit, RuntimeError> {
        // Nearly all of a task's life goes by in here, asleep.
        self.runtime.wait(task).await
    }

    async fn delete(&self, task: TaskId) -> Result<(), RuntimeError> {
        self.call(move |runtime| async move { runtime.delete(task).await }).await
    }

    async fn end_commands(&self) {
        let ended = self.call(|runtime| async move {
            runtime.end_commands().await;
            Ok(())
        });
        // Whatever was in the way is in the way of the next call too.
        drop(ended.await);
    }

    async fn list(&self) -> Result<Vec<Found>, RuntimeError> {
        self.call(|runtime| async move { runtime.list().await }).await
    }

    async fn exec(
        &self,
        task: TaskId,
        command: &Command,
        user: Option<&User>,
        timeout: Duration,
    ) -> Result<ExecEnd, RuntimeError> {
        let (command, user) = (command.clone(), user.cloned());
        self.call(move |runtime| async move {
            runtime.exec(task, &command, user.as_ref(), timeout).await
        })
        .await
    }
}
