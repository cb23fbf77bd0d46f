//! The attempts of one group: when the next one is due, and what the last ones saw.

use std::{hint::black_box, time::Duration};

use warren_core::{
    bounds::Period,
    check::{Role, Timing},
    id::TaskId,
    outcome::Attempt,
};

use crate::{
    recent::Recent,
    schedule::{Elapsed, next_due, phase},
};

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

/// The timing is that of the role that decides the group's pace, which all tasks of a service
/// share.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    task: TaskId,
    lead: Role,
    last_start: Option<Elapsed>,
    recent: Recent,
}

impl Watch {
    /// `lead` stands for the group.
    pub(crate) fn new(task: TaskId, lead: Role) -> Self {
        Self { task, lead, last_start: None, recent: Recent::default() }
    }

    /// Goes on after a worker's restart, as if an attempt had been made just now: every check of
    /// the worker stays on its grid, and none is hurried by the restart.
    pub(crate) fn resume(&mut self, last: Option<Attempt>, now: Elapsed) {
        if let Some(last) = last {
            self.last_start = Some(now);
            self.recent.push(last);
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
        self.recent.push(attempt);
    }

    pub(crate) fn recent(&self) -> impl DoubleEndedIterator<Item = Attempt> {
        self.recent.iter()
    }

    /// See [`TaskVerdicts::glance`](crate::TaskVerdicts::glance).
    pub(crate) fn glance(&self) {
        black_box(self.last_start);
        self.recent.glance();
    }

    pub(crate) fn last(&self) -> Option<Attempt> {
        self.recent().next_back()
    }

    /// The least time between the starts of two attempts, at any pace.
    pub(crate) fn least_gap(timing: &Timing) -> Duration {
        gap(timing, timing.period).min(gap(timing, start_interval(timing)))
    }

    /// When to attempt next, at `now` or later. A point of the grid that comes less than a gap
    /// before a moment that decides gives way to it.
    pub(crate) fn next(
        &self,
        timing: &Timing,
        now: Elapsed,
        pace: Pace,
        decisive: impl Iterator<Item = Elapsed>,
    ) -> Elapsed {
        let Some(last) = self.last_start else {
            return timing.delay.get().max(now);
        };
        let period = match pace {
            Pace::Starting => start_interval(timing),
            Pace::Confirming => return (last + confirm_interval(timing)).max(now),
            Pace::Steady => timing.period,
        };
        let gap = gap(timing, period);
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

/// The least time between the starts of two attempts on the grid of this period: half of it, so
/// that an attempt which is a little late never costs the next point.
fn gap(timing: &Timing, period: Period) -> Duration {
    confirm_interval(timing).min(period.get() / 2)
}

/// Never slower than the period.
fn start_interval(timing: &Timing) -> Period {
    timing.start_interval.min(timing.period)
}
