//! Which nodes come first for a task.
//!
//! The cluster keeps the nodes that take tasks in the order in which they stand for a task that has
//! no past: few tasks first. What the task has a past with, because its slot failed there or its
//! service has tasks there, is judged one by one. So a placement costs what the service has, and a
//! look at the first of the others; more only where those are not suitable.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use warren_core::{
    cluster::Cluster,
    id::NodeId,
    node::{Driver, Node},
    service::Service,
    spec::{NodeAttribute, TaskTemplate, Workload},
    task::Task,
};

use crate::{
    health::{has_failed, is_live},
    node::failures_of_slot,
};

/// A task that is to be placed.
pub(crate) struct Candidate<'a> {
    pub cluster: &'a Cluster,
    pub service: &'a Service,
    pub task: &'a Task,
    /// What it takes over from.
    pub old: Option<&'a Task>,
}

impl Candidate<'_> {
    pub fn template(&self) -> Option<&Arc<TaskTemplate>> {
        self.service.template(self.task.revision)
    }

    /// The one whose place on its node it will take.
    pub fn leaving(&self) -> Option<&Task> {
        self.old.filter(|old| is_live(old))
    }

    /// Nodes that take tasks, have the driver, and are where the service may be.
    pub fn suits(&self, node: &Node, driver: Driver) -> bool {
        node.is_open()
            && node.drivers.contains(&driver)
            && self.service.spec.placement.broken_by(node).is_none()
    }
}

pub(crate) const fn driver_of(workload: &Workload) -> Driver {
    match workload {
        Workload::Image { .. } => Driver::Containerd,
        Workload::Process { .. } => Driver::Process,
    }
}

/// The service's live tasks on each of the nodes that have any.
pub(crate) fn tasks_by_node(cluster: &Cluster, service: &Service) -> BTreeMap<NodeId, u32> {
    let mut counts = BTreeMap::new();
    let live = cluster.tasks_of(service.id).filter(|task| is_live(task));
    for node in live.filter_map(|task| task.node()) {
        *counts.entry(node).or_default() += 1;
    }
    counts
}

/// Less is better: where the slot did not fail, where little fails, few of the service by its own
/// spread, few of it on the node, few at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    failures: u32,
    accused: bool,
    /// Whether the node is of no value, and how many the value has.
    spread: (bool, u32),
    others: u32,
    load: u32,
    node: NodeId,
}

/// The order of the nodes for one candidate.
pub(crate) struct Ranking<'a> {
    candidate: &'a Candidate<'a>,
    driver: Driver,
    /// How often its slot failed there.
    failures: BTreeMap<NodeId, u32>,
    /// Tasks of the service, the one that is about to leave among them.
    tasks: &'a BTreeMap<NodeId, u32>,
    spread: Option<Spread>,
}

impl<'a> Ranking<'a> {
    pub fn new(
        candidate: &'a Candidate<'a>,
        template: &TaskTemplate,
        tasks: &'a BTreeMap<NodeId, u32>,
    ) -> Self {
        let Candidate { cluster, service, task, old } = *candidate;
        let mut failures = failures_of_slot(cluster, service, task.slot);
        // Of another revision, or forgotten by the rows of the slot.
        if let Some(node) = old.filter(|old| has_failed(old)).and_then(Task::node) {
            failures.entry(node).or_insert(1);
        }
        // A live one is replaced for its health, unless it is for its revision.
        let fails = candidate.leaving().filter(|old| old.revision == task.revision);
        if let Some(node) = fails.and_then(Task::node) {
            *failures.entry(node).or_default() += 1;
        }
        let driver = driver_of(&template.workload);
        let mut ranking = Self { candidate, driver, failures, tasks, spread: None };
        let attribute = service.spec.placement.spread.as_ref();
        ranking.spread = attribute.map(|attribute| ranking.spread_over(attribute));
        ranking
    }

    /// The best of those that fit.
    pub fn first(&self, mut fits: impl FnMut(&Node) -> bool) -> Option<Arc<Node>> {
        let Candidate { cluster, old, .. } = *self.candidate;
        let spread = self.spread.as_ref().map_or((false, 0), |spread| spread.least(cluster));
        let mut best: Option<(Cost, &Arc<Node>)> = None;
        for node in cluster.open_nodes(self.driver) {
            // No node from here on with which it has no past costs less than this.
            let least = Cost { spread, ..self.plain(node) };
            if best.is_some_and(|(cost, _)| cost < least) {
                break;
            }
            if self.has_past(node.id) || !self.candidate.suits(node, self.driver) {
                continue;
            }
            let cost = self.cost(node);
            if best.is_none_or(|(best, _)| cost < best) && fits(node) {
                best = Some((cost, node));
            }
        }
        // Nor does one with others of its service cost less than this, and the slot's failures
        // cost more. What is left is where its predecessor makes room.
        let node = NodeId::from_u64(0);
        let least = Cost { failures: 0, accused: false, spread, others: 1, load: 0, node };
        let old = old.and_then(Task::node).into_iter();
        let past: BTreeSet<NodeId> = match best {
            Some((cost, _)) if cost < least => old.collect(),
            Some(_) | None => {
                self.failures.keys().chain(self.tasks.keys()).copied().chain(old).collect()
            }
        };
        let nodes = past.into_iter().filter_map(|id| cluster.node(id));
        let suited = nodes.filter(|node| self.candidate.suits(node, self.driver));
        let mut ranked: Vec<_> = suited.map(|node| (self.cost(node), node)).collect();
        ranked.sort_unstable_by_key(|(cost, _)| *cost);
        let better = |(cost, _): &(Cost, _)| best.is_none_or(|(best, _)| *cost < best);
        let better = ranked.into_iter().take_while(better).find(|(_, node)| fits(node));
        better.or(best).map(|(_, node)| Arc::clone(node))
    }

    /// Its slot failed there, or there are tasks of its service, or were.
    fn has_past(&self, node: NodeId) -> bool {
        self.failures.contains_key(&node)
            || self.tasks.contains_key(&node)
            || self.candidate.old.is_some_and(|old| old.node() == Some(node))
    }

    /// Of a node with which the task has no past, were the service not spread over anything.
    fn plain(&self, node: &Node) -> Cost {
        Cost {
            failures: 0,
            accused: node.accused.is_some(),
            spread: (false, 0),
            others: 0,
            load: self.candidate.cluster.load(node.id),
            node: node.id,
        }
    }

    fn cost(&self, node: &Node) -> Cost {
        let plain = self.plain(node);
        Cost {
            failures: self.failures.get(&node.id).copied().unwrap_or_default(),
            spread: self.spread.as_ref().map_or((false, 0), |spread| spread.cost(node)),
            others: self.others(node.id),
            load: plain.load.saturating_sub(self.leaves(node.id).into()),
            ..plain
        }
    }

    fn leaves(&self, node: NodeId) -> bool {
        self.candidate.leaving().is_some_and(|old| old.node() == Some(node))
    }

    /// Tasks of the service there. What is about to leave is no reason to go elsewhere.
    fn others(&self, node: NodeId) -> u32 {
        let count = self.tasks.get(&node).copied().unwrap_or_default();
        count.saturating_sub(self.leaves(node).into())
    }

    fn spread_over(&self, attribute: &NodeAttribute) -> Spread {
        let mut counts = BTreeMap::new();
        let nodes = self.tasks.keys().filter_map(|id| self.candidate.cluster.node(*id));
        for node in nodes {
            *counts.entry(attribute.of(node)).or_default() += self.others(node.id);
        }
        Spread { attribute: attribute.clone(), counts }
    }
}

/// How a service is spread over the values of an attribute.
struct Spread {
    attribute: NodeAttribute,
    /// How many of its tasks each value has.
    counts: BTreeMap<Option<String>, u32>,
}

impl Spread {
    /// Nodes without a value come last.
    fn cost(&self, node: &Node) -> (bool, u32) {
        let value = self.attribute.of(node);
        let count = self.counts.get(&value).copied().unwrap_or(0);
        (value.is_none(), count)
    }

    /// No node that takes tasks costs less.
    fn least(&self, cluster: &Cluster) -> (bool, u32) {
        let NodeAttribute::Label(label) = &self.attribute else {
            // Each node has its own.
            return (false, 0);
        };
        if cluster.open_values_count(label) > self.counts.len() {
            return (false, 0);
        }
        let count = |value: &String| self.counts.get(&Some(value.clone())).copied().unwrap_or(0);
        match cluster.open_values(label).map(count).min() {
            Some(count) => (false, count),
            None => (true, self.counts.get(&None).copied().unwrap_or(0)),
        }
    }
}

#[cfg(test)]
mod tests;
