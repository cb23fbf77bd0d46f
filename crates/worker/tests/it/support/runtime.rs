//! A runtime in memory whose answers a test chooses.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};
use tonic::async_trait;
use warren_core::{
    check::Command,
    id::TaskId,
    node::Driver,
    spec::{ImageRef, Pull, StopSignal, User},
    time::Timestamp,
};
use warren_runtime::{
    ExecEnd, Exit, Found, FoundState, ImageFacts, ImageRecord, Launch, Output, Reach, Running,
    Runtime, RuntimeError,
};

use super::now;

/// What a worker asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    EnsureImage,
    Create,
    Start,
    Wait,
    Signal(StopSignal),
    Delete,
    EndCommands,
    List,
    Images,
    Import,
}

/// How a step answers that is not left to itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    Unavailable,
    Refused(&'static str),
    /// No answer until the trouble is over.
    Hangs,
}

/// What a check's command finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finds {
    Good,
    Bad,
    /// Good and bad, one after the other.
    ByTurns,
    RuntimeDown,
    /// A fault of our own.
    Panic,
}

#[derive(Debug)]
pub struct FakeRuntime {
    state: Mutex<State>,
    changes: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    tasks: BTreeMap<TaskId, FoundState>,
    trouble: HashMap<Step, Trouble>,
    calls: Vec<(TaskId, Step)>,
    finds: Finds,
    execs: Vec<Instant>,
    deaf: BTreeSet<TaskId>,
}

impl Default for FakeRuntime {
    fn default() -> Self {
        let state = State {
            tasks: BTreeMap::new(),
            trouble: HashMap::new(),
            calls: Vec::new(),
            finds: Finds::Good,
            execs: Vec::new(),
            deaf: BTreeSet::new(),
        };
        Self { state: Mutex::new(state), changes: watch::Sender::new(()) }
    }
}

impl FakeRuntime {
    pub fn set_trouble(&self, step: Step, trouble: Trouble) {
        self.change(|state| state.trouble.insert(step, trouble));
    }

    pub fn end_trouble(&self) {
        self.change(|state| state.trouble.clear());
    }

    pub fn find(&self, finds: Finds) {
        self.change(|state| state.finds = finds);
    }

    /// SIGTERM does not reach its conscience.
    pub fn make_deaf(&self, task: TaskId) {
        self.change(|state| state.deaf.insert(task));
    }

    pub fn exit(&self, task: TaskId, code: i32) {
        let exit = Exit { code: Some(code), at: now(), oom_killed: false };
        self.put(task, FoundState::Exited(exit));
    }

    pub fn put(&self, task: TaskId, found: FoundState) {
        self.change(|state| state.tasks.insert(task, found));
    }

    /// The runtime loses it.
    pub fn lose(&self, task: TaskId) {
        self.change(|state| state.tasks.remove(&task));
    }

    pub fn found(&self, task: TaskId) -> Option<FoundState> {
        self.state().tasks.get(&task).cloned()
    }

    pub fn started_at(&self, task: TaskId) -> Timestamp {
        match self.found(task) {
            Some(FoundState::Running(running)) => running.started_at,
            other => panic!("{task} does not run: {other:?}"),
        }
    }

    /// How often the step was taken for the task.
    pub fn count(&self, task: TaskId, step: Step) -> usize {
        self.state().calls.iter().filter(|call| **call == (task, step)).count()
    }

    /// The steps that were taken for the task, but for those that only look.
    pub fn steps(&self, task: TaskId) -> Vec<Step> {
        let looks = |step: Step| matches!(step, Step::Wait | Step::List);
        let state = self.state();
        let calls = state.calls.iter().filter(|(of, step)| *of == task && !looks(*step));
        calls.map(|(_, step)| *step).collect()
    }

    /// When commands were run.
    pub fn execs(&self) -> Vec<Instant> {
        self.state().execs.clone()
    }

    /// Waits until this holds of the runtime.
    pub async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let mut changes = self.changes.subscribe();
        let waited = tokio::time::timeout(super::manager::PATIENCE, async {
            while !holds(self) {
                changes.changed().await.unwrap();
            }
        });
        waited.await.unwrap_or_else(|_| panic!("it never came to that: {:#?}", self.state()));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state());
        self.changes.send_replace(());
        changed
    }

    /// Notes the call, and answers with the step's trouble if it has one.
    async fn take(&self, task: TaskId, step: Step) -> Result<(), RuntimeError> {
        self.change(|state| state.calls.push((task, step)));
        let mut changes = self.changes.subscribe();
        loop {
            let trouble = self.state().trouble.get(&step).cloned();
            match trouble {
                None => return Ok(()),
                Some(Trouble::Unavailable) => return Err(unavailable()),
                Some(Trouble::Refused(why)) => return Err(RuntimeError::Refused(why.to_owned())),
                Some(Trouble::Hangs) => changes.changed().await.unwrap(),
            }
        }
    }
}

fn unavailable() -> RuntimeError {
    let reason = "connection refused".to_owned();
    RuntimeError::Unavailable { driver: Driver::Containerd, reason }
}

pub const NOBODY: TaskId = TaskId::from_u64(0);

#[async_trait]
impl Runtime for FakeRuntime {
    fn driver(&self) -> Driver {
        Driver::Containerd
    }

    async fn ping(&self) -> Result<String, RuntimeError> {
        Ok("fake".to_owned())
    }

    async fn ensure_image(&self, _: &ImageRef, _: Pull) -> Result<ImageFacts, RuntimeError> {
        self.take(NOBODY, Step::EnsureImage).await?;
        Ok(ImageFacts::default())
    }

    async fn images(&self) -> Result<Vec<ImageRecord>, RuntimeError> {
        self.take(NOBODY, Step::Images).await?;
        Ok(Vec::new())
    }

    async fn import(&self, _: PathBuf) -> Result<Vec<ImageRecord>, RuntimeError> {
        self.take(NOBODY, Step::Import).await?;
        Ok(Vec::new())
    }

    async fn create(&self, launch: &Launch) -> Result<(), RuntimeError> {
        self.take(launch.task, Step::Create).await?;
        self.change(|state| {
            state.tasks.entry(launch.task).or_insert(FoundState::Created);
        });
        Ok(())
    }

    async fn start(&self, task: TaskId) -> Result<Running, RuntimeError> {
        self.take(task, Step::Start).await?;
        self.change(|state| match state.tasks.get(&task) {
            None => Err(RuntimeError::NoSuchTask(task)),
            Some(FoundState::Running(running)) => Ok(running.clone()),
            Some(FoundState::Exited(_)) => Err(RuntimeError::Refused("it has ended".to_owned())),
            Some(FoundState::Created) => {
                let running = running(now());
                state.tasks.insert(task, FoundState::Running(running.clone()));
                Ok(running)
            }
        })
    }

    async fn signal(&self, task: TaskId, signal: StopSignal) -> Result<(), RuntimeError> {
        self.take(task, Step::Signal(signal)).await?;
        let kills = signal == StopSignal::KILL || !self.state().deaf.contains(&task);
        if kills && matches!(self.found(task), Some(FoundState::Running(_))) {
            self.exit(task, 128 + i32::from(signal.number()));
        }
        Ok(())
    }

    async fn wait(&self, task: TaskId) -> Result<Exit, RuntimeError> {
        let mut changes = self.changes.subscribe();
        self.take(task, Step::Wait).await?;
        loop {
            if self.state().trouble.contains_key(&Step::Wait) {
                return Err(unavailable());
            }
            match self.found(task) {
                None => return Err(RuntimeError::NoSuchTask(task)),
                Some(FoundState::Exited(exit)) => return Ok(exit),
                Some(FoundState::Created | FoundState::Running(_)) => {}
            }
            changes.changed().await.unwrap();
        }
    }

    async fn delete(&self, task: TaskId) -> Result<(), RuntimeError> {
        self.take(task, Step::Delete).await?;
        self.lose(task);
        Ok(())
    }

    async fn end_commands(&self) {
        drop(self.take(NOBODY, Step::EndCommands).await);
    }

    async fn list(&self) -> Result<Vec<Found>, RuntimeError> {
        self.take(NOBODY, Step::List).await?;
        let tasks = self.state().tasks.clone();
        Ok(tasks.into_iter().map(|(task, state)| Found { task, state }).collect())
    }

    async fn exec(
        &self,
        task: TaskId,
        _: &Command,
        _: Option<&User>,
        timeout: Duration,
    ) -> Result<ExecEnd, RuntimeError> {
        let finds = self.change(|state| {
            state.execs.push(Instant::now());
            match state.finds {
                Finds::ByTurns if state.execs.len().is_multiple_of(2) => Finds::Bad,
                Finds::ByTurns => Finds::Good,
                always @ (Finds::Good | Finds::Bad | Finds::RuntimeDown | Finds::Panic) => always,
            }
        });
        // An attempt takes some time.
        tokio::time::sleep(timeout / 100).await;
        if !matches!(self.found(task), Some(FoundState::Running(_))) {
            return Err(RuntimeError::NoSuchTask(task));
        }
        let exited = |code, said: &str| Ok(ExecEnd::Exited { code, output: Output::from(said) });
        match finds {
            Finds::Good | Finds::ByTurns => exited(0, "fine"),
            Finds::Bad => exited(1, "broken"),
            Finds::RuntimeDown => Err(unavailable()),
            Finds::Panic => panic!("as the test wants"),
        }
    }
}

pub fn running(started_at: Timestamp) -> Running {
    let reach = Reach { netns: None, address: IpAddr::V4(Ipv4Addr::LOCALHOST), root_of: None };
    Running { pid: 4242, started_at, reach }
}
