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
    /// The cluster's bucket of replacements holds so many.
    pub pace_burst: u32,
    /// It gets another one this often.
    pub pace_interval: Duration,
    /// So many percent of a service's slots, and at least four, that fail at one moment are held
    /// but for one.
    pub breaker_percent: u32,
    /// What fails within so long fails at one moment; longer where checks are further apart.
    pub moment: Duration,
    /// Slots that name the same failing component hold each other when they fail within so long:
    /// a shared dependency reaches the checks of all in a few periods and retries.
    pub component_window: Duration,
    /// Once a task that was made since works, what still fails is held until it has been looked at
    /// once more, or for so long where its checks are further apart.
    pub next_look_max: Duration,
    /// So many percent of a node's tasks, and at least three, that fail at one moment accuse it.
    pub accuse_percent: u32,
    /// Failures within so long, of several services that fail nowhere else, cordon a node; and
    /// the next cordon comes so long after the last one.
    pub cordon_window: Duration,
    /// So many services it takes.
    pub cordon_services: usize,
    /// So many percent of the nodes, but at least one, are cordoned by the manager.
    pub cordon_percent: u32,
    /// The tasks of a lost node are replaced so long after it was lost.
    pub reschedule_after: Duration,
    /// Nothing is replaced for missing information so long after the manager's start.
    pub boot_grace: Duration,
    /// More than so many percent of the nodes, and at least two, that are lost within one
    /// `silence_window` accuse the manager itself.
    pub silence_percent: usize,
    pub silence_window: Duration,
    /// Ended tasks that are kept for each slot, for a person and for the backoff.
    pub ended_kept: usize,
    /// Events that are kept of each task, so that one which flaps does not push out the others.
    pub events_per_task: usize,
    /// Events that are kept of each service and its tasks, also of one that is gone.
    pub events_per_service: usize,
    /// Events are kept for so long.
    pub events_age: Duration,
    /// They are let grow so much older, so that trims are rare.
    pub events_age_slack: Duration,
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
            // Five seconds' worth: as much as a rack that fails needs, and less than what brings
            // a registry down.
            pace_burst: 50,
            pace_interval: Duration::from_millis(100),
            breaker_percent: 10,
            moment: Duration::from_secs(10),
            component_window: Duration::from_mins(5),
            // A period and a timeout of the command line's defaults, and some.
            next_look_max: Duration::from_mins(1),
            accuse_percent: 40,
            cordon_window: Duration::from_mins(10),
            cordon_services: 3,
            cordon_percent: 10,
            // One lease more: a worker that is restarted is back by then.
            reschedule_after: Duration::from_secs(15),
            boot_grace: Duration::from_secs(15),
            // Eureka's.
            silence_percent: 15,
            silence_window: Duration::from_mins(5),
            // Swarm's, and enough to see a pattern.
            ended_kept: 5,
            // A day of a task that is replaced by hand now and then; an hour of one that flaps.
            events_per_task: 100,
            events_per_service: 1_000,
            events_age: Duration::from_hours(30 * 24),
            events_age_slack: Duration::from_hours(24),
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

    /// How many of a service's slots that fail at one moment are too many for chance.
    pub(crate) fn breaker_slots(&self, replicas: u32) -> usize {
        let share = (u64::from(replicas) * u64::from(self.breaker_percent)).div_ceil(100);
        usize::try_from(share).unwrap_or(usize::MAX).max(4)
    }

    /// Likewise of those that name the same failing component, which one alone says of itself.
    pub(crate) fn component_slots(&self, replicas: u32) -> usize {
        let share = (u64::from(replicas) * u64::from(self.breaker_percent)).div_ceil(100);
        usize::try_from(share).unwrap_or(usize::MAX).max(2)
    }
}
