//! A worker's start: what the one before it left is taken up.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use warren_core::{id::TaskId, task::Phase};
use warren_runtime::{Found, Runtime, RuntimeError};

use super::{
    Agent, AgentHandle, Event,
    shared::{self, Shared},
};
use crate::{
    Drivers, StateFile, WorkerFault,
    held::Held,
    leftovers,
    state_file::Remembered,
    task::{self, Resume},
};

/// Events that wait for the agent. Enough for every task of a large node to change at once;
/// beyond it actors wait, which delays reports and loses none, but also attempts.
const EVENTS_MAX: usize = 32 * 1024;

/// What the agent is told, from both ends.
pub fn events() -> (mpsc::Sender<Event>, mpsc::Receiver<Event>) {
    mpsc::channel(EVENTS_MAX)
}

impl Agent {
    /// Takes up what the worker before left: the file says what must run, the runtimes what does.
    pub async fn adopt(
        mut file: StateFile,
        drivers: Drivers,
        events: mpsc::Receiver<Event>,
        context: task::Context,
        tracker: TaskTracker,
    ) -> Result<(Self, AgentHandle), WorkerFault> {
        let handle = AgentHandle {
            identity: file.identity(),
            drivers: drivers.clone(),
            events: context.events.clone(),
        };
        let remembered = file.take_remembered();
        let mut agent = Self {
            file,
            drivers,
            tracker,
            shutdown: context.shutdown.clone(),
            context: Arc::new(context),
            events,
            held: BTreeMap::new(),
            shared: Shared::default(),
            orphans: BTreeMap::new(),
            news: BTreeSet::new(),
            outbound: None,
            starts: BTreeMap::new(),
            unsaved: false,
            waiting: Vec::new(),
        };
        let mut found = agent.found().await?;
        for mut task in remembered {
            agent.check_driver(&task)?;
            agent.shared.template(&mut task.assignment);
            shared::checks(&task.assignment.template, &mut task.status);
            let id = task.assignment.task;
            let resume = Resume::after_restart(&task.status, found.remove(&id).map(|(_, f)| f));
            agent.held.insert(id, Box::new(Held::remembered(task)));
            agent.starts.insert(id, resume);
        }
        agent.orphans = found;
        leftovers::sweep(agent.context.log_dir(), |task| {
            agent.held.contains_key(&task) || agent.orphans.contains_key(&task)
        });
        agent.save().await?;
        agent.start_all();
        Ok((agent, handle))
    }

    /// What runs where we cannot look must not be taken for lost.
    fn check_driver(&self, task: &Remembered) -> Result<(), WorkerFault> {
        let driver = Drivers::kind_for(&task.assignment.template.workload);
        match task.status.phase {
            Phase::Preparing | Phase::Running | Phase::Stopping => {
                self.drivers.get(driver).map(drop).ok_or(WorkerFault::NoDriver(driver))
            }
            Phase::Pending | Phase::Ended(_) => Ok(()),
        }
    }

    /// What the runtimes hold. One that does not answer must not make its tasks look lost, so
    /// the worker does not start without it.
    async fn found(&self) -> Result<BTreeMap<TaskId, (Arc<dyn Runtime>, Found)>, RuntimeError> {
        let mut all = BTreeMap::new();
        for runtime in self.drivers.iter() {
            runtime.end_commands().await;
            for found in runtime.list().await? {
                all.insert(found.task, (Arc::clone(runtime), found));
            }
        }
        Ok(all)
    }
}
