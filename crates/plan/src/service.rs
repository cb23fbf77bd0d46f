//! One service: what has no worker to end it, and what each of its slots needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use warren_core::{
    cluster::Cluster,
    event::{Decision, EventKind},
    id::{NodeId, ServiceId},
    node::NodeState,
    restraint::Restraint,
    rule::Rule,
    service::Service,
    task::{EndKind, Placement, ReportMark, StopCause, Task, TaskStatus},
    time::Timestamp,
};

use crate::{
    Policy, backoff,
    breaker::Breaker,
    draft::Draft,
    guard::{Gates, Held, Pace},
    health::{is_live, is_well, title},
    node,
    slot::Slot,
    step::Step,
};

/// A slot comes to rest within a handful of steps, one in each pass: both of its tasks stopped
/// and ended, a new one made. More would be a fault in the rules, and is left to the next plan.
const PASSES_MAX: usize = 12;

/// Brings the service's rows to where the rules want nothing more at this moment.
pub(crate) fn reconcile(draft: &mut Draft<'_>, id: ServiceId) {
    for _ in 0..PASSES_MAX {
        let Some(service) = draft.cluster.service(id).map(Arc::clone) else {
            return;
        };
        if is_at_rest(&draft.cluster, &service) {
            return;
        }
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
    wake_for_time(draft, id);
}

/// One good task in each slot where it should be, and nothing held: no rule wants anything, and no
/// passing of time will. Nearly all services are like that nearly always, so this is looked at
/// first.
pub(crate) fn is_at_rest(cluster: &Cluster, service: &Service) -> bool {
    let mut filled = 0;
    for task in cluster.tasks_of(service.id) {
        if task.held.is_some() {
            return false;
        }
        if task.has_ended() {
            continue;
        }
        let Some(node) = task.node().and_then(|id| cluster.node(id)) else { return false };
        if task.stop.is_some() {
            continue;
        }
        filled += 1;
        let is_plain = task.slot == filled
            && task.revision == service.template_revision
            && node.state != NodeState::Lost
            && is_well(cluster, task.id);
        if !is_plain || node::moves(cluster, service, task).is_some() {
            return false;
        }
    }
    service.removed_at.is_none() && filled == service.spec.replicas.get()
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
/// that is lost is not waited for: when it returns, it is told what is wanted of it.
fn take_down(draft: &mut Draft<'_>, service: &Service) {
    let tasks: Vec<Arc<Task>> = tasks_of(draft, service).collect();
    let reason = format!("{} was removed", service.spec.name);
    for task in tasks.iter().filter(|task| is_live(task)) {
        let how = (StopCause::ServiceRemoved, Rule::ServiceRemoved);
        draft.stop(service, task, how, reason.clone());
    }
    let is_down = |id| draft.cluster.node(id).is_none_or(|node| node.state == NodeState::Lost);
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

/// Makes one step in each slot that needs one, and writes what holds the others.
fn move_slots(draft: &mut Draft<'_>, service: &Service) {
    let cluster = draft.cluster.clone();
    let slots = slots(&cluster, draft.policy, service, draft.now);
    let (replicas, surplus) = (1..=service.spec.replicas.get(), slots.keys().max().copied());
    let mut gates = gates(draft, &slots, *replicas.end());
    let full_at = gates.pace.full_at();
    // The highest go first where there are too many.
    let surplus = (replicas.end() + 1..=surplus.unwrap_or(0)).rev();
    let steps: Vec<(&Slot<'_>, Option<Step>)> = surplus
        .chain(replicas)
        .filter_map(|number| slots.get(&number))
        .map(|slot| (slot, slot.next_step(&mut gates)))
        .collect();
    if gates.pace.full_at() != full_at {
        let pace_full_at = Some(gates.pace.full_at());
        draft.put_restraint(Restraint { pace_full_at, ..(**cluster.restraint()).clone() });
    }
    let mut told = Told::of(&slots);
    for (slot, step) in steps {
        make(draft, slot, step, &mut told);
    }
    told.finish(draft, service);
}

fn gates(draft: &Draft<'_>, slots: &BTreeMap<u32, Slot<'_>>, replicas: u32) -> Gates {
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let taken: Vec<Timestamp> = slots.values().filter_map(Slot::budget_taken_until).collect();
    let budget = draft.policy.budget(replicas);
    let moving = count(slots.values().filter(|slot| slot.is_moving()).count());
    Gates {
        budget: budget.saturating_sub(count(taken.len())),
        budget_back_at: taken.iter().filter(|&&until| until < Timestamp::MAX).min().copied(),
        moves: budget.saturating_sub(moving),
        turn: (1..=replicas).all(|number| slots.get(&number).is_some_and(Slot::is_settled)),
        pace: Pace::new(draft.cluster.restraint(), draft.policy, draft.now),
        breakers: Breaker::all(slots, draft.policy, replicas, draft.now),
    }
}

fn make(draft: &mut Draft<'_>, slot: &Slot<'_>, step: Option<Step>, told: &mut Told) {
    let held = match &step {
        Some(Step::Held(held)) => Some(held.clone()),
        Some(Step::Create { .. } | Step::Stop { .. }) | None => None,
    };
    for task in slot.tasks.iter().filter(|task| task.held.is_some()) {
        if held.as_ref().is_none_or(|held| held.task.id != task.id) {
            draft.hold(task, None);
        }
    }
    match step {
        None => {}
        Some(Step::Stop { task, cause, rule, reason }) => {
            draft.stop(slot.service, &task, (cause, rule), reason);
        }
        Some(Step::Create { replaces, attempt, since, rule, why }) => {
            let decision = Decision { rule, seen: why };
            create(draft, slot, replaces.as_ref(), (attempt, since), decision);
        }
        Some(Step::Held(Held { task, rule, reason, until })) => {
            if let Some(until) = until {
                draft.wake(until);
            }
            let task = draft.cluster.task(task.id).cloned().unwrap_or(task);
            let new = task.held.as_ref().is_none_or(|held| held.rule != rule);
            draft.hold(&task, Some((rule, &reason)));
            told.note(draft, slot.service, &task, rule, reason, new);
        }
    }
}

/// What is said of holds: once for each guard of the service, but of each slot that is given up.
struct Told {
    before: BTreeSet<Rule>,
    now: BTreeMap<Rule, (u32, String)>,
}

impl Told {
    fn of(slots: &BTreeMap<u32, Slot<'_>>) -> Self {
        let tasks = slots.values().flat_map(|slot| &slot.tasks);
        let before = tasks.filter_map(|task| task.held.as_ref().map(|held| held.rule)).collect();
        Self { before, now: BTreeMap::new() }
    }

    fn note(
        &mut self,
        draft: &mut Draft<'_>,
        service: &Service,
        task: &Task,
        rule: Rule,
        reason: String,
        new: bool,
    ) {
        if new && rule == Rule::GaveUp {
            let message = format!("{} is given up: {reason}", title(service, task));
            let decision = Decision { rule, seen: reason.clone() };
            draft.decide(EventKind::GaveUp, service, Some(task), decision, message);
        }
        let (count, _) = self.now.entry(rule).or_insert((0, reason));
        *count += 1;
    }

    fn finish(self, draft: &mut Draft<'_>, service: &Service) {
        let name = &service.spec.name;
        for (rule, (count, reason)) in &self.now {
            if !self.before.contains(rule) && *rule != Rule::GaveUp {
                let what = if *count == 1 { "replacement is" } else { "replacements are" };
                let message = format!("{count} {what} held of {name} by {}", rule.name());
                let decision = Decision { rule: *rule, seen: reason.clone() };
                draft.decide(EventKind::ReplacementHeld, service, None, decision, message);
            }
        }
        for rule in self.before.iter().filter(|rule| !self.now.contains_key(rule)) {
            let message = format!("nothing of {name} is held by {} any more", rule.name());
            let decision = Decision { rule: *rule, seen: "the guard lets go".to_owned() };
            draft.decide(EventKind::ReplacementReleased, service, None, decision, message);
        }
    }
}

fn create(
    draft: &mut Draft<'_>,
    slot: &Slot<'_>,
    replaces: Option<&Arc<Task>>,
    (attempt, since): (u32, Option<Timestamp>),
    decision: Decision,
) {
    let service = slot.service;
    let id = draft.new_task_id(service.id, slot.number, replaces);
    let delay = backoff::delay(draft.policy, attempt, id);
    let not_before = match since {
        Some(since) if !delay.is_zero() => since.after(delay),
        Some(_) | None => draft.now,
    };
    let wait = not_before.since(draft.now);
    let waiting = if wait.is_zero() {
        String::new()
    } else {
        format!("it waits {wait:?} after {attempt} failures in a row")
    };
    let over = replaces.map_or_else(String::new, |old| format!(" to take over from {}", old.id));
    let notes: Vec<&str> =
        [decision.seen.as_str(), &waiting].into_iter().filter(|note| !note.is_empty()).collect();
    let notes = if notes.is_empty() { String::new() } else { format!(": {}", notes.join("; ")) };
    let task = Task {
        id,
        service: service.id,
        slot: slot.number,
        revision: service.template_revision,
        attempt,
        placement: Placement::Waiting(waiting.clone()),
        // Wall clocks step back; the order of a slot's tasks does not.
        created_at: replaces
            .map_or(draft.now, |old| draft.now.max(old.created_at.after(Duration::from_millis(1)))),
        not_before,
        replaces: replaces.map(|old| old.id),
        stop: None,
        held: None,
        status: TaskStatus::pending(draft.now),
        reported: ReportMark::default(),
    };
    let message = format!("{} is created{over}{notes}", title(service, &task));
    draft.put_task(task.clone());
    draft.decide(EventKind::TaskCreated, service, Some(&task), decision, message);
}

/// An accusation that expires changes a task's health without a word from anybody, and so does
/// the time since a node was lost.
fn wake_for_time(draft: &mut Draft<'_>, id: ServiceId) {
    let (cluster, now) = (draft.cluster.clone(), draft.now);
    for task in cluster.tasks_of(id).filter(|task| is_live(task)) {
        if let Some(expiry) = cluster.health(task.id).and_then(|health| health.next_expiry(now)) {
            draft.wake(expiry);
        }
        let node = task.node().and_then(|id| cluster.node(id));
        if let Some(due) = node.and_then(|node| node::lost_due(&cluster, draft.policy, node)) {
            draft.wake(due);
        }
    }
}
