//! A machine that runs a worker.

use std::collections::BTreeSet;

use crate::{Invalid, id::NodeId, time::Timestamp, wire::printable};

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

impl Node {
    /// The longest name that DNS can hold.
    pub const NAME_MAX: usize = 253;

    /// 1-253 printable characters.
    pub fn checked_name(name: String) -> Result<String, Invalid> {
        printable(name, Self::NAME_MAX)
    }
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

mod wire {
    use std::collections::BTreeSet;

    use warren_proto::v1 as pb;

    use super::{Driver, Node, NodeState};
    use crate::{
        Invalid,
        invalid::At,
        wire::{enumerated, parsed, required, text, wire_enum},
    };

    wire_enum!(NodeState: Up, Down);
    wire_enum!(Driver: Containerd, Process);

    impl From<&Node> for pb::Node {
        fn from(node: &Node) -> Self {
            let Node {
                id,
                name,
                state,
                since,
                registered_at,
                drivers,
                version,
                epoch,
                cpus,
                memory_bytes,
            } = node;
            Self {
                id: id.to_string(),
                name: name.clone(),
                state: pb::NodeState::from(*state).into(),
                since: Some((*since).into()),
                registered_at: Some((*registered_at).into()),
                drivers: drivers.iter().map(|driver| pb::Driver::from(*driver).into()).collect(),
                version: version.clone(),
                epoch: *epoch,
                cpus: *cpus,
                memory_bytes: *memory_bytes,
            }
        }
    }

    impl TryFrom<pb::Node> for Node {
        type Error = Invalid;

        fn try_from(wire: pb::Node) -> Result<Self, Invalid> {
            let pb::Node {
                id,
                name,
                state,
                since,
                registered_at,
                drivers,
                version,
                epoch,
                cpus,
                memory_bytes,
            } = wire;
            Ok(Self {
                id: parsed("id", &id)?,
                name: Self::checked_name(name).at("name")?,
                state: enumerated::<pb::NodeState, _>("state", state)?,
                since: required("since", since)?,
                registered_at: required("registered_at", registered_at)?,
                drivers: Driver::set_from_wire("drivers", &drivers)?,
                version: text(version),
                epoch,
                cpus,
                memory_bytes,
            })
        }
    }

    impl Driver {
        /// A repeated field of drivers, such as a worker's greeting has.
        pub fn set_from_wire(field: &str, numbers: &[i32]) -> Result<BTreeSet<Self>, Invalid> {
            let driver = |(index, number): (usize, &i32)| {
                enumerated::<pb::Driver, _>(&format!("{field}[{index}]"), *number)
            };
            numbers.iter().enumerate().map(driver).collect()
        }
    }
}
