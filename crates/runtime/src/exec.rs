//! What all drivers have in common that run commands beside tasks: one at a time for each task,
//! and none that outlives whoever wanted to know how it ends.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use warren_core::id::TaskId;

pub use crate::process::proc::pids;
use crate::process::proc::{Process, has_env, kill_all, those, with_descendants};

/// In the environment of a command and of all that it starts: by its value they are found.
pub const ENV: &str = "WARREN_EXEC_ID";

/// Killed processes end at once, unless the kernel holds them.
const KILL_WITHIN: Duration = Duration::from_secs(1);
/// For the command before to be dead, which was killed a moment ago at the latest.
const TURN_WITHIN: Duration = Duration::from_secs(2);

/// A task's turn to have a command. Its end is the end of the command and not of the call: a check
/// that is called off and made anew must not find itself in its own way.
#[derive(Debug, Default)]
pub struct Turns(Mutex<HashMap<TaskId, Arc<Semaphore>>>);

/// To be dropped when the command is dead.
#[derive(Debug)]
pub struct Turn {
    _held: OwnedSemaphorePermit,
}

impl Turns {
    /// `None`: the command before is not dead yet.
    pub async fn take(&self, task: TaskId) -> Option<Turn> {
        let turn =
            Arc::clone(self.known().entry(task).or_insert_with(|| Arc::new(Semaphore::new(1))));
        let held = timeout(TURN_WITHIN, turn.acquire_owned()).await.ok()?.ok()?;
        Some(Turn { _held: held })
    }

    /// Of a task that is gone.
    pub fn forget(&self, task: TaskId) {
        self.known().remove(&task);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<TaskId, Arc<Semaphore>>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Kills all that a command started and waits for it: its process group, what has its mark, and
/// what descends from those. Of other processes than `among` finds, none is touched. Blocking.
pub fn kill(group: Option<u32>, mark: &str, among: impl Fn() -> Vec<u32>) -> io::Result<()> {
    let variable = format!("{ENV}={mark}");
    let is_its = |process: &Process| {
        group == Some(process.group) || has_env(process.identity.pid, &variable)
    };
    kill_all(KILL_WITHIN, || with_descendants(&those(among()), is_its))
}
