//! One actor per task: prepares it, watches over it, ends it. It is the only one who touches the
//! task's runtime and verdicts, and it never decides that a task should go: the manager does.

mod checking;
mod end;
mod flights;
mod group;
mod observation;
mod prepare;
mod rounds;
mod trials;
mod watch_over;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use warren_core::{
    assignment::Assignment,
    health::Health,
    id::TaskId,
    report::HealthTransition,
    spec::TaskTemplate,
    task::{Phase, StopCause, TaskEnd, TaskStatus},
    time::Timestamp,
};
use warren_probe::{Observer, Prober};
use warren_runtime::{Exit, Found, FoundState, Launch, Running, Runtime, RuntimeError, logs};

use self::{checking::Watched, group::Groups, rounds::Rounds, watch_over::Eyes};
use crate::{Clock, Config, Metrics, agent::Event, held::Held};

pub use end::remove;
pub use observation::Observation;
pub use trials::{NoCheck, Trials};

/// Between tries while a runtime does not answer, doubling from the first to the last.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(5);

/// What all actors share.
#[derive(Debug)]
pub struct Context {
    pub events: mpsc::Sender<Event>,
    pub shutdown: CancellationToken,
    pub clock: Arc<dyn Clock>,
    prober: Arc<Prober>,
    observer: Arc<Observer>,
    log_dir: PathBuf,
    metrics: Metrics,
    groups: Groups,
    rounds: Arc<Rounds>,
    engine: tokio::runtime::Handle,
}

impl Context {
    pub fn new(
        events: mpsc::Sender<Event>,
        shutdown: CancellationToken,
        config: &Config,
        observer: &Arc<Observer>,
    ) -> Result<Self, warren_probe::Fault> {
        let Config { clock, log_dir, metrics, engine, .. } = config;
        Ok(Self {
            events,
            shutdown,
            clock: Arc::clone(clock),
            prober: Arc::new(Prober::new()?.with_observer(Arc::clone(observer))),
            observer: Arc::clone(observer),
            log_dir: log_dir.clone(),
            metrics: metrics.clone(),
            groups: Groups::default(),
            rounds: Arc::default(),
            engine: engine.handle().clone(),
        })
    }

    /// Starts the attempts of all tasks when they are due, until shutdown.
    pub fn make_rounds(&self, tracker: &TaskTracker) {
        let (rounds, shutdown) = (Arc::clone(&self.rounds), self.shutdown.clone());
        let life = async move { shutdown.run_until_cancelled(rounds.make()).await };
        tracker.spawn_on(life, &self.engine);
    }

    pub fn log_dir(&self) -> &Path {
        &self.log_dir
    }

    async fn remove_log(&self, task: TaskId) {
        if let Err(error) = logs::remove(&self.log_dir, task).await {
            tracing::warn!(task.id = %task, %error, "cannot remove the task's log");
        }
    }
}

/// News of one task.
#[derive(Debug)]
pub struct Update {
    pub task: TaskId,
    pub status: TaskStatus,
    pub health: Option<Health>,
    pub heeded: Heeded,
    pub purpose: Purpose,
}

/// What of its orders is in a task's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heeded {
    /// The pause for which its streaks have been forgotten.
    pub paused_until: Option<Timestamp>,
}

/// Whom news are for.
#[derive(Debug)]
pub enum Purpose {
    /// The manager, perhaps with a row for its history, and the state file.
    Report(Option<HealthTransition>),
    /// Not worth a report.
    Note,
    /// The state file alone for now. Told once it is there.
    Secure(oneshot::Sender<()>),
}

/// Where a task's checks are to be found while its process runs.
#[derive(Debug, Default)]
struct Seen(Mutex<Weak<Watched>>);

impl Seen {
    fn set(&self, watched: &Arc<Watched>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(watched);
    }

    fn get(&self) -> Option<Arc<Watched>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }
}

/// The agent's end of an actor.
#[derive(Debug)]
pub struct TaskHandle {
    orders: watch::Sender<Orders>,
    seen: Arc<Seen>,
    /// True once nothing more will be written to the task's log.
    pub ended: watch::Receiver<bool>,
}

impl TaskHandle {
    /// What the manager wants of it now.
    pub fn order(&self, assignment: &Assignment) {
        let orders = Orders::of(assignment);
        self.orders.send_if_modified(|known| {
            let news = *known != orders;
            *known = orders;
            news
        });
    }

    /// What is seen of the task right now, while its process runs.
    pub fn observation(&self) -> Option<Observation> {
        Some(self.seen.get()?.observation())
    }

    /// What it takes to make attempts by hand, while its process runs.
    pub fn trials(&self) -> Option<Trials> {
        Some(self.seen.get()?.trials())
    }

    /// End it and remove all that is left, log included.
    pub fn forget(self) {
        self.orders.send_modify(|orders| orders.wanted = Wanted::Forget);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Run,
    Stop(StopCause),
    Forget,
}

/// What of an assignment may change while its task lives.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Orders {
    wanted: Wanted,
    /// Another one differs in how the task is looked at, and in nothing else.
    template: Arc<TaskTemplate>,
    paused_until: Option<Timestamp>,
}

impl Orders {
    fn of(assignment: &Assignment) -> Self {
        Self {
            wanted: assignment.stop.as_ref().map_or(Wanted::Run, |stop| Wanted::Stop(stop.cause)),
            template: Arc::clone(&assignment.template),
            paused_until: assignment.checks_paused_until,
        }
    }
}

/// Where an actor begins.
#[derive(Debug, Clone, PartialEq)]
pub enum Resume {
    /// The runtime has nothing of it, or what a creation left half done.
    Fresh,
    Running(Running),
    Exited(Exit),
    /// It ran when the worker knew it last, and the runtime no longer has it.
    Gone,
    /// It had ended, and the runtime still has something of it.
    Leftover,
    /// It has ended, and nothing but its log is left.
    Done,
}

impl Resume {
    /// From what the worker knew and what the runtime has.
    pub fn after_restart(status: &TaskStatus, found: Option<Found>) -> Self {
        let state = found.map(|Found { task: _, state }| state);
        match (&status.phase, state) {
            (Phase::Ended(_), None) => Self::Done,
            (Phase::Ended(_), Some(_)) => Self::Leftover,
            (_, Some(FoundState::Running(running))) => Self::Running(running),
            (_, Some(FoundState::Exited(exit))) => Self::Exited(exit),
            (Phase::Pending | Phase::Preparing, None | Some(FoundState::Created)) => Self::Fresh,
            // What is left of one that ran is never started again.
            (Phase::Running | Phase::Stopping, None | Some(FoundState::Created)) => Self::Gone,
        }
    }
}

/// Starts the actor of a task.
pub fn spawn(
    tracker: &TaskTracker,
    context: &Arc<Context>,
    runtime: &Arc<dyn Runtime>,
    held: &Held,
    resume: Resume,
) -> TaskHandle {
    let assignment = held.assignment();
    let (orders_sender, orders) = watch::channel(Orders::of(assignment));
    let (ended, ended_receiver) = watch::channel(false);
    let seen = Arc::new(Seen::default());
    let actor = Actor {
        launch: Launch {
            task: assignment.task,
            service: assignment.service,
            service_name: assignment.service_name.clone(),
            slot: assignment.slot,
            template: Arc::clone(&assignment.template),
        },
        runtime: Arc::clone(runtime),
        context: Arc::clone(context),
        orders,
        seen: Arc::clone(&seen),
        status: held.status().clone(),
        health: held.health().cloned(),
        heeded: held.heeded(),
        ended,
    };
    let shutdown = context.shutdown.clone();
    let life = async move {
        tokio::select! {
            biased;
            // The task goes on without its actor; the next worker adopts it.
            () = shutdown.cancelled() => {}
            () = actor.run(resume) => {}
        }
    };
    tracker.spawn_on(life, &context.engine);
    TaskHandle { orders: orders_sender, seen, ended: ended_receiver }
}

struct Actor {
    launch: Launch,
    runtime: Arc<dyn Runtime>,
    context: Arc<Context>,
    orders: watch::Receiver<Orders>,
    seen: Arc<Seen>,
    status: TaskStatus,
    health: Option<Health>,
    heeded: Heeded,
    /// True once nothing more will be written to the log.
    ended: watch::Sender<bool>,
}

/// What there is to do for an actor.
enum Begun {
    Running(Box<Running>),
    Ended(Box<TaskEnd>),
    /// All has been told but what is left to remove.
    Over,
}

impl Actor {
    async fn run(mut self, resume: Resume) {
        match self.live(resume).await {
            Some(end) => Box::pin(self.finish(end)).await,
            None => Box::pin(self.clean_up()).await,
        }
    }

    /// How it ended, unless that was known before.
    async fn live(&mut self, resume: Resume) -> Option<Box<TaskEnd>> {
        let running = match self.begin_at(resume).await {
            Begun::Running(running) => running,
            Begun::Ended(end) => return Some(end),
            Begun::Over => return None,
        };
        Some(if self.status.phase == Phase::Stopping {
            let stop = async {
                let eyes = Eyes::new(self.checking(&running).await, &self.orders);
                self.stop(eyes, self.exit()).await
            };
            Box::new(Box::pin(stop).await)
        } else {
            Box::new(self.watch_over(running).await)
        })
    }

    async fn begin_at(&mut self, resume: Resume) -> Begun {
        let ended = match resume {
            Resume::Fresh => match Box::pin(self.prepare()).await {
                Ok(running) => return Begun::Running(Box::new(running)),
                Err(end) => end,
            },
            Resume::Running(running) => return Begun::Running(Box::new(running)),
            Resume::Exited(exit) => self.ended_unseen(&exit),
            Resume::Gone => self.ended_unseen(&end::unknown_exit(self.now())),
            Resume::Leftover | Resume::Done => return Begun::Over,
        };
        Begun::Ended(Box::new(ended))
    }

    fn now(&self) -> Timestamp {
        self.context.clock.now()
    }

    const fn task(&self) -> TaskId {
        self.launch.task
    }

    /// Enters the next phase and says so.
    async fn enter(&mut self, phase: Phase, message: impl Into<String>) {
        self.set(phase, message);
        self.publish(None).await;
    }

    fn set(&mut self, phase: Phase, message: impl Into<String>) {
        tracing::info!(task.id = %self.task(), state = phase.name(), "task state changed");
        self.status.phase = phase;
        self.status.since = self.now();
        self.status.message = message.into();
    }

    /// For the manager.
    async fn publish(&self, transition: Option<HealthTransition>) {
        self.tell(Purpose::Report(transition)).await;
    }

    /// Waits until what is known now would be found by the next worker.
    async fn secure(&self) {
        let (saved, done) = oneshot::channel();
        self.tell(Purpose::Secure(saved)).await;
        // Without an answer the worker stops, and so do we.
        drop(done.await);
    }

    async fn tell(&self, purpose: Purpose) {
        let (status, health) = (self.status.clone(), self.health.clone());
        let update = Update { task: self.task(), status, health, heeded: self.heeded, purpose };
        // The agent is gone only when the worker stops.
        drop(self.context.events.send(Event::Update(Box::new(update))).await);
    }
}

/// Until the manager no longer wants the task to run.
async fn unwanted(orders: &mut watch::Receiver<Orders>) {
    // A lost agent means that the worker stops, and then nobody wants a decision.
    if orders.wait_for(|orders| orders.wanted != Wanted::Run).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Calls until the runtime answers. Its silence says nothing about the task.
async fn patiently<T, F>(task: TaskId, mut call: impl FnMut() -> F) -> Result<T, RuntimeError>
where
    F: Future<Output = Result<T, RuntimeError>>,
{
    let mut pause = RETRY_FIRST;
    loop {
        match call().await {
            Err(error @ RuntimeError::Unavailable { .. }) => {
                if pause == RETRY_FIRST {
                    tracing::warn!(task.id = %task, %error, "waiting for the runtime");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_LAST);
            }
            done => return done,
        }
    }
}
