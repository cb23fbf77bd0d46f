//! What never may be, whatever happened. For tests, simulations and a manager that doubts itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use warren_core::{
    cluster::Cluster,
    id::{NodeId, TaskId},
    task::Task,
    time::Timestamp,
};

use crate::health::{is_live, is_running};

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// Its service is not there.
    Orphan(TaskId),
    /// Slots count from one.
    SlotZero(TaskId),
    /// Nobody knows what it runs.
    NoTemplate(TaskId),
    /// It says that it takes over from itself.
    ReplacesItself(TaskId),
    /// It runs before its backoff is over.
    TooEarly(TaskId),
    /// More than two live tasks in a slot.
    Crowd(Vec<TaskId>),
    /// Two live tasks in a slot, and neither takes over from the other.
    Strangers(TaskId, TaskId),
    /// Two tasks on a node publish the same host port.
    PortTwice(NodeId, TaskId, TaskId),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Orphan(id) => write!(f, "task {id} belongs to no service"),
            Self::SlotZero(id) => write!(f, "task {id} is in slot 0"),
            Self::NoTemplate(id) => write!(f, "task {id} runs a revision that is not known"),
            Self::ReplacesItself(id) => write!(f, "task {id} takes over from itself"),
            Self::TooEarly(id) => write!(f, "task {id} runs before its backoff is over"),
            Self::Crowd(ids) => write!(f, "{} live tasks fill one slot: {ids:?}", ids.len()),
            Self::Strangers(a, b) => {
                write!(f, "tasks {a} and {b} fill one slot, and neither takes over from the other")
            }
            Self::PortTwice(node, a, b) => {
                write!(f, "tasks {a} and {b} publish the same host port on node {node}")
            }
        }
    }
}

/// All broken invariants; none, if all is as it should be.
pub fn violations(cluster: &Cluster, now: Timestamp) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut live = BTreeMap::<_, Vec<&Arc<Task>>>::new();
    for task in cluster.tasks() {
        found.extend(of_task(cluster, task, now));
        if is_live(task) {
            live.entry((task.service, task.slot)).or_default().push(task);
        }
    }
    for tasks in live.values() {
        match tasks[..] {
            [] | [_] => {}
            [a, b] if a.replaces == Some(b.id) || b.replaces == Some(a.id) => {}
            [a, b] => found.push(Violation::Strangers(a.id, b.id)),
            [..] => found.push(Violation::Crowd(tasks.iter().map(|task| task.id).collect())),
        }
    }
    found.extend(ports_taken_twice(cluster));
    found
}

fn of_task(cluster: &Cluster, task: &Task, now: Timestamp) -> Option<Violation> {
    let Some(service) = cluster.service(task.service) else {
        return Some(Violation::Orphan(task.id));
    };
    if task.slot == 0 {
        Some(Violation::SlotZero(task.id))
    } else if service.template(task.revision).is_none() {
        Some(Violation::NoTemplate(task.id))
    } else if task.replaces == Some(task.id) {
        Some(Violation::ReplacesItself(task.id))
    } else if is_running(task) && now < task.not_before {
        Some(Violation::TooEarly(task.id))
    } else {
        None
    }
}

fn ports_taken_twice(cluster: &Cluster) -> Vec<Violation> {
    let mut taken = BTreeMap::new();
    let mut found = BTreeSet::new();
    for task in cluster.tasks().filter(|task| !task.has_ended()) {
        let template = cluster.service(task.service).and_then(|s| s.template(task.revision));
        let (Some(node), Some(template)) = (task.node(), template) else {
            continue;
        };
        for publish in &template.publish {
            let port = (node, publish.host_port, publish.protocol);
            if let Some(other) = taken.insert(port, task.id) {
                found.insert((node, other, task.id));
            }
        }
    }
    found.into_iter().map(|(node, a, b)| Violation::PortTwice(node, a, b)).collect()
}
