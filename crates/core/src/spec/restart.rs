//! When a slot is given up.

use crate::{
    Invalid,
    bounds::{Attempts, RestartWindow},
};

/// A slot that fails too often is given up, until the service changes or is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RestartPolicy {
    /// So many restarts; none: without end.
    pub max_attempts: Option<Attempts>,
    /// Only restarts within it count; none: all since the slot last ran well.
    pub window: Option<RestartWindow>,
}

impl RestartPolicy {
    pub fn validated(self) -> Result<Self, Invalid> {
        if self.window.is_some() && self.max_attempts.is_none() {
            return Err(Invalid::new("needs max_attempts").at("window"));
        }
        Ok(self)
    }
}
