//! The wall clock, for records. What is timed goes by tokio's monotonic clock.

use std::{
    fmt::Debug,
    time::{SystemTime, UNIX_EPOCH},
};

use warren_core::time::Timestamp;

/// Where the worker reads the time of day, so that a simulation can hand it its own.
pub trait Clock: Debug + Send + Sync + 'static {
    fn now(&self) -> Timestamp;
}

/// The machine's.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
