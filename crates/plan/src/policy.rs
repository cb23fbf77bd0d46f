//! The numbers that decide how fast and how much is replaced.

use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The longest wait after the second failure in a row; the first one has none. Doubles with
    /// each further failure.
    pub backoff_base: Duration,
    /// The longest wait of all.
    pub backoff_max: Duration,
    /// A task that was ready and ran for so long begins a new row of failures when it fails.
    /// Longer than any backoff, so that waiting never counts as running well.
    pub stable_run: Duration,
    /// So many percent of a service's replicas, but at least one, are in replacement for their
    /// health at once. Tasks that were never ready and those whose process is gone don't count.
    pub budget_percent: u32,
    /// A slot whose once ready task was stopped for its health keeps its part of the budget for
    /// so long, unless it serves before: replacements that fail at once don't burn down a fleet.
    pub budget_hold: Duration,
    /// Ended tasks that are kept for each slot, for a person and for the backoff.
    pub ended_kept: usize,
    /// Events that are kept.
    pub events_kept: u64,
    /// So many more are let pile up, so that trims are rare.
    pub events_slack: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            backoff_base: Duration::from_secs(5),
            backoff_max: Duration::from_mins(5),
            // The kubelet's, and twice the longest backoff.
            stable_run: Duration::from_mins(10),
            budget_percent: 25,
            // Three attempts of a check at its default period.
            budget_hold: Duration::from_secs(30),
            // Swarm's, and enough to see a pattern.
            ended_kept: 5,
            // Days of a large cluster's history in a few megabytes.
            events_kept: 10_000,
            events_slack: 1_000,
        }
    }
}

impl Policy {
    /// How many slots of a service of so many replicas may be in replacement at once.
    pub(crate) fn budget(&self, replicas: u32) -> u64 {
        (u64::from(replicas) * u64::from(self.budget_percent) / 100).max(1)
    }
}
