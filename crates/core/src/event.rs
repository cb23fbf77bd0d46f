//! A row of history: what was seen or decided, and why.

use crate::{
    id::{NodeId, ServiceId, TaskId},
    time::Timestamp,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Grows by one with each event of the cluster.
    pub sequence: u64,
    pub at: Timestamp,
    pub kind: EventKind,
    pub service: Option<ServiceId>,
    pub slot: Option<u32>,
    pub task: Option<TaskId>,
    pub node: Option<NodeId>,
    /// A sentence for a person.
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    ServiceCreated,
    ServiceUpdated,
    ServiceRemoved,
    TaskCreated,
    TaskPlaced,
    TaskStarted,
    TaskStopping,
    TaskEnded,
    HealthChanged,
    ReadyChanged,
    NodeUp,
    NodeDown,
    NodeRemoved,
    ExternalVerdict,
}
