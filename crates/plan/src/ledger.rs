//! Who is where while tasks are placed, and what each node has left.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use warren_core::{
    bounds::Port,
    cluster::Cluster,
    id::{NodeId, ServiceId},
    node::{Driver, Node, NodeState},
    service::Service,
    spec::{MemoryBytes, NodeAttribute, Protocol, Publish, TaskTemplate, Workload},
    task::Task,
};

use crate::{
    health::{has_failed, is_live},
    node::failures_of_slot,
};

/// Thousandths of CPUs, and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Amount {
    cpu: u64,
    memory: u64,
}

impl Amount {
    /// What the template declares. What is not declared is not counted.
    fn of(template: &TaskTemplate) -> Self {
        Self {
            cpu: template.cpu_millis.map_or(0, |cpu| cpu.get().into()),
            memory: template.memory_bytes.map_or(0, MemoryBytes::get),
        }
    }

    fn of_node(node: &Node) -> Self {
        Self { cpu: u64::from(node.cpus) * 1000, memory: node.memory_bytes }
    }

    const fn plus(self, other: Self) -> Self {
        Self { cpu: self.cpu + other.cpu, memory: self.memory + other.memory }
    }

    const fn minus(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(other.cpu),
            memory: self.memory.saturating_sub(other.memory),
        }
    }
}

/// Kept up to date while placing.
pub(crate) struct Ledger {
    nodes: Vec<Arc<Node>>,
    tasks: BTreeMap<NodeId, u32>,
    by_service: BTreeMap<(NodeId, ServiceId), u32>,
    taken: BTreeMap<NodeId, Amount>,
    ports: BTreeSet<(NodeId, Port, Protocol)>,
    /// What found no node finds none again in this plan: placing only takes. A predecessor makes
    /// room on its own node.
    refused: BTreeSet<(ServiceId, u64, Option<NodeId>)>,
}

/// A task that is to be placed.
pub(crate) struct Candidate<'a> {
    pub cluster: &'a Cluster,
    pub service: &'a Service,
    pub task: &'a Task,
    /// What it takes over from.
    pub old: Option<&'a Task>,
}

impl Candidate<'_> {
    fn template(&self) -> Option<&Arc<TaskTemplate>> {
        self.service.template(self.task.revision)
    }

    /// The one whose place on its node it will take.
    fn leaving(&self) -> Option<&Task> {
        self.old.filter(|old| is_live(old))
    }
}

impl Ledger {
    pub fn new(cluster: &Cluster) -> Self {
        let mut ledger = Self {
            nodes: cluster.nodes().map(Arc::clone).collect(),
            tasks: BTreeMap::new(),
            by_service: BTreeMap::new(),
            taken: BTreeMap::new(),
            ports: BTreeSet::new(),
            refused: BTreeSet::new(),
        };
        for task in cluster.tasks().filter(|task| !task.has_ended()) {
            if let (Some(node), Some(service)) = (task.node(), cluster.service(task.service)) {
                ledger.enter(service, task, node, u32::from(task.stop.is_none()));
            }
        }
        ledger
    }

    /// `load` is nothing for a task that is about to end; its ports and its share are taken until
    /// it has.
    pub fn enter(&mut self, service: &Service, task: &Task, node: NodeId, load: u32) {
        *self.tasks.entry(node).or_default() += load;
        *self.by_service.entry((node, service.id)).or_default() += load;
        let Some(template) = service.template(task.revision) else {
            return;
        };
        let taken = self.taken.entry(node).or_default();
        *taken = taken.plus(Amount::of(template));
        for publish in &template.publish {
            self.ports.insert((node, publish.host_port, publish.protocol));
        }
    }

    /// The best node, and how many there are to choose from.
    pub fn choose(&mut self, candidate: &Candidate<'_>) -> Option<(Arc<Node>, usize)> {
        let Candidate { service, task, old, cluster: _ } = candidate;
        let kind = (service.id, task.revision, old.and_then(Task::node));
        if self.refused.contains(&kind) {
            return None;
        }
        let found = self.best(candidate);
        if found.is_none() {
            self.refused.insert(kind);
        }
        found
    }

    fn best(&self, candidate: &Candidate<'_>) -> Option<(Arc<Node>, usize)> {
        let template = candidate.template()?;
        let free = |node: &&Arc<Node>| template.publish.iter().all(|&p| self.is_free(node, p));
        let fitting: Vec<&Arc<Node>> = self
            .suitable(candidate, template)
            .filter(|node| self.has_room(node, candidate, template))
            .filter(free)
            .collect();
        let failures = failures_of_slot(candidate.cluster, candidate.service, candidate.task.slot);
        let spread = self.spread(candidate);
        let cost = |node: &&&Arc<Node>| self.cost(candidate, node, &failures, spread.as_ref());
        let best = fitting.iter().min_by_key(cost)?;
        Some((Arc::clone(best), fitting.len()))
    }

    /// Takes tasks, has the driver, and is where the service may be.
    fn suitable(
        &self,
        candidate: &Candidate<'_>,
        template: &TaskTemplate,
    ) -> impl Iterator<Item = &Arc<Node>> {
        let rules = &candidate.service.spec.placement;
        self.with_driver(template).filter(move |node| rules.broken_by(node).is_none())
    }

    fn with_driver(&self, template: &TaskTemplate) -> impl Iterator<Item = &Arc<Node>> {
        let driver = driver_of(&template.workload);
        self.open().filter(move |node| node.drivers.contains(&driver))
    }

    fn open(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.iter().filter(|node| node.is_open())
    }

    fn has_room(&self, node: &Node, candidate: &Candidate<'_>, template: &TaskTemplate) -> bool {
        let need = Amount::of(template);
        let place = candidate.leaving().filter(|old| old.node() == Some(node.id));
        let given = place.and_then(|old| candidate.service.template(old.revision));
        let given = given.map_or_else(Amount::default, |template| Amount::of(template));
        let taken = self.taken.get(&node.id).copied().unwrap_or_default().minus(given);
        let (all, sum) = (Amount::of_node(node), taken.plus(need));
        (need.cpu == 0 || sum.cpu <= all.cpu) && (need.memory == 0 || sum.memory <= all.memory)
    }

    fn is_free(&self, node: &Node, publish: Publish) -> bool {
        !self.ports.contains(&(node.id, publish.host_port, publish.protocol))
    }

    /// How many of the service's tasks each value of what it is spread over has.
    fn spread(&self, candidate: &Candidate<'_>) -> Option<Spread> {
        let attribute = candidate.service.spec.placement.spread.clone()?;
        let mut counts = BTreeMap::new();
        for node in &self.nodes {
            let others = self.others(candidate, node);
            *counts.entry(attribute.of(node)).or_default() += others;
        }
        Some(Spread { attribute, counts })
    }

    /// Tasks of the service there. What is about to leave is no reason to go elsewhere.
    fn others(&self, candidate: &Candidate<'_>, node: &Node) -> u32 {
        let key = (node.id, candidate.service.id);
        let leaving = candidate.leaving().is_some_and(|old| old.node() == Some(node.id));
        self.by_service.get(&key).copied().unwrap_or(0).saturating_sub(u32::from(leaving))
    }

    /// Less is better: where the slot did not fail, where little fails, few of the service by its
    /// own spread, few of it on the node, few at all.
    fn cost(
        &self,
        candidate: &Candidate<'_>,
        node: &Node,
        failures: &BTreeMap<NodeId, u32>,
        spread: Option<&Spread>,
    ) -> impl Ord + use<> {
        let leaving = candidate.leaving().filter(|old| old.node() == Some(node.id));
        // A live one is replaced for its health, unless it is for its revision.
        let fails = leaving.is_some_and(|old| old.revision == candidate.task.revision);
        // Of another revision, or forgotten by the rows of the slot.
        let failed =
            candidate.old.is_some_and(|old| old.node() == Some(node.id) && has_failed(old));
        let failures = failures.get(&node.id).copied().unwrap_or(0).max(failed.into());
        let all = self.tasks.get(&node.id).copied().unwrap_or(0);
        (
            failures + u32::from(fails),
            node.accused.is_some(),
            spread.map_or((false, 0), |spread| spread.cost(node)),
            self.others(candidate, node),
            all.saturating_sub(u32::from(leaving.is_some())),
            node.id,
        )
    }

    pub fn why_nowhere(&self, candidate: &Candidate<'_>) -> String {
        let Some(template) = candidate.template() else {
            return format!("revision {} is no longer known", candidate.task.revision);
        };
        if self.open().next().is_none() {
            return self.why_none_is_open();
        }
        let driver = driver_of(&template.workload).name();
        if self.with_driver(template).next().is_none() {
            return format!("no node that is up has the {driver} driver");
        }
        let nodes: Vec<&Arc<Node>> = self.suitable(candidate, template).collect();
        if nodes.is_empty() {
            let rules: Vec<String> = candidate
                .service
                .spec
                .placement
                .constraints
                .iter()
                .map(ToString::to_string)
                .collect();
            return format!("no node that is up fits {}", rules.join(" and "));
        }
        let room: Vec<&Arc<Node>> =
            nodes.into_iter().filter(|node| self.has_room(node, candidate, template)).collect();
        let place = match room[..] {
            [] => return no_room(template),
            [node] => node.name.clone(),
            [..] => format!("all {} nodes", room.len()),
        };
        let is_taken = |p: &&Publish| room.iter().all(|node| !self.is_free(node, **p));
        match template.publish.iter().find(is_taken) {
            Some(Publish { host_port, protocol, task_port: _ }) => {
                format!("host port {host_port}/{} is taken on {place}", protocol.name())
            }
            None => "no node has all of its host ports free".to_owned(),
        }
    }

    fn why_none_is_open(&self) -> String {
        let closed = self.nodes.iter().filter(|node| node.state == NodeState::Up).count();
        match closed {
            0 => "no node is up".to_owned(),
            1 => "the one node that is up takes no tasks".to_owned(),
            _ => format!("none of the {closed} nodes that are up takes tasks"),
        }
    }
}

/// How a service is spread over the values of an attribute.
struct Spread {
    attribute: NodeAttribute,
    counts: BTreeMap<Option<String>, u32>,
}

impl Spread {
    /// Nodes without a value come last.
    fn cost(&self, node: &Node) -> (bool, u32) {
        let value = self.attribute.of(node);
        let count = self.counts.get(&value).copied().unwrap_or(0);
        (value.is_none(), count)
    }
}

fn no_room(template: &TaskTemplate) -> String {
    let cpu = template.cpu_millis.map(|cpu| format!("{} CPUs", f64::from(cpu.get()) / 1000.0));
    let memory = template.memory_bytes.map(|memory| format!("{} bytes of memory", memory.get()));
    let need: Vec<String> = cpu.into_iter().chain(memory).collect();
    format!("no node has {} left", need.join(" and "))
}

const fn driver_of(workload: &Workload) -> Driver {
    match workload {
        Workload::Image { .. } => Driver::Containerd,
        Workload::Process { .. } => Driver::Process,
    }
}
