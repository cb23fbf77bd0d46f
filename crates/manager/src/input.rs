//! What reaches the control loop, and the handle that puts it there.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, mpsc::error::SendTimeoutError, oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use warren_core::{
    bounds::Ttl,
    health::{AccusedRole, Health},
    id::{NodeId, TaskId},
    node::{AvailabilityKind, Driver, LabelKey, Labels},
    report::TaskReport,
    service::Service,
    spec::ServiceSpec,
    time::Timestamp,
};

use crate::{presence::SessionId, publish::Published, rejection::Rejection, world::World};

/// Answered when what was decided is durable.
pub type Reply<T> = oneshot::Sender<Result<T, Rejection>>;

/// Decoded once, decided by the control loop alone.
#[derive(Debug)]
pub enum Input {
    CreateService { spec: ServiceSpec, reply: Reply<Arc<Service>> },
    UpdateService { update: ServiceUpdate, reply: Reply<Arc<Service>> },
    DeleteService { service: String, reply: Reply<()> },
    PauseChecks { service: String, pause: AskedPause, reply: Reply<Arc<Service>> },
    ResumeChecks { service: String, reply: Reply<Arc<Service>> },
    StopTask { task: String, reply: Reply<()> },
    JudgeTask { judgement: Judgement, reply: Reply<Health> },
    ReleaseService { service: String, reply: Reply<u32> },
    Hello { hello: Hello, reply: Reply<Joined> },
    Reports { node: NodeId, epoch: u64, reports: Vec<TaskReport>, reply: Reply<()> },
    Turn { reply: Reply<()> },
    Node(NodeInput),
}

impl Input {
    /// How much there is to decide, in requests or reports.
    pub fn size(&self) -> usize {
        match self {
            Self::Hello { hello, reply: _ } => 1 + hello.tasks.len(),
            Self::Reports { reports, .. } => 1 + reports.len(),
            Self::CreateService { .. }
            | Self::UpdateService { .. }
            | Self::DeleteService { .. }
            | Self::PauseChecks { .. }
            | Self::ResumeChecks { .. }
            | Self::StopTask { .. }
            | Self::JudgeTask { .. }
            | Self::ReleaseService { .. }
            | Self::Turn { .. }
            | Self::Node(_) => 1,
        }
    }
}

/// What concerns a node and none of its tasks.
#[derive(Debug)]
pub enum NodeInput {
    Remove {
        node: String,
        reply: Reply<()>,
    },
    SetAvailability {
        node: String,
        kind: AvailabilityKind,
        reason: String,
        reply: Reply<NodeId>,
    },
    SetLabels {
        node: String,
        wish: Relabel,
        reply: Reply<NodeId>,
    },
    /// The session is open, and silent for longer than is usual for it; or heard again.
    Suspicion {
        node: NodeId,
        session: SessionId,
        suspect: bool,
    },
    Score {
        node: NodeId,
        session: SessionId,
        score: u32,
    },
    SessionLost {
        node: NodeId,
        session: SessionId,
        silence: Silence,
    },
}

/// What a person says of a node; no key is in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relabel {
    pub set: Labels,
    pub remove: BTreeSet<LabelKey>,
}

/// What the end of a session leaves to wait for.
#[derive(Debug, Clone, Copy)]
pub struct Silence {
    pub last_heard: Instant,
    /// From then on it is unusual.
    pub suspect_at: Instant,
}

#[derive(Debug, Clone)]
pub struct ServiceUpdate {
    pub service: String,
    pub spec: ServiceSpec,
    pub expected_revision: Option<u64>,
}

/// How long checks are to attempt nothing, and who says so.
#[derive(Debug, Clone)]
pub struct AskedPause {
    pub span: Ttl,
    pub by: Option<String>,
}

/// Another controller's verdict on a task.
#[derive(Debug, Clone)]
pub struct Judgement {
    pub task: String,
    pub reporter: String,
    pub role: AccusedRole,
    pub verdict: Judged,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    Withdrawn,
    Accused { reason: String, ttl: Ttl },
}

/// A worker as it introduces itself.
#[derive(Debug, Clone)]
pub struct Hello {
    pub node: NodeId,
    pub name: String,
    pub epoch: u64,
    pub version: String,
    pub drivers: BTreeSet<Driver>,
    pub cpus: u32,
    pub memory_bytes: u64,
    pub labels: Labels,
    /// Every task that it has, as far as it could be understood.
    pub tasks: Vec<TaskReport>,
    /// The ids of all of them.
    pub has: BTreeSet<TaskId>,
}

/// The session that a worker was given.
#[derive(Debug)]
pub struct Joined {
    pub session: SessionId,
    /// Cancelled when another session takes the node over.
    pub replaced: CancellationToken,
}

/// Inputs that wait to be decided. As many as one batch takes: a longer queue would only hide
/// that the disk cannot follow.
pub const QUEUE_MAX: usize = 1024;

/// A caller rather hears that the manager is overloaded than waits for longer.
const QUEUE_PATIENCE: Duration = Duration::from_secs(1);

/// Asks the control loop, and reads what it has published without asking.
#[derive(Clone)]
pub struct Handle {
    inputs: mpsc::Sender<Input>,
    published: watch::Receiver<Arc<Published>>,
    world: Arc<dyn World>,
}

impl Handle {
    pub fn new(
        inputs: mpsc::Sender<Input>,
        published: watch::Receiver<Arc<Published>>,
        world: Arc<dyn World>,
    ) -> Self {
        Self { inputs, published, world }
    }

    /// For users: gives up when the queue stays full.
    pub async fn ask<T>(&self, input: impl FnOnce(Reply<T>) -> Input) -> Result<T, Rejection> {
        let (reply, answer) = oneshot::channel();
        self.inputs.send_timeout(input(reply), QUEUE_PATIENCE).await.map_err(
            |error| match error {
                SendTimeoutError::Timeout(_) => Rejection::Full(
                    "more requests wait than the manager takes; ask again later".to_owned(),
                ),
                SendTimeoutError::Closed(_) => Rejection::ending(),
            },
        )?;
        answer.await.map_err(|_| Rejection::ending())?
    }

    /// For sessions: waits, and so slows the worker down.
    pub async fn tell<T>(&self, input: impl FnOnce(Reply<T>) -> Input) -> Result<T, Rejection> {
        let (reply, answer) = oneshot::channel();
        self.inputs.send(input(reply)).await.map_err(|_| Rejection::ending())?;
        answer.await.map_err(|_| Rejection::ending())?
    }

    /// Nobody waits for an answer to this. A loop that has ended needs no word of it.
    pub async fn session_lost(&self, node: NodeId, session: SessionId, silence: Silence) {
        self.note(NodeInput::SessionLost { node, session, silence }).await;
    }

    /// The same of what is known of a session while it lasts.
    pub async fn note(&self, input: NodeInput) {
        let _ = self.inputs.send(Input::Node(input)).await;
    }

    pub fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published.borrow())
    }

    pub fn watch(&self) -> watch::Receiver<Arc<Published>> {
        self.published.clone()
    }

    pub fn now(&self) -> Timestamp {
        self.world.now()
    }
}
