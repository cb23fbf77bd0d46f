//! The attempts of one group: when the next one is due, and what the last ones saw.

use std::{collections::VecDeque, time::Duration};

use warren_core::{
    bounds::Period,
    check::{Role, Timing},
    id::TaskId,
    outcome::Attempt,
};

use crate::schedule::{Elapsed, next_due, phase};

/// Attempts kept for `task inspect`. Docker keeps five; eight show a default run of failures,
/// its confirmation and what came before. At 4 KiB a message it is at most 32 KiB a group.
const RECENT: usize = 8;

/// The pace of confirmation; never slower than the grid.
pub(crate) fn confirm_interval(timing: &Timing) -> Duration {
    timing.confirm_interval.get().min(timing.period.get())
}

/// Inconclusive for so long is unknown.
pub(crate) fn longest_silence(timing: &Timing) -> Duration {
    timing.period.get() * timing.failures.get()
}

/// How fast a check is attempted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// On the grid of the start interval.
    Starting,
    /// Off any grid.
    Confirming,
    /// On the grid of the period.
    Steady,
}

#[derive(Debug, Clone)]
pub(crate) struct Watch {
    timing: Timing,
    task: TaskId,
    lead: Role,
    last_start: Option<Elapsed>,
    recent: VecDeque<Attempt>,
}

impl Watch {
    /// `lead` stands for the group; `timing` is that of the role that decides its pace.
    pub(crate) fn new(task: TaskId, lead: Role, timing: Timing) -> Self {
        let recent = VecDeque::with_capacity(RECENT);
        Self { timing, task, lead, last_start: None, recent }
    }

    /// Goes on after a worker's restart, as if an attempt had been made just now: every check of
    /// the worker stays on its grid, and none is hurried by the restart.
    pub(crate) fn resume(&mut self, last: Option<Attempt>, now: Elapsed) {
        if let Some(last) = last {
            self.last_start = Some(now);
            self.recent.push_back(last);
        }
    }

    /// Of a check that replaces others in a task that runs: it falls on its grid from `now` on.
    pub(crate) fn begin_at(&mut self, now: Elapsed) {
        self.last_start = Some(now);
    }

    /// Goes on where `before` was, whose check asked the same.
    pub(crate) fn take_over(&mut self, before: &Self) {
        self.last_start = before.last_start;
        self.recent.clone_from(&before.recent);
    }

    pub(crate) const fn has_begun(&self) -> bool {
        self.last_start.is_some()
    }

    pub(crate) fn record(&mut self, attempt: Attempt, start: Elapsed) {
        self.last_start = Some(start);
        self.remember(attempt);
    }

    pub(crate) fn remember(&mut self, attempt: Attempt) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(attempt);
    }

    pub(crate) fn recent(&self) -> impl ExactSizeIterator<Item = &Attempt> {
        self.recent.iter()
    }

    pub(crate) fn last(&self) -> Option<&Attempt> {
        self.recent.back()
    }

    /// The least time between the starts of two attempts, at any pace.
    pub(crate) fn least_gap(&self) -> Duration {
        self.gap(self.timing.period).min(self.gap(self.start_interval()))
    }

    /// The least time between the starts of two attempts on the grid of this period: half of it,
    /// so that an attempt which is a little late never costs the next point.
    fn gap(&self, period: Period) -> Duration {
        confirm_interval(&self.timing).min(period.get() / 2)
    }

    /// Never slower than the period.
    fn start_interval(&self) -> Period {
        self.timing.start_interval.min(self.timing.period)
    }

    /// When to attempt next, at `now` or later. A point of the grid that comes less than a gap
    /// before a moment that decides gives way to it.
    pub(crate) fn next(
        &self,
        now: Elapsed,
        pace: Pace,
        decisive: impl Iterator<Item = Elapsed>,
    ) -> Elapsed {
        let Some(last) = self.last_start else {
            return self.timing.delay.get().max(now);
        };
        let period = match pace {
            Pace::Starting => self.start_interval(),
            Pace::Confirming => return (last + confirm_interval(&self.timing)).max(now),
            Pace::Steady => self.timing.period,
        };
        let gap = self.gap(period);
        let soonest = last + gap;
        let grid = next_due(now.max(soonest), phase(self.task, self.lead, period), period);
        // One that passed during the last attempt has not been answered yet.
        let decisive = decisive.filter(|&at| at > last).min();
        match decisive.map(|at| at.max(soonest).max(now)) {
            Some(at) if at < grid + gap => at,
            Some(_) | None => grid,
        }
    }
}
