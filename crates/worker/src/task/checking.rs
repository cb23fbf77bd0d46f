//! One task's checks: attempts are started when they are due and folded when they end. One owner
//! holds the verdicts and moves the attempts, which are part of it: with it they end.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context as Polling, Poll},
    time::Duration,
};

use tokio::time::Instant;
use warren_core::{
    bounds::Ttl,
    check::{ByRole, CheckKind, Checks, Role},
    health::{Health, Verdict},
    id::TaskId,
    outcome::{Attempt, Outcome},
    spec::ServiceName,
    time::Timestamp,
    wire::duration_to_wire,
};
use warren_probe::{Prober, Seen, Stake, Target};
use warren_proto::v1 as pb;
use warren_runtime::{Running, Runtime};
use warren_verdict::{CheckGroup, Elapsed, Next, TaskVerdicts, groups};

use super::{
    Context,
    trials::{Trials, Turn},
};
use crate::{Clock, metrics::Meter};

pub struct Checking {
    task: TaskId,
    verdicts: TaskVerdicts,
    groups: Vec<Group>,
    /// Nothing is attempted until then.
    paused_until: Option<Elapsed>,
    sight: Arc<Sight>,
    /// For attempts by hand.
    turn: Turn,
}

/// What an attempt changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// The health that the manager is told.
    Changed,
    /// A streak that a restart of the worker must not forget.
    Streak,
}

/// A worker's live view of one task.
#[derive(Debug, Clone)]
pub struct Observation {
    task: TaskId,
    health: Health,
    attempts: ByRole<Vec<Attempt>>,
    next: ByRole<Option<Timestamp>>,
    late: ByRole<Option<Duration>>,
    paused_until: Option<Timestamp>,
}

/// What all attempts at a task need.
struct Sight {
    clock: Arc<dyn Clock>,
    /// When the process started, on the monotonic clock.
    anchor: Instant,
    prober: Arc<Prober>,
    target: Arc<Target>,
}

/// The groups that the newest task has. Tasks that begin after each other mostly have the same
/// checks, and then they share them.
#[derive(Debug, Default)]
pub struct Groups(Mutex<Newest>);

type Newest = Option<(Arc<Checks>, Vec<Arc<CheckGroup>>)>;

struct Group {
    shared: Arc<CheckGroup>,
    meter: Arc<Meter>,
    _stake: Stake,
    state: GroupState,
    /// The most that any of its roles wants in a row. Beyond them a streak decides nothing.
    failures: u32,
    successes: u32,
    /// Consecutive outcomes of one kind, the last one's.
    last: Option<Outcome>,
    run: u32,
    /// So much after its due time the last attempt began.
    late: Option<Duration>,
    run_since: Elapsed,
    /// One of its roles has the verdict that it fails.
    fails: bool,
}

enum GroupState {
    /// Nothing is planned: it waits for startup, or has had its last attempt.
    Idle,
    Due(Elapsed),
    InFlight(Flight),
}

/// An attempt under way. Dropped, it has never been.
type Flight = Pin<Box<dyn Future<Output = Landed> + Send>>;

/// An attempt that has ended.
struct Landed {
    attempt: Attempt,
    /// At its timeout there was no answer, and it was given more.
    stretched: bool,
    ended: Elapsed,
}

impl Checking {
    /// `saved` is the health of a task that was adopted.
    pub fn new(
        task: TaskId,
        service: &ServiceName,
        checks: &Arc<Checks>,
        running: &Running,
        runtime: &Arc<dyn Runtime>,
        context: &Context,
        saved: Option<Health>,
    ) -> Self {
        let started = running.started_at;
        let elapsed = context.clock.now().since(started);
        let now = Instant::now();
        let verdicts = match saved {
            Some(saved) => TaskVerdicts::restore(task, checks, started, &saved, elapsed),
            None => TaskVerdicts::new(task, checks, started),
        };
        let mut checking = Self {
            task,
            groups: loops(service, checks, &verdicts.health(), context),
            verdicts,
            paused_until: None,
            sight: Arc::new(Sight {
                clock: Arc::clone(&context.clock),
                anchor: now.checked_sub(elapsed).unwrap_or(now),
                prober: Arc::clone(&context.prober),
                target: Arc::new(Target::new(task, running.reach.clone(), Arc::clone(runtime))),
            }),
            turn: Turn::default(),
        };
        checking.plan_attempts();
        checking
    }

    pub fn health(&self) -> Health {
        self.verdicts.health()
    }

    /// The task is to be stopped: from here on only readiness is looked at.
    pub fn drain(&mut self) {
        self.cancel_attempts();
        self.verdicts.stop(self.sight.clock.now());
        self.plan_attempts();
    }

    /// Attempts nothing until then, by the monotonic clock from here on, and cancels what is in
    /// flight. One that is over already, since nobody watched meanwhile, still parts what comes
    /// from what was.
    pub fn pause(&mut self, until: Timestamp) {
        self.cancel_attempts();
        self.sight.target.let_go();
        self.verdicts.pause();
        for group in &mut self.groups {
            (group.last, group.run) = (None, 0);
        }
        // Wall clocks may disagree by any time; a pause still ends.
        let left = until.since(self.sight.clock.now()).min(Ttl::MAX.get());
        self.paused_until = Some(self.sight.anchor.elapsed() + left);
    }

    /// Ends a pause, if there is one.
    pub fn resume(&mut self) {
        if self.paused_until.take().is_some() {
            tracing::info!(task.id = %self.task, "checks go on");
            self.plan_attempts();
        }
    }

    /// Goes on with other checks; what is in flight is cancelled.
    pub fn edit(
        &mut self,
        service: &ServiceName,
        before: &Checks,
        after: &Arc<Checks>,
        context: &Context,
    ) {
        self.cancel_attempts();
        self.sight.target.let_go();
        let (at, elapsed) = (self.sight.clock.now(), self.sight.anchor.elapsed());
        self.verdicts.edit(self.task, before, after, at, elapsed);
        self.groups = loops(service, after, &self.verdicts.health(), context);
        self.plan_attempts();
    }

    /// Nothing of them is recorded.
    fn cancel_attempts(&mut self) {
        for group in &mut self.groups {
            group.state = GroupState::Idle;
        }
    }

    /// The process is gone.
    pub fn exited(&mut self, why: String, at: Timestamp) -> Health {
        self.cancel_attempts();
        self.verdicts.exited(at, why);
        self.verdicts.health()
    }

    /// Until an attempt has changed something worth noting. Loses nothing when dropped.
    pub async fn next(&mut self) -> Noted {
        loop {
            self.start_due();
            let (soonest, anchor) = (self.soonest(), self.sight.anchor);
            let due = async {
                match soonest {
                    Some(at) => tokio::time::sleep_until(anchor + at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                (group, landed) = poll_fn(|cx| self.poll_flights(cx)) => {
                    if let Some(noted) = self.land(group, landed) {
                        return noted;
                    }
                }
                () = due => {}
            }
        }
    }

    pub fn observation(&self) -> Observation {
        let mut attempts = ByRole::<Vec<Attempt>>::default();
        let (mut next, mut lateness) = (ByRole::default(), ByRole::default());
        let (elapsed, now) = (self.sight.anchor.elapsed(), self.sight.clock.now());
        let moment = |at: Elapsed| now.after(at.saturating_sub(elapsed));
        for Group { shared, state, late, .. } in &self.groups {
            for &role in shared.roles {
                *attempts.get_mut(role) = self.verdicts.recent(role).cloned().collect();
                *next.get_mut(role) = match state {
                    GroupState::Due(at) => Some(moment(*at)),
                    GroupState::Idle | GroupState::InFlight(_) => None,
                };
                *lateness.get_mut(role) = *late;
            }
        }
        let paused_until = self.paused_until.map(moment);
        let health = self.verdicts.health();
        Observation { task: self.task, health, attempts, next, late: lateness, paused_until }
    }

    pub fn trials(&self) -> Trials {
        Trials {
            clock: Arc::clone(&self.sight.clock),
            prober: Arc::clone(&self.sight.prober),
            target: Arc::clone(&self.sight.target),
            groups: self.groups.iter().map(|group| Arc::clone(&group.shared)).collect(),
            turn: self.turn.clone(),
        }
    }

    /// Asks when each group is due that has nothing planned or something still to come. What is
    /// overdue stays planned: it starts now, late.
    fn plan_attempts(&mut self) {
        if self.paused_until.is_some() {
            return;
        }
        let now = self.sight.anchor.elapsed();
        for group in &mut self.groups {
            match group.state {
                GroupState::InFlight(_) => continue,
                GroupState::Due(at) if at <= now => continue,
                GroupState::Due(_) | GroupState::Idle => {}
            }
            group.state = match self.verdicts.next_attempt(group.shared.role, now) {
                Next::At(at) => GroupState::Due(at),
                Next::AfterStartup | Next::Never => GroupState::Idle,
            };
        }
    }

    fn start_due(&mut self) {
        let now = self.sight.anchor.elapsed();
        if self.paused_until.is_some_and(|until| until <= now) {
            self.resume();
        }
        for group in &mut self.groups {
            let late = match group.state {
                GroupState::Due(at) if at <= now => now.saturating_sub(at),
                GroupState::Due(_) | GroupState::Idle | GroupState::InFlight(_) => continue,
            };
            let (sight, shared) = (Arc::clone(&self.sight), Arc::clone(&group.shared));
            group.late = Some(late);
            let flight = attempt(sight, shared, Arc::clone(&group.meter), late);
            group.state = GroupState::InFlight(Box::pin(flight));
        }
    }

    /// Moves the attempts under way, until one has ended.
    fn poll_flights(&mut self, cx: &mut Polling<'_>) -> Poll<(usize, Landed)> {
        for (index, group) in self.groups.iter_mut().enumerate() {
            if let GroupState::InFlight(flight) = &mut group.state
                && let Poll::Ready(landed) = flight.as_mut().poll(cx)
            {
                group.state = GroupState::Idle;
                return Poll::Ready((index, landed));
            }
        }
        Poll::Pending
    }

    fn soonest(&self) -> Option<Elapsed> {
        let due = |group: &Group| match group.state {
            GroupState::Due(at) => Some(at),
            GroupState::Idle | GroupState::InFlight(_) => None,
        };
        self.groups.iter().filter_map(due).chain(self.paused_until).min()
    }

    fn land(&mut self, index: usize, landed: Landed) -> Option<Noted> {
        let Landed { attempt, stretched, ended } = landed;
        let group = self.groups.get_mut(index)?;
        let outcome = attempt.outcome;
        let same = group.last.map(kind_of) == Some(kind_of(outcome));
        group.run = if same { group.run.saturating_add(1) } else { 1 };
        group.run_since = if same { group.run_since } else { ended };
        group.last = Some(outcome);
        let decides = group.run
            <= match outcome {
                Outcome::Pass => group.successes,
                Outcome::Fail(_) | Outcome::Inconclusive => group.failures,
            };
        let role = group.shared.role;
        tracing::debug!(
            task.id = %self.task,
            check.kind = group.shared.check.kind.name(),
            role = role.name(),
            outcome = ?outcome,
            latency_ms = attempt.latency.as_millis(),
            stretched,
            said = attempt.message,
            "attempt"
        );
        let changed = self.verdicts.observe(role, attempt, ended);
        if let Some(health) = &changed {
            group.note_verdicts(health, ended);
        }
        self.plan_attempts();
        if changed.is_some() {
            Some(Noted::Changed)
        } else if decides {
            Some(Noted::Streak)
        } else {
            None
        }
    }
}

async fn attempt(
    sight: Arc<Sight>,
    shared: Arc<CheckGroup>,
    meter: Arc<Meter>,
    late: Duration,
) -> Landed {
    let in_flight = meter.begin(late);
    let at = sight.clock.now();
    let check = &shared.check;
    let timeout = check.timing.timeout.get();
    let seen = sight.prober.attempt(&sight.target, &check.kind, timeout).await;
    drop(in_flight);
    let queued = matches!(check.kind, CheckKind::Exec(_)).then_some(seen.waited);
    meter.end(seen.outcome, seen.latency, queued, seen.stretched);
    // A wait for a free slot is ours, so the attempt began after it.
    let at = at.after(seen.waited);
    let Seen { outcome, message, components, latency, stretched, .. } = seen;
    let latency = whole_millis(latency);
    let attempt = Attempt { at, latency, outcome, message, components };
    Landed { attempt, stretched, ended: sight.anchor.elapsed() }
}

impl Groups {
    fn of(&self, checks: &Arc<Checks>) -> Vec<Arc<CheckGroup>> {
        // Nothing panics while it is held.
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*newest {
            Some((known, groups)) if Arc::ptr_eq(known, checks) => groups.clone(),
            Some(_) | None => {
                let groups: Vec<_> = groups(checks).into_iter().map(Arc::new).collect();
                *newest = Some((Arc::clone(checks), groups.clone()));
                groups
            }
        }
    }
}

/// One for each check that is attempted apart from the others.
fn loops(
    service: &ServiceName,
    checks: &Arc<Checks>,
    health: &Health,
    context: &Context,
) -> Vec<Group> {
    let group = |shared| Group::new(shared, service, checks, health, context);
    context.groups.of(checks).into_iter().map(group).collect()
}

impl Group {
    fn new(
        shared: Arc<CheckGroup>,
        service: &ServiceName,
        checks: &Checks,
        health: &Health,
        context: &Context,
    ) -> Self {
        let stake = context.observer.stake(shared.check.timing.timeout.get());
        let meter = context.metrics.meter(service, shared.check.kind.name(), shared.role);
        let (mut failures, mut successes) = (0, 0);
        for check in shared.roles.iter().filter_map(|role| checks.get(*role).as_ref()) {
            failures = failures.max(check.timing.failures.get());
            successes = successes.max(check.timing.successes.get());
        }
        let mut group = Self {
            shared,
            meter,
            _stake: stake,
            state: GroupState::Idle,
            failures,
            successes,
            last: None,
            run: 0,
            run_since: Elapsed::ZERO,
            fails: false,
            late: None,
        };
        group.fails = group.fails_in(health);
        group
    }

    fn note_verdicts(&mut self, health: &Health, now: Elapsed) {
        let fails = self.fails_in(health);
        if fails && !self.fails {
            self.meter.detected(now.saturating_sub(self.run_since));
        }
        self.fails = fails;
    }

    fn fails_in(&self, health: &Health) -> bool {
        let mut roles =
            self.shared.roles.iter().filter_map(|role| health.roles.get(*role).as_ref());
        roles.any(|role| role.verdict == Verdict::Failing)
    }
}

/// Records are kept to the millisecond.
const fn whole_millis(latency: Duration) -> Duration {
    #[expect(clippy::cast_possible_truncation, reason = "an attempt lasts a day at most")]
    Duration::from_millis(latency.as_millis() as u64)
}

const fn kind_of(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Pass => 0,
        Outcome::Fail(_) => 1,
        Outcome::Inconclusive => 2,
    }
}

impl From<Observation> for pb::Observation {
    fn from(observation: Observation) -> Self {
        let Observation { task, health, attempts, next, late, paused_until } = observation;
        let roles = Role::ALL.into_iter().filter(|role| health.roles.get(*role).is_some());
        let attempts = roles.map(|role| pb::RoleAttempts {
            role: pb::Role::from(role).into(),
            attempts: attempts.get(role).iter().map(Into::into).collect(),
            next: next.get(role).map(Into::into),
            late: late.get(role).map(duration_to_wire),
        });
        Self {
            task_id: task.to_string(),
            attempts: attempts.collect(),
            health: Some((&health).into()),
            paused_until: paused_until.map(Into::into),
        }
    }
}
