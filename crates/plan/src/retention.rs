//! What may be forgotten.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use warren_core::{
    event::Event,
    id::{ServiceId, TaskId},
    service::Service,
    task::{Phase, StopCause, Task},
    time::Timestamp,
};

use crate::{dirty::Told, draft::Draft, health::was_ready};

/// Forgets the service's old tasks and the templates that none of its tasks runs.
pub(crate) fn forget(draft: &mut Draft<'_>, id: ServiceId) {
    let Some(service) = draft.cluster.service(id).map(Arc::clone) else {
        return;
    };
    forget_tasks(draft, &service);
    forget_templates(draft, &service);
}

/// Keeps the newest of each slot's ended tasks, those that a task names which has not ended, and
/// those that hold a part of the budget. A slot beyond the replicas keeps none: the events
/// remember it.
fn forget_tasks(draft: &mut Draft<'_>, service: &Service) {
    let mut named: BTreeSet<TaskId> = BTreeSet::new();
    let mut ended: BTreeMap<u32, Vec<(Timestamp, Timestamp, TaskId)>> = BTreeMap::new();
    for task in draft.cluster.tasks_of(service.id) {
        match ended_at(task) {
            Some(at) => {
                ended.entry(task.slot).or_default().push((at, task.created_at, task.id));
            }
            None => named.extend(task.replaces),
        }
    }
    // A window counts rows.
    let attempts = service.spec.restart.max_attempts.map_or(0, |most| most.get() + 1);
    let counted = usize::try_from(attempts).unwrap_or(usize::MAX);
    for (slot, mut tasks) in ended {
        let surplus = slot > service.spec.replicas.get();
        let kept = if surplus { 0 } else { draft.policy.ended_kept.max(counted) };
        tasks.sort_unstable_by_key(|&key| Reverse(key));
        for (_, _, id) in tasks.into_iter().skip(kept) {
            if !surplus && named.contains(&id) {
                continue;
            }
            match held_until(draft, id) {
                Some(until) if !surplus => draft.wake(until),
                Some(_) | None => draft.remove_task(id),
            }
        }
    }
}

/// A slot whose tasks fail one after the other would push out the one that worked, and with it
/// the memory that the slot was laid bare.
fn held_until(draft: &Draft<'_>, id: TaskId) -> Option<Timestamp> {
    let task = draft.cluster.task(id)?;
    let stop = task.stop.as_ref().filter(|stop| stop.cause == StopCause::Unhealthy)?;
    let until = stop.at.after(draft.policy.budget_hold);
    (draft.now < until && was_ready(&draft.cluster, task)).then_some(until)
}

fn ended_at(task: &Task) -> Option<Timestamp> {
    match &task.status.phase {
        Phase::Ended(end) => Some(end.at),
        Phase::Pending | Phase::Preparing | Phase::Running | Phase::Stopping => None,
    }
}

fn forget_templates(draft: &mut Draft<'_>, service: &Service) {
    if service.older_templates.is_empty() {
        return;
    }
    let used: BTreeSet<u64> =
        draft.cluster.tasks_of(service.id).map(|task| task.revision).collect();
    if service.older_templates.keys().any(|revision| !used.contains(revision)) {
        let mut next = service.clone();
        next.older_templates.retain(|revision, _| used.contains(revision));
        draft.put_service(next);
    }
}

/// Forgets the oldest events of tasks and services of which there are too many, some at a time.
pub(crate) fn bound_events(draft: &mut Draft<'_>, told: &Told) {
    for &task in &told.tasks {
        let events = draft.cluster.events_of_task(task);
        for sequence in surplus(events, draft.policy.events_per_task) {
            draft.remove_event(sequence);
        }
    }
    for &service in &told.services {
        let events = draft.cluster.events_of_service(service);
        for sequence in surplus(events, draft.policy.events_per_service) {
            draft.remove_event(sequence);
        }
    }
}

/// The oldest of those that are more than may be kept, once they are a tenth more.
fn surplus(events: impl DoubleEndedIterator<Item = u64>, kept: usize) -> Vec<u64> {
    let mut oldest: Vec<u64> = events.rev().skip(kept).collect();
    if oldest.len() <= kept / 10 {
        oldest.clear();
    }
    oldest
}

/// Forgets what is too old, and of too many the oldest, many at a time. The newest one stays: the
/// next one is numbered after it.
pub(crate) fn trim_events(draft: &mut Draft<'_>) {
    let (now, age) = (draft.now, draft.policy.events_age);
    let older = |age| move |event: &&Arc<Event>| now.since(event.at) > age;
    let newest = draft.cluster.last_event();
    let slack = age.saturating_add(draft.policy.events_age_slack);
    if draft.cluster.events().next().filter(older(slack)).is_some() {
        let old = draft.cluster.events().take_while(older(age)).map(|event| event.sequence);
        if let Some(upto) = old.take_while(|sequence| *sequence < newest).last() {
            draft.trim_events(upto);
        }
    }
    let last = draft.cluster.last_event();
    let first = draft.cluster.events().next().map_or(last, |event| event.sequence);
    let (kept, slack) = (draft.policy.events_kept, draft.policy.events_slack);
    if last.saturating_sub(first) >= kept.saturating_add(slack) {
        draft.trim_events(last.saturating_sub(kept));
    }
}
