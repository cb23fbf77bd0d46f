//! The built-in checks against the real things, from Debian's packages, on loopback: stopped and
//! frozen under the check, and back again.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail like the test")]

mod http;
mod kafka;
mod machine;
mod nats;
mod postgres;
mod redis;
mod server;
