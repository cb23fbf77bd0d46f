//! What the outcomes of a task's checks add up to, and when the next attempt is due.
//!
//! Pure: no async, no clock, no randomness. Two kinds of time come in as arguments: [`Elapsed`],
//! by which everything is scheduled and judged, and `Timestamp`, which only goes into records.
//! The clauses that are held here are numbered in `docs/checks.md`.
//!
//! A worker runs one loop for each of [`groups`]: ask [`TaskVerdicts::next_attempt`], sleep,
//! attempt, tell [`TaskVerdicts::observe`], ask again.

mod flap;
mod group;
mod machine;
pub mod reason;
mod recent;
mod run;
mod schedule;
mod seats;
mod watch;

pub use group::{CheckGroup, groups};
pub use machine::{Next, TaskVerdicts};
pub use schedule::{Elapsed, next_due, phase};
