//! Whether a role flaps: its last outcomes, and a beginning and an end that lie apart.

use warren_core::{check::Flapping, outcome::Attempt, time::Timestamp};

use crate::reason;

/// The last conclusive outcomes of a role, from its first pass on. Marks, and decides nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Window {
    /// The newest lowest; set where it failed.
    failed: u64,
    /// So many of the bits are outcomes.
    seen: u32,
    /// Boxed: nearly always there is none.
    flaps: Option<Box<Flaps>>,
}

#[derive(Debug, Clone)]
struct Flaps {
    since: Timestamp,
    why: String,
}

impl Window {
    /// Goes on from a record, which has no outcomes: it takes a full window to tell the end.
    pub(crate) fn resume(&mut self, rule: Option<Flapping>, since: Option<Timestamp>) {
        self.flaps = since.filter(|_| rule.is_some()).map(|since| {
            // The sentence is the task's reason where it stands alone, and comes with it.
            Box::new(Flaps { since, why: String::new() })
        });
    }

    /// A mark stays until a full window of what comes now has ended it.
    pub(crate) const fn forget(&mut self) {
        (self.failed, self.seen) = (0, 0);
    }

    /// Takes in an outcome; `what` names the role. Whether the flapping began or ended with it.
    pub(crate) fn push(
        &mut self,
        rule: Flapping,
        failed: bool,
        what: &str,
        attempt: &Attempt,
    ) -> bool {
        let all = u64::MAX >> (64 - rule.window());
        self.failed = (self.failed << 1 | u64::from(failed)) & all;
        self.seen = (self.seen + 1).min(rule.window());
        let failures = self.failed.count_ones();
        match self.flaps {
            None if failures >= rule.failures() && !self.is_one_run() => {
                let why = reason::flaps(what, failures, self.seen, attempt);
                let since = attempt.at.after(attempt.latency);
                self.flaps = Some(Box::new(Flaps { since, why }));
                true
            }
            Some(_) if self.seen == rule.window() && failures <= rule.failures() / 2 => {
                self.flaps = None;
                true
            }
            None | Some(_) => false,
        }
    }

    /// An outage, however long, is no flapping.
    const fn is_one_run(&self) -> bool {
        let run = match self.failed.checked_shr(self.failed.trailing_zeros()) {
            Some(run) => run,
            None => 0,
        };
        run & run.wrapping_add(1) == 0
    }

    pub(crate) fn since(&self) -> Option<Timestamp> {
        self.flaps.as_ref().map(|flaps| flaps.since)
    }

    /// A sentence while it flaps.
    pub(crate) fn why(&self) -> Option<&str> {
        self.flaps.as_ref().map(|flaps| flaps.why.as_str())
    }

    pub(crate) fn blame(&mut self, why: &str) {
        if let Some(flaps) = &mut self.flaps {
            why.clone_into(&mut flaps.why);
        }
    }
}
