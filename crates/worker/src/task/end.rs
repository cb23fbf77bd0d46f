//! How a task ends, and that nothing but its log stays behind.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::time::timeout;
use warren_core::{
    check::{Checks, Role, Timing},
    health::Verdict,
    id::TaskId,
    spec::{Pull, StopSignal},
    task::{EndKind, Phase, StopCause, TaskEnd},
    time::Timestamp,
};
use warren_runtime::{Exit, Launch, Runtime, RuntimeError};
use warren_verdict::{TaskVerdicts, reason};

use super::{Actor, Context, Orders, Wanted, patiently, prepare::facts, watch_over::Eyes};

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
    pub(super) async fn finish(mut self, end: Box<TaskEnd>) {
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
        let forgotten = |orders: &Orders| orders.wanted == Wanted::Forget;
        if self.orders.wait_for(forgotten).await.is_ok() {
            self.context.remove_log(self.task()).await;
        }
    }

    /// Stops a running task, out of traffic first. Of its checks only readiness goes on, so that
    /// whoever looks sees it drain; of the others, attempts in flight included, nothing is
    /// recorded any more.
    pub(super) async fn stop(
        &mut self,
        mut eyes: Eyes,
        exit: impl Future<Output = Exit>,
    ) -> TaskEnd {
        if let Some(noted) = eyes.checking.drain() {
            self.note(noted, eyes.checking.health()).await;
        }
        self.health = Some(eyes.checking.health());
        if self.status.phase != Phase::Stopping {
            self.enter(Phase::Stopping, "").await;
        }
        let mut end = pin!(self.stopper().stop(exit));
        loop {
            let seen = tokio::select! {
                biased;
                end = &mut end => {
                    self.health = Some(eyes.checking.health());
                    return end;
                }
                seen = eyes.next() => seen,
            };
            self.attend(seen, &mut eyes).await;
        }
    }

    fn stopper(&self) -> Stopper {
        let (runtime, launch) = (Arc::clone(&self.runtime), self.launch.clone());
        Stopper { runtime, launch, grace: self.grace() }
    }

    /// The task's own, unless it is stopped for a check that names another.
    fn grace(&self) -> Duration {
        let own = self.launch.template.stop_grace_period;
        let of_check = match self.orders.borrow().wanted {
            Wanted::Stop(StopCause::Unhealthy) => self.failed_check(),
            Wanted::Run | Wanted::Stop(_) | Wanted::Forget => None,
        };
        of_check.and_then(|timing| timing.stop_grace_period).unwrap_or(own).get()
    }

    fn failed_check(&self) -> Option<Timing> {
        let (health, checks) = (self.health.as_ref()?, self.status.checks.as_deref()?);
        let failed = |role: &Role| {
            let role = health.roles.get(*role).as_ref();
            role.is_some_and(|role| role.verdict == Verdict::Failing)
        };
        let role = [Role::Startup, Role::Liveness].into_iter().find(failed)?;
        Some(checks.get(role).as_ref()?.timing)
    }

    fn leave_traffic(&mut self) {
        if let Some(health) = self.health.as_mut().filter(|health| health.ready) {
            health.ready = false;
            health.ready_since = self.context.clock.now();
        }
    }

    /// Its process ended while no worker watched, or is gone.
    pub(super) fn ended_unseen(&mut self, exit: &Exit) -> TaskEnd {
        // It ran, also where the worker that started it could not note when: what has run is
        // never started again, so its end must be in the file before the runtime forgets it.
        let started = *self.status.started_at.get_or_insert(exit.at);
        if self.is_wanted() {
            let checks = &self.status.checks.clone().unwrap_or_else(Checks::none);
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
        self.orders.borrow().wanted == Wanted::Run && self.status.phase != Phase::Stopping
    }
}

/// What it takes to stop a task while its actor still looks at it.
struct Stopper {
    runtime: Arc<dyn Runtime>,
    launch: Launch,
    grace: Duration,
}

impl Stopper {
    /// Signal, grace, SIGKILL.
    async fn stop(self, exit: impl Future<Output = Exit>) -> TaskEnd {
        let (task, mut exit) = (self.launch.task, pin!(exit));
        self.signal(self.stop_signal().await).await;
        if let Ok(exit) = timeout(self.grace, &mut exit).await {
            return stopped(&exit);
        }
        tracing::info!(task.id = %task, "task did not stop in its grace period; killing it");
        loop {
            self.signal(StopSignal::KILL).await;
            if let Ok(exit) = timeout(KILL_AGAIN, &mut exit).await {
                return stopped(&exit);
            }
            tracing::warn!(task.id = %task, "task was killed and is still there");
        }
    }

    async fn stop_signal(&self) -> StopSignal {
        let Self { runtime, launch, grace: _ } = self;
        if let Some(signal) = launch.template.stop_signal {
            return signal;
        }
        let facts = patiently(launch.task, || facts(runtime, launch, Pull::Never));
        // An image that cannot be read, or not now, stops as most programs do: a stop waits for
        // nobody's pull.
        let facts = timeout(FACTS_WITHIN, facts).await.ok().and_then(Result::ok);
        facts.and_then(|facts| facts.stop_signal).unwrap_or(StopSignal::TERM)
    }

    async fn signal(&self, signal: StopSignal) {
        let task = self.launch.task;
        let signalled = patiently(task, || self.runtime.signal(task, signal)).await;
        match signalled {
            // One that is gone needs no signal.
            Ok(()) | Err(RuntimeError::NoSuchTask(_)) => {}
            Err(error @ (RuntimeError::Refused(_) | RuntimeError::Unavailable { .. })) => {
                tracing::warn!(task.id = %task, %error, "cannot signal the task");
            }
        }
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
pub async fn remove(runtime: Arc<dyn Runtime>, task: TaskId, context: Arc<Context>) {
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
