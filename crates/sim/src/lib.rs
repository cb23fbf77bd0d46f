//! A whole cluster in one thread: the real manager, workers and planner over pipes in memory,
//! under a clock that jumps to the next thing to happen, with one seed for all chance.
//!
//! A `script` says what people do and what breaks, and when. Seeds make scripts of their own;
//! those under `tests/sim` are written by hand, and their transcripts are kept as behaviour. The
//! `oracle` looks at every durable batch, every message and every start of a task; once
//! everything is well again the cluster must come to rest as it was asked to be.
//!
//! Each process touches the world through ports alone: the store or the state file, the runtime,
//! the clock, the network. A crash is the moment at which all ports of a process go dead.
#![cfg(test)]

mod app;
mod chance;
mod clock;
mod cluster;
mod disk;
mod faults;
mod life;
mod machine;
mod manager;
mod net;
mod node;
mod oracle;
mod people;
mod rest;
mod runtime;
mod script;
mod scripts;
mod seeds;
mod steps;
mod tap;
mod transcript;
