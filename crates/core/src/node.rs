//! A machine that runs a worker.

use std::collections::BTreeSet;

use crate::{id::NodeId, time::Timestamp};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub id: NodeId,
    pub name: String,
    pub state: NodeState,
    pub since: Timestamp,
    pub registered_at: Timestamp,
    pub drivers: BTreeSet<Driver>,
    pub version: String,
    /// Grows with each start of the worker.
    pub epoch: u64,
    pub cpus: u32,
    pub memory_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeState {
    /// Its worker holds a session, or held one within the grace.
    Up,
    /// Nothing is placed there, and its tasks are unknown.
    Down,
}

/// What can run tasks on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Driver {
    Containerd,
    Process,
}

impl Driver {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Process => "process",
        }
    }
}
