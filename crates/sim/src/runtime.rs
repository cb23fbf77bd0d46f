//! A worker's way to its machine's runtime: each call takes a while, and may find no answer.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use warren_core::{
    check::{Command, Role},
    id::TaskId,
    node::Driver,
    spec::{ImageRef, Pull, StopSignal, User},
};
use warren_runtime::{
    ExecEnd, Exit, Found, FoundState, ImageFacts, ImageRecord, Launch, Output, Running, Runtime,
    RuntimeError,
};

use crate::{
    app::{Finds, Habit},
    chance::hash,
    disk::StateDisk,
    faults::{self, Fault},
    life::{Life, Moment, Write},
    machine::{Container, Machine},
};

/// One worker's way to it.
#[derive(Debug)]
pub struct SimRuntime {
    pub machine: Arc<Machine>,
    pub disk: Arc<StateDisk>,
    pub life: Arc<Life>,
}

impl SimRuntime {
    /// Every call takes a while, and finds no answer while the runtime is silent.
    async fn call(&self, task: TaskId, what: u64, most_ms: u64) -> Result<(), RuntimeError> {
        self.life.lives().await;
        sleep(takes(task, what, most_ms)).await;
        self.life.lives().await;
        if self.machine.is_silent() { Err(unavailable()) } else { Ok(()) }
    }

    /// What a worker has made and its file does not name, no later one would know of.
    async fn is_named(&self, task: TaskId) {
        self.life.lives().await;
        if !self.disk.has_named(task) {
            let name = &self.machine.name;
            let why = format!("{name} makes {task} before its file names it");
            self.machine.oracle.fail(why);
        }
    }

    /// Likewise, for one that leaves something behind.
    async fn write<T>(
        &self,
        task: TaskId,
        write: Write,
        most_ms: u64,
        act: impl FnOnce(&Arc<Machine>) -> Result<T, RuntimeError> + Send + 'static,
    ) -> Result<T, RuntimeError> {
        self.life.passes(Moment::Before(write)).await;
        let what = u64::from(write as u8);
        if self.life.ends_at(Moment::Amid(write)) {
            // The runtime has it in hand. Nobody is left to hear how it ends.
            let (machine, boot) = (Arc::clone(&self.machine), self.machine.boot());
            self.machine.tracker.spawn(async move {
                sleep(takes(task, what, most_ms)).await;
                if machine.boot() == boot && !machine.is_silent() {
                    drop(act(&machine));
                }
            });
            return std::future::pending().await;
        }
        self.call(task, what, most_ms).await?;
        let done = act(&self.machine);
        self.life.passes(Moment::After(write)).await;
        done
    }
}

/// Between one millisecond and so many.
fn takes(task: TaskId, what: u64, most_ms: u64) -> Duration {
    Duration::from_millis(1 + hash(&[task.as_u64(), what]) % most_ms)
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
        self.is_named(launch.task).await;
        let launch = launch.clone();
        self.write(launch.task, Write::Create, 200, move |machine| {
            let mut state = machine.state.lock().unwrap();
            let container = Container {
                launch,
                state: FoundState::Created,
                started: Instant::now(),
                changed: watch::Sender::new(()),
            };
            if container.habit() == Habit::Broken && !state.well {
                faults::note(Fault::Habit(Habit::Broken));
                return Err(RuntimeError::Refused("no such program".to_owned()));
            }
            state.tasks.entry(container.launch.task).or_insert(container);
            Ok(())
        })
        .await
    }

    async fn start(&self, task: TaskId) -> Result<Running, RuntimeError> {
        self.is_named(task).await;
        self.write(task, Write::Start, 200, move |machine| machine.start_now(task)).await
    }

    async fn signal(&self, task: TaskId, signal: StopSignal) -> Result<(), RuntimeError> {
        self.write(task, Write::Signal, 20, move |machine| {
            let deaf = {
                let state = machine.state.lock().unwrap();
                let container = state.tasks.get(&task).ok_or(RuntimeError::NoSuchTask(task))?;
                container.habit() == Habit::Stubborn && !state.well
            };
            if signal == StopSignal::KILL || !deaf {
                machine.exits(task, 128 + i32::from(signal.number()), "is ended");
            } else {
                faults::note(Fault::Habit(Habit::Stubborn));
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
        self.write(task, Write::Delete, 100, move |machine| {
            machine.exits(task, 137, "is killed");
            machine.state.lock().unwrap().tasks.remove(&task);
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
        let exited = |code, said: &str| Ok(ExecEnd::Exited { code, output: Output::from(said) });
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
