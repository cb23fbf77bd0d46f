//! What the manager counts, for whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::decide::report::Settled;

/// Reports, by what became of them.
#[derive(Debug, Default)]
pub struct Counters {
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
