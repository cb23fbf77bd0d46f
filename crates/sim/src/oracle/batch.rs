//! The promises that every durable batch must keep.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use warren_core::{
    change::Change,
    cluster::Cluster,
    health::{HealthStatus, Standing},
    id::TaskId,
    task::{EndKind, Phase, ReportMark, StopCause, Task},
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
    known.laid_bare = false;
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
    for id in put(batch) {
        let (old, new) = (before.task(id), after.task(id));
        let Some(new) = new else { continue };
        match old {
            Some(old) => {
                moves_forward(old, new, &mut broken);
                reported(known, before, &after, new, &mut broken);
                stopped(known, old, new, now, &mut broken);
            }
            None => created(before, new, now, &mut broken),
        }
    }
    one_successor(&after, &mut broken);
    within_budget(known, &after, now, &mut broken);
    broken.extend(known.wishes.check(&after));
    broken
}

fn put(batch: &[Change]) -> Vec<TaskId> {
    let mut tasks: Vec<TaskId> = batch
        .iter()
        .filter_map(|change| match change {
            Change::PutTask(task) => Some(task.id),
            Change::PutHealth(id, _) => Some(*id),
            Change::PutService(_)
            | Change::RemoveService(_)
            | Change::RemoveTask(_)
            | Change::PutNode(_)
            | Change::RemoveNode(_)
            | Change::PutRestraint(_)
            | Change::PutEvent(_)
            | Change::RemoveEvent(_)
            | Change::TrimEvents(_) => None,
        })
        .collect();
    tasks.dedup();
    tasks
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

/// What is taken was sent, by the node of the task, in the epoch that counts.
fn reported(
    known: &Known,
    before: &Cluster,
    after: &Cluster,
    new: &Task,
    broken: &mut Vec<String>,
) {
    let (id, mark) = (new.id, after.reported(new));
    let known_mark = before.task(id).map_or_else(ReportMark::default, |old| before.reported(old));
    if mark < known_mark {
        broken.push(format!("{id}: its reports went back"));
    }
    if mark == known_mark {
        return;
    }
    let ReportMark { epoch, sequence } = mark;
    let Some((node, report)) = known.sent.get(&(id, mark)) else {
        broken.push(format!("{id}: nobody sent report {sequence} of epoch {epoch}"));
        return;
    };
    if new.node() != Some(*node) {
        broken.push(format!("{id}: a report of node {node} was taken"));
    }
    let current = after.node(*node).map(|node| node.epoch);
    if current.is_some_and(|current| current != epoch) {
        broken.push(format!("{id}: a report of epoch {epoch} was taken in {current:?}"));
    }
    let lost = matches!(&new.status.phase, Phase::Ended(end) if end.kind == EndKind::Lost);
    let seen = after.health(id).map(|health| Standing::from(&health.observed));
    let said = report.health.as_ref().map(Standing::from);
    if (new.status != report.status && !lost) || (said.is_some() && said != seen) {
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
            let was_ready = known.cluster.health(old.id).is_some_and(|h| h.observed.was_ready);
            if was_ready && !beside {
                known.bare.insert((old.service, old.slot), stop.at);
                known.laid_bare = true;
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

/// A task after one that failed knows of the failure.
fn created(before: &Cluster, new: &Task, now: Timestamp, broken: &mut Vec<String>) {
    let old = new.replaces.and_then(|old| before.task(old));
    let Some(old) = old.filter(|old| old.revision == new.revision) else { return };
    let failed = match &old.stop {
        Some(stop) => stop.cause == StopCause::Unhealthy,
        None => old.has_ended(),
    };
    let ran = old.status.started_at.map_or(Duration::ZERO, |started| now.since(started));
    if failed && ran < Policy::default().stable_run && new.attempt <= old.attempt {
        broken.push(format!("{} forgets the failure of {}", new.id, old.id));
    }
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

/// Slots without a working task by our own hand: no more at once than the budget allows.
fn within_budget(known: &mut Known, after: &Cluster, now: Timestamp, broken: &mut Vec<String>) {
    for service in after.services() {
        let budget = (service.spec.replicas.get() as usize / 4).max(1);
        let most = known.budgets.entry(service.id).or_default();
        *most = (*most).max(budget);
    }
    let hold = Policy::default().budget_hold;
    known.bare.retain(|&(service, slot), at| {
        let replicas = after.service(service).map_or(0, |s| s.spec.replicas.get());
        let serves = |task: &Arc<Task>| {
            task.slot == slot
                && is_live(task)
                && after.health(task.id).is_some_and(|health| {
                    health.observed.was_ready && health.observed.status != HealthStatus::Unhealthy
                })
        };
        slot <= replicas && now.since(*at) < hold && !after.tasks_of(service).any(serves)
    });
    // What was bare before may be more, where a task that took over has failed since.
    for (&service, &most) in &known.budgets {
        let slots = || known.bare.iter().filter(|((of, _), _)| *of == service);
        let count = slots().count();
        if known.laid_bare && count > most {
            broken.push(format!("{count} slots of {service} are bare, and its budget is {most}"));
        }
    }
}

pub fn is_live(task: &Task) -> bool {
    !task.has_ended() && task.stop.is_none()
}

fn is_running(task: &Task) -> bool {
    task.status.phase == Phase::Running
}
