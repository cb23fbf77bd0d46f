//! What the manager counts, for whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering};

use warren_core::event::EventKind;

use crate::decide::report::Settled;

/// The kinds of events, with their words.
const EVENTS: [(EventKind, &str); 14] = [
    (EventKind::ServiceCreated, "service_created"),
    (EventKind::ServiceUpdated, "service_updated"),
    (EventKind::ServiceRemoved, "service_removed"),
    (EventKind::TaskCreated, "task_created"),
    (EventKind::TaskPlaced, "task_placed"),
    (EventKind::TaskStarted, "task_started"),
    (EventKind::TaskStopping, "task_stopping"),
    (EventKind::TaskEnded, "task_ended"),
    (EventKind::HealthChanged, "health_changed"),
    (EventKind::ReadyChanged, "ready_changed"),
    (EventKind::NodeUp, "node_up"),
    (EventKind::NodeDown, "node_down"),
    (EventKind::NodeRemoved, "node_removed"),
    (EventKind::ExternalVerdict, "external_verdict"),
];

/// Reports, by what became of them, and events, by kind.
#[derive(Debug, Default)]
pub struct Counters {
    events: [AtomicU64; EVENTS.len()],
    taken: AtomicU64,
    unknown: AtomicU64,
    foreign: AtomicU64,
    stale: AtomicU64,
    backward: AtomicU64,
    invalid: AtomicU64,
}

/// Reports since the manager's start, by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReportCounts {
    pub taken: u64,
    pub unknown: u64,
    pub foreign: u64,
    pub stale: u64,
    pub backward: u64,
    pub invalid: u64,
}

impl Counters {
    pub fn reports(&self) -> ReportCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ReportCounts {
            taken: read(&self.taken),
            unknown: read(&self.unknown),
            foreign: read(&self.foreign),
            stale: read(&self.stale),
            backward: read(&self.backward),
            invalid: read(&self.invalid),
        }
    }

    /// Events since the start, by the word for their kind.
    pub fn events(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.events.iter().map(|count| count.load(Ordering::Relaxed));
        EVENTS.iter().map(|(_, word)| *word).zip(counts)
    }

    pub(crate) fn event(&self, kind: EventKind) {
        let known = EVENTS.iter().zip(&self.events).find(|((known, _), _)| *known == kind);
        if let Some((_, count)) = known {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn report(&self, settled: Settled) {
        let counter = match settled {
            Settled::Taken => &self.taken,
            Settled::Unknown => &self.unknown,
            Settled::Foreign => &self.foreign,
            Settled::Stale => &self.stale,
            Settled::Backward => &self.backward,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A report that could not be decoded.
    pub(crate) fn invalid_report(&self) {
        self.invalid.fetch_add(1, Ordering::Relaxed);
    }
}
