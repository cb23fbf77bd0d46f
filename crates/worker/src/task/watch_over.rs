//! While the process runs: attempts are made, their verdicts published, its exit noticed.

use std::sync::Arc;

use warren_core::{
    check::Checks,
    health::Health,
    id::TaskId,
    report::HealthTransition,
    spec::Pull,
    task::{Phase, TaskEnd},
    time::Timestamp,
};
use warren_runtime::{Exit, Running, Runtime, RuntimeError};

use super::{
    Actor, Asks, Purpose, Question, RETRY_FIRST, RETRY_LAST,
    checking::{Checking, Noted},
    end::{describe, unknown_exit},
    patiently,
    prepare::facts,
    quiet::Quiet,
    unwanted,
};
use crate::Clock;

/// What can happen to a running task.
enum Event {
    Exited(Exit),
    Unwanted,
    Noted(Noted),
    Asked(Question),
}

impl Actor {
    /// Until the process has ended, by itself or as the manager wanted.
    pub(super) async fn watch_over(&mut self, running: Running, mut asks: Asks) -> TaskEnd {
        let mut checking = self.begin(&running).await;
        let mut exit = Quiet::new(Box::pin(self.exit()));
        let mut wanted = self.wanted.clone();
        let mut over = Quiet::new(Box::pin(async move { unwanted(&mut wanted).await }));
        loop {
            let event = tokio::select! {
                biased;
                exit = &mut exit => Event::Exited(exit),
                () = &mut over => Event::Unwanted,
                Some(question) = asks.recv() => Event::Asked(question),
                noted = checking.next() => Event::Noted(noted),
            };
            match event {
                Event::Exited(exit) => return self.ended_while_running(&mut checking, &exit),
                Event::Unwanted => {
                    // Attempts in flight end here, and nothing of them is recorded.
                    self.health = Some(checking.health());
                    drop((checking, asks));
                    return self.stop(exit).await;
                }
                // The one who asked may have gone away.
                Event::Asked(Question::Observe(reply)) => drop(reply.send(checking.observation())),
                Event::Asked(Question::Try(reply)) => drop(reply.send(checking.trials())),
                Event::Noted(noted) => self.note(noted, checking.health()).await,
            }
        }
    }

    pub(super) fn exit(&self) -> impl Future<Output = Exit> + use<> {
        exit_of(Arc::clone(&self.runtime), Arc::clone(&self.context.clock), self.task())
    }

    /// Starts its checks, or goes on with them, and says that it runs.
    async fn begin(&mut self, running: &Running) -> Checking {
        let checks = self.known_checks().await;
        let reach = &running.reach;
        self.status.pid = Some(running.pid);
        self.status.started_at = Some(running.started_at);
        // Loopback of a namespace of its own says nothing to anybody else.
        self.status.address =
            (!reach.address.is_loopback() || reach.netns.is_none()).then_some(reach.address);
        let saved = self.health.take();
        let (runtime, context) = (&self.runtime, &self.context);
        let checking = Checking::new(self.task(), &checks, running, runtime, context, saved);
        self.status.checks = Some(checks);
        self.health = Some(checking.health());
        if matches!(self.status.phase, Phase::Running) {
            // Adopted: what the manager knows still holds.
            self.publish(None).await;
        } else {
            self.enter(Phase::Running, "").await;
        }
        checking
    }

    /// As recorded when it was started, or as the image says.
    async fn known_checks(&self) -> Arc<Checks> {
        if let Some(checks) = &self.status.checks {
            return Arc::clone(checks);
        }
        let (runtime, launch) = (&self.runtime, &self.launch);
        match patiently(self.task(), || facts(runtime, launch, Pull::Never)).await {
            Ok(facts) => self.resolve(&facts),
            Err(error) => {
                tracing::warn!(task.id = %self.task(), %error, "cannot read the image");
                self.resolve(&warren_runtime::ImageFacts::default())
            }
        }
    }

    async fn note(&mut self, noted: Noted, health: Health) {
        match noted {
            Noted::Changed => {
                let transition = transition(self.health.as_ref(), &health, self.now());
                if transition.is_some() {
                    tracing::info!(
                        task.id = %self.task(),
                        health = health.status.name(),
                        ready = health.ready,
                        flapping = health.flapping_since().is_some(),
                        reason = health.reason,
                        "task health changed"
                    );
                }
                self.health = Some(health);
                self.publish(transition).await;
            }
            Noted::Streak => {
                self.health = Some(health);
                self.tell(Purpose::Note).await;
            }
        }
    }

    fn ended_while_running(&mut self, checking: &mut Checking, exit: &Exit) -> TaskEnd {
        self.health = Some(if self.is_wanted() {
            checking.exited(describe(exit), exit.at)
        } else {
            checking.health()
        });
        self.exited(exit)
    }
}

/// How the task's process ended, once it has. A runtime that does not answer is asked again.
async fn exit_of(runtime: Arc<dyn Runtime>, clock: Arc<dyn Clock>, task: TaskId) -> Exit {
    let mut pause = RETRY_FIRST;
    loop {
        match runtime.wait(task).await {
            Ok(exit) => return exit,
            Err(RuntimeError::NoSuchTask(_)) => return unknown_exit(clock.now()),
            Err(error @ (RuntimeError::Unavailable { .. } | RuntimeError::Refused(_))) => {
                tracing::warn!(task.id = %task, %error, "cannot wait for the task's end");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_LAST);
            }
        }
    }
}

/// A row for the history, when the status, readiness or flapping moved.
fn transition(before: Option<&Health>, after: &Health, now: Timestamp) -> Option<HealthTransition> {
    let status = before.is_none_or(|b| b.status != after.status);
    let ready = before.is_none_or(|b| b.ready != after.ready);
    let flapping = after.flapping_since();
    let flaps = before.and_then(Health::flapping_since).is_some() != flapping.is_some();
    (status || ready || flaps).then(|| HealthTransition {
        at: match flapping {
            _ if status => after.since,
            _ if ready => after.ready_since,
            Some(since) => since,
            // When it ended is recorded nowhere else.
            None => now,
        },
        status: after.status,
        ready: after.ready,
        reason: after.reason.clone(),
        flapping: flapping.is_some(),
    })
}
