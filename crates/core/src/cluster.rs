//! All that the manager knows, as one value. A clone is O(1), so a reader's snapshot costs
//! nothing and never sees half a batch.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::{
    change::Change,
    event::Event,
    health::TaskHealth,
    id::{NodeId, ServiceId, TaskId},
    node::Node,
    restraint::Restraint,
    service::Service,
    spec::ServiceName,
    task::Task,
};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Grows by one with each committed batch.
    pub revision: u64,
    restraint: Arc<Restraint>,
    services: OrdMap<ServiceId, Arc<Service>>,
    /// A set, so that the order of changes does not matter while two services exchange names.
    by_name: OrdSet<(ServiceName, ServiceId)>,
    tasks: OrdMap<TaskId, Arc<Task>>,
    health: OrdMap<TaskId, Arc<TaskHealth>>,
    by_service: OrdSet<(ServiceId, u32, TaskId)>,
    by_node: OrdSet<(NodeId, TaskId)>,
    waiting: OrdSet<TaskId>,
    /// Of each node, those that are neither ended nor told to end. No zeros.
    load: OrdMap<NodeId, u32>,
    nodes: OrdMap<NodeId, Arc<Node>>,
    events: OrdMap<u64, Arc<Event>>,
}

impl Cluster {
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    pub fn service(&self, id: ServiceId) -> Option<&Arc<Service>> {
        self.services.get(&id)
    }

    pub fn service_named(&self, name: &ServiceName) -> Option<&Arc<Service>> {
        let first = (name.clone(), ServiceId::from_u64(0));
        let last = (name.clone(), ServiceId::from_u64(u64::MAX));
        self.by_name.range(first..=last).find_map(|(_, id)| self.services.get(id))
    }

    pub fn tasks(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks.values()
    }

    pub fn task(&self, id: TaskId) -> Option<&Arc<Task>> {
        self.tasks.get(&id)
    }

    /// By slot.
    pub fn tasks_of(&self, service: ServiceId) -> impl Iterator<Item = &Arc<Task>> {
        let first = (service, 0, TaskId::from_u64(0));
        let last = (service, u32::MAX, TaskId::from_u64(u64::MAX));
        self.by_service.range(first..=last).filter_map(|(_, _, id)| self.tasks.get(id))
    }

    /// Of one slot, ended ones included.
    pub fn tasks_in(&self, service: ServiceId, slot: u32) -> impl Iterator<Item = &Arc<Task>> {
        let first = (service, slot, TaskId::from_u64(0));
        let last = (service, slot, TaskId::from_u64(u64::MAX));
        self.by_service.range(first..=last).filter_map(|(_, _, id)| self.tasks.get(id))
    }

    /// Those placed on the node, ended ones included.
    pub fn tasks_on(&self, node: NodeId) -> impl Iterator<Item = &Arc<Task>> {
        let first = (node, TaskId::from_u64(0));
        let last = (node, TaskId::from_u64(u64::MAX));
        self.by_node.range(first..=last).filter_map(|(_, id)| self.tasks.get(id))
    }

    /// Those without a node that have not ended.
    pub fn tasks_waiting(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.waiting.iter().filter_map(|id| self.tasks.get(id))
    }

    /// How many tasks a node has that are neither ended nor told to end.
    pub fn load(&self, node: NodeId) -> u32 {
        self.load.get(&node).copied().unwrap_or_default()
    }

    pub fn health(&self, task: TaskId) -> Option<&Arc<TaskHealth>> {
        self.health.get(&task)
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values()
    }

    pub fn node(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(&id)
    }

    pub fn restraint(&self) -> &Arc<Restraint> {
        &self.restraint
    }

    /// The oldest first.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        self.events.values()
    }

    /// Those after `sequence`, the oldest first.
    pub fn events_after(&self, sequence: u64) -> impl Iterator<Item = &Arc<Event>> {
        self.events.range(sequence.saturating_add(1)..).map(|(_, event)| event)
    }

    /// Zero when there has been none.
    pub fn last_event(&self) -> u64 {
        self.events.get_max().map_or(0, |(sequence, _)| *sequence)
    }

    /// Total: every change applies to every cluster, so that replaying a log cannot fail.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::PutService(service) => self.put_service(service),
            Change::RemoveService(id) => {
                if let Some(gone) = self.services.remove(id) {
                    self.by_name.remove(&(gone.spec.name.clone(), *id));
                }
            }
            Change::PutTask(task) => self.put_task(task),
            Change::RemoveTask(id) => self.remove_task(*id),
            Change::PutHealth(id, health) => {
                self.health.insert(*id, Arc::new((**health).clone()));
            }
            Change::PutNode(node) => {
                self.nodes.insert(node.id, Arc::new((**node).clone()));
            }
            Change::RemoveNode(id) => {
                self.nodes.remove(id);
            }
            Change::PutRestraint(restraint) => {
                self.restraint = Arc::new((**restraint).clone());
            }
            Change::PutEvent(event) => {
                self.events.insert(event.sequence, Arc::new((**event).clone()));
            }
            Change::TrimEvents(upto) => self.trim_events(*upto),
        }
    }

    fn put_service(&mut self, service: &Service) {
        if let Some(before) = self.services.insert(service.id, Arc::new(service.clone())) {
            self.by_name.remove(&(before.spec.name.clone(), service.id));
        }
        self.by_name.insert((service.spec.name.clone(), service.id));
    }

    fn put_task(&mut self, task: &Task) {
        self.unindex(task.id);
        self.by_service.insert((task.service, task.slot, task.id));
        if let Some(node) = task.node() {
            self.by_node.insert((node, task.id));
            if is_load(task) {
                *self.load.entry(node).or_default() += 1;
            }
        } else if !task.has_ended() {
            self.waiting.insert(task.id);
        }
        self.tasks.insert(task.id, Arc::new(task.clone()));
    }

    fn remove_task(&mut self, id: TaskId) {
        self.unindex(id);
        self.tasks.remove(&id);
        self.health.remove(&id);
    }

    fn unindex(&mut self, id: TaskId) {
        self.waiting.remove(&id);
        if let Some(before) = self.tasks.get(&id) {
            self.by_service.remove(&(before.service, before.slot, id));
            if let Some(node) = before.node() {
                self.by_node.remove(&(node, id));
                if is_load(before) {
                    let load = self.load.get(&node).copied().unwrap_or_default();
                    match load.checked_sub(1) {
                        None | Some(0) => self.load.remove(&node),
                        Some(rest) => self.load.insert(node, rest),
                    };
                }
            }
        }
    }

    fn trim_events(&mut self, upto: u64) {
        while let Some(&(sequence, _)) = self.events.get_min() {
            if sequence > upto {
                break;
            }
            self.events.remove(&sequence);
        }
    }
}

const fn is_load(task: &Task) -> bool {
    !task.has_ended() && task.stop.is_none()
}
