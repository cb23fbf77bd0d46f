//! One attempt to fill a slot of a service.

mod wire;

use std::{net::IpAddr, sync::Arc};

use crate::{
    check::Checks,
    id::{NodeId, ServiceId, TaskId},
    rule::Hold,
    time::Timestamp,
};

/// One-shot: never restarted, only replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    pub id: TaskId,
    pub service: ServiceId,
    /// 1..n.
    pub slot: u32,
    /// The service's template revision that it runs.
    pub revision: u64,
    /// How many tasks failed in this slot, one after the other, before this one.
    pub attempt: u32,
    pub placement: Placement,
    pub created_at: Timestamp,
    /// It is not started before this: the backoff after a failure.
    pub not_before: Timestamp,
    /// The task that this one takes over from.
    pub replaces: Option<TaskId>,
    /// The manager's wish; once set it stays.
    pub stop: Option<Box<Stop>>,
    /// Its replacement is due, and held.
    pub held: Option<Box<Hold>>,
    /// The worker's account.
    pub status: TaskStatus,
    /// The last report that was taken; older ones are refused.
    pub reported: ReportMark,
}

impl Task {
    pub const fn has_ended(&self) -> bool {
        matches!(self.status.phase, Phase::Ended(_))
    }

    pub const fn node(&self) -> Option<NodeId> {
        match self.placement {
            Placement::On(node) => Some(node),
            Placement::Waiting(_) => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// Why it has no node yet, for a person.
    Waiting(String),
    On(NodeId),
}

/// Orders the reports about one task: by the worker's epoch, then by the sequence in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ReportMark {
    pub epoch: u64,
    pub sequence: u64,
}

/// The manager wants the task to end, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    pub cause: StopCause,
    pub reason: String,
    pub at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StopCause {
    Unhealthy,
    Updated,
    ScaledDown,
    ServiceRemoved,
    Requested,
    /// A successor that is not needed: the old task recovered.
    CalledOff,
    NodeRemoved,
    /// Its node was silent for too long, and another task took over.
    NodeLost,
    /// Its node is drained, or no longer fits.
    Moved,
}

/// Written by the worker alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStatus {
    pub phase: Phase,
    pub since: Timestamp,
    /// When the process started; kept when a worker adopts it.
    pub started_at: Option<Timestamp>,
    /// Where the task is reached from its node.
    pub address: Option<IpAddr>,
    pub pid: Option<u32>,
    /// The checks that run; none are known before the image is.
    pub checks: Option<Arc<Checks>>,
    /// For a person: what is being done.
    pub message: String,
}

impl TaskStatus {
    pub fn pending(since: Timestamp) -> Self {
        Self {
            phase: Phase::Pending,
            since,
            started_at: None,
            address: None,
            pid: None,
            checks: None,
            message: String::new(),
        }
    }
}

/// Where a task is in its life. Only moves forward, in the order of the variants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    Pending,
    Preparing,
    Running,
    Stopping,
    Ended(Box<TaskEnd>),
}

impl Phase {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Preparing => "preparing",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Ended(_) => "ended",
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Preparing => 1,
            Self::Running => 2,
            Self::Stopping => 3,
            Self::Ended(_) => 4,
        }
    }

    /// Whether a report of `next` may follow. An ended task takes no further word.
    pub const fn may_become(&self, next: &Self) -> bool {
        !matches!(self, Self::Ended(_)) && self.rank() <= next.rank()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskEnd {
    pub kind: EndKind,
    pub at: Timestamp,
    /// 128+n for signal n.
    pub exit_code: Option<i32>,
    pub oom_killed: bool,
    pub reason: String,
}

impl TaskEnd {
    /// How it ended, as the end of a sentence.
    pub fn sentence(&self) -> String {
        let what = match (self.kind, self.exit_code) {
            // The worker's reason says the same and more.
            (EndKind::Exited, _) if !self.reason.is_empty() => return self.reason.clone(),
            (EndKind::Exited, _) if self.oom_killed => "it ran out of memory".to_owned(),
            (EndKind::Exited, Some(code)) => format!("its process exited with code {code}"),
            (EndKind::Exited, None) => "its process exited".to_owned(),
            (EndKind::Stopped, _) => "it was stopped".to_owned(),
            (EndKind::NotStarted, _) => "it could not be started".to_owned(),
            (EndKind::Lost, _) => "it was lost".to_owned(),
        };
        if self.reason.is_empty() { what } else { format!("{what}: {}", self.reason) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndKind {
    /// The process ended by itself.
    Exited,
    /// Stopped because the manager wanted it.
    Stopped,
    /// It never came to run: image, network, container or command.
    NotStarted,
    /// The runtime no longer has it, or its node was removed.
    Lost,
}
