//! Which node a task goes to, or why to none yet.
//!
//! A task is placed only when its backoff is over: a node that was picked minutes ago is a
//! worse pick than one that is picked now.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use warren_core::{
    bounds::Port,
    cluster::Cluster,
    event::EventKind,
    id::{NodeId, ServiceId},
    node::{Driver, Node, NodeState},
    service::Service,
    spec::{Protocol, Publish, TaskTemplate, Workload},
    task::{Placement, Task},
};

use crate::{
    draft::Draft,
    health::{has_failed, is_live, title},
};

/// Gives a node to every task that waits for one and may have it.
pub(crate) fn place_waiting(draft: &mut Draft<'_>) {
    let mut waiting: Vec<Arc<Task>> =
        draft.cluster.tasks_waiting().filter(|task| is_live(task)).map(Arc::clone).collect();
    // Whoever waits longest goes first.
    waiting.sort_by_key(|task| (task.not_before, task.service, task.slot, task.id));
    let mut ledger = None;
    let mut refused = Vec::new();
    for task in waiting {
        let Some(service) = draft.cluster.service(task.service).map(Arc::clone) else {
            continue;
        };
        if draft.now < task.not_before {
            draft.wake(task.not_before);
            continue;
        }
        let old = task.replaces.and_then(|id| draft.cluster.task(id)).map(Arc::clone);
        if let Some(old) = &old
            && holds_up(&draft.cluster, &service, &task, old)
        {
            let reason = format!("task {} must end first: both publish host ports", old.id);
            draft.place(&task, Placement::Waiting(reason));
            continue;
        }
        let ledger = ledger.get_or_insert_with(|| Ledger::new(&draft.cluster));
        match ledger.choose(&service, &task, old.as_deref()) {
            Some(node) => {
                ledger.enter(&service, &task, node.id, 1);
                draft.place(&task, Placement::On(node.id));
                let message = format!("{} is placed on {}", title(&service, &task), node.name);
                draft.tell(EventKind::TaskPlaced, &service, Some(&task), message);
            }
            None => refused.push((service, task)),
        }
    }
    // Only now, so that the reasons are those of the cluster as it will be.
    if let Some(ledger) = ledger {
        for (service, task) in refused {
            draft.place(&task, Placement::Waiting(ledger.why_nowhere(&service, &task)));
        }
    }
}

/// Where host ports are published, a task waits for its predecessor's end; not for one on a
/// node that is down, since that may never be heard of.
fn holds_up(cluster: &Cluster, service: &Service, task: &Task, old: &Task) -> bool {
    let binds =
        |revision| service.template(revision).is_some_and(|template| template.binds_host_ports());
    let heard = |id| cluster.node(id).is_some_and(|node| node.state == NodeState::Up);
    !old.has_ended()
        && old.stop.is_some()
        && old.node().is_some_and(heard)
        && binds(task.revision)
        && binds(old.revision)
}

/// Who is where, kept up to date while placing.
struct Ledger {
    up: Vec<Arc<Node>>,
    tasks: BTreeMap<NodeId, u32>,
    by_service: BTreeMap<(NodeId, ServiceId), u32>,
    ports: BTreeSet<(NodeId, Port, Protocol)>,
    /// What found no node finds none again in this plan: placing only takes.
    refused: BTreeSet<(ServiceId, u64)>,
}

impl Ledger {
    fn new(cluster: &Cluster) -> Self {
        let is_up = |node: &&Arc<Node>| node.state == NodeState::Up;
        let mut ledger = Self {
            up: cluster.nodes().filter(is_up).map(Arc::clone).collect(),
            tasks: BTreeMap::new(),
            by_service: BTreeMap::new(),
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

    /// `load` is nothing for a task that is about to end; its ports are taken until it has.
    fn enter(&mut self, service: &Service, task: &Task, node: NodeId, load: u32) {
        *self.tasks.entry(node).or_default() += load;
        *self.by_service.entry((node, service.id)).or_default() += load;
        for publish in service.template(task.revision).map_or(&[][..], |t| &t.publish) {
            self.ports.insert((node, publish.host_port, publish.protocol));
        }
    }

    fn choose(&mut self, service: &Service, task: &Task, old: Option<&Task>) -> Option<Arc<Node>> {
        let kind = (service.id, task.revision);
        if self.refused.contains(&kind) {
            return None;
        }
        let template = service.template(task.revision);
        let found = template.and_then(|template| {
            let free = |node: &&Arc<Node>| template.publish.iter().all(|&p| self.is_free(node, p));
            let fitting = self.with_driver(template).filter(free);
            fitting.min_by_key(|node| self.cost(task, old, node.id)).map(Arc::clone)
        });
        if found.is_none() {
            self.refused.insert(kind);
        }
        found
    }

    fn with_driver(&self, template: &TaskTemplate) -> impl Iterator<Item = &Arc<Node>> {
        let driver = driver_of(&template.workload);
        self.up.iter().filter(move |node| node.drivers.contains(&driver))
    }

    fn is_free(&self, node: &Node, publish: Publish) -> bool {
        !self.ports.contains(&(node.id, publish.host_port, publish.protocol))
    }

    fn why_nowhere(&self, service: &Service, task: &Task) -> String {
        let Some(template) = service.template(task.revision) else {
            return format!("revision {} is no longer known", task.revision);
        };
        if self.up.is_empty() {
            return "no node is up".to_owned();
        }
        let nodes: Vec<&Arc<Node>> = self.with_driver(template).collect();
        let place = match nodes[..] {
            [] => {
                let driver = driver_of(&template.workload).name();
                return format!("no node that is up has the {driver} driver");
            }
            [node] => node.name.clone(),
            [..] => format!("all {} nodes", nodes.len()),
        };
        let is_taken = |p: &&Publish| nodes.iter().all(|node| !self.is_free(node, **p));
        match template.publish.iter().find(is_taken) {
            Some(Publish { host_port, protocol, task_port: _ }) => {
                format!("host port {host_port}/{} is taken on {place}", protocol.name())
            }
            None => "no node has all of its host ports free".to_owned(),
        }
    }

    /// Less is better: where the slot's last task did not fail, few of the service, few at all.
    fn cost(&self, task: &Task, old: Option<&Task>, node: NodeId) -> (bool, u32, u32, NodeId) {
        let old = old.filter(|old| old.node() == Some(node));
        let stays = old.is_some_and(is_live);
        // A live one is replaced for its health, unless it is for its revision.
        let fails = |old: &Task| has_failed(old) || (stays && old.revision == task.revision);
        let all = self.tasks.get(&node).copied().unwrap_or(0);
        let of_service = self.by_service.get(&(node, task.service)).copied().unwrap_or(0);
        // What is about to leave is no reason to go elsewhere.
        let leaving = u32::from(stays);
        let others = of_service.saturating_sub(leaving);
        (old.is_some_and(fails), others, all.saturating_sub(leaving), node)
    }
}

const fn driver_of(workload: &Workload) -> Driver {
    match workload {
        Workload::Image { .. } => Driver::Containerd,
        Workload::Process { .. } => Driver::Process,
    }
}
