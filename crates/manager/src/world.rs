//! Where the manager's time and chance come from, so that a simulation can hand it its own.

use std::{
    hash::{BuildHasher, RandomState},
    time::{SystemTime, UNIX_EPOCH},
};

use warren_core::time::Timestamp;

/// What the deciding code is given as arguments and never asks for itself.
pub trait World: Send + Sync + 'static {
    /// For records and for what they say: creations, expiries, backoff.
    fn now(&self) -> Timestamp;

    /// Different each time: for new ids and for the planner's seed.
    fn random(&self) -> u64;
}

/// The machine that the manager runs on.
#[derive(Debug, Clone, Copy)]
pub struct RealWorld;

impl World for RealWorld {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::EPOCH.after(since)
    }

    /// The standard library keys its hashers from the system's randomness, and no two alike; ids
    /// need no more than that, and it cannot fail.
    fn random(&self) -> u64 {
        RandomState::new().hash_one(())
    }
}
