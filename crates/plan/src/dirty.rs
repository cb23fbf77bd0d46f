//! What a change bears on, so that planning costs what changed and not what is there.

use std::collections::BTreeSet;

use warren_core::{
    change::Change,
    cluster::Cluster,
    event::Event,
    id::{NodeId, ServiceId, TaskId},
    task::Task,
};

use crate::health::{is_live, is_well};

/// What must be planned again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dirty {
    pub services: BTreeSet<ServiceId>,
    /// Tasks of theirs were well and are well: nothing to plan, where the service was at rest.
    pub nudged: BTreeSet<ServiceId>,
    pub nodes: BTreeSet<NodeId>,
    /// Nodes came, went or were heard of.
    pub presence: bool,
    /// What the nodes have given away: where there was no room there may be, and the other way.
    pub room: bool,
    /// Of what the history has got longer.
    pub told: Told,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    pub services: BTreeSet<ServiceId>,
    pub tasks: BTreeSet<TaskId>,
}

impl Told {
    fn note(&mut self, event: &Event) {
        self.services.extend(event.service);
        self.tasks.extend(event.task);
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.services.append(&mut other.services);
        self.tasks.append(&mut other.tasks);
    }
}

impl Dirty {
    pub fn all(cluster: &Cluster) -> Self {
        let mut told = Told::default();
        for event in cluster.events() {
            told.note(event);
        }
        Self {
            told,
            services: cluster.services().map(|service| service.id).collect(),
            nudged: BTreeSet::new(),
            nodes: cluster.nodes().map(|node| node.id).collect(),
            presence: true,
            room: true,
        }
    }

    /// What these changes may concern, with the cluster without and with them.
    pub fn of(before: &Cluster, after: &Cluster, changes: &[Change]) -> Self {
        let mut dirty = Self::default();
        for change in changes {
            if let Some(service) = nudged(before, after, change) {
                dirty.nudged.insert(service);
            } else {
                dirty.note(before, change);
                dirty.note(after, change);
                dirty.room |= moves_room(before, change);
            }
        }
        dirty
    }

    /// Nothing is to be planned.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
            && self.nudged.is_empty()
            && self.nodes.is_empty()
            && !self.presence
            && !self.room
    }

    pub fn append(&mut self, mut other: Self) {
        self.services.append(&mut other.services);
        self.nudged.append(&mut other.nudged);
        self.nodes.append(&mut other.nodes);
        self.presence |= other.presence;
        self.room |= other.room;
        self.told.append(other.told);
    }

    /// Somebody else's change; `cluster` is without it or with it.
    pub fn note(&mut self, cluster: &Cluster, change: &Change) {
        match change {
            Change::PutService(service) => {
                self.services.insert(service.id);
                // What was released counts against no node.
                let nodes = cluster.tasks_of(service.id).filter_map(|task| task.node());
                self.nodes.extend(nodes);
            }
            Change::PutTask(task) => {
                self.services.insert(task.service);
                self.nodes.extend(task.node());
            }
            Change::RemoveTask(id) | Change::PutHealth(id, _) => {
                if let Some(task) = cluster.task(*id) {
                    self.services.insert(task.service);
                    self.nodes.extend(task.node());
                }
            }
            Change::PutEvent(event) => self.told.note(event),
            Change::PutNode(node) => self.note_node(cluster, node.id),
            Change::RemoveNode(id) => self.note_node(cluster, *id),
            Change::RemoveService(_)
            | Change::PutRestraint(_)
            | Change::RemoveEvent(_)
            | Change::TrimEvents(_) => {}
        }
    }

    fn note_node(&mut self, cluster: &Cluster, node: NodeId) {
        self.presence = true;
        self.nodes.insert(node);
        self.services.extend(cluster.tasks_on(node).map(|task| task.service));
    }

    /// A change of the planner itself, which has looked already at what it planned. `before` is
    /// the cluster without it.
    pub(crate) fn note_own(&mut self, before: &Cluster, change: &Change) {
        self.room |= moves_room(before, change);
        match change {
            Change::PutEvent(event) => self.told.note(event),
            Change::PutTask(task) => self.nodes.extend(task.node()),
            Change::RemoveTask(id) => self.note(before, &Change::RemoveTask(*id)),
            Change::PutNode(node) => {
                self.services.extend(before.tasks_on(node.id).map(|task| task.service));
            }
            Change::PutRestraint(restraint) => {
                if restraint.silence != before.restraint().silence {
                    self.services.extend(before.services().map(|service| service.id));
                }
            }
            Change::PutService(_)
            | Change::RemoveService(_)
            | Change::PutHealth(..)
            | Change::RemoveNode(_)
            | Change::RemoveEvent(_)
            | Change::TrimEvents(_) => {}
        }
    }
}

/// A live task was well by its worker's word and still is, and nobody else has a say: whatever
/// changed of it, such as its readiness, concerns a service that is not at rest alone.
fn nudged(before: &Cluster, after: &Cluster, change: &Change) -> Option<ServiceId> {
    let Change::PutHealth(id, _) = change else { return None };
    let task = after.task(*id).filter(|task| is_live(task))?;
    (is_well(before, *id) && is_well(after, *id)).then_some(task.service)
}

/// Whether a node gives away more or less than `before`, or may take other tasks.
fn moves_room(before: &Cluster, change: &Change) -> bool {
    match change {
        Change::PutTask(task) => {
            let taken = |task: &Task| task.node().filter(|_| !task.has_ended());
            before.task(task.id).and_then(|known| taken(known)) != taken(task)
        }
        Change::RemoveTask(_) | Change::PutNode(_) | Change::RemoveNode(_) => true,
        // Of its own tasks, which are tried anyway.
        Change::PutService(_)
        | Change::RemoveService(_)
        | Change::PutHealth(..)
        | Change::PutRestraint(_)
        | Change::PutEvent(_)
        | Change::RemoveEvent(_)
        | Change::TrimEvents(_) => false,
    }
}
