//! The history, as it is written, to the log.

use warren_core::{
    change::Change,
    event::{Event, EventKind},
};

/// Of all changes only events are for people to follow.
pub fn log(change: &Change) {
    match change {
        Change::PutEvent(event) => log_event(event),
        Change::PutService(_)
        | Change::RemoveService(_)
        | Change::PutTask(_)
        | Change::RemoveTask(_)
        | Change::PutHealth(..)
        | Change::PutNode(_)
        | Change::RemoveNode(_)
        | Change::PutRestraint(_)
        | Change::RemoveEvent(_)
        | Change::TrimEvents(_) => {}
    }
}

fn log_event(event: &Event) {
    let Event {
        sequence,
        at: _, // The line has its own.
        kind,
        service,
        service_name,
        slot,
        task,
        node,
        message,
        decision,
    } = event;
    let name = service_name.as_ref().map(tracing::field::display);
    let rule = decision.as_ref().map(|decision| decision.rule.name());
    let seen = decision.as_ref().map(|decision| decision.seen.as_str());
    let service = service.map(tracing::field::display);
    let task = task.map(tracing::field::display);
    let node = node.map(tracing::field::display);
    macro_rules! write {
        ($level:ident) => {
            tracing::$level!(
                event.sequence = sequence,
                event.kind = ?kind,
                service.id = service,
                service.name = name,
                slot,
                task.id = task,
                node.id = node,
                rule,
                seen,
                said = message,
                "cluster changed"
            )
        };
    }
    match level(*kind) {
        Level::Error => write!(error),
        Level::Warn => write!(warn),
        Level::Info => write!(info),
    }
}

/// Whether a person must act, something mends itself, or a state changed.
enum Level {
    Error,
    Warn,
    Info,
}

const fn level(kind: EventKind) -> Level {
    match kind {
        EventKind::GaveUp => Level::Error,
        EventKind::NodeLost
        | EventKind::NodeSuspect
        | EventKind::NodeAccused
        | EventKind::ReplacementHeld => Level::Warn,
        EventKind::ServiceCreated
        | EventKind::ServiceUpdated
        | EventKind::ServiceRemoved
        | EventKind::TaskCreated
        | EventKind::TaskPlaced
        | EventKind::TaskStarted
        | EventKind::TaskStopping
        | EventKind::TaskEnded
        | EventKind::HealthChanged
        | EventKind::ReadyChanged
        | EventKind::NodeUp
        | EventKind::NodeRemoved
        | EventKind::NodeAvailability
        | EventKind::NodeLabelled
        | EventKind::NodeCleared
        | EventKind::ReplacementReleased
        | EventKind::ExternalVerdict
        | EventKind::FlappingChanged
        | EventKind::ChecksPaused
        | EventKind::ChecksResumed => Level::Info,
    }
}
