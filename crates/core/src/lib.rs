//! Warren's nouns: values that cannot be invalid, and under each its wire form.
//!
//! No clock, no randomness, no I/O: time and seeds are arguments. `wire` modules are the only
//! place where protobuf messages are taken apart and put together; both directions destructure
//! totally, so a field that one of them forgets does not compile.

pub mod assignment;
pub mod bounds;
pub mod change;
pub mod check;
pub mod clause;
pub mod cluster;
pub mod event;
pub mod health;
pub mod id;
pub mod invalid;
pub mod node;
pub mod outcome;
pub mod report;
pub mod restraint;
pub mod rule;
pub mod service;
pub mod spec;
pub mod task;
pub mod time;
pub mod trial;
pub mod wire;

pub use invalid::Invalid;
