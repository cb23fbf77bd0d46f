//! One service: what has no worker to end it, and what each of its slots needs.

use std::{collections::BTreeMap, sync::Arc};

use warren_core::{
    cluster::Cluster,
    event::EventKind,
    id::{NodeId, ServiceId},
    node::NodeState,
    service::Service,
    task::{EndKind, Placement, ReportMark, StopCause, Task, TaskStatus},
    time::Timestamp,
};

use crate::{
    Policy, backoff,
    draft::Draft,
    health::{is_live, title},
    slot::{Gates, Move, Slot},
};

/// A slot comes to rest within a handful of moves, one in each pass: both of its tasks stopped
/// and ended, a new one made. More would be a fault in the rules, and is left to the next plan.
const PASSES_MAX: usize = 12;

/// Brings the service's rows to where the rules want nothing more at this moment.
pub(crate) fn reconcile(draft: &mut Draft<'_>, id: ServiceId) {
    for _ in 0..PASSES_MAX {
        let Some(service) = draft.cluster.service(id).map(Arc::clone) else {
            return;
        };
        let edits = draft.edits;
        end_unreachable(draft, &service);
        if service.removed_at.is_some() {
            take_down(draft, &service);
        } else {
            move_slots(draft, &service);
        }
        if draft.edits == edits {
            break;
        }
    }
    wake_for_verdicts(draft, id);
}

/// The service's tasks by slot, those of empty slots up to its replicas included.
pub(crate) fn slots<'a>(
    cluster: &'a Cluster,
    policy: &'a Policy,
    service: &'a Service,
    now: Timestamp,
) -> BTreeMap<u32, Slot<'a>> {
    let mut tasks: BTreeMap<u32, Vec<Arc<Task>>> =
        (1..=service.spec.replicas.get()).map(|number| (number, Vec::new())).collect();
    for task in cluster.tasks_of(service.id) {
        tasks.entry(task.slot).or_default().push(Arc::clone(task));
    }
    let slot = |(number, tasks)| (number, Slot::new(cluster, policy, service, number, now, tasks));
    tasks.into_iter().map(slot).collect()
}

/// Ends what no worker will: tasks that never had a node, and those of nodes that are gone.
fn end_unreachable(draft: &mut Draft<'_>, service: &Service) {
    let tasks: Vec<Arc<Task>> = tasks_of(draft, service).collect();
    for task in tasks.iter().filter(|task| !task.has_ended()) {
        match task.node() {
            None if task.stop.is_some() => {
                draft.end(service, task, EndKind::Stopped, "it had no node yet");
            }
            Some(node) if draft.cluster.node(node).is_none() => {
                draft.end(service, task, EndKind::Lost, "its node was removed");
            }
            None | Some(_) => {}
        }
    }
}

/// Stops all tasks of a removed service, and forgets it once the last one has ended. A node
/// that is down is not waited for: when it returns, it is told what is wanted of it.
fn take_down(draft: &mut Draft<'_>, service: &Service) {
    let tasks: Vec<Arc<Task>> = tasks_of(draft, service).collect();
    let reason = format!("{} was removed", service.spec.name);
    for task in tasks.iter().filter(|task| is_live(task)) {
        draft.stop(service, task, StopCause::ServiceRemoved, reason.clone());
    }
    let is_down = |id| draft.cluster.node(id).is_none_or(|node| node.state == NodeState::Down);
    let is_over = |task: &Arc<Task>| task.has_ended() || task.node().is_some_and(is_down);
    if tasks_of(draft, service).all(|task| is_over(&task)) {
        for task in &tasks {
            draft.remove_task(task.id);
        }
        draft.remove_service(service.id);
        let message = farewell(draft, service, &tasks);
        draft.tell(EventKind::ServiceRemoved, service, None, message);
    }
}

/// A node that is down cannot say what has become of its tasks: they end when it is back.
fn farewell(draft: &Draft<'_>, service: &Service, tasks: &[Arc<Task>]) -> String {
    let name = &service.spec.name;
    let mut left: BTreeMap<NodeId, u32> = BTreeMap::new();
    for node in tasks.iter().filter(|task| !task.has_ended()).filter_map(|task| task.node()) {
        *left.entry(node).or_default() += 1;
    }
    let count = |(node, count)| {
        let node = draft.cluster.node(node).map_or_else(|| node.to_string(), |n| n.name.clone());
        format!("{count} on {node}")
    };
    let left: Vec<String> = left.into_iter().map(count).collect();
    if left.is_empty() {
        return format!("service {name} is gone with all its tasks");
    }
    let left = left.join(", ");
    format!("service {name} is gone; until their nodes are back tasks may still run: {left}")
}

fn tasks_of<'d>(draft: &'d Draft<'_>, service: &Service) -> impl Iterator<Item = Arc<Task>> + 'd {
    draft.cluster.tasks_of(service.id).map(Arc::clone)
}

/// Makes one move in each slot that needs one.
fn move_slots(draft: &mut Draft<'_>, service: &Service) {
    let cluster = draft.cluster.clone();
    let slots = slots(&cluster, draft.policy, service, draft.now);
    let (replicas, surplus) = (1..=service.spec.replicas.get(), slots.keys().max().copied());
    let taken: Vec<Timestamp> = slots.values().filter_map(Slot::budget_taken_until).collect();
    let budget = draft.policy.budget(*replicas.end());
    let in_use = u64::try_from(taken.len()).unwrap_or(u64::MAX);
    let mut gates = Gates {
        budget: budget.saturating_sub(in_use),
        turn: replicas.clone().all(|number| slots.get(&number).is_some_and(Slot::is_settled)),
    };
    // The highest go first where there are too many.
    let surplus = (replicas.end() + 1..=surplus.unwrap_or(0)).rev();
    let moves: Vec<(u32, Move)> = surplus
        .chain(replicas)
        .filter_map(|number| {
            let next = slots.get(&number)?.next_move(&mut gates)?;
            Some((number, next))
        })
        .collect();
    if gates.budget == 0
        && let Some(&released) = taken.iter().filter(|&&until| until < Timestamp::MAX).min()
    {
        draft.wake(released);
    }
    for (number, next) in moves {
        make(draft, service, number, next);
    }
}

fn make(draft: &mut Draft<'_>, service: &Service, slot: u32, next: Move) {
    match next {
        Move::Stop { task, cause, reason } => draft.stop(service, &task, cause, reason),
        Move::Create { replaces, attempt, since, why } => {
            create(draft, service, slot, replaces.as_ref(), (attempt, since), &why);
        }
    }
}

fn create(
    draft: &mut Draft<'_>,
    service: &Service,
    slot: u32,
    replaces: Option<&Arc<Task>>,
    (attempt, since): (u32, Timestamp),
    why: &str,
) {
    let id = draft.new_task_id(service.id, slot, replaces);
    let delay = backoff::delay(draft.policy, attempt, id);
    let not_before = if delay.is_zero() { draft.now } else { since.after(delay) };
    let wait = not_before.since(draft.now);
    let waiting = if wait.is_zero() {
        String::new()
    } else {
        format!("it waits {wait:?} after {attempt} failures in a row")
    };
    let over = replaces.map_or_else(String::new, |old| format!(" to take over from {}", old.id));
    let notes: Vec<&str> = [why, &waiting].into_iter().filter(|note| !note.is_empty()).collect();
    let notes = if notes.is_empty() { String::new() } else { format!(": {}", notes.join("; ")) };
    let task = Task {
        id,
        service: service.id,
        slot,
        revision: service.template_revision,
        attempt,
        placement: Placement::Waiting(waiting.clone()),
        // Wall clocks step back; the order of a slot's tasks does not.
        created_at: replaces.map_or(draft.now, |old| draft.now.max(old.created_at)),
        not_before,
        replaces: replaces.map(|old| old.id),
        stop: None,
        status: TaskStatus::pending(draft.now),
        reported: ReportMark::default(),
    };
    let message = format!("{} is created{over}{notes}", title(service, &task));
    draft.put_task(task.clone());
    draft.tell(EventKind::TaskCreated, service, Some(&task), message);
}

/// An accusation that expires changes a task's health without a word from anybody.
fn wake_for_verdicts(draft: &mut Draft<'_>, id: ServiceId) {
    let (cluster, now) = (draft.cluster.clone(), draft.now);
    for task in cluster.tasks_of(id).filter(|task| is_live(task)) {
        if let Some(expiry) = cluster.health(task.id).and_then(|health| health.next_expiry(now)) {
            draft.wake(expiry);
        }
    }
}
