//! Why a task is where it is: the decisions about it, and what comes next.

use std::collections::BTreeSet;

use warren_core::{
    cluster::Cluster,
    event::{Event, EventKind},
    health::HealthStatus,
    id::TaskId,
    rule::Rule,
    task::{Phase, Placement, Task},
    time::Timestamp,
};
use warren_plan::effective_health;
use warren_proto::v1 as pb;

use crate::views;

/// More would not be read, and fits in one message.
const EVENTS_MAX: usize = 500;

pub fn why(cluster: &Cluster, task: &Task, now: Timestamp) -> pb::WhyTaskResponse {
    let related = related(cluster, task);
    let concerns = |event: &&std::sync::Arc<Event>| concerns(event, task, &related);
    let newest = cluster.events().rev().filter(concerns).take(EVENTS_MAX);
    let mut events: Vec<pb::Event> = newest.map(|event| (&**event).into()).collect();
    events.reverse();
    pb::WhyTaskResponse {
        task: Some(views::task_detail(cluster, task, now)),
        events,
        next: next(cluster, task, now),
    }
}

/// The task, the one that it takes over from, and those that take over from it.
fn related(cluster: &Cluster, task: &Task) -> BTreeSet<TaskId> {
    let slot = cluster.tasks_in(task.service, task.slot);
    let after = slot.filter(|other| other.replaces == Some(task.id)).map(|other| other.id);
    after.chain([task.id]).chain(task.replaces).collect()
}

/// Whatever was decided of the slot around this task; of its service and its node what holds
/// replacements.
fn concerns(event: &Event, task: &Task, related: &BTreeSet<TaskId>) -> bool {
    if let Some(id) = event.task {
        return id == task.id || (related.contains(&id) && event.decision.is_some());
    }
    let of_service = event.service == Some(task.service);
    let of_node = event.node.is_some() && event.node == task.node();
    match event.kind {
        EventKind::ReplacementHeld | EventKind::ReplacementReleased => {
            of_service || event.service.is_none()
        }
        EventKind::ServiceCreated
        | EventKind::ServiceUpdated
        | EventKind::ServiceRemoved
        | EventKind::ChecksPaused
        | EventKind::ChecksResumed => of_service,
        EventKind::NodeLost
        | EventKind::NodeSuspect
        | EventKind::NodeAvailability
        | EventKind::NodeLabelled
        | EventKind::NodeAccused
        | EventKind::NodeCleared
        | EventKind::NodeRemoved
        | EventKind::NodeUp => of_node && task.created_at <= event.at,
        EventKind::TaskCreated
        | EventKind::TaskPlaced
        | EventKind::TaskStarted
        | EventKind::TaskStopping
        | EventKind::TaskEnded
        | EventKind::HealthChanged
        | EventKind::ReadyChanged
        | EventKind::ExternalVerdict
        | EventKind::FlappingChanged
        | EventKind::GaveUp => false,
    }
}

/// What comes next, as a sentence.
fn next(cluster: &Cluster, task: &Task, now: Timestamp) -> String {
    if let Some(held) = &task.held {
        let until = if held.rule == Rule::Paused {
            "it is decided when they go on"
        } else if matches!(held.rule, Rule::Budget | Rule::Pace) {
            "it follows by itself"
        } else {
            "recovery lets it go, or warren service release"
        };
        return format!(
            "its replacement is held by {}: {}; {until}",
            held.rule.name(),
            held.reason
        );
    }
    let successor = cluster.tasks_in(task.service, task.slot).find(|other| {
        other.replaces == Some(task.id) && !other.has_ended() && other.stop.is_none()
    });
    match (&task.status.phase, &task.stop, successor) {
        (Phase::Ended(_), _, Some(successor)) => format!("task {} took over", successor.id),
        (Phase::Ended(_), _, None) => "nothing: it has ended".to_owned(),
        (_, Some(_), _) => "it ends".to_owned(),
        (_, None, Some(successor)) => {
            format!("task {} takes over as soon as it is ready", successor.id)
        }
        (_, None, None) => undisturbed(cluster, task, now),
    }
}

fn undisturbed(cluster: &Cluster, task: &Task, now: Timestamp) -> String {
    if let Placement::Waiting(why) = &task.placement {
        let why = if why.is_empty() { "a node".to_owned() } else { why.clone() };
        return format!("it waits: {why}");
    }
    match effective_health(cluster, task, now).status {
        HealthStatus::Starting => "it starts".to_owned(),
        HealthStatus::Healthy | HealthStatus::Unchecked => "nothing: it works".to_owned(),
        HealthStatus::Unhealthy => "it is about to be replaced".to_owned(),
        HealthStatus::Unknown => "whatever its node says when it is heard again".to_owned(),
    }
}
