//! Whether the control loop turns.

use crate::input::{Handle, Input};

/// Asks the control loop for a sign of life.
#[derive(Clone)]
pub struct Pulse(Handle);

/// The loop did not take the question.
#[derive(Debug, thiserror::Error)]
#[error("the control loop does not answer: {0}")]
pub struct NoPulse(String);

impl Pulse {
    pub(crate) fn new(handle: Handle) -> Self {
        Self(handle)
    }

    /// Until the loop has turned once more. What it decided before is durable then, so this hangs
    /// while the disk does.
    pub async fn beat(&self) -> Result<(), NoPulse> {
        let asked = self.0.ask(|reply| Input::Turn { reply }).await;
        asked.map_err(|rejection| NoPulse(rejection.to_string()))
    }
}

impl std::fmt::Debug for Pulse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pulse")
    }
}
