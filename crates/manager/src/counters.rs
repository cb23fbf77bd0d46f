//! What the manager counts, for whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering};

use warren_core::{
    change::Change,
    cluster::Cluster,
    event::EventKind,
    id::TaskId,
    rule::{Hold, Rule},
    time::Timestamp,
};

use crate::{decide::report::Settled, tally::Tallies};

macro_rules! words {
    ($($kind:ident: $word:literal),+ $(,)?) => {
        const EVENTS: &[EventKind] = &[$(EventKind::$kind),+];

        /// A kind without a word does not compile.
        const fn word(kind: EventKind) -> &'static str {
            match kind {
                $(EventKind::$kind => $word,)+
            }
        }
    };
}

words! {
    ServiceCreated: "service_created",
    ServiceUpdated: "service_updated",
    ServiceRemoved: "service_removed",
    TaskCreated: "task_created",
    TaskPlaced: "task_placed",
    TaskStarted: "task_started",
    TaskStopping: "task_stopping",
    TaskEnded: "task_ended",
    HealthChanged: "health_changed",
    ReadyChanged: "ready_changed",
    NodeUp: "node_up",
    NodeLost: "node_lost",
    NodeRemoved: "node_removed",
    ExternalVerdict: "external_verdict",
    FlappingChanged: "flapping_changed",
    ReplacementHeld: "replacement_held",
    ReplacementReleased: "replacement_released",
    GaveUp: "gave_up",
    NodeSuspect: "node_suspect",
    NodeAvailability: "node_availability",
    NodeAccused: "node_accused",
    NodeCleared: "node_cleared",
    ChecksPaused: "checks_paused",
    ChecksResumed: "checks_resumed",
    NodeLabelled: "node_labelled",
}

/// Reports, by what became of them, events, by kind, replacements, by what holds them, and more by
/// service.
#[derive(Debug, Default)]
pub struct Counters {
    tallies: Tallies,
    events: [AtomicU64; EVENTS.len()],
    taken: AtomicU64,
    unknown: AtomicU64,
    foreign: AtomicU64,
    stale: AtomicU64,
    backward: AtomicU64,
    invalid: AtomicU64,
    guards: [Guard; Rule::GUARDS.len()],
}

/// In the order of [`Rule::GUARDS`].
#[derive(Debug, Default)]
struct Guard {
    fired: AtomicU64,
    held: AtomicU64,
}

/// What one guard did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GuardCounts {
    /// Replacements that it began to hold, since the manager's start.
    pub fired: u64,
    /// Replacements that it holds now.
    pub held: u64,
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
        EVENTS.iter().map(|kind| word(*kind)).zip(counts)
    }

    fn event(&self, kind: EventKind) {
        let known = EVENTS.iter().zip(&self.events).find(|(known, _)| **known == kind);
        if let Some((_, count)) = known {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Each guard that can hold a replacement, and what it did.
    pub fn guards(&self) -> impl Iterator<Item = (Rule, GuardCounts)> {
        let counts = |guard: &Guard| GuardCounts {
            fired: guard.fired.load(Ordering::Relaxed),
            held: guard.held.load(Ordering::Relaxed),
        };
        Rule::GUARDS.into_iter().zip(&self.guards).map(move |(rule, guard)| (rule, counts(guard)))
    }

    /// What is held when the manager starts.
    pub(crate) fn start(&self, cluster: &Cluster) {
        for guard in cluster.tasks().filter_map(|task| self.guard(task.held.as_deref())) {
            guard.held.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    /// A batch that is durable; `before` is the cluster without it.
    pub(crate) fn batch(&self, before: &Cluster, batch: &[Change], now: Timestamp) {
        for change in batch {
            match change {
                Change::PutTask(task) => self.hold(before, task.id, task.held.as_deref()),
                Change::RemoveTask(id) => self.hold(before, *id, None),
                Change::PutHealth(id, health) => self.tallies.health(before, *id, health, now),
                Change::PutEvent(event) => {
                    self.event(event.kind);
                    self.tallies.event(event);
                }
                Change::RemoveNode(id) => self.tallies.forget_node(*id),
                Change::PutService(_)
                | Change::RemoveService(_)
                | Change::PutNode(_)
                | Change::PutRestraint(_)
                | Change::RemoveEvent(_)
                | Change::TrimEvents(_) => {}
            }
        }
        // Last, so that nothing else in the batch brings it back.
        for change in batch {
            if let Change::RemoveService(id) = change {
                self.tallies.forget(*id);
            }
        }
    }

    fn hold(&self, before: &Cluster, id: TaskId, after: Option<&Hold>) {
        let task = before.task(id);
        let held = task.and_then(|task| task.held.as_deref());
        if held.map(|held| held.rule) == after.map(|held| held.rule) {
            return;
        }
        if let Some(guard) = self.guard(held) {
            guard.held.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(guard) = self.guard(after) {
            guard.fired.fetch_add(1, Ordering::Relaxed);
            guard.held.fetch_add(1, Ordering::Relaxed);
        }
        if let (Some(task), Some(after)) = (task, after) {
            self.tallies.suppressed(task.service, after.rule);
        }
    }

    fn guard(&self, held: Option<&Hold>) -> Option<&Guard> {
        let index = Rule::GUARDS.iter().position(|rule| held.is_some_and(|h| h.rule == *rule))?;
        self.guards.get(index)
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
