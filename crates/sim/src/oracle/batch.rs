//! The promises that every durable batch must keep.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use warren_core::{
    change::Change,
    cluster::Cluster,
    health::{HealthStatus, Standing},
    id::TaskId,
    task::{Phase, ReportMark, StopCause, Task},
    time::Timestamp,
};
use warren_plan::{Policy, Violation, effective_health, violations};

use super::Known;

/// What the batch that led from `before` to what is known now broke.
pub fn check(
    known: &mut Known,
    before: &Cluster,
    batch: &[Change],
    now: Timestamp,
    stepped: bool,
) -> Vec<String> {
    let after = known.cluster.clone();
    known.at_stake.clear();
    let mut broken = Vec::new();
    for violation in violations(&after, now) {
        // A clock that was set back makes it early again.
        if !(stepped && matches!(violation, Violation::TooEarly(_))) {
            broken.push(violation.to_string());
        }
    }
    if after.last_event() < before.last_event() {
        broken.push("history went back".to_owned());
    }
    reported(known, before, batch, &mut broken);
    for id in put(batch) {
        let (old, new) = (before.task(id), after.task(id));
        let Some(new) = new else { continue };
        if let Some(old) = old {
            moves_forward(old, new, &mut broken);
            stopped(known, old, new, now, &mut broken);
        } else {
            created(before, &after, new, now, &mut broken);
            if is_at_stake(&after, new, now) {
                known.at_stake.insert(new.service);
            }
        }
    }
    one_successor(&after, &mut broken);
    within_budget(known, &after, now, &mut broken);
    broken.extend(known.wishes.check(&after));
    broken
}

fn put(batch: &[Change]) -> Vec<TaskId> {
    let mut tasks: Vec<TaskId> = batch.iter().filter_map(marked).map(|(id, _)| id).collect();
    tasks.dedup();
    tasks
}

/// The task whose row, or whose health's, this is, and the mark of the report that it goes by.
fn marked(change: &Change) -> Option<(TaskId, ReportMark)> {
    match change {
        Change::PutTask(task) => Some((task.id, task.reported)),
        Change::PutHealth(id, health) => Some((*id, health.reported)),
        Change::PutService(_)
        | Change::RemoveService(_)
        | Change::RemoveTask(_)
        | Change::PutNode(_)
        | Change::RemoveNode(_)
        | Change::PutRestraint(_)
        | Change::PutEvent(_)
        | Change::RemoveEvent(_)
        | Change::TrimEvents(_) => None,
    }
}

/// Stops and ends are for good, and a task stays who it is.
fn moves_forward(old: &Task, new: &Task, broken: &mut Vec<String>) {
    let id = old.id;
    if old.stop.is_some() && old.stop != new.stop {
        broken.push(format!("{id}: its stop was changed"));
    }
    if old.has_ended() && old.status != new.status {
        broken.push(format!("{id}: its end was changed"));
    }
    if old.node().is_some() && old.node() != new.node() {
        broken.push(format!("{id} has moved to another node"));
    }
    let same = |task: &Task| (task.service, task.slot, task.revision, task.attempt, task.replaces);
    if same(old) != same(new) {
        broken.push(format!("{id} is another one now"));
    }
}

/// Each row that a report wrote, in its turn: what is taken was sent by the node of the task, in
/// the epoch that counts, and after all that was taken of it before.
fn reported(known: &Known, before: &Cluster, batch: &[Change], broken: &mut Vec<String>) {
    let mut cluster = before.clone();
    for change in batch {
        if let Some((id, mark)) = marked(change) {
            let before = if matches!(change, Change::PutHealth(..)) {
                cluster.health(id).map(|health| health.reported)
            } else {
                cluster.task(id).map(|task| task.reported)
            };
            if mark != before.unwrap_or_default() {
                taken(known, &cluster, (id, mark), change, broken);
            }
        }
        cluster.apply(change);
    }
}

/// A row that a report of that mark wrote, over what the cluster was then.
fn taken(
    known: &Known,
    cluster: &Cluster,
    (id, mark): (TaskId, ReportMark),
    change: &Change,
    broken: &mut Vec<String>,
) {
    let ReportMark { epoch, sequence } = mark;
    if cluster.task(id).is_some_and(|task| mark <= cluster.reported(task)) {
        broken
            .push(format!("{id}: report {sequence} of epoch {epoch} was taken after a later one"));
    }
    let Some((node, report)) = known.sent.get(&(id, mark)) else {
        broken.push(format!("{id}: nobody sent report {sequence} of epoch {epoch}"));
        return;
    };
    if cluster.task(id).is_none_or(|task| task.node() != Some(*node)) {
        broken.push(format!("{id}: a report of node {node} was taken"));
    }
    let current = cluster.node(*node).map(|node| node.epoch);
    if current != Some(epoch) {
        broken.push(format!("{id}: a report of epoch {epoch} was taken in {current:?}"));
    }
    let says = if let Change::PutTask(task) = change {
        task.status == report.status
    } else if let Change::PutHealth(_, health) = change {
        report.health.as_ref().map(Standing::from) == Some(Standing::from(&health.observed))
    } else {
        true
    };
    if !says {
        broken.push(format!("{id}: report {sequence} says something else"));
    }
}

/// Our own hand takes nothing away that works, but where somebody asked for it.
fn stopped(
    known: &mut Known,
    old: &Arc<Task>,
    new: &Task,
    now: Timestamp,
    broken: &mut Vec<String>,
) {
    let Some(stop) = new.stop.as_ref().filter(|_| old.stop.is_none()) else { return };
    let serves = |task: &Arc<Task>| {
        let health = effective_health(&known.cluster, task, now);
        health.ready && health.status.is_good()
    };
    let beside = known
        .cluster
        .tasks_of(old.service)
        .any(|task| task.slot == old.slot && task.id != old.id && is_live(task) && serves(task));
    let was_serving = is_running(old) && {
        let mut unstopped = known.cluster.clone();
        let task = Task { stop: None, ..new.clone() };
        unstopped.apply(&Change::PutTask(Box::new(task)));
        let health = effective_health(&unstopped, unstopped.task(old.id).unwrap(), now);
        health.ready && health.status.is_good()
    };
    match stop.cause {
        StopCause::Unhealthy => {
            if was_serving && !beside {
                broken.push(format!("{} works, and was stopped: {}", old.id, stop.reason));
            }
            if was_ready(&known.cluster, old) && !beside {
                known.bare.insert((old.service, old.slot), stop.at);
                known.at_stake.insert(old.service);
            }
        }
        StopCause::Updated if was_serving && !beside && !binds_ports(&known.cluster, old) => {
            broken.push(format!("{} was updated before its successor worked", old.id));
        }
        StopCause::NodeLost | StopCause::Moved if was_serving && !beside => {
            broken.push(format!("{} was moved before its successor worked", old.id));
        }
        StopCause::Updated
        | StopCause::NodeLost
        | StopCause::Moved
        | StopCause::ScaledDown
        | StopCause::ServiceRemoved
        | StopCause::Requested
        | StopCause::CalledOff
        | StopCause::NodeRemoved => {}
    }
}

fn binds_ports(cluster: &Cluster, task: &Task) -> bool {
    let service = cluster.service(task.service);
    service.is_some_and(|service| {
        let old = service.template(task.revision);
        old.is_some_and(|t| t.binds_host_ports()) || service.spec.template.binds_host_ports()
    })
}

/// A task after one that failed knows of the failure, and of those before it.
fn created(
    before: &Cluster,
    after: &Cluster,
    new: &Task,
    now: Timestamp,
    broken: &mut Vec<String>,
) {
    // Somebody may have stopped it in this very batch.
    let old = new.replaces.and_then(|old| after.task(old).or_else(|| before.task(old)));
    let Some(old) = old.filter(|old| old.revision == new.revision) else { return };
    let failed = match &old.stop {
        Some(stop) => stop.cause == StopCause::Unhealthy,
        None => old.has_ended() || is_sick(after, old, now),
    };
    let ran = old.status.started_at.map_or(Duration::ZERO, |started| now.since(started));
    let known = if ran < Policy::default().stable_run { old.attempt } else { 0 };
    if failed && new.attempt <= known {
        broken.push(format!("{} forgets the failure of {}", new.id, old.id));
    }
}

/// Runs where it should and as it should be, and is unhealthy.
fn is_sick(cluster: &Cluster, task: &Arc<Task>, now: Timestamp) -> bool {
    let service = cluster.service(task.service);
    is_live(task)
        && service.is_some_and(|service| service.template_revision == task.revision)
        && task.node().and_then(|id| cluster.node(id)).is_some_and(|node| node.is_open())
        && effective_health(cluster, task, now).status == HealthStatus::Unhealthy
}

fn one_successor(cluster: &Cluster, broken: &mut Vec<String>) {
    let mut of = BTreeMap::<TaskId, TaskId>::new();
    for task in cluster.tasks().filter(|task| is_live(task)) {
        if let Some(old) = task.replaces
            && let Some(other) = of.insert(old, task.id)
        {
            broken.push(format!("{other} and {} both take over from {old}", task.id));
        }
    }
}

/// It takes over for its health from a task that works no more and did.
fn is_at_stake(cluster: &Cluster, new: &Task, now: Timestamp) -> bool {
    let old = new.replaces.and_then(|old| cluster.task(old));
    let takes_over = |old: &Arc<Task>| is_sick(cluster, old, now) && was_ready(cluster, old);
    is_live(new) && old.is_some_and(takes_over)
}

fn was_ready(cluster: &Cluster, task: &Task) -> bool {
    cluster.health(task.id).is_some_and(|health| health.observed.was_ready)
}

/// Slots that are in replacement for their health, or without a working task by our own hand: no
/// more at once than the budget allows.
fn within_budget(known: &mut Known, after: &Cluster, now: Timestamp, broken: &mut Vec<String>) {
    for service in after.services() {
        let budget = (service.spec.replicas.get() as usize / 4).max(1);
        let most = known.budgets.entry(service.id).or_default();
        *most = (*most).max(budget);
    }
    let hold = Policy::default().budget_hold;
    known.bare.retain(|&(service, slot), at| {
        let replicas = after.service(service).map_or(0, |s| s.spec.replicas.get());
        let served =
            |task: &Arc<Task>| task.slot == slot && is_live(task) && was_ready(after, task);
        slot <= replicas && now.since(*at) < hold && !after.tasks_of(service).any(served)
    });
    // Where nothing was put at stake now there may be more, since a task that took over has failed.
    for service in &known.at_stake {
        let most = known.budgets.get(service).copied().unwrap_or_default();
        let bare = known.bare.keys().filter(|(of, _)| of == service).map(|(_, slot)| *slot);
        let pairs = after.tasks_of(*service).filter(|task| is_at_stake(after, task, now));
        let slots: BTreeSet<u32> = bare.chain(pairs.map(|task| task.slot)).collect();
        let count = slots.len();
        if count > most {
            broken
                .push(format!("{count} slots of {service} are at stake, and its budget is {most}"));
        }
    }
}

pub fn is_live(task: &Task) -> bool {
    !task.has_ended() && task.stop.is_none()
}

fn is_running(task: &Task) -> bool {
    task.status.phase == Phase::Running
}
