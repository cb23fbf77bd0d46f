//! The owner of all that the worker holds: takes assignments in, starts and stops task actors,
//! keeps the state file, and hands reports to whatever session there is.

mod adopt;
mod shared;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use warren_core::{
    assignment::Assignment,
    id::{ClusterId, TaskId},
    task::{EndKind, Phase, TaskEnd, TaskStatus},
    time::Timestamp,
};
use warren_proto::v1 as pb;
use warren_runtime::{Found, Runtime};

use self::shared::Shared;
use crate::{
    Drivers, Identity, StateFault, StateFile,
    held::Held,
    task::{self, Observation, Resume, TaskHandle, Trials, Update},
};

pub use self::adopt::events;

/// Events taken in one turn, for which the state file is written once. Writing it takes the longer
/// the more tasks there are, and while it is written more of them have news.
const BATCH_MAX: usize = 8 * 1024;

/// What the agent is told.
#[derive(Debug)]
pub enum Event {
    /// A session is being opened; the agent puts the hello first.
    Connected {
        outbound: mpsc::Sender<pb::WorkerMessage>,
        hello: Box<pb::Hello>,
    },
    Disconnected,
    /// The manager has taken the node in.
    Welcomed(ClusterId),
    Assigned {
        full: bool,
        put: Vec<Assignment>,
        remove: Vec<TaskId>,
    },
    Acked(Vec<(TaskId, u64)>),
    Update(Box<Update>),
    /// What the tasks' actors see right now. None named: all of them.
    Observe {
        tasks: Vec<TaskId>,
        reply: oneshot::Sender<Vec<Observation>>,
    },
    /// What it takes to make attempts at the task by hand.
    Try {
        task: TaskId,
        reply: oneshot::Sender<Result<Trials, NoTrials>>,
    },
    /// Whether the task's log is complete. `None`: the worker does not hold it.
    LogEnd {
        task: TaskId,
        reply: oneshot::Sender<Option<watch::Receiver<bool>>>,
    },
}

/// Why no attempt can be made at a task by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoTrials {
    NotHeld,
    /// It is in this state.
    NotRunning(&'static str),
}

/// For those who tell the agent.
#[derive(Debug, Clone)]
pub struct AgentHandle {
    pub identity: Identity,
    pub drivers: Drivers,
    events: mpsc::Sender<Event>,
}

impl AgentHandle {
    /// Says whether the agent is still there.
    pub async fn tell(&self, event: Event) -> bool {
        self.events.send(event).await.is_ok()
    }
}

#[derive(Debug)]
pub struct Agent {
    file: StateFile,
    context: Arc<task::Context>,
    drivers: Drivers,
    tracker: TaskTracker,
    shutdown: CancellationToken,
    events: mpsc::Receiver<Event>,
    // Boxed: a tree keeps room for more than it has.
    held: BTreeMap<TaskId, Box<Held>>,
    shared: Shared,
    /// What runtimes hold and no assignment names. Kept until the manager has spoken.
    orphans: BTreeMap<TaskId, (Arc<dyn Runtime>, Found)>,
    /// Tasks with news to send.
    news: BTreeSet<TaskId>,
    outbound: Option<mpsc::Sender<pb::WorkerMessage>>,
    /// Assignments taken in whose actors start once the file names them.
    starts: BTreeMap<TaskId, Resume>,
    unsaved: bool,
    /// Who waits until what they said is in the file.
    waiting: Vec<oneshot::Sender<()>>,
}

impl Agent {
    /// Runs until shutdown. Tasks go on.
    pub async fn run(mut self) -> Result<(), StateFault> {
        let shutdown = self.shutdown.clone();
        let mut batch = Vec::new();
        loop {
            let outbound = self.outbound.clone().filter(|_| !self.news.is_empty());
            let room = async {
                match &outbound {
                    Some(outbound) => outbound.reserve().await,
                    None => std::future::pending().await,
                }
            };
            // Reports before events: of each task one is in flight at most, so they end, and
            // events could come without end.
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                permit = room => match permit {
                    Ok(permit) => if let Some(report) = self.next_report() { permit.send(report); },
                    Err(_) => self.disconnected(),
                },
                taken = self.events.recv_many(&mut batch, BATCH_MAX) => {
                    if taken == 0 {
                        break;
                    }
                    for event in batch.drain(..) {
                        self.take(event);
                    }
                    // Saved before anything is created: what runs is always in the file.
                    self.save_if_changed().await?;
                    self.start_all();
                }
            }
        }
        self.keep_last_words();
        self.save().await
    }

    /// What the actors have said and nobody has read yet goes into the file all the same.
    fn keep_last_words(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            if let Event::Update(update) = event {
                self.updated(*update);
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Connected { outbound, hello } => self.connected(outbound, *hello),
            Event::Disconnected => self.disconnected(),
            Event::Welcomed(cluster) => self.unsaved |= self.file.join(cluster),
            Event::Assigned { full, put, remove } => self.assigned(full, put, &remove),
            Event::Acked(reports) => self.acked(&reports),
            Event::Update(update) => self.updated(*update),
            Event::Observe { tasks, reply } => self.observe(&tasks, reply),
            Event::Try { task, reply } => self.hand_out(task, reply),
            Event::LogEnd { task, reply } => {
                let ended = self.held.get(&task).and_then(|held| match &held.actor {
                    Some(actor) => Some(actor.ended.clone()),
                    // One without an actor has ended, or is only about to have one.
                    None => held.has_ended().then(|| watch::channel(true).1),
                });
                // The caller may have gone away meanwhile.
                drop(reply.send(ended));
            }
        }
    }

    fn connected(&mut self, outbound: mpsc::Sender<pb::WorkerMessage>, mut hello: pb::Hello) {
        self.news.clear();
        for (id, held) in &mut self.held {
            held.disconnected();
            hello.tasks.push((&held.send(*id)).into());
        }
        let message =
            pb::WorkerMessage { message: Some(pb::worker_message::Message::Hello(hello)) };
        // The channel is new and empty.
        if outbound.try_send(message).is_ok() {
            self.outbound = Some(outbound);
        }
    }

    fn disconnected(&mut self) {
        self.outbound = None;
        self.news.clear();
        for held in self.held.values_mut() {
            held.disconnected();
        }
    }

    fn assigned(&mut self, full: bool, put: Vec<Assignment>, remove: &[TaskId]) {
        self.unsaved = true;
        let mut unwanted: BTreeSet<_> = remove.iter().copied().collect();
        if full {
            unwanted.extend(self.held.keys());
        }
        for assignment in put {
            unwanted.remove(&assignment.task);
            self.put(assignment);
        }
        for id in unwanted {
            self.forget(id);
        }
        if full {
            for (id, (runtime, _)) in std::mem::take(&mut self.orphans) {
                tracing::info!(task.id = %id, "removing a task that nobody wants");
                self.tracker.spawn(task::remove(runtime, id, Arc::clone(&self.context)));
            }
        }
    }

    fn put(&mut self, mut assignment: Assignment) {
        let id = assignment.task;
        self.shared.template(&mut assignment);
        if let Some(held) = self.held.get_mut(&id) {
            return held.assign(assignment);
        }
        let orphan = self.orphans.remove(&id).map(|(_, found)| found);
        let status = TaskStatus::pending(self.context.clock.now());
        self.starts.insert(id, Resume::after_restart(&status, orphan));
        self.held.insert(id, Box::new(Held::new(assignment, status, None)));
        self.news.insert(id);
    }

    /// Gives each task that was taken in its actor, unless it has ended and nothing is left of it.
    fn start_all(&mut self) {
        for (id, resume) in std::mem::take(&mut self.starts) {
            let Some(held) = self.held.get_mut(&id) else {
                continue;
            };
            match self.drivers.for_workload(&held.assignment().template.workload) {
                _ if resume == Resume::Done => {}
                Some(runtime) => {
                    let actor = task::spawn(&self.tracker, &self.context, runtime, held, resume);
                    held.actor = Some(actor);
                }
                None => {
                    held.set_status(no_driver(self.context.clock.now()));
                    self.unsaved = true;
                }
            }
        }
    }

    /// The manager no longer knows the task: end it and remove what is left, log included.
    fn forget(&mut self, id: TaskId) {
        self.news.remove(&id);
        self.starts.remove(&id);
        if let Some(held) = self.held.remove(&id) {
            let workload = &held.assignment().template.workload;
            if let Some(actor) = held.actor {
                actor.forget();
            } else if let Some(runtime) = self.drivers.for_workload(workload) {
                let runtime = Arc::clone(runtime);
                self.tracker.spawn(task::remove(runtime, id, Arc::clone(&self.context)));
            }
        }
    }

    fn acked(&mut self, reports: &[(TaskId, u64)]) {
        for (id, sequence) in reports {
            if let Some(held) = self.held.get_mut(id) {
                held.acked(*sequence);
                if held.has_news() {
                    self.news.insert(*id);
                }
            }
        }
    }

    fn updated(&mut self, update: Update) {
        let id = update.task;
        // A forgotten task's actor may still speak; what it says is dropped, and it goes on.
        if let Some(held) = self.held.get_mut(&id) {
            self.waiting.extend(held.update(update));
            self.unsaved = true;
            if held.has_news() && self.outbound.is_some() {
                self.news.insert(id);
            }
        }
    }

    fn next_report(&mut self) -> Option<pb::WorkerMessage> {
        let id = self.news.pop_first()?;
        let report = self.held.get_mut(&id)?.send(id);
        Some(pb::WorkerMessage {
            message: Some(pb::worker_message::Message::Report((&report).into())),
        })
    }

    fn observe(&self, tasks: &[TaskId], reply: oneshot::Sender<Vec<Observation>>) {
        let actors = self.held.iter().filter(|(id, _)| tasks.is_empty() || tasks.contains(id));
        // Nobody looks at the others.
        let actors = actors
            .filter(|(_, held)| matches!(held.status().phase, Phase::Running | Phase::Stopping))
            .filter_map(|(_, held)| held.actor.as_ref());
        // Whoever asked may have gone away.
        drop(reply.send(actors.filter_map(TaskHandle::observation).collect()));
    }

    fn hand_out(&self, task: TaskId, reply: oneshot::Sender<Result<Trials, NoTrials>>) {
        let trials = match self.held.get(&task) {
            None => Err(NoTrials::NotHeld),
            Some(held) => match (&held.status().phase, &held.actor) {
                (Phase::Running, Some(actor)) => {
                    // Its process may have just ended.
                    actor.trials().ok_or(NoTrials::NotRunning("ending"))
                }
                (phase, _) => Err(NoTrials::NotRunning(phase.name())),
            },
        };
        drop(reply.send(trials));
    }

    async fn save_if_changed(&mut self) -> Result<(), StateFault> {
        if self.unsaved {
            self.save().await?;
        }
        for waits in self.waiting.drain(..) {
            // The actor may have gone away meanwhile.
            let _ = waits.send(());
        }
        Ok(())
    }

    async fn save(&mut self) -> Result<(), StateFault> {
        self.unsaved = false;
        self.file.save(self.held.values_mut().map(|held| held.record())).await
    }
}

fn no_driver(at: Timestamp) -> TaskStatus {
    let end = TaskEnd {
        kind: EndKind::NotStarted,
        at,
        exit_code: None,
        oom_killed: false,
        reason: "this node has no driver for the task".to_owned(),
    };
    TaskStatus { phase: Phase::Ended(Box::new(end)), ..TaskStatus::pending(at) }
}
