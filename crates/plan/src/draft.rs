//! A plan in the making: the cluster as it will be, and the changes that lead there.

use std::{collections::BTreeMap, sync::Arc};

use warren_core::{
    change::Change,
    cluster::Cluster,
    event::{Decision, Event, EventKind},
    id::{NodeId, ServiceId, TaskId},
    node::Node,
    restraint::Restraint,
    rule::{Hold, Rule},
    service::Service,
    task::{EndKind, Phase, Placement, Stop, StopCause, Task, TaskEnd},
    time::Timestamp,
};

use crate::{Dirty, Plan, Policy, health::title, mix::mix};

pub(crate) struct Draft<'a> {
    pub cluster: Cluster,
    pub policy: &'a Policy,
    pub now: Timestamp,
    /// How many rows were written so far.
    pub edits: usize,
    /// What the written rows bear on.
    touched: Dirty,
    seed: u64,
    changes: Vec<Change>,
    /// Where each row is in `changes`: a row is written once in a plan, as etcd demands.
    rows: BTreeMap<Row, usize>,
    wake_at: Option<Timestamp>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    Task(TaskId),
    Service(ServiceId),
    Node(NodeId),
    Restraint,
    Event(u64),
    Trim,
}

impl<'a> Draft<'a> {
    pub fn new(cluster: &Cluster, policy: &'a Policy, now: Timestamp, seed: u64) -> Self {
        Self {
            cluster: cluster.clone(),
            policy,
            now,
            edits: 0,
            touched: Dirty::default(),
            seed,
            changes: Vec::new(),
            rows: BTreeMap::new(),
            wake_at: None,
        }
    }

    pub fn finish(self) -> Plan {
        Plan { changes: self.changes, wake_at: self.wake_at }
    }

    /// What was written since this was asked last.
    pub fn take_touched(&mut self) -> Dirty {
        std::mem::take(&mut self.touched)
    }

    /// Whether what the nodes have given away has changed since then.
    pub const fn has_moved_room(&self) -> bool {
        self.touched.room
    }

    /// Look again then at the latest. A moment that has come needs no waking.
    pub fn wake(&mut self, at: Timestamp) {
        if self.now < at {
            self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
        }
    }

    /// Writes the task, unless that is how it is already.
    pub fn put_task(&mut self, task: Task) {
        if self.cluster.task(task.id).is_none_or(|before| **before != task) {
            self.write(Row::Task(task.id), Change::PutTask(Box::new(task)));
        }
    }

    pub fn remove_task(&mut self, id: TaskId) {
        self.write(Row::Task(id), Change::RemoveTask(id));
    }

    pub fn put_node(&mut self, node: Node) {
        self.write(Row::Node(node.id), Change::PutNode(Box::new(node)));
    }

    pub fn put_restraint(&mut self, restraint: Restraint) {
        if **self.cluster.restraint() != restraint {
            self.write(Row::Restraint, Change::PutRestraint(Box::new(restraint)));
        }
    }

    /// Writes what holds the task's replacement; the first to hold it is remembered for as long
    /// as it does.
    pub fn hold(&mut self, task: &Task, by: Option<(Rule, &str)>) {
        let held = match (&task.held, by) {
            (Some(held), Some((rule, _))) if held.rule == rule => return,
            (_, Some((rule, reason))) => {
                Some(Box::new(Hold { rule, since: self.now, reason: reason.to_owned() }))
            }
            (_, None) => None,
        };
        if held != task.held {
            self.put_task(Task { held, ..task.clone() });
        }
    }

    pub fn put_service(&mut self, service: Service) {
        self.write(Row::Service(service.id), Change::PutService(Box::new(service)));
    }

    pub fn remove_service(&mut self, id: ServiceId) {
        self.write(Row::Service(id), Change::RemoveService(id));
    }

    pub fn remove_event(&mut self, sequence: u64) {
        self.write(Row::Event(sequence), Change::RemoveEvent(sequence));
    }

    pub fn trim_events(&mut self, upto: u64) {
        self.write(Row::Trim, Change::TrimEvents(upto));
    }

    /// Tells the task to end. The first to say so is the one who is remembered.
    pub fn stop(
        &mut self,
        service: &Service,
        task: &Task,
        (cause, rule): (StopCause, Rule),
        reason: String,
    ) {
        if task.stop.is_some() || task.has_ended() {
            return;
        }
        let message = format!("{} is stopped: {reason}", title(service, task));
        let mut next = task.clone();
        let decision = Decision { rule, seen: reason.clone() };
        next.stop = Some(Box::new(Stop { cause, reason, at: self.now }));
        next.held = None;
        self.put_task(next);
        self.decide(EventKind::TaskStopping, service, Some(task), decision, message);
    }

    /// Ends the task where no worker can: it has none.
    pub fn end(&mut self, service: &Service, task: &Task, kind: EndKind, reason: &str) {
        let end = TaskEnd {
            kind,
            at: self.now,
            exit_code: None,
            oom_killed: false,
            reason: reason.to_owned(),
        };
        let mut next = task.clone();
        next.status.phase = Phase::Ended(Box::new(end));
        next.status.since = self.now;
        self.put_task(next);
        let message = format!("{} has ended: {reason}", title(service, task));
        self.tell(EventKind::TaskEnded, service, Some(task), message);
    }

    /// Writes where the task goes, or why it goes nowhere yet.
    pub fn place(&mut self, task: &Task, placement: Placement) {
        let mut next = task.clone();
        next.placement = placement;
        self.put_task(next);
    }

    /// Appends to the history.
    pub fn tell(
        &mut self,
        kind: EventKind,
        service: &Service,
        task: Option<&Task>,
        message: String,
    ) {
        let event = self.event(kind, Some(service), message);
        self.append(self.about(event, task));
    }

    /// Appends a decision to the history.
    pub fn decide(
        &mut self,
        kind: EventKind,
        service: &Service,
        task: Option<&Task>,
        decision: Decision,
        message: String,
    ) {
        let event = self.event(kind, Some(service), message);
        self.append(Event { decision: Some(decision), ..self.about(event, task) });
    }

    /// A decision about a node.
    pub fn tell_node(
        &mut self,
        kind: EventKind,
        node: NodeId,
        rule: Rule,
        seen: String,
        message: String,
    ) {
        let event = self.event(kind, None, message);
        self.append(Event { node: Some(node), decision: Some(Decision { rule, seen }), ..event });
    }

    /// A decision about the whole cluster.
    pub fn tell_cluster(&mut self, kind: EventKind, rule: Rule, seen: String, message: String) {
        let event = self.event(kind, None, message);
        self.append(Event { decision: Some(Decision { rule, seen }), ..event });
    }

    fn event(&self, kind: EventKind, service: Option<&Service>, message: String) -> Event {
        Event {
            sequence: self.cluster.last_event() + 1,
            at: self.now,
            kind,
            service: service.map(|service| service.id),
            service_name: service.map(|service| service.spec.name.clone()),
            slot: None,
            task: None,
            node: None,
            message,
            decision: None,
        }
    }

    fn about(&self, event: Event, task: Option<&Task>) -> Event {
        let current = task.and_then(|task| self.cluster.task(task.id));
        Event {
            slot: task.map(|task| task.slot),
            task: task.map(|task| task.id),
            node: current.and_then(|task| task.node()),
            ..event
        }
    }

    fn append(&mut self, event: Event) {
        self.write(Row::Event(event.sequence), Change::PutEvent(Box::new(event)));
    }

    /// An id that no task has. It follows from what the task is for, so planning twice names it
    /// the same.
    pub fn new_task_id(&self, service: ServiceId, slot: u32, after: Option<&Arc<Task>>) -> TaskId {
        let before = after.map_or([0, 0], |task| [task.id.as_u64(), u64::from(task.attempt)]);
        let [id, attempt] = before;
        let slot = u64::from(slot);
        let words = [self.seed, service.as_u64(), slot, id, attempt, self.now.as_millis()];
        let mut number = mix(&words);
        while number == 0 || self.cluster.task(TaskId::from_u64(number)).is_some() {
            number = number.wrapping_add(1);
        }
        TaskId::from_u64(number)
    }

    fn write(&mut self, row: Row, change: Change) {
        self.edits += 1;
        self.touched.note_own(&self.cluster, &change);
        self.cluster.apply(&change);
        if let Some(&index) = self.rows.get(&row) {
            self.changes[index] = change;
        } else {
            self.rows.insert(row, self.changes.len());
            self.changes.push(change);
        }
    }
}
