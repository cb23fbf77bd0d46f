//! A shim that does not answer, such as one that waits for a file system or for somebody to read a
//! pipe. containerd waits 2 s for it and then knows neither a state nor a number; the task runs on.

use std::{fs, path::Path, time::Duration};

use containerd_client::types::v1::{Process, Status as State};
use serde::Deserialize;
use tokio::time::{Instant, sleep};
use warren_core::id::TaskId;
use warren_runtime::{Identity, RuntimeError};

use crate::{client::unavailable, leftovers::RUNC_ROOT, shared::Shared};

/// So long is asked again where nobody else knows either.
const DEAF_MAX: Duration = Duration::from_secs(10);
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// What runc has written down of a container's first process.
#[derive(Debug, Deserialize)]
struct Record {
    init_process_pid: u32,
    init_process_start: u64,
}

impl Shared {
    /// The task's process with its true number and state, or an error.
    pub async fn true_process(&self, task: TaskId) -> Result<Option<Process>, RuntimeError> {
        let asked = Instant::now();
        loop {
            let process = match self.process(task).await? {
                Some(process) if is_unknown(&process) => process,
                known => return Ok(known),
            };
            if let Some(pid) = recorded(Path::new(RUNC_ROOT), &self.config.namespace, task) {
                tracing::warn!(task.id = %task, pid, "the shim does not answer; the task runs");
                return Ok(Some(Process { pid, status: State::Running.into(), ..process }));
            }
            if asked.elapsed() > DEAF_MAX {
                return Err(unavailable(format!("the shim of task {task} does not answer")));
            }
            sleep(ASK_AGAIN).await;
        }
    }
}

pub fn is_unknown(process: &Process) -> bool {
    match process.status() {
        State::Unknown => true,
        State::Running | State::Paused | State::Pausing => process.pid == 0,
        State::Created | State::Stopped => false,
    }
}

/// The first process, if it runs what it was made for and no other has its number.
fn recorded(root: &Path, namespace: &str, task: TaskId) -> Option<u32> {
    let container = root.join(namespace).join(task.to_string());
    // It is there for as long as the process waits to be started.
    if container.join("exec.fifo").exists() {
        return None;
    }
    let record = fs::read(container.join("state.json")).ok()?;
    let Record { init_process_pid: pid, init_process_start: started } =
        serde_json::from_slice(&record).ok()?;
    Identity { pid, started }.is_alive().then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_of_a_process_that_is_another_by_now_says_nothing() {
        let (root, task) = (tempfile::tempdir().unwrap(), TaskId::from_u64(1));
        let container = root.path().join("warren").join(task.to_string());
        fs::create_dir_all(&container).unwrap();
        let recorded = || recorded(root.path(), "warren", task);
        assert_eq!(recorded(), None);
        let own = Identity::of(std::process::id()).unwrap();
        let write = |started: u64| {
            let record = serde_json::json!({
                "id": "x", "init_process_pid": own.pid, "init_process_start": started,
            });
            fs::write(container.join("state.json"), record.to_string()).unwrap();
        };
        write(own.started);
        assert_eq!(recorded(), Some(own.pid));
        write(own.started + 1);
        assert_eq!(recorded(), None);
        write(own.started);
        fs::write(container.join("exec.fifo"), "").unwrap();
        assert_eq!(recorded(), None);
    }
}
