//! One node: whether it is accused, whether its tasks are where they should be, and whether too
//! many of its kind are silent.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use warren_core::{
    cluster::Cluster,
    event::EventKind,
    health::HealthStatus,
    id::{NodeId, ServiceId, TaskId},
    node::{Accusation, Availability, AvailabilityKind, Node, NodeState},
    restraint::Restraint,
    rule::{Hold, Rule},
    service::Service,
    task::Task,
    time::Timestamp,
};

use crate::{
    Policy,
    draft::Draft,
    health::{ended_at, has_failed, is_live, is_soft, was_ready},
};

/// Why a task is replaced though nothing is known of it: its node has been lost for long.
pub(crate) fn lost(
    cluster: &Cluster,
    policy: &Policy,
    task: &Task,
    now: Timestamp,
) -> Option<String> {
    let node = task.node().and_then(|id| cluster.node(id))?;
    let due = lost_due(cluster, policy, node)?;
    (due <= now).then(|| format!("node {} is lost", node.name))
}

/// When the tasks of a lost node are replaced.
pub(crate) fn lost_due(cluster: &Cluster, policy: &Policy, node: &Node) -> Option<Timestamp> {
    let due = match node.state {
        NodeState::Up | NodeState::Suspect => return None,
        NodeState::Lost => node.since.after(policy.reschedule_after),
    };
    let started = cluster.restraint().started_at;
    Some(started.map_or(due, |at| due.max(at.after(policy.boot_grace))))
}

/// Why a task should be on another node than it is.
pub(crate) fn moves(cluster: &Cluster, service: &Service, task: &Task) -> Option<String> {
    let node = task.node().and_then(|id| cluster.node(id))?;
    if node.availability.kind == AvailabilityKind::Drained {
        return Some(format!("node {} is drained", node.name));
    }
    let broken = service.spec.placement.broken_by(node)?;
    Some(format!("node {} does not fit {broken}", node.name))
}

/// Brings the node's row to what its tasks say of it.
pub(crate) fn reconcile(draft: &mut Draft<'_>, id: NodeId) {
    let Some(node) = draft.cluster.node(id).map(Arc::clone) else {
        return;
    };
    let accused = accusation(draft, &node);
    if accused != node.accused {
        tell_accused(draft, &node, accused.as_ref());
        draft.put_node(Node { accused, ..(*node).clone() });
    }
    cordon(draft, id);
}

struct Failing {
    since: Timestamp,
    task: TaskId,
    service: ServiceId,
    soft: bool,
    /// Something else than the node holds it.
    held: bool,
}

/// Tasks on the node that were ready once and are unhealthy now, the earliest first.
fn failing(draft: &Draft<'_>, node: &Node) -> Vec<Failing> {
    let (cluster, now) = (&draft.cluster, draft.now);
    let look = |task: &Arc<Task>| {
        let health = cluster.health(task.id)?.standing(now);
        let counts =
            is_live(task) && health.status == HealthStatus::Unhealthy && was_ready(cluster, task);
        let service = cluster.service(task.service).filter(|_| counts)?;
        let counts = task.revision == service.template_revision
            && service.released_at.is_none_or(|at| at < health.since);
        counts.then(|| Failing {
            since: health.since,
            task: task.id,
            service: task.service,
            soft: is_soft(cluster, task, now),
            held: task.held.as_ref().is_some_and(|held| held.rule != Rule::Node),
        })
    };
    let mut failing: Vec<Failing> = cluster.tasks_on(node.id).filter_map(look).collect();
    failing.sort_unstable_by_key(|failing| (failing.since, failing.task));
    failing
}

/// Begins when much fails at one moment, late or across services; ends when one or none is left.
fn accusation(draft: &Draft<'_>, node: &Node) -> Option<Accusation> {
    let failing = failing(draft, node);
    let (since, reason) = match &node.accused {
        Some(accused) if failing.len() >= 2 => (accused.since, accused.reason.clone()),
        Some(_) => return None,
        None => (draft.now, burst(draft, node, &failing)?),
    };
    let kept = node.accused.as_ref().and_then(|accused| accused.canary);
    let free = |failing: &&Failing| !failing.held;
    let kept = kept.filter(|id| failing.iter().filter(free).any(|f| f.task == *id));
    let next = || failing.iter().min_by_key(|f| (f.held, f.since, f.task)).map(|f| f.task);
    Some(Accusation { since, reason, canary: kept.or_else(next) })
}

fn burst(draft: &Draft<'_>, node: &Node, failing: &[Failing]) -> Option<String> {
    let live = draft.cluster.tasks_on(node.id).filter(|task| is_live(task)).count();
    let share = live * usize::try_from(draft.policy.accuse_percent).unwrap_or(100);
    let enough = share.div_ceil(100).max(3);
    let is_burst = |run: &&[Failing]| match run {
        [first, .., last] => {
            let services: BTreeSet<ServiceId> = run.iter().map(|f| f.service).collect();
            last.since.since(first.since) <= draft.policy.moment
                && (services.len() > 1 || run.iter().all(|f| f.soft))
        }
        _ => false,
    };
    failing.windows(enough).find(is_burst)?;
    let (count, name) = (failing.len(), &node.name);
    Some(format!("{count} of {live} tasks on node {name} fail since one moment: one at a time"))
}

fn tell_accused(draft: &mut Draft<'_>, node: &Node, accused: Option<&Accusation>) {
    let name = &node.name;
    match (&node.accused, accused) {
        (None, Some(accused)) => {
            let message = format!("node {name} is accused: what fails there is replaced singly");
            let seen = accused.reason.clone();
            draft.tell_node(EventKind::NodeAccused, node.id, Rule::Node, seen, message);
        }
        (Some(_), None) => {
            let message = format!("node {name} is accused no more");
            let seen = "at most one task fails there".to_owned();
            draft.tell_node(EventKind::NodeCleared, node.id, Rule::Node, seen, message);
        }
        (None, None) | (Some(_), Some(_)) => {}
    }
}

/// Cordons a node where several services fail that fail nowhere else. What was judged once, with
/// either end, counts no more.
fn cordon(draft: &mut Draft<'_>, id: NodeId) {
    let Some(node) = draft.cluster.node(id).filter(|node| node.is_open()).map(Arc::clone) else {
        return;
    };
    let services = failing_only_here(draft, &node);
    if services.len() < draft.policy.cordon_services {
        return;
    }
    let (name, count) = (&node.name, services.len());
    let seen = format!("tasks of {count} services failed on node {name} and nowhere else");
    let against = against_cordon(draft, &node);
    let (kind, message, reason) = match against {
        None => {
            let message = format!("node {name} is cordoned: nothing more is placed there");
            (AvailabilityKind::Cordoned, message, seen.clone())
        }
        Some(why) => {
            let message = format!("node {name} is not cordoned: {why}");
            (AvailabilityKind::Active, message, format!("{seen}; {why}"))
        }
    };
    let availability = Availability { kind, since: draft.now, automatic: true, reason };
    draft.put_node(Node { availability, ..(*node).clone() });
    draft.tell_node(EventKind::NodeAvailability, id, Rule::Node, seen, message);
}

/// Services whose tasks failed on this node before they were ever ready, and on no other.
fn failing_only_here(draft: &Draft<'_>, node: &Node) -> BTreeSet<ServiceId> {
    let (cluster, window) = (&draft.cluster, draft.policy.cordon_window);
    let mut failures: Vec<(Timestamp, ServiceId)> = cluster
        .tasks_on(node.id)
        .filter(|task| task.has_ended() && never_worked(cluster, task))
        .map(|task| (ended_at(task, draft.now), task.service))
        .filter(|(at, _)| node.availability.since < *at)
        .collect();
    let Some(last) = failures.iter().map(|(at, _)| *at).max() else {
        return BTreeSet::new();
    };
    failures.retain(|(at, _)| last.since(*at) < window);
    let mut services: BTreeSet<ServiceId> = failures.into_iter().map(|(_, id)| id).collect();
    if services.len() < draft.policy.cordon_services {
        return services;
    }
    let elsewhere = |task: &Arc<Task>| {
        task.node().is_some_and(|id| id != node.id)
            && task.has_ended()
            && never_worked(cluster, task)
            && last.since(ended_at(task, draft.now)) < window
    };
    services.retain(|id| !cluster.tasks_of(*id).any(elsewhere));
    services
}

fn never_worked(cluster: &Cluster, task: &Task) -> bool {
    has_failed(task) && !was_ready(cluster, task)
}

/// Why a node is left open though it deserves a cordon.
fn against_cordon(draft: &Draft<'_>, node: &Node) -> Option<String> {
    let (mut nodes, mut others_open, mut cordoned, mut last) = (0, 0, 0, None);
    for other in draft.cluster.nodes() {
        nodes += 1;
        others_open += usize::from(other.id != node.id && other.is_open());
        let Availability { kind, since, automatic, reason: _ } = &other.availability;
        if *kind == AvailabilityKind::Cordoned && *automatic {
            cordoned += 1;
            last = last.max(Some(*since));
        }
    }
    let percent = usize::try_from(draft.policy.cordon_percent).unwrap_or(100);
    let most = (nodes * percent / 100).max(1);
    let window = draft.policy.cordon_window;
    if others_open == 0 {
        Some("it is the last one that takes tasks".to_owned())
    } else if cordoned >= most {
        Some(format!("the manager has cordoned {cordoned} nodes already"))
    } else if last.is_some_and(|last| draft.now.since(last) < window) {
        Some(format!("the manager cordons at most one node in {window:?}"))
    } else {
        None
    }
}

/// Nodes with tasks of the service that failed: the service's rows bear on them.
pub(crate) fn failed_on(cluster: &Cluster, service: ServiceId) -> BTreeSet<NodeId> {
    let failed = cluster.tasks_of(service).filter(|task| task.has_ended() && has_failed(task));
    failed.filter_map(|task| task.node()).collect()
}

/// Begins when many nodes are lost at once, and ends when few of those are left.
pub(crate) fn silence(draft: &mut Draft<'_>) {
    let restraint = Arc::clone(draft.cluster.restraint());
    let nodes: Vec<Arc<Node>> = draft.cluster.nodes().map(Arc::clone).collect();
    let kept = restraint.silence.as_ref().filter(|hold| {
        let Silent { lost, all } = Silent::since(&nodes, |at| hold.since <= at);
        is_many(lost.len(), all, draft.policy)
    });
    let last = nodes.iter().filter(|n| n.state == NodeState::Lost).map(|n| n.since).max();
    let recent = |at| last.is_some_and(|last| last.since(at) < draft.policy.silence_window);
    let Silent { lost, all } = Silent::since(&nodes, recent);
    let silent = lost.len();
    let begun = || {
        let since = lost.iter().min().copied()?;
        is_many(silent, all, draft.policy).then(|| Hold {
            rule: Rule::Silence,
            since,
            reason: format!(
                "{silent} of {all} nodes are lost at once, so the manager may be cut off itself"
            ),
        })
    };
    let hold = kept.cloned().or_else(begun);
    if hold == restraint.silence {
        return;
    }
    let (kind, message) = match &hold {
        Some(_) => (EventKind::ReplacementHeld, "nothing is replaced for lost nodes".to_owned()),
        None => (EventKind::ReplacementReleased, "lost nodes are replaced again".to_owned()),
    };
    let seen = hold.as_ref().map_or_else(
        || format!("{silent} of {all} nodes are silent since"),
        |hold| hold.reason.clone(),
    );
    // Where few are left the others may be on their way: they have their time again.
    let ended = hold.is_none().then_some(draft.now);
    let started_at = ended.or(restraint.started_at);
    draft.put_restraint(Restraint { silence: hold, started_at, ..(*restraint).clone() });
    draft.tell_cluster(kind, Rule::Silence, seen, message);
}

/// Nodes that fell silent within some time, beside those that are heard.
struct Silent {
    lost: Vec<Timestamp>,
    all: usize,
}

impl Silent {
    fn since(nodes: &[Arc<Node>], counts: impl Fn(Timestamp) -> bool) -> Self {
        let (lost, heard): (Vec<_>, Vec<_>) =
            nodes.iter().partition(|node| node.state == NodeState::Lost);
        let lost: Vec<Timestamp> =
            lost.into_iter().map(|node| node.since).filter(|at| counts(*at)).collect();
        Self { all: heard.len() + lost.len(), lost }
    }
}

/// Too many for chance, or everybody.
const fn is_many(silent: usize, all: usize, policy: &Policy) -> bool {
    (silent >= 2 && silent * 100 > all * policy.silence_percent) || (silent > 0 && silent == all)
}

/// How often the slot's tasks failed on each node: another one is tried first.
pub(crate) fn failures_of_slot(
    cluster: &Cluster,
    service: &Service,
    slot: u32,
) -> BTreeMap<NodeId, u32> {
    let mut failures = BTreeMap::new();
    let failed = |task: &&Arc<Task>| task.revision == service.template_revision && has_failed(task);
    let tasks = cluster.tasks_in(service.id, slot).filter(failed);
    for node in tasks.filter_map(|task| task.node()) {
        *failures.entry(node).or_default() += 1;
    }
    failures
}
