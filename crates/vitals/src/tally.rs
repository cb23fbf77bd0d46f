//! What is counted of a component's runs, for metrics.

use std::time::Duration;

use crate::state::{Outcome, Reason};

/// Upper bounds in seconds, from a memory lookup to the longest sensible timeout.
pub(crate) const BOUNDS: [f64; 12] =
    [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

impl Reason {
    pub const ALL: [Self; 4] = [Self::Failed, Self::Timeout, Self::Panicked, Self::Busy];

    #[cfg(feature = "metrics")]
    pub fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Panicked => "panicked",
            Self::Busy => "busy",
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Failed => 0,
            Self::Timeout => 1,
            Self::Panicked => 2,
            Self::Busy => 3,
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    failures: [u64; Reason::ALL.len()],
    /// Runs by duration; the last one holds what is above all bounds.
    buckets: [u64; BOUNDS.len() + 1],
    duration: Duration,
}

impl Tally {
    pub fn count(&mut self, outcome: &Outcome) {
        if let Err((reason, _)) = &outcome.result {
            self.failures[reason.index()] += 1;
            if *reason == Reason::Busy {
                return; // No run, so no duration.
            }
        }
        let seconds = outcome.latency.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[bucket] += 1;
        self.duration += outcome.latency;
    }
}

#[cfg(any(test, feature = "metrics"))]
impl Tally {
    pub fn failures(&self, reason: Reason) -> u64 {
        self.failures[reason.index()]
    }

    /// Finished and given up runs.
    pub fn runs(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(feature = "metrics")]
impl Tally {
    pub fn total(&self) -> Duration {
        self.duration
    }

    /// Upper bound and number of runs, not cumulated.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
        bounds.zip(self.buckets).collect()
    }
}
