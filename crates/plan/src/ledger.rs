//! What each node has left while tasks are placed, and why a task has no place.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use warren_core::{
    bounds::Port,
    cluster::Cluster,
    id::{NodeId, ServiceId},
    node::{Node, NodeState},
    service::Service,
    spec::{MemoryBytes, Protocol, Publish, TaskTemplate},
    task::Task,
};

use crate::ranking::{Candidate, Ranking, driver_of, tasks_by_node};

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

/// What follows from the placements of a plan so far, kept while placing.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Of a service that is placed, its live tasks on each node.
    by_service: BTreeMap<ServiceId, BTreeMap<NodeId, u32>>,
    /// Looked up only where it may decide: for tasks that declare what they take, and for the
    /// nodes that come first.
    taken: BTreeMap<NodeId, Taken>,
    /// What found no node finds none again in this plan: placing only takes.
    refused: BTreeSet<Kind>,
    reasons: BTreeMap<Kind, String>,
}

/// What is placed alike: the service, the revision, and where the predecessor makes room.
type Kind = (ServiceId, u64, Option<NodeId>);

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

impl Ledger {
    /// The best node; it is the candidate's from now on.
    pub fn choose(&mut self, candidate: &Candidate<'_>) -> Option<Arc<Node>> {
        let Candidate { cluster, service, task: _, old: _ } = *candidate;
        let kind = kind(candidate);
        let template = candidate.template()?;
        if self.refused.contains(&kind) {
            return None;
        }
        let count = || tasks_by_node(cluster, service);
        let tasks = self.by_service.entry(service.id).or_insert_with(count);
        let ranking = Ranking::new(candidate, template, tasks);
        let Some(node) = ranking.first(|node| fits(&mut self.taken, candidate, template, node))
        else {
            self.refused.insert(kind);
            return None;
        };
        *tasks.entry(node.id).or_default() += 1;
        if let Some(taken) = self.taken.get_mut(&node.id) {
            taken.enter(template);
        }
        Some(node)
    }

    pub fn why_nowhere(&mut self, candidate: &Candidate<'_>) -> String {
        let Self { taken, reasons, .. } = self;
        reasons.entry(kind(candidate)).or_insert_with(|| why_nowhere(taken, candidate)).clone()
    }
}

fn kind(candidate: &Candidate<'_>) -> Kind {
    (candidate.service.id, candidate.task.revision, candidate.old.and_then(Task::node))
}

/// What is taken of each node that somebody asked about.
type AllTaken = BTreeMap<NodeId, Taken>;

fn taken<'a>(all: &'a mut AllTaken, cluster: &Cluster, node: &Node) -> &'a Taken {
    all.entry(node.id).or_insert_with(|| Taken::on(cluster, node.id))
}

fn fits(
    all: &mut AllTaken,
    candidate: &Candidate<'_>,
    template: &TaskTemplate,
    node: &Node,
) -> bool {
    has_room(all, candidate, template, node)
        && template.publish.iter().all(|p| is_free(all, candidate.cluster, node, *p))
}

fn has_room(
    all: &mut AllTaken,
    candidate: &Candidate<'_>,
    template: &TaskTemplate,
    node: &Node,
) -> bool {
    let need = Amount::of(template);
    if need == Amount::default() {
        return true;
    }
    let place = candidate.leaving().filter(|old| old.node() == Some(node.id));
    let given = place.and_then(|old| candidate.service.template(old.revision));
    let given = given.map_or_else(Amount::default, |template| Amount::of(template));
    let taken = taken(all, candidate.cluster, node).amount.minus(given);
    let (whole, sum) = (Amount::of_node(node), taken.plus(need));
    (need.cpu == 0 || sum.cpu <= whole.cpu) && (need.memory == 0 || sum.memory <= whole.memory)
}

fn is_free(all: &mut AllTaken, cluster: &Cluster, node: &Node, publish: Publish) -> bool {
    !taken(all, cluster, node).ports.contains(&(publish.host_port, publish.protocol))
}

fn why_nowhere(all: &mut AllTaken, candidate: &Candidate<'_>) -> String {
    let Candidate { cluster, service, task, old: _ } = *candidate;
    let Some(template) = candidate.template() else {
        return format!("revision {} is no longer known", task.revision);
    };
    if !cluster.nodes().any(|node| node.is_open()) {
        return why_none_is_open(cluster);
    }
    let driver = driver_of(&template.workload);
    if cluster.open_count(driver) == 0 {
        return format!("no node that is up has the {} driver", driver.name());
    }
    let suited = |node: &&Arc<Node>| candidate.suits(node, driver);
    let mut room: Vec<&Arc<Node>> = cluster.nodes().filter(suited).collect();
    if room.is_empty() {
        return format!("no node that is up fits {}", constraints(service));
    }
    room.retain(|node| has_room(all, candidate, template, node));
    let place = match room[..] {
        [] => return no_room(template),
        [node] => node.name.clone(),
        [..] => format!("all {} nodes", room.len()),
    };
    let mut is_taken = |p: &&Publish| !room.iter().any(|node| is_free(all, cluster, node, **p));
    match template.publish.iter().find(&mut is_taken) {
        Some(Publish { host_port, protocol, task_port: _ }) => {
            format!("host port {host_port}/{} is taken on {place}", protocol.name())
        }
        None => "no node has all of its host ports free".to_owned(),
    }
}

fn why_none_is_open(cluster: &Cluster) -> String {
    let closed = cluster.nodes().filter(|node| node.state == NodeState::Up).count();
    match closed {
        0 => "no node is up".to_owned(),
        1 => "the one node that is up takes no tasks".to_owned(),
        _ => format!("none of the {closed} nodes that are up takes tasks"),
    }
}

/// Where the service may be, such as `node.labels.zone==a and node.name!=m1`.
fn constraints(service: &Service) -> String {
    let rules = &service.spec.placement.constraints;
    rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

/// Among how many or which nodes a candidate that was placed had its choice.
pub(crate) fn choice(candidate: &Candidate<'_>) -> String {
    if !candidate.service.spec.placement.constraints.is_empty() {
        return format!("the best of the nodes that fit {}", constraints(candidate.service));
    }
    let driver = candidate.template().map(|template| driver_of(&template.workload));
    let count = driver.map_or(0, |driver| candidate.cluster.open_count(driver));
    format!("the best of {count} nodes that it may be on")
}

fn no_room(template: &TaskTemplate) -> String {
    let cpu = template.cpu_millis.map(|cpu| format!("{} CPUs", f64::from(cpu.get()) / 1000.0));
    let memory = template.memory_bytes.map(|memory| format!("{} bytes of memory", memory.get()));
    let need: Vec<String> = cpu.into_iter().chain(memory).collect();
    format!("no node has {} left", need.join(" and "))
}
