//! All that the manager knows, as one value. A clone is O(1), so a reader's snapshot costs
//! nothing and never sees half a batch.

mod open;

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use self::open::Open;

use crate::{
    change::Change,
    check::Checks,
    event::Event,
    health::TaskHealth,
    id::{NodeId, ServiceId, TaskId},
    node::{Driver, LabelKey, Node},
    restraint::Restraint,
    service::Service,
    spec::ServiceName,
    task::{ReportMark, Task},
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
    by_service: OrdMap<(ServiceId, u32, TaskId), Arc<Task>>,
    by_node: OrdMap<(NodeId, TaskId), Arc<Task>>,
    waiting: OrdSet<TaskId>,
    /// Of each node, those that are neither ended nor told to end. No zeros.
    load: OrdMap<NodeId, u32>,
    nodes: OrdMap<NodeId, Arc<Node>>,
    open: Open,
    events: OrdMap<u64, Arc<Event>>,
    events_of_task: OrdSet<(TaskId, u64)>,
    events_of_service: OrdSet<(ServiceId, u64)>,
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
        self.by_service.range(first..=last).map(|(_, task)| task)
    }

    /// Of one slot, ended ones included.
    pub fn tasks_in(&self, service: ServiceId, slot: u32) -> impl Iterator<Item = &Arc<Task>> {
        let first = (service, slot, TaskId::from_u64(0));
        let last = (service, slot, TaskId::from_u64(u64::MAX));
        self.by_service.range(first..=last).map(|(_, task)| task)
    }

    /// Those placed on the node, ended ones included.
    pub fn tasks_on(&self, node: NodeId) -> impl Iterator<Item = &Arc<Task>> {
        let first = (node, TaskId::from_u64(0));
        let last = (node, TaskId::from_u64(u64::MAX));
        self.by_node.range(first..=last).map(|(_, task)| task)
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

    /// The last report of it that was taken.
    pub fn reported(&self, task: &Task) -> ReportMark {
        let health = self.health.get(&task.id).map(|health| health.reported);
        task.reported.max(health.unwrap_or_default())
    }

    /// These checks, shared with another task of the same service where they are the same: a large
    /// service's tasks would each have their own.
    pub fn shared_checks(&self, service: ServiceId, checks: Arc<Checks>) -> Arc<Checks> {
        let known = self.tasks_of(service).take(16).find_map(|task| task.status.checks.as_ref());
        known.filter(|known| **known == checks).map_or(checks, Arc::clone)
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values()
    }

    pub fn node(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(&id)
    }

    /// Those that take tasks and have the driver: first those that are not accused, then those with
    /// the fewest tasks, see [`load`](Self::load), then by id.
    pub fn open_nodes(&self, driver: Driver) -> impl Iterator<Item = &Arc<Node>> {
        self.open.nodes(driver).filter_map(|id| self.nodes.get(&id))
    }

    pub fn open_count(&self, driver: Driver) -> usize {
        self.open.count(driver)
    }

    /// The values that the label has on nodes that take tasks, each once.
    pub fn open_values(&self, label: &LabelKey) -> impl Iterator<Item = &String> {
        self.open.values(label)
    }

    pub fn open_values_count(&self, label: &LabelKey) -> usize {
        self.open.values_count(label)
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

    /// The sequences of what is told of the task, the oldest first.
    pub fn events_of_task(&self, task: TaskId) -> impl DoubleEndedIterator<Item = u64> {
        self.events_of_task.range((task, 0)..=(task, u64::MAX)).map(|(_, sequence)| *sequence)
    }

    /// The sequences of what is told of the service and its tasks, the oldest first.
    pub fn events_of_service(&self, service: ServiceId) -> impl DoubleEndedIterator<Item = u64> {
        let all = (service, 0)..=(service, u64::MAX);
        self.events_of_service.range(all).map(|(_, sequence)| *sequence)
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
            Change::PutNode(node) => self.put_node(node),
            Change::RemoveNode(id) => self.remove_node(*id),
            Change::PutRestraint(restraint) => {
                self.restraint = Arc::new((**restraint).clone());
            }
            Change::PutEvent(event) => self.put_event(event),
            Change::RemoveEvent(sequence) => self.remove_event(*sequence),
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
        let (id, task) = (task.id, Arc::new(task.clone()));
        let before = self.tasks.insert(id, Arc::clone(&task));
        if let Some(before) = &before
            && (before.service, before.slot, before.node(), is_load(before), is_waiting(before))
                != (task.service, task.slot, task.node(), is_load(&task), is_waiting(&task))
        {
            self.unindex(before);
            self.index(&task);
        } else if before.is_some() {
            // Most changes leave it where it is.
            self.by_service.insert((task.service, task.slot, id), Arc::clone(&task));
            if let Some(node) = task.node() {
                self.by_node.insert((node, id), task);
            }
        } else {
            self.index(&task);
        }
    }

    fn remove_task(&mut self, id: TaskId) {
        if let Some(gone) = self.tasks.remove(&id) {
            self.unindex(&gone);
        }
        self.health.remove(&id);
    }

    fn index(&mut self, task: &Arc<Task>) {
        self.by_service.insert((task.service, task.slot, task.id), Arc::clone(task));
        if is_waiting(task) {
            self.waiting.insert(task.id);
        }
        if let Some(node) = task.node() {
            self.by_node.insert((node, task.id), Arc::clone(task));
            if is_load(task) {
                self.set_load(node, self.load(node) + 1);
            }
        }
    }

    fn unindex(&mut self, task: &Task) {
        self.by_service.remove(&(task.service, task.slot, task.id));
        self.waiting.remove(&task.id);
        let Some(node) = task.node() else { return };
        self.by_node.remove(&(node, task.id));
        if is_load(task) {
            self.set_load(node, self.load(node).saturating_sub(1));
        }
    }

    fn set_load(&mut self, id: NodeId, load: u32) {
        if let Some(node) = self.nodes.get(&id) {
            self.open.remove_turn(node, self.load(id));
            self.open.insert_turn(node, load);
        }
        match load {
            0 => self.load.remove(&id),
            _ => self.load.insert(id, load),
        };
    }

    fn put_node(&mut self, node: &Node) {
        self.remove_node(node.id);
        self.open.insert(node, self.load(node.id));
        self.nodes.insert(node.id, Arc::new(node.clone()));
    }

    fn remove_node(&mut self, id: NodeId) {
        if let Some(gone) = self.nodes.remove(&id) {
            self.open.remove(&gone, self.load(id));
        }
    }

    fn trim_events(&mut self, upto: u64) {
        while let Some(&(sequence, _)) = self.events.get_min() {
            if sequence > upto {
                break;
            }
            self.remove_event(sequence);
        }
    }

    fn put_event(&mut self, event: &Event) {
        self.remove_event(event.sequence);
        if let Some(task) = event.task {
            self.events_of_task.insert((task, event.sequence));
        }
        if let Some(service) = event.service {
            self.events_of_service.insert((service, event.sequence));
        }
        self.events.insert(event.sequence, Arc::new(event.clone()));
    }

    fn remove_event(&mut self, sequence: u64) {
        let Some(gone) = self.events.remove(&sequence) else { return };
        if let Some(task) = gone.task {
            self.events_of_task.remove(&(task, sequence));
        }
        if let Some(service) = gone.service {
            self.events_of_service.remove(&(service, sequence));
        }
    }
}

const fn is_load(task: &Task) -> bool {
    !task.has_ended() && task.stop.is_none()
}

const fn is_waiting(task: &Task) -> bool {
    task.node().is_none() && !task.has_ended()
}
