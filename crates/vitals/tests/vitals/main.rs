//! The library as a service uses it.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail like the test")]

mod actix;
mod answers;
mod crowd;
mod grpc;
mod lifecycle;
mod listener;
mod metrics;
mod runs;
mod support;
