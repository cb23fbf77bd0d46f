//! Whether the control loop turns.

use std::{sync::Arc, time::Duration};

use crate::{
    counters::Counters,
    input::{Handle, Input},
};

/// Asks the control loop for a sign of life.
#[derive(Clone)]
pub struct Pulse {
    handle: Handle,
    counters: Arc<Counters>,
}

/// The loop did not take the question.
#[derive(Debug, thiserror::Error)]
#[error("the control loop does not answer: {0}")]
pub struct NoPulse(String);

impl Pulse {
    pub(crate) fn new(handle: Handle, counters: Arc<Counters>) -> Self {
        Self { handle, counters }
    }

    /// Until the loop has turned once more. What it decided before is durable then, so this hangs
    /// while the disk does.
    pub async fn beat(&self) -> Result<(), NoPulse> {
        let asked = self.handle.ask(|reply| Input::Turn { reply }).await;
        asked.map_err(|rejection| NoPulse(rejection.to_string()))
    }

    /// How long the loop has waited for the disk, while it does: then it cannot turn, and it is not
    /// the loop that is at fault.
    pub fn committing_for(&self) -> Option<Duration> {
        self.counters.tallies().committing_for()
    }
}

impl std::fmt::Debug for Pulse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pulse")
    }
}
