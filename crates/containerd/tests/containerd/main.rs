//! The driver against a real containerd, which each test starts for itself. Needs root,
//! containerd, runc, the CNI plugins and a static busybox; without them the tests say so and do
//! nothing.

#![expect(clippy::unwrap_used, reason = "what a test needs and does not get fails it")]

mod exec;
mod exec_cost;
mod hammer;
mod image;
mod init;
mod killed;
mod lab;
mod lifecycle;
mod network;
mod pull;
mod restart;
mod template;
