//! Commands of a worker that was killed. Each left its FIFO in the task's directory, and with it
//! maybe a shim that waits, deaf to all else of the container, for somebody to read it.

use std::{fs, sync::Arc, time::Duration};

use containerd_client::{
    services::v1::GetRequest,
    types::v1::{Process, Status},
};
use tokio::{
    net::unix::pipe::Receiver,
    time::{sleep, timeout},
};
use warren_core::id::TaskId;
use warren_runtime::{HeadTail, RuntimeError};

use crate::{
    client::{fault, found},
    exec::{Exec, PREFIX, drain},
    shared::Shared,
};

/// A start that was begun may take as long as any call.
const END_MAX: Duration = Duration::from_secs(40);
const TRY_AGAIN: Duration = Duration::from_millis(20);

impl Shared {
    /// From here on somebody reads, and what was begun is being ended. Until it is, no other
    /// command runs in its task.
    pub async fn end_commands(self: &Arc<Self>) {
        for (task, names) in self.abandoned() {
            // Nobody has had it yet.
            let Some(turn) = self.turns.take(task).await else { continue };
            let execs = names.into_iter().map(|name| Exec::new(self, task, name));
            let execs: Vec<_> = execs.map(|exec| (exec.read().ok(), exec)).collect();
            self.background.spawn(async move {
                for (pipe, exec) in execs {
                    exec.end_abandoned(pipe).await;
                }
                drop(turn);
            });
        }
    }

    /// By task, the FIFOs that are there.
    fn abandoned(&self) -> Vec<(TaskId, Vec<String>)> {
        // A task whose directory cannot be read is met again by whatever is done to it.
        let tasks = fs::read_dir(self.tasks_dir()).into_iter().flatten().flatten();
        let tasks = tasks.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let of = |task| {
            let entries = fs::read_dir(self.task_dir(task)).into_iter().flatten().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            names.filter(|name| name.starts_with(PREFIX)).collect()
        };
        let all = tasks.map(|task| (task, of(task)));
        all.filter(|(_, names): &(_, Vec<_>)| !names.is_empty()).collect()
    }
}

impl Exec {
    async fn end_abandoned(self, pipe: Option<Receiver>) {
        tracing::info!(task.id = %self.task, exec = self.id, "ending a command that was left");
        let ended = async {
            while !self.try_to_end().await {
                sleep(TRY_AGAIN).await;
            }
        };
        // What it writes is of interest to nobody, and must not block it.
        let (mut pipe, mut output) = (pipe, HeadTail::new());
        let drained = async {
            match &mut pipe {
                Some(pipe) => match drain(pipe, &mut output).await {},
                None => std::future::pending().await,
            }
        };
        let ended = timeout(END_MAX, async {
            tokio::select! {
                () = ended => {}
                () = drained => {}
            }
        });
        if ended.await.is_err() {
            tracing::warn!(task.id = %self.task, exec = self.id, "a command does not end");
        }
        self.remove_fifo();
    }

    /// Whether containerd has forgotten it.
    async fn try_to_end(&self) -> bool {
        match self.look().await {
            Ok(None) => {
                self.kill(None).await;
                return true;
            }
            Ok(Some(process)) => {
                let runs = process.status() == Status::Running;
                self.kill(runs.then_some(process.pid)).await;
            }
            Err(error) => tracing::debug!(task.id = %self.task, %error, "cannot look"),
        }
        self.delete().await.is_ok()
    }

    async fn look(&self) -> Result<Option<Process>, RuntimeError> {
        let get = GetRequest { container_id: self.task.to_string(), exec_id: self.id.clone() };
        let answer = self.shared.client.tasks().get(self.shared.client.request(get)).await;
        let answer = found(answer).map_err(fault("cannot look at a command"))?;
        Ok(answer.and_then(|answer| answer.process))
    }
}
