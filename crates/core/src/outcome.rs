//! What one attempt saw.

use std::time::Duration;

use crate::time::Timestamp;

/// The kind of a failure: what the observer holds in its hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Evidence {
    /// The task answered, and the answer was no: a bad status, a non-zero exit.
    Explicit,
    /// Nobody listens there, or the connection was reset.
    Refused,
    /// No full answer before the deadline.
    Timeout,
    /// The process is gone; no probe is needed to know.
    Gone,
}

/// What one attempt saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    Pass,
    Fail(Evidence),
    /// The observer was at fault and has seen nothing.
    Inconclusive,
}

/// One attempt, as it is remembered and shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub at: Timestamp,
    pub latency: Duration,
    pub outcome: Outcome,
    /// For a person; at most [`Attempt::MESSAGE_MAX`] bytes.
    pub message: String,
}

impl Attempt {
    /// Enough for a stack trace's head and tail, little enough to keep a few for each task.
    pub const MESSAGE_MAX: usize = 4096;
}
