//! Who is where while tasks are placed, and what each node has left.

use std::{
    cell::OnceCell,
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

/// Kept up to date while placing. What a node has given away is counted only where that may
/// decide: for tasks that declare what they take, and for the nodes that come first.
pub(crate) struct Ledger {
    places: Vec<Place>,
    /// Of a service that is placed, its tasks on each of the places.
    by_service: BTreeMap<ServiceId, Vec<u32>>,
    /// What found no node finds none again in this plan: placing only takes. A predecessor makes
    /// room on its own node.
    refused: BTreeSet<(ServiceId, u64, Option<NodeId>)>,
}

/// A node, and what is there.
struct Place {
    node: Arc<Node>,
    /// What is about to end is none.
    tasks: u32,
    taken: OnceCell<Taken>,
}

/// The ports and the share of what is about to end are taken until it has.
#[derive(Default)]
struct Taken {
    amount: Amount,
    ports: BTreeSet<(Port, Protocol)>,
}

impl Taken {
    fn on(cluster: &Cluster, node: NodeId) -> Self {
        let mut taken = Self::default();
        for task in cluster.tasks_on(node).filter(|task| !task.has_ended()) {
            let service = cluster.service(task.service);
            if let Some(template) = service.and_then(|s| s.template(task.revision)) {
                taken.enter(template);
            }
        }
        taken
    }

    fn enter(&mut self, template: &TaskTemplate) {
        self.amount = self.amount.plus(Amount::of(template));
        self.ports.extend(template.publish.iter().map(|p| (p.host_port, p.protocol)));
    }
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
        let place = |node: &Arc<Node>| Place {
            node: Arc::clone(node),
            tasks: cluster.load(node.id),
            taken: OnceCell::new(),
        };
        Self {
            places: cluster.nodes().map(place).collect(),
            by_service: BTreeMap::new(),
            refused: BTreeSet::new(),
        }
    }

    /// The best node, and how many there are to choose from; it is the candidate's from now on.
    pub fn choose(&mut self, candidate: &Candidate<'_>) -> Option<(Arc<Node>, usize)> {
        let Candidate { service, task, old, cluster: _ } = candidate;
        let kind = (service.id, task.revision, old.and_then(Task::node));
        if self.refused.contains(&kind) {
            return None;
        }
        if !self.by_service.contains_key(&service.id) {
            let counts = self.count(candidate);
            self.by_service.insert(service.id, counts);
        }
        let Some((at, suitable)) = self.best(candidate) else {
            self.refused.insert(kind);
            return None;
        };
        self.enter(candidate, at);
        Some((Arc::clone(&self.places[at].node), suitable))
    }

    fn enter(&mut self, candidate: &Candidate<'_>, at: usize) {
        let place = &mut self.places[at];
        place.tasks += 1;
        if let (Some(taken), Some(template)) = (place.taken.get_mut(), candidate.template()) {
            taken.enter(template);
        }
        if let Some(counts) = self.by_service.get_mut(&candidate.service.id) {
            counts[at] += 1;
        }
    }

    fn best(&self, candidate: &Candidate<'_>) -> Option<(usize, usize)> {
        let template = candidate.template()?;
        let failures = failures_of_slot(candidate.cluster, candidate.service, candidate.task.slot);
        let spread = self.spread(candidate);
        let mut ranked: Vec<_> = self
            .suitable(candidate, template)
            .map(|(at, place)| {
                let others = self.others(candidate, at);
                (place.cost(candidate, others, &failures, spread.as_ref()), at)
            })
            .collect();
        let suitable = ranked.len();
        if Amount::of(template) == Amount::default() && template.publish.is_empty() {
            return ranked.into_iter().min().map(|(_, at)| (at, suitable));
        }
        ranked.sort_unstable();
        let fits = |at: &usize| {
            let place = &self.places[*at];
            let free = |p: &Publish| place.is_free(candidate.cluster, *p);
            place.has_room(candidate, template) && template.publish.iter().all(free)
        };
        let best = ranked.into_iter().map(|(_, at)| at).find(fits)?;
        Some((best, suitable))
    }

    /// The service's tasks on each of the places.
    fn count(&self, candidate: &Candidate<'_>) -> Vec<u32> {
        let mut on: BTreeMap<NodeId, u32> = BTreeMap::new();
        for task in candidate.cluster.tasks_of(candidate.service.id).filter(|t| is_live(t)) {
            if let Some(node) = task.node() {
                *on.entry(node).or_default() += 1;
            }
        }
        let places = self.places.iter();
        places.map(|place| on.get(&place.node.id).copied().unwrap_or_default()).collect()
    }

    /// How many of the service's tasks each value of what it is spread over has.
    fn spread(&self, candidate: &Candidate<'_>) -> Option<Spread> {
        let attribute = candidate.service.spec.placement.spread.clone()?;
        let mut counts = BTreeMap::new();
        for (at, place) in self.places.iter().enumerate() {
            *counts.entry(attribute.of(&place.node)).or_default() += self.others(candidate, at);
        }
        Some(Spread { attribute, counts })
    }

    /// Takes tasks, has the driver, and is where the service may be.
    fn suitable(
        &self,
        candidate: &Candidate<'_>,
        template: &TaskTemplate,
    ) -> impl Iterator<Item = (usize, &Place)> {
        let rules = &candidate.service.spec.placement;
        self.with_driver(template).filter(move |(_, place)| rules.broken_by(&place.node).is_none())
    }

    fn with_driver(&self, template: &TaskTemplate) -> impl Iterator<Item = (usize, &Place)> {
        let driver = driver_of(&template.workload);
        self.open().filter(move |(_, place)| place.node.drivers.contains(&driver))
    }

    fn open(&self) -> impl Iterator<Item = (usize, &Place)> {
        self.places.iter().enumerate().filter(|(_, place)| place.node.is_open())
    }

    /// Tasks of the service there. What is about to leave is no reason to go elsewhere.
    fn others(&self, candidate: &Candidate<'_>, at: usize) -> u32 {
        let counts = self.by_service.get(&candidate.service.id);
        let count = counts.and_then(|counts| counts.get(at)).copied().unwrap_or_default();
        let here = |old: &Task| old.node() == Some(self.places[at].node.id);
        count.saturating_sub(u32::from(candidate.leaving().is_some_and(here)))
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
        let places: Vec<&Place> = self.suitable(candidate, template).map(|(_, p)| p).collect();
        if places.is_empty() {
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
        let room: Vec<&Place> =
            places.into_iter().filter(|place| place.has_room(candidate, template)).collect();
        let place = match room[..] {
            [] => return no_room(template),
            [place] => place.node.name.clone(),
            [..] => format!("all {} nodes", room.len()),
        };
        let is_free = |place: &&Place, p: Publish| place.is_free(candidate.cluster, p);
        let is_taken = |p: &&Publish| !room.iter().any(|place| is_free(place, **p));
        match template.publish.iter().find(is_taken) {
            Some(Publish { host_port, protocol, task_port: _ }) => {
                format!("host port {host_port}/{} is taken on {place}", protocol.name())
            }
            None => "no node has all of its host ports free".to_owned(),
        }
    }

    fn why_none_is_open(&self) -> String {
        let is_up = |place: &&Place| place.node.state == NodeState::Up;
        let closed = self.places.iter().filter(is_up).count();
        match closed {
            0 => "no node is up".to_owned(),
            1 => "the one node that is up takes no tasks".to_owned(),
            _ => format!("none of the {closed} nodes that are up takes tasks"),
        }
    }
}

impl Place {
    fn taken(&self, cluster: &Cluster) -> &Taken {
        self.taken.get_or_init(|| Taken::on(cluster, self.node.id))
    }

    fn has_room(&self, candidate: &Candidate<'_>, template: &TaskTemplate) -> bool {
        let need = Amount::of(template);
        if need == Amount::default() {
            return true;
        }
        let place = candidate.leaving().filter(|old| old.node() == Some(self.node.id));
        let given = place.and_then(|old| candidate.service.template(old.revision));
        let given = given.map_or_else(Amount::default, |template| Amount::of(template));
        let taken = self.taken(candidate.cluster).amount.minus(given);
        let (all, sum) = (Amount::of_node(&self.node), taken.plus(need));
        (need.cpu == 0 || sum.cpu <= all.cpu) && (need.memory == 0 || sum.memory <= all.memory)
    }

    fn is_free(&self, cluster: &Cluster, publish: Publish) -> bool {
        !self.taken(cluster).ports.contains(&(publish.host_port, publish.protocol))
    }

    /// Less is better: where the slot did not fail, where little fails, few of the service by its
    /// own spread, few of it on the node, few at all.
    fn cost(
        &self,
        candidate: &Candidate<'_>,
        others: u32,
        failures: &BTreeMap<NodeId, u32>,
        spread: Option<&Spread>,
    ) -> impl Ord + use<> {
        let node = &*self.node;
        let leaving = candidate.leaving().filter(|old| old.node() == Some(node.id));
        // A live one is replaced for its health, unless it is for its revision.
        let fails = leaving.is_some_and(|old| old.revision == candidate.task.revision);
        // Of another revision, or forgotten by the rows of the slot.
        let failed =
            candidate.old.is_some_and(|old| old.node() == Some(node.id) && has_failed(old));
        let failures = failures.get(&node.id).copied().unwrap_or(0).max(failed.into());
        (
            failures + u32::from(fails),
            node.accused.is_some(),
            spread.map_or((false, 0), |spread| spread.cost(node)),
            others,
            self.tasks.saturating_sub(u32::from(leaving.is_some())),
            node.id,
        )
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
