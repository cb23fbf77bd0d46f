//! A node's runtime: it holds the tasks, and outlives the worker.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::task::TaskTracker;
use warren_core::{
    check::{Command, Role},
    id::TaskId,
    node::Driver,
    spec::{ImageRef, Pull, StopSignal, User},
};
use warren_runtime::{
    ExecEnd, Exit, Found, FoundState, ImageFacts, ImageRecord, Launch, Output, Reach, Running,
    Runtime, RuntimeError,
};

use crate::{
    app::{Finds, Habit, Mood},
    chance::hash,
    clock::WallClock,
    life::{Life, Moment, Write},
    oracle::Oracle,
};

#[derive(Debug)]
pub struct Machine {
    pub name: String,
    pub clock: Arc<WallClock>,
    oracle: Arc<Oracle>,
    tracker: TaskTracker,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tasks: BTreeMap<TaskId, Container>,
    silent_until: Option<Instant>,
    moods: Vec<(String, Mood, Instant)>,
    /// Every program does what it should.
    well: bool,
}

#[derive(Debug)]
struct Container {
    launch: Launch,
    state: FoundState,
    started: Instant,
    /// One for each, so that who waits is told in an order that is ours.
    changed: watch::Sender<()>,
}

impl Container {
    fn habit(&self) -> Habit {
        self.launch.template.args[0].parse().unwrap()
    }

    /// Such as `web.1`.
    fn slot(&self) -> String {
        format!("{}.{}", self.launch.service_name, self.launch.slot)
    }
}

impl Machine {
    pub fn new(
        name: String,
        clock: Arc<WallClock>,
        oracle: Arc<Oracle>,
        tracker: TaskTracker,
    ) -> Self {
        Self { name, clock, oracle, tracker, state: Mutex::default() }
    }

    /// Everything that ran is gone.
    pub fn power_off(&self) {
        let tasks = std::mem::take(&mut self.state.lock().unwrap().tasks);
        self.oracle.power_failed(&self.name);
        for container in tasks.values() {
            container.changed.send_replace(());
        }
    }

    pub fn fall_silent(&self, long: Duration) {
        let mut state = self.state.lock().unwrap();
        state.silent_until = Some(Instant::now() + long);
        // Who waits for an end is thrown out.
        for container in state.tasks.values() {
            container.changed.send_replace(());
        }
    }

    /// `which` is a service or one of its slots.
    pub fn set_mood(&self, which: &str, mood: Mood, long: Duration) {
        let until = Instant::now() + long;
        self.state.lock().unwrap().moods.push((which.to_owned(), mood, until));
    }

    /// Every task in the slot that runs here.
    pub fn exit(&self, slot: &str, code: i32) {
        let ids: Vec<TaskId> = {
            let state = self.state.lock().unwrap();
            let fits = |(_, container): &(&TaskId, &Container)| container.slot() == slot;
            state.tasks.iter().filter(fits).map(|(id, _)| *id).collect()
        };
        for id in ids {
            self.exits(id, code, "exits");
        }
    }

    pub fn heal(&self) {
        let mut state = self.state.lock().unwrap();
        state.well = true;
        state.moods.clear();
        state.silent_until = None;
    }

    /// The tasks whose process runs.
    pub fn running(&self) -> Vec<TaskId> {
        let state = self.state.lock().unwrap();
        let runs = |c: &Container| matches!(c.state, FoundState::Running(_));
        state.tasks.iter().filter(|(_, c)| runs(c)).map(|(id, _)| *id).collect()
    }

    /// All that there is, running or not.
    pub fn held(&self) -> Vec<TaskId> {
        self.state.lock().unwrap().tasks.keys().copied().collect()
    }

    fn exits(&self, task: TaskId, code: i32, how: &str) {
        let mut state = self.state.lock().unwrap();
        let Some(container) = state.tasks.get_mut(&task) else { return };
        if let FoundState::Running(_) = container.state {
            let exit = Exit { code: Some(code), at: self.clock.read(), oom_killed: false };
            container.state = FoundState::Exited(exit);
            container.changed.send_replace(());
            let text = format!("task {} ({task}) {how} with {code}", container.slot());
            self.oracle.transcript.say(&self.name, text);
        }
    }

    fn is_silent(&self) -> bool {
        let until = self.state.lock().unwrap().silent_until;
        until.is_some_and(|until| Instant::now() < until)
    }

    fn found(&self, task: TaskId) -> Option<(FoundState, watch::Receiver<()>)> {
        let state = self.state.lock().unwrap();
        let container = state.tasks.get(&task)?;
        Some((container.state.clone(), container.changed.subscribe()))
    }

    fn finds(&self, task: TaskId, role: Role) -> Option<Finds> {
        let state = self.state.lock().unwrap();
        let container = state.tasks.get(&task)?;
        let FoundState::Running(_) = container.state else { return None };
        if state.well {
            return Some(Finds::Good);
        }
        let (slot, now) = (container.slot(), Instant::now());
        let named = |which: &str| *which == slot || slot.split('.').next() == Some(which);
        let mood = state.moods.iter().find(|(which, _, until)| named(which) && now < *until);
        Some(match mood {
            Some((_, mood, _)) => mood.finds(role),
            None => container.habit().finds(task, container.started.elapsed(), role),
        })
    }

    fn start_now(self: &Arc<Self>, task: TaskId) -> Result<Running, RuntimeError> {
        let mut state = self.state.lock().unwrap();
        let container = state.tasks.get_mut(&task).ok_or(RuntimeError::NoSuchTask(task))?;
        match &container.state {
            FoundState::Running(running) => return Ok(running.clone()),
            FoundState::Exited(_) => return Err(RuntimeError::Refused("it has ended".to_owned())),
            FoundState::Created => {}
        }
        let reach = Reach { netns: None, address: IpAddr::V4(Ipv4Addr::LOCALHOST), root_of: None };
        let running = Running { pid: 4242, started_at: self.clock.read(), reach };
        container.state = FoundState::Running(running.clone());
        container.started = Instant::now();
        self.oracle.started(&self.name, task, &container.slot());
        if let Some(after) = container.habit().exits_after(task) {
            let machine = Arc::clone(self);
            self.tracker.spawn(async move {
                sleep(after).await;
                if !machine.state.lock().unwrap().well {
                    machine.exits(task, 1, "exits");
                }
            });
        }
        Ok(running)
    }
}

/// One worker's way to it.
#[derive(Debug)]
pub struct SimRuntime {
    pub machine: Arc<Machine>,
    pub life: Arc<Life>,
}

impl SimRuntime {
    /// Every call takes a while, and finds no answer while the runtime is silent.
    async fn call(&self, task: TaskId, what: u64, most_ms: u64) -> Result<(), RuntimeError> {
        self.life.lives().await;
        let millis = 1 + hash(&[task.as_u64(), what]) % most_ms;
        sleep(Duration::from_millis(millis)).await;
        self.life.lives().await;
        if self.machine.is_silent() { Err(unavailable()) } else { Ok(()) }
    }

    /// Likewise, for one that leaves something behind.
    async fn write<T>(
        &self,
        task: TaskId,
        write: Write,
        most_ms: u64,
        act: impl FnOnce() -> Result<T, RuntimeError>,
    ) -> Result<T, RuntimeError> {
        self.life.passes(Moment::Before(write)).await;
        self.call(task, u64::from(write as u8), most_ms).await?;
        let done = act();
        self.life.passes(Moment::After(write)).await;
        done
    }
}

fn unavailable() -> RuntimeError {
    let reason = "connection refused".to_owned();
    RuntimeError::Unavailable { driver: Driver::Containerd, reason }
}

#[async_trait]
impl Runtime for SimRuntime {
    fn driver(&self) -> Driver {
        Driver::Containerd
    }

    async fn ping(&self) -> Result<String, RuntimeError> {
        Ok("simulated".to_owned())
    }

    async fn ensure_image(&self, _: &ImageRef, _: Pull) -> Result<ImageFacts, RuntimeError> {
        self.call(TaskId::from_u64(0), 1, 300).await?;
        Ok(ImageFacts::default())
    }

    async fn images(&self) -> Result<Vec<ImageRecord>, RuntimeError> {
        Ok(Vec::new())
    }

    async fn import(&self, _: PathBuf) -> Result<Vec<ImageRecord>, RuntimeError> {
        Ok(Vec::new())
    }

    async fn create(&self, launch: &Launch) -> Result<(), RuntimeError> {
        self.write(launch.task, Write::Create, 200, || {
            let mut state = self.machine.state.lock().unwrap();
            let container = Container {
                launch: launch.clone(),
                state: FoundState::Created,
                started: Instant::now(),
                changed: watch::Sender::new(()),
            };
            if container.habit() == Habit::Broken && !state.well {
                return Err(RuntimeError::Refused("no such program".to_owned()));
            }
            state.tasks.entry(launch.task).or_insert(container);
            Ok(())
        })
        .await
    }

    async fn start(&self, task: TaskId) -> Result<Running, RuntimeError> {
        self.write(task, Write::Start, 200, || self.machine.start_now(task)).await
    }

    async fn signal(&self, task: TaskId, signal: StopSignal) -> Result<(), RuntimeError> {
        self.write(task, Write::Signal, 20, || {
            let deaf = {
                let state = self.machine.state.lock().unwrap();
                let container = state.tasks.get(&task).ok_or(RuntimeError::NoSuchTask(task))?;
                container.habit() == Habit::Stubborn && !state.well
            };
            if signal == StopSignal::KILL || !deaf {
                self.machine.exits(task, 128 + i32::from(signal.number()), "is ended");
            }
            Ok(())
        })
        .await
    }

    async fn wait(&self, task: TaskId) -> Result<Exit, RuntimeError> {
        self.life.lives().await;
        loop {
            if self.machine.is_silent() {
                return Err(unavailable());
            }
            let (state, mut changed) =
                self.machine.found(task).ok_or(RuntimeError::NoSuchTask(task))?;
            match state {
                FoundState::Exited(exit) => return Ok(exit),
                FoundState::Created | FoundState::Running(_) => {}
            }
            // A container that is removed is looked for once more.
            drop(changed.changed().await);
            self.life.lives().await;
        }
    }

    async fn delete(&self, task: TaskId) -> Result<(), RuntimeError> {
        self.write(task, Write::Delete, 100, || {
            self.machine.exits(task, 137, "is killed");
            self.machine.state.lock().unwrap().tasks.remove(&task);
            Ok(())
        })
        .await
    }

    async fn list(&self) -> Result<Vec<Found>, RuntimeError> {
        self.call(TaskId::from_u64(0), 2, 20).await?;
        let state = self.machine.state.lock().unwrap();
        let found =
            |(task, c): (&TaskId, &Container)| Found { task: *task, state: c.state.clone() };
        Ok(state.tasks.iter().map(found).collect())
    }

    async fn exec(
        &self,
        task: TaskId,
        command: &Command,
        _: Option<&User>,
        timeout: Duration,
    ) -> Result<ExecEnd, RuntimeError> {
        self.call(task, 3, 20).await?;
        let role = Role::ALL.into_iter().find(|role| role.name() == command.words()[0]).unwrap();
        let exited =
            |code, said: &str| Ok(ExecEnd::Exited { code, output: Output(said.to_owned()) });
        match self.machine.finds(task, role) {
            None => Err(RuntimeError::NoSuchTask(task)),
            Some(Finds::Good) => exited(0, ""),
            Some(Finds::Bad) => exited(1, "not well"),
            Some(Finds::Silence) => {
                sleep(timeout).await;
                self.life.lives().await;
                Ok(ExecEnd::TimedOut { output: Output::default() })
            }
        }
    }
}
