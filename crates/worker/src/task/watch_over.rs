//! While the process runs: attempts are made, their verdicts published, its exit noticed.

use std::sync::Arc;

use tokio::sync::watch;
use warren_core::{
    check::{Checks, HealthConfig},
    health::Health,
    id::TaskId,
    report::HealthTransition,
    spec::Pull,
    task::{Phase, TaskEnd},
    time::Timestamp,
};
use warren_runtime::{Exit, Running, Runtime, RuntimeError};

use super::{
    Actor, Orders, Purpose, RETRY_FIRST, RETRY_LAST,
    checking::{Checking, Noted},
    end::{describe, unknown_exit},
    patiently,
    prepare::facts,
};
use crate::Clock;

/// What an actor attends to while its task's process is there.
pub(super) struct Eyes {
    pub(super) checking: Checking,
    orders: watch::Receiver<Orders>,
}

pub(super) enum Seen {
    Ordered,
    Noted(Noted, Box<Health>),
}

impl Eyes {
    pub(super) fn new(checking: Checking, orders: &watch::Receiver<Orders>) -> Self {
        Self { checking, orders: orders.clone() }
    }

    /// Loses nothing when dropped.
    pub(super) async fn next(&mut self) -> Seen {
        tokio::select! {
            biased;
            () = changed(&mut self.orders) => Seen::Ordered,
            (noted, health) = self.checking.next() => Seen::Noted(noted, health),
        }
    }
}

/// Other orders have come.
async fn changed(orders: &mut watch::Receiver<Orders>) {
    // A lost agent means that the worker stops, and then nobody wants anything.
    if orders.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Actor {
    /// Until the process has ended, by itself or as the manager wanted.
    ///
    /// What is not waited for most of the time is boxed: while it sleeps, an actor shall not carry
    /// the room for it.
    pub(super) async fn watch_over(&mut self, running: Box<Running>) -> TaskEnd {
        let checking = Box::pin(self.begin(&running)).await;
        drop(running);
        let mut eyes = Eyes::new(checking, &self.orders);
        let mut exit = Box::pin(self.exit());
        // What was wanted before the process ran, or before this worker did.
        Box::pin(self.tune(&mut eyes.checking)).await;
        while self.is_wanted() {
            let seen = tokio::select! {
                biased;
                exit = &mut exit => return self.ended_while_running(&mut eyes.checking, &exit),
                seen = eyes.next() => seen,
            };
            Box::pin(self.attend(seen, &mut eyes)).await;
        }
        Box::pin(self.stop(eyes, exit)).await
    }

    pub(super) async fn attend(&mut self, seen: Seen, eyes: &mut Eyes) {
        match seen {
            Seen::Ordered => self.tune(&mut eyes.checking).await,
            Seen::Noted(noted, health) => self.note(noted, *health).await,
        }
    }

    pub(super) fn exit(&self) -> impl Future<Output = Exit> + use<> {
        exit_of(Arc::clone(&self.runtime), Arc::clone(&self.context.clock), self.task())
    }

    /// Starts its checks, or goes on with them, and says that it runs.
    async fn begin(&mut self, running: &Running) -> Checking {
        let checking = self.checking(running).await;
        if matches!(self.status.phase, Phase::Running) {
            // Adopted: what the manager knows still holds.
            self.publish(None).await;
        } else {
            self.enter(Phase::Running, "").await;
        }
        checking
    }

    pub(super) async fn checking(&mut self, running: &Running) -> Checking {
        let checks = self.known_checks().await;
        let reach = &running.reach;
        self.status.pid = Some(running.pid);
        self.status.started_at = Some(running.started_at);
        // Loopback of a namespace of its own says nothing to anybody else.
        self.status.address =
            (!reach.address.is_loopback() || reach.netns.is_none()).then_some(reach.address);
        let saved = self.health.take();
        let (runtime, context, name) = (&self.runtime, &self.context, &self.launch.service_name);
        let mut checking =
            Checking::new(self.task(), name, &checks, running, runtime, context, saved);
        if let Some(until) = self.heeded.paused_until.filter(|until| self.now() < *until) {
            checking.rest(until);
        }
        self.status.checks = Some(checks);
        self.health = Some(checking.health());
        self.seen.set(checking.watched());
        checking
    }

    /// Looks at the task as the manager wants it now.
    async fn tune(&mut self, checking: &mut Checking) {
        let Orders { wanted: _, template, paused_until } = self.orders.borrow().clone();
        let known = self.status.checks.clone().unwrap_or_default();
        let was_auto = self.launch.template.health == HealthConfig::Auto;
        self.launch.template = template;
        let checks = match self.launch.template.health {
            HealthConfig::Checks(_) | HealthConfig::Preset(_) | HealthConfig::Disabled => {
                self.launch.template.checks(None)
            }
            // As recorded at its start: the image's name may mean another one by now.
            HealthConfig::Auto if was_auto => Arc::clone(&known),
            HealthConfig::Auto => self.checks_found().await,
        };
        if checks != known
            && checking.edit(&self.launch.service_name, &known, &checks, &self.context)
        {
            self.status.checks = Some(checks);
            tracing::info!(task.id = %self.task(), "checks changed");
            self.note(Noted::Changed, checking.health()).await;
        }
        if self.heeded.paused_until != paused_until {
            self.heeded.paused_until = paused_until;
            match paused_until {
                Some(until) => {
                    let noted = checking.pause(until);
                    self.note(noted, checking.health()).await;
                }
                None => checking.resume(),
            }
        }
    }

    /// As recorded when it was started, or as the image says.
    async fn known_checks(&self) -> Arc<Checks> {
        if let Some(checks) = &self.status.checks {
            return Arc::clone(checks);
        }
        self.checks_found().await
    }

    /// As the image says, or its port.
    async fn checks_found(&self) -> Arc<Checks> {
        let (runtime, launch) = (&self.runtime, &self.launch);
        match patiently(self.task(), || facts(runtime, launch, Pull::Never)).await {
            Ok(facts) => self.resolve(&facts),
            Err(error) => {
                tracing::warn!(task.id = %self.task(), %error, "cannot read the image");
                self.resolve(&warren_runtime::ImageFacts::default())
            }
        }
    }

    pub(super) async fn note(&mut self, noted: Noted, health: Health) {
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
