//! What is counted of each service. Its counts end with it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prometheus_client::metrics::histogram::Histogram;
use tokio::time::Instant;
use warren_core::{
    check::Role,
    cluster::Cluster,
    event::{Event, EventKind},
    health::{Health, HealthStatus, Standing, TaskHealth, Verdict},
    id::{NodeId, ServiceId, TaskId},
    outcome::{Evidence, Outcome},
    rule::Rule,
    time::Timestamp,
};

/// From a report over loopback to one that had to wait for a partition to end.
const PROPAGATION_SECONDS: [f64; 11] =
    [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0, 60.0];

/// From a disk with a cache of its own to one that hangs.
const COMMIT_SECONDS: [f64; 11] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0, 10.0];

/// Counts by service, when each worker was heard, and how the disk does.
#[derive(Debug)]
pub struct Tallies {
    services: Mutex<BTreeMap<ServiceId, Tally>>,
    heard: Mutex<BTreeMap<NodeId, Timestamp>>,
    propagation: Histogram,
    committing: Mutex<Option<Instant>>,
    commits: Histogram,
}

/// Of one service, since the manager's start. Only what has happened is here.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub transitions: BTreeMap<Transition, u64>,
    /// By what made them.
    pub replacements: BTreeMap<Rule, u64>,
    /// By what began to hold them.
    pub suppressed: BTreeMap<Rule, u64>,
}

/// A change of the health that counts, the verdicts of others included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Transition {
    pub from: &'static str,
    pub to: &'static str,
    pub reason: &'static str,
}

impl Default for Tallies {
    fn default() -> Self {
        Self {
            services: Mutex::default(),
            heard: Mutex::default(),
            propagation: Histogram::new(PROPAGATION_SECONDS),
            committing: Mutex::default(),
            commits: Histogram::new(COMMIT_SECONDS),
        }
    }
}

impl Tallies {
    pub fn services(&self) -> BTreeMap<ServiceId, Tally> {
        self.locked().clone()
    }

    /// When each worker was heard last, those that are gone for good included.
    pub fn heard(&self) -> BTreeMap<NodeId, Timestamp> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From a change of health, by its worker's clock, to the commit that made it durable.
    pub fn propagation(&self) -> &Histogram {
        &self.propagation
    }

    /// How long each batch took to become durable.
    pub fn commits(&self) -> &Histogram {
        &self.commits
    }

    /// How long the batch that is under way has waited for the disk.
    pub fn committing_for(&self) -> Option<Duration> {
        (*self.committing()).map(|since| since.elapsed())
    }

    fn committing(&self) -> MutexGuard<'_, Option<Instant>> {
        self.committing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn commit_begins(&self) {
        *self.committing() = Some(Instant::now());
    }

    pub(crate) fn commit_ends(&self) {
        if let Some(since) = self.committing().take() {
            self.commits.observe(since.elapsed().as_secs_f64());
        }
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<ServiceId, Tally>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn hear(&self, node: NodeId, now: Timestamp) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).insert(node, now);
    }

    pub(crate) fn forget_node(&self, node: NodeId) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).remove(&node);
    }

    pub(crate) fn forget(&self, service: ServiceId) {
        self.locked().remove(&service);
    }

    fn count(&self, service: ServiceId, what: impl FnOnce(&mut Tally) -> &mut u64) {
        *what(self.locked().entry(service).or_default()) += 1;
    }

    /// A task has another health now.
    pub(crate) fn health(&self, before: &Cluster, id: TaskId, after: &TaskHealth, now: Timestamp) {
        let Some(task) = before.task(id) else { return };
        // Every task begins in the same way.
        let starting =
            Standing { status: HealthStatus::Starting, ..Standing::from(&after.observed) };
        let known = before.health(id);
        let old = known.map_or(starting, |known| known.standing(now)).status;
        let new = after.standing(now).status;
        if old != new {
            let external = new != after.observed.status;
            let reason = if external { "external" } else { reason(&after.observed) };
            let transition = Transition { from: old.name(), to: new.name(), reason };
            self.count(task.service, |tally| tally.transitions.entry(transition).or_default());
        }
        let Health { status, since, ready, ready_since, .. } = &after.observed;
        let told = known.map(|known| (known.observed.status, known.observed.ready));
        if told.unwrap_or((HealthStatus::Starting, false)) != (*status, *ready) {
            let at = (*since).max(*ready_since);
            self.propagation.observe(now.since(at).as_secs_f64());
        }
    }

    /// A row of history was written.
    pub(crate) fn event(&self, event: &Event) {
        let made = (event.kind, event.service, event.decision.as_ref());
        let (EventKind::TaskCreated, Some(service), Some(decision)) = made else { return };
        if decision.rule != Rule::Fill {
            let rule = decision.rule;
            self.count(service, |tally| tally.replacements.entry(rule).or_default());
        }
    }

    /// A guard begins to hold a replacement.
    pub(crate) fn suppressed(&self, service: ServiceId, guard: Rule) {
        self.count(service, |tally| tally.suppressed.entry(guard).or_default());
    }
}

/// One of a few words.
fn reason(health: &Health) -> &'static str {
    match health.status {
        HealthStatus::Healthy => "pass",
        HealthStatus::Starting | HealthStatus::Unchecked => "none",
        HealthStatus::Unknown => "inconclusive",
        HealthStatus::Unhealthy => {
            let mut roles =
                Role::ALL.into_iter().filter_map(|role| health.roles.get(role).as_ref());
            let failing = roles.find(|role| role.verdict == Verdict::Failing);
            let last = failing.and_then(|role| role.last.as_ref()).map(|last| last.outcome);
            match last {
                Some(Outcome::Fail(Evidence::Explicit)) => "explicit",
                Some(Outcome::Fail(Evidence::Refused)) => "refused",
                Some(Outcome::Fail(Evidence::Timeout)) => "timeout",
                Some(Outcome::Fail(Evidence::Gone) | Outcome::Pass | Outcome::Inconclusive)
                | None => "gone",
            }
        }
    }
}
