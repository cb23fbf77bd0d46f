//! Each machine's time of day: the run's own clock, and the steps that were made to it.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use warren_core::time::Timestamp;
use warren_manager::World;
use warren_worker::Clock;

use crate::chance::Chance;

/// When every run begins, by every clock.
const BEGIN: u64 = 1_800_000_000_000;

#[derive(Debug)]
pub struct WallClock {
    start: Instant,
    ahead_ms: AtomicI64,
    stepped: AtomicBool,
    chance: Mutex<Chance>,
}

impl WallClock {
    pub fn new(start: Instant, chance: Chance) -> Self {
        let (ahead_ms, stepped) = (AtomicI64::new(0), AtomicBool::new(false));
        Self { start, ahead_ms, stepped, chance: Mutex::new(chance) }
    }

    pub fn step(&self, seconds: i64) {
        self.ahead_ms.fetch_add(seconds * 1000, Ordering::Relaxed);
        self.stepped.store(true, Ordering::Relaxed);
    }

    /// Whether it can be trusted to have only moved on.
    pub fn was_stepped(&self) -> bool {
        self.stepped.load(Ordering::Relaxed)
    }

    pub fn read(&self) -> Timestamp {
        let ahead = self.ahead_ms.load(Ordering::Relaxed);
        let millis = BEGIN.saturating_add_signed(ahead);
        Timestamp::from_millis(millis).after(self.start.elapsed())
    }
}

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        self.read()
    }
}

impl World for WallClock {
    fn now(&self) -> Timestamp {
        self.read()
    }

    fn random(&self) -> u64 {
        self.chance.lock().unwrap().draw()
    }
}

/// Such as `1:02.500`, of the run.
pub fn shown(at: Duration) -> String {
    let millis = at.as_millis();
    format!("{}:{:02}.{:03}", millis / 60_000, millis / 1000 % 60, millis % 1000)
}
