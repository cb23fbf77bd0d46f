//! A task's end: nothing of it stays but its log.
//!
//! The container's record goes late and the task's directory last, so that whatever cuts the
//! deletion short leaves something by which `list` finds the task again.

use std::{fs, io, time::Duration};

use containerd_client::services::v1::{DeleteContainerRequest, DeleteTaskRequest, WaitRequest};
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;
use warren_core::id::TaskId;
use warren_runtime::RuntimeError;

use crate::{
    client::{fault, found, is_down},
    container::lease_id,
    leftovers, netns,
    shared::{GRACE, Shared},
    task::started_at,
};

/// How long SIGKILL may take. More means processes that wait for a device.
const KILL_MAX: Duration = Duration::from_secs(20);
const SIGKILL: u32 = 9;
/// containerd hears of an exit a little after the shim.
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

impl Shared {
    pub async fn delete(&self, task: TaskId) -> Result<(), RuntimeError> {
        self.processes.forget(task);
        self.turns.forget(task);
        self.looks.forget(task);
        let container = self.container(task).await?;
        let dir = self.task_dir(task);
        if container.is_none() && !dir.exists() {
            return Ok(());
        }
        self.end_process(task).await?;
        if container.as_ref().is_none_or(|container| started_at(container).is_none()) {
            // Its creation may have been cut short.
            leftovers::sweep(&self.config.namespace, task).await;
        }
        let netns = self.netns(task);
        let record = self.network_record(task);
        match &self.cni {
            Some(cni) => cni.detach(task, &netns, &record).await?,
            None if record.exists() => {
                tracing::warn!(task.id = %task, "without CNI plugins an address stays taken");
            }
            None => {}
        }
        netns::remove(&netns).map_err(|error| self.disk_fault(&error))?;
        let id = task.to_string();
        let snapshotter = container.map_or_else(|| self.snapshotter.clone(), |c| c.snapshotter);
        self.remove_snapshot(&snapshotter, &id).await?;
        let delete = self.client.request(DeleteContainerRequest { id });
        found(self.client.containers().delete(delete).await)
            .map_err(fault(format!("cannot remove the container of task {task}")))?;
        self.client.end_lease(&lease_id(task)).await?;
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.disk_fault(&error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Kills what runs, and forgets it.
    pub async fn end_process(&self, task: TaskId) -> Result<(), RuntimeError> {
        let deadline = Instant::now() + KILL_MAX;
        loop {
            let delete = DeleteTaskRequest { container_id: task.to_string() };
            match self.client.tasks().delete(self.client.request(delete)).await {
                Ok(_) => return Ok(()),
                Err(status) if status.code() == Code::NotFound => return Ok(()),
                // That it still runs is said in several ways.
                Err(status) if is_down(&status) || Instant::now() > deadline => {
                    return Err(fault(format!("cannot end task {task}"))(status));
                }
                Err(_) => {}
            }
            self.kill(&task.to_string(), "", SIGKILL, true).await?;
            let wait = WaitRequest { container_id: task.to_string(), exec_id: String::new() };
            let mut tasks = self.client.tasks();
            let ended = timeout(GRACE, tasks.wait(self.client.endless(wait)));
            // Whatever it says, the next turn finds out.
            drop(ended.await);
            sleep(BETWEEN_TRIES).await;
        }
    }
}
