//! What a manager is told when it starts.

use std::{path::PathBuf, time::Duration};

use warren_plan::Policy;

#[derive(Debug, Clone)]
pub struct ManagerConfig {
    /// Holds `warren.redb`; made when it is not there.
    pub data_dir: PathBuf,
    pub timing: Timing,
    pub policy: Policy,
}

/// How long the manager waits, for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Workers send a heartbeat this often.
    pub heartbeat: Duration,
    /// A node that is silent for longer is lost; one that has not come back so long after the
    /// manager's start likewise.
    pub grace: Duration,
    /// A worker that is asked something opens its answer within this.
    pub call_open: Duration,
    /// Everything is planned anew this often, whatever has or has not happened.
    pub safety_pass: Duration,
    /// At the end, connections that do not close by themselves are cut after this.
    pub drain: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(5),
            // Three heartbeats: one may be lost, one may be late.
            grace: Duration::from_secs(15),
            call_open: Duration::from_secs(10),
            safety_pass: Duration::from_mins(1),
            drain: Duration::from_secs(5),
        }
    }
}
