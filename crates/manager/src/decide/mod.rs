//! What an input changes. Pure: the cluster, the input and the time go in; changes, or a
//! rejection, come out. One file per noun.

pub mod label;
pub mod node;
pub mod report;
pub mod service;
pub mod task;
pub mod verdict;

#[cfg(test)]
pub mod fixture;

use warren_core::{
    change::Change,
    cluster::Cluster,
    event::{Event, EventKind},
    id::{NodeId, ServiceId, TaskId},
    service::Service,
    task::Task,
    time::Timestamp,
};
use warren_plan::title;

/// A batch in the making: the cluster as it will be, and the changes that lead there.
#[derive(Debug, Clone)]
pub struct Draft {
    cluster: Cluster,
    changes: Vec<Change>,
    now: Timestamp,
}

/// What an event is about.
#[derive(Debug, Clone, Copy, Default)]
pub struct Subject {
    pub service: Option<ServiceId>,
    pub slot: Option<u32>,
    pub task: Option<TaskId>,
    pub node: Option<NodeId>,
}

impl Draft {
    pub fn new(cluster: Cluster, now: Timestamp) -> Self {
        Self { cluster, changes: Vec::new(), now }
    }

    /// With everything that was put so far.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub fn now(&self) -> Timestamp {
        self.now
    }

    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    pub fn into_parts(self) -> (Cluster, Vec<Change>) {
        (self.cluster, self.changes)
    }

    pub fn put(&mut self, change: Change) {
        self.cluster.apply(&change);
        self.changes.push(change);
    }

    /// Takes over what `decide` puts, or nothing of it where it rejects.
    pub fn attempt<T, E>(
        &mut self,
        decide: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let before = (self.cluster.clone(), self.changes.len());
        decide(self).inspect_err(|_| {
            let (cluster, changes) = before;
            self.cluster = cluster;
            self.changes.truncate(changes);
        })
    }

    /// Appends to the history what happens now.
    pub fn tell(&mut self, kind: EventKind, subject: Subject, message: String) {
        self.tell_at(self.now, kind, subject, message);
    }

    /// Appends to the history what happened before it was heard of.
    pub fn tell_at(&mut self, at: Timestamp, kind: EventKind, subject: Subject, message: String) {
        let sequence = self.cluster.last_event() + 1;
        let Subject { service, slot, task, node } = subject;
        let named = service.and_then(|id| self.cluster.service(id));
        let service_name = named.map(|service| service.spec.name.clone());
        let event = Event {
            sequence,
            at,
            kind,
            service,
            service_name,
            slot,
            task,
            node,
            message,
            decision: None,
        };
        self.put(Change::PutEvent(Box::new(event)));
    }

    /// The name that people know the task by; its id alone where the service is gone.
    fn title(&self, task: &Task) -> String {
        match self.cluster.service(task.service) {
            Some(service) => title(service, task),
            None => format!("task {}", task.id),
        }
    }
}

impl Subject {
    pub fn service(service: &Service) -> Self {
        Self { service: Some(service.id), ..Self::default() }
    }

    pub fn task(task: &Task) -> Self {
        Self {
            service: Some(task.service),
            slot: Some(task.slot),
            task: Some(task.id),
            node: task.node(),
        }
    }

    pub fn node(node: NodeId) -> Self {
        Self { node: Some(node), ..Self::default() }
    }
}
