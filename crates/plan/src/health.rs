//! What a task's health means to the planner.

use std::sync::Arc;

use warren_core::{
    check::Role,
    cluster::Cluster,
    health::{Health, HealthStatus, RoleHealth, Standing, TaskHealth, Verdict},
    id::TaskId,
    node::{Node, NodeState},
    outcome::{Evidence, Outcome},
    service::Service,
    task::{Phase, StopCause, Task},
    time::Timestamp,
};

/// The health that counts at `now`. Unknown while its node is lost, starting before the first
/// report, and ready only while it runs and is meant to.
pub fn effective_health(cluster: &Cluster, task: &Task, now: Timestamp) -> Health {
    let known = cluster.health(task.id).map(|health| health.effective(now));
    let mut health = known.unwrap_or_else(|| Health::starting(task.status.since));
    if let Some(node) = lost_node(cluster, task) {
        let was_ready = health.was_ready || health.ready;
        let reason = format!("node {} is lost", node.name);
        health = Health { was_ready, reason, ..Health::starting(node.since) };
    }
    let Standing { status, since, ready } = standing(cluster, task, now);
    Health { status, since, ready, ..health }
}

/// The row that says the same, where there is one: nobody accuses the task, its node is heard, and
/// what it is ready for is not over.
pub fn observed_health<'c>(
    cluster: &'c Cluster,
    task: &Task,
    now: Timestamp,
) -> Option<&'c Arc<TaskHealth>> {
    let known = cluster.health(task.id)?;
    let accused = known.next_expiry(now).is_some();
    let over = known.observed.ready && !(is_running(task) && task.stop.is_none());
    (!accused && !over && lost_node(cluster, task).is_none()).then_some(known)
}

/// What of it decides, without the texts: the planner asks for it of every slot that it looks at.
pub fn standing(cluster: &Cluster, task: &Task, now: Timestamp) -> Standing {
    let known = cluster.health(task.id).map(|health| health.standing(now));
    let mut standing = known.unwrap_or(Standing {
        status: HealthStatus::Starting,
        since: task.status.since,
        ready: false,
    });
    if let Some(node) = lost_node(cluster, task) {
        standing = Standing { status: HealthStatus::Unknown, since: node.since, ready: false };
    }
    standing.ready &= is_running(task) && task.stop.is_none();
    standing
}

/// The node of a task that is not over, where it is lost.
pub(crate) fn lost_node<'c>(cluster: &'c Cluster, task: &Task) -> Option<&'c Arc<Node>> {
    let node = task.node().and_then(|id| cluster.node(id))?;
    (node.state == NodeState::Lost && !task.has_ended()).then_some(node)
}

/// By its worker's word, which nobody else disputes.
pub(crate) fn is_well(cluster: &Cluster, task: TaskId) -> bool {
    let well = |h: &Arc<TaskHealth>| h.observed.status.is_good() && h.external.is_empty();
    cluster.health(task).is_some_and(well)
}

/// Has neither ended nor been told to.
pub(crate) fn is_live(task: &Task) -> bool {
    !task.has_ended() && task.stop.is_none()
}

pub(crate) fn is_running(task: &Task) -> bool {
    match task.status.phase {
        Phase::Running => true,
        Phase::Pending | Phase::Preparing | Phase::Stopping | Phase::Ended(_) => false,
    }
}

/// Takes traffic, and nothing is wrong with it.
pub(crate) fn serves(standing: Standing) -> bool {
    standing.ready && standing.status.is_good()
}

pub(crate) fn was_ready(cluster: &Cluster, task: &Task) -> bool {
    cluster.health(task.id).is_some_and(|h| h.observed.was_ready || h.observed.ready)
}

/// Why it is unhealthy by its last account, whether or not its node can be heard now.
pub(crate) fn sickness(cluster: &Cluster, task: &Task, now: Timestamp) -> Option<String> {
    let health = cluster.health(task.id)?;
    if health.standing(now).status != HealthStatus::Unhealthy {
        return None;
    }
    let reason = health.effective(now).reason;
    Some(if reason.is_empty() { "it is unhealthy".to_owned() } else { reason })
}

/// It is unhealthy for nothing but deadlines that passed, which an observer without time would
/// see as well.
pub(crate) fn is_soft(cluster: &Cluster, task: &Task, now: Timestamp) -> bool {
    let Some(health) = cluster.health(task.id) else {
        return false;
    };
    let accused = health.external.iter().any(|external| now < external.expires_at);
    let roles = &health.observed.roles;
    let mut failing = [Role::Startup, Role::Liveness]
        .into_iter()
        .filter_map(|role| roles.get(role).as_deref())
        .filter(|role| role.verdict == Verdict::Failing)
        .peekable();
    let late = |role: &RoleHealth| {
        let last = role.last.as_ref().map(|attempt| attempt.outcome);
        last == Some(Outcome::Fail(Evidence::Timeout))
    };
    !accused && failing.peek().is_some() && failing.all(late)
}

/// What it said itself is broken in it, by the checks for which it is replaced.
pub(crate) fn broken_components<'c>(
    cluster: &'c Cluster,
    task: &Task,
) -> impl Iterator<Item = &'c str> + use<'c> {
    let roles = cluster.health(task.id).map(|health| &health.observed.roles);
    [Role::Startup, Role::Liveness]
        .into_iter()
        .filter_map(move |role| roles?.get(role).as_ref())
        .filter(|role| role.verdict == Verdict::Failing)
        .filter_map(|role| role.last.as_ref())
        .flat_map(|attempt| attempt.components.iter().map(String::as_str))
}

/// When it ended by the worker's clock, unless that is ahead of ours.
pub(crate) fn ended_at(task: &Task, now: Timestamp) -> Timestamp {
    match &task.status.phase {
        Phase::Ended(end) => end.at.min(now),
        Phase::Pending | Phase::Preparing | Phase::Running | Phase::Stopping => now,
    }
}

/// Is over by its own doing: it ended unasked, or was stopped for its health.
pub(crate) fn has_failed(task: &Task) -> bool {
    match &task.stop {
        Some(stop) => stop.cause == StopCause::Unhealthy,
        None => task.has_ended(),
    }
}

/// The name that people know a task by, such as `task web.2 (00000000deadbeef)`.
pub fn title(service: &Service, task: &Task) -> String {
    format!("task {}.{} ({})", service.spec.name, task.slot, task.id)
}

/// Why a task that failed did, as the end of a sentence.
pub(crate) fn failure(task: &Task) -> String {
    match (&task.stop, &task.status.phase) {
        (Some(stop), _) => stop.reason.clone(),
        (None, Phase::Ended(end)) => end.sentence(),
        (None, phase) => format!("it is {}", phase.name()),
    }
}
