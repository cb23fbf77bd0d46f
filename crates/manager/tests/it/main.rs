//! The whole manager in this process: real gRPC over pipes in memory, mostly in paused time.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail like the test")]

mod ahead;
mod api;
mod calls;
mod guards;
mod health;
mod nodes;
mod pause;
mod restart;
mod sessions;
mod support;
