//! A machine that runs a worker.

mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    sync::Arc,
};

use crate::{
    Invalid,
    id::{NodeId, TaskId},
    time::Timestamp,
    wire::printable,
};

pub use self::wire::{labels_from_wire, labels_to_wire};

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
    /// What its worker was started with.
    pub labels: Labels,
    /// What a person said of it.
    pub operator_labels: Labels,
    pub availability: Availability,
    /// Set while too much fails there at once.
    pub accused: Option<Accusation>,
    /// Set while its worker cannot trust its own eyes.
    pub doubted: Option<Doubt>,
}

pub type Labels = BTreeMap<LabelKey, String>;

impl Node {
    /// The longest name that DNS can hold.
    pub const NAME_MAX: usize = 253;

    /// 1-253 printable characters.
    pub fn checked_name(name: String) -> Result<String, Invalid> {
        printable(name, Self::NAME_MAX)
    }

    /// A person's word counts before the worker's.
    pub fn label(&self, key: &LabelKey) -> Option<&str> {
        self.operator_labels.get(key).or_else(|| self.labels.get(key)).map(String::as_str)
    }

    /// Takes new tasks.
    pub fn is_open(&self) -> bool {
        self.state == NodeState::Up && self.availability.kind == AvailabilityKind::Active
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeState {
    /// Its worker is heard.
    Up,
    /// Silent for longer than is usual for it: nothing is placed there.
    Suspect,
    /// Silent for longer than its lease: its tasks are unknown, and rescheduled after a while.
    Lost,
}

/// Whether tasks are placed on a node, and by whose wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Availability {
    pub kind: AvailabilityKind,
    pub since: Timestamp,
    /// The manager did it, not a person.
    pub automatic: bool,
    /// For a person; may be empty.
    pub reason: String,
}

impl Availability {
    pub const fn active(since: Timestamp) -> Self {
        Self { kind: AvailabilityKind::Active, since, automatic: false, reason: String::new() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AvailabilityKind {
    Active,
    /// Nothing is placed there; what runs stays.
    Cordoned,
    /// Nothing is placed there, and what runs moves elsewhere.
    Drained,
}

impl AvailabilityKind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Cordoned => "cordoned",
            Self::Drained => "drained",
        }
    }
}

/// Too much failed on the node at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accusation {
    pub since: Timestamp,
    pub reason: String,
    /// The one failing task there that may be replaced now.
    pub canary: Option<TaskId>,
}

/// The node's worker is starved: timeouts that it sees may be its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    pub since: Timestamp,
    /// The observer's score when it was crossed.
    pub score: u32,
}

/// 1-63 characters of a-z, A-Z, 0-9, '.', '_', '-' and '/', with a letter or digit at both ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabelKey(Arc<str>);

impl LabelKey {
    /// More is not a label but a document.
    pub const VALUE_MAX: usize = 253;
    /// Of one node, by its worker and by people each.
    pub const COUNT_MAX: usize = 64;

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// At most 253 characters, none of them a control character. May be empty.
    pub fn checked_value(value: String) -> Result<String, Invalid> {
        if value.is_empty() { Ok(value) } else { printable(value, Self::VALUE_MAX) }
    }
}

impl fmt::Display for LabelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for LabelKey {
    type Err = Invalid;

    fn from_str(key: &str) -> Result<Self, Invalid> {
        let edge = |c: char| c.is_ascii_alphanumeric();
        let ok = (1..=63).contains(&key.len())
            && key.starts_with(edge)
            && key.ends_with(edge)
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b));
        if ok {
            Ok(Self(key.into()))
        } else {
            Err(Invalid::new(format!(
                "{key:?} is not a label: 1-63 letters, digits, '.', '_', '-' and '/', with a \
                 letter or digit at both ends"
            )))
        }
    }
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
