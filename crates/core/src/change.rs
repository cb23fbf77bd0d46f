//! The only way that anything is written: one change is one row.

use crate::{
    event::Event,
    health::TaskHealth,
    id::{NodeId, ServiceId, TaskId},
    node::Node,
    restraint::Restraint,
    service::Service,
    task::Task,
};

/// One mutation of the cluster state. A put replaces the whole row; a removal of what is not
/// there changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    PutService(Box<Service>),
    RemoveService(ServiceId),
    PutTask(Box<Task>),
    /// Takes the task's health with it.
    RemoveTask(TaskId),
    /// Apart from the task, because it changes far more often.
    PutHealth(TaskId, Box<TaskHealth>),
    PutNode(Box<Node>),
    RemoveNode(NodeId),
    /// There is one, from the beginning.
    PutRestraint(Box<Restraint>),
    /// Appends to the history.
    PutEvent(Box<Event>),
    /// Forgets one row of the history.
    RemoveEvent(u64),
    /// Forgets the history up to and with this sequence.
    TrimEvents(u64),
}
