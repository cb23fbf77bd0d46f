//! How a task ends, and that nothing but its log stays behind.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::time::timeout;
use warren_core::{
    check::Checks,
    id::TaskId,
    spec::{Pull, StopSignal},
    task::{EndKind, Phase, TaskEnd},
    time::Timestamp,
};
use warren_runtime::{Exit, Runtime, RuntimeError};
use warren_verdict::{TaskVerdicts, reason};

use super::{Actor, Context, Wanted, patiently, prepare::facts};

/// The end of a task is told once its leftovers are gone, so that its ports and its memory are
/// free for the next one, but a runtime that is slow to remove them delays the news no longer.
const TELL_AFTER: Duration = Duration::from_secs(2);
/// A killed process that is still there after so long is killed again: a runtime that was
/// restarted meanwhile may have lost the first time.
const KILL_AGAIN: Duration = Duration::from_secs(10);
/// For reading the image's own stop signal.
const FACTS_WITHIN: Duration = Duration::from_secs(2);

impl Actor {
    /// Removes what is left and tells how it ended.
    pub(super) async fn finish(mut self, end: TaskEnd) {
        let runtime = Arc::clone(&self.runtime);
        let mut deleted = pin!(delete(&runtime, self.task()));
        let reason = end.reason.clone();
        self.leave_traffic();
        self.status.pid = None;
        if self.status.started_at.is_some() {
            // The runtime, which knew how it ended, is about to forget it.
            self.set(Phase::Ended(end), reason);
            self.secure().await;
            let in_time = timeout(TELL_AFTER, &mut deleted).await.is_ok();
            self.ended.send_replace(true);
            self.publish(None).await;
            if !in_time {
                deleted.await;
            }
        } else {
            // It may run for all we know, if the runtime did not answer, until it is deleted.
            deleted.await;
            self.ended.send_replace(true);
            self.enter(Phase::Ended(end), reason).await;
        }
        self.keep_log().await;
    }

    pub(super) async fn clean_up(self) {
        delete(&self.runtime, self.task()).await;
        self.ended.send_replace(true);
        self.keep_log().await;
    }

    /// An ended task keeps its log until the manager forgets it.
    async fn keep_log(mut self) {
        if self.wanted.wait_for(|wanted| *wanted == Wanted::Forget).await.is_ok() {
            self.context.remove_log(self.task()).await;
        }
    }

    /// Stops a running task: signal, grace, SIGKILL.
    pub(super) async fn stop(&mut self, exit: impl Future<Output = Exit>) -> TaskEnd {
        if self.status.phase != Phase::Stopping {
            self.leave_traffic();
            self.enter(Phase::Stopping, "").await;
        }
        let mut exit = pin!(exit);
        let signal = self.stop_signal().await;
        self.signal(signal).await;
        let grace = self.launch.template.stop_grace_period.get();
        if let Ok(exit) = timeout(grace, &mut exit).await {
            return stopped(&exit);
        }
        tracing::info!(task.id = %self.task(), "task did not stop in its grace period; killing it");
        loop {
            self.signal(StopSignal::KILL).await;
            if let Ok(exit) = timeout(KILL_AGAIN, &mut exit).await {
                return stopped(&exit);
            }
            tracing::warn!(task.id = %self.task(), "task was killed and is still there");
        }
    }

    async fn stop_signal(&self) -> StopSignal {
        if let Some(signal) = self.launch.template.stop_signal {
            return signal;
        }
        let (runtime, launch) = (&self.runtime, &self.launch);
        let facts = patiently(self.task(), || facts(runtime, launch, Pull::Never));
        // An image that cannot be read, or not now, stops as most programs do: a stop waits for
        // nobody's pull.
        let facts = timeout(FACTS_WITHIN, facts).await.ok().and_then(Result::ok);
        facts.and_then(|facts| facts.stop_signal).unwrap_or(StopSignal::TERM)
    }

    async fn signal(&self, signal: StopSignal) {
        let signalled = patiently(self.task(), || self.runtime.signal(self.task(), signal)).await;
        match signalled {
            // One that is gone needs no signal.
            Ok(()) | Err(RuntimeError::NoSuchTask(_)) => {}
            Err(error @ (RuntimeError::Refused(_) | RuntimeError::Unavailable { .. })) => {
                tracing::warn!(task.id = %self.task(), %error, "cannot signal the task");
            }
        }
    }

    fn leave_traffic(&mut self) {
        if let Some(health) = self.health.as_mut().filter(|health| health.ready) {
            health.ready = false;
            health.ready_since = self.context.clock.now();
        }
    }

    /// Its process ended while no worker watched, or is gone.
    pub(super) fn ended_unseen(&mut self, exit: &Exit) -> TaskEnd {
        if self.is_wanted() {
            let none = Checks::NONE;
            let checks = self.status.checks.as_deref().unwrap_or(&none);
            let started = self.status.started_at.unwrap_or(exit.at);
            let ran = exit.at.since(started);
            let task = self.task();
            let mut verdicts = match &self.health {
                Some(saved) => TaskVerdicts::restore(task, checks, started, saved, ran),
                None => TaskVerdicts::new(task, checks, started),
            };
            verdicts.exited(exit.at, describe(exit));
            self.health = Some(verdicts.health());
        }
        self.exited(exit)
    }

    /// Its process has ended: by itself, unless it was just being stopped.
    pub(super) fn exited(&self, exit: &Exit) -> TaskEnd {
        if !self.is_wanted() {
            return stopped(exit);
        }
        match exit.code {
            None if !exit.oom_killed => TaskEnd {
                kind: EndKind::Lost,
                reason: "the runtime no longer has it".to_owned(),
                ..ended(exit)
            },
            Some(_) | None => ended(exit),
        }
    }

    pub(super) fn is_wanted(&self) -> bool {
        *self.wanted.borrow() == Wanted::Run && self.status.phase != Phase::Stopping
    }
}

/// Of a process that the runtime knows nothing about.
pub(super) const fn unknown_exit(at: Timestamp) -> Exit {
    Exit { code: None, at, oom_killed: false }
}

/// Ended as the manager wanted, after its process started.
pub(super) fn stopped(exit: &Exit) -> TaskEnd {
    TaskEnd { kind: EndKind::Stopped, ..ended(exit) }
}

/// Likewise, before.
pub(super) fn stopped_before(at: Timestamp) -> TaskEnd {
    TaskEnd {
        kind: EndKind::Stopped,
        at,
        exit_code: None,
        oom_killed: false,
        reason: "stopped before it ran".to_owned(),
    }
}

pub(super) fn not_started(error: &RuntimeError, at: Timestamp) -> TaskEnd {
    TaskEnd {
        kind: EndKind::NotStarted,
        at,
        exit_code: None,
        oom_killed: false,
        reason: error.to_string(),
    }
}

fn ended(exit: &Exit) -> TaskEnd {
    let Exit { code, at, oom_killed } = *exit;
    TaskEnd { kind: EndKind::Exited, at, exit_code: code, oom_killed, reason: describe(exit) }
}

pub(super) fn describe(exit: &Exit) -> String {
    reason::exit(exit.code, exit.oom_killed)
}

/// Ends and removes a task that no actor has, log included.
pub async fn remove(runtime: Arc<dyn Runtime>, task: TaskId, context: Context) {
    tokio::select! {
        biased;
        () = context.shutdown.cancelled() => {}
        () = async {
            delete(&runtime, task).await;
            context.remove_log(task).await;
        } => {}
    }
}

async fn delete(runtime: &Arc<dyn Runtime>, task: TaskId) {
    let deleted = patiently(task, || runtime.delete(task)).await;
    if let Err(error) = deleted {
        tracing::warn!(task.id = %task, %error, "something of the task may be left");
    }
}
