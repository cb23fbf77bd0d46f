//! The worker between a runtime and a manager that a test plays: both in memory, under a clock
//! that jumps to the next thing to happen. Only the state file and the logs are real.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail like the test")]

mod calls;
mod clock;
mod health;
mod lifecycle;
mod looks;
mod observer;
mod restart;
mod sessions;
mod support;
mod unavailable;
