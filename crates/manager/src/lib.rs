//! The manager: one control loop that writes, and the gRPC services around it.
//!
//! Readers never enter the loop; they read what it has published. Workers dial in and hold one
//! session each. Nothing here probes, and nothing here runs tasks.

mod apart;
mod assign;
mod calls;
mod config;
mod control;
mod counters;
mod decide;
mod input;
mod journal;
mod listen;
mod lookup;
mod manager;
mod metrics;
mod phi;
mod presence;
mod publish;
mod pulse;
mod rejection;
mod rpc;
mod serve;
mod session;
mod status;
mod tally;
mod views;
mod wakers;
mod why;
mod world;
mod writer;

pub use config::{ManagerConfig, Timing};
pub use counters::{Counters, GuardCounts, ReportCounts};
pub use listen::{BindFault, Listener, bind_tcp, bind_unix};
pub use manager::{Manager, ManagerFault};
pub use pulse::{NoPulse, Pulse};
pub use tally::{Tallies, Tally, Transition};
pub use warren_plan::{Policy, violations};
pub use warren_store::{CopyFault, FILE as DATABASE, Inspection, OpenFault, inspect, write_whole};
pub use world::{RealWorld, World};
