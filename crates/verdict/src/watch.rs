//! The attempts of one group: when the next one is due, and what the last ones saw.

use std::{collections::VecDeque, time::Duration};

use warren_core::{
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

#[derive(Debug, Clone)]
pub(crate) struct Watch {
    timing: Timing,
    phase: Duration,
    last_start: Option<Elapsed>,
    recent: VecDeque<Attempt>,
}

impl Watch {
    /// `lead` stands for the group; `timing` is that of the role that decides its pace.
    pub(crate) fn new(task: TaskId, lead: Role, timing: Timing) -> Self {
        Self {
            timing,
            phase: phase(task, lead, timing.period),
            last_start: None,
            recent: VecDeque::with_capacity(RECENT),
        }
    }

    /// Goes on after a worker's restart, as if an attempt had been made just now: every check of
    /// the worker stays on its grid, and none is hurried by the restart.
    pub(crate) fn resume(&mut self, last: Option<Attempt>, now: Elapsed) {
        if let Some(last) = last {
            self.last_start = Some(now);
            self.recent.push_back(last);
        }
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

    /// The least time between the starts of two attempts. Half a period, so that an attempt which
    /// is a little late never costs the next point of the grid.
    pub(crate) fn gap(&self) -> Duration {
        confirm_interval(&self.timing).min(self.timing.period.get() / 2)
    }

    /// When to attempt next, at `now` or later. A point of the grid that comes less than a gap
    /// before a moment that decides gives way to it.
    pub(crate) fn next(
        &self,
        now: Elapsed,
        confirm: bool,
        decisive: impl Iterator<Item = Elapsed>,
    ) -> Elapsed {
        let Some(last) = self.last_start else {
            return self.timing.delay.get().max(now);
        };
        if confirm {
            return (last + confirm_interval(&self.timing)).max(now);
        }
        let soonest = last + self.gap();
        let grid = next_due(now.max(soonest), self.phase, self.timing.period);
        // One that passed during the last attempt has not been answered yet.
        let decisive = decisive.filter(|&at| at > last).min();
        match decisive.map(|at| at.max(soonest).max(now)) {
            Some(at) if at < grid + self.gap() => at,
            Some(_) | None => grid,
        }
    }
}
