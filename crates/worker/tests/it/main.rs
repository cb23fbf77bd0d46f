//! The worker between a runtime and a manager that a test plays: both in memory, under a clock
//! that jumps to the next thing to happen. Only the state file and the logs are real.

mod calls;
mod health;
mod lifecycle;
mod restart;
mod sessions;
mod support;
mod unavailable;
