//! One task's checks: attempts are started when they are due and folded when they end. One owner
//! holds the verdicts; only the attempts themselves run apart from it.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::Instant};
use warren_core::{
    check::{ByRole, Checks, Role},
    health::Health,
    id::TaskId,
    outcome::{Attempt, Outcome},
    time::Timestamp,
};
use warren_probe::{Prober, Target};
use warren_proto::v1 as pb;
use warren_runtime::{Running, Runtime};
use warren_verdict::{CheckGroup, Elapsed, Next, TaskVerdicts, groups};

use super::trials::{Trials, Turn};
use crate::Clock;

pub struct Checking {
    task: TaskId,
    clock: Arc<dyn Clock>,
    /// When the process started, on the monotonic clock.
    anchor: Instant,
    verdicts: TaskVerdicts,
    groups: Vec<Group>,
    prober: Arc<Prober>,
    target: Arc<Target>,
    /// Aborted when dropped: what is in flight then is never recorded.
    flights: JoinSet<Flight>,
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
}

struct Group {
    shared: CheckGroup,
    state: GroupState,
    /// The most that any of its roles wants in a row. Beyond them a streak decides nothing.
    failures: u32,
    successes: u32,
    /// Consecutive outcomes of one kind, the last one's.
    last: Option<Outcome>,
    run: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GroupState {
    /// Nothing is planned: it waits for startup, or has had its last attempt.
    Idle,
    Due(Elapsed),
    InFlight,
}

/// An attempt that has ended.
struct Flight {
    group: usize,
    attempt: Attempt,
    ended: Elapsed,
}

impl Checking {
    /// `saved` is the health of a task that was adopted.
    pub fn new(
        task: TaskId,
        checks: &Checks,
        running: &Running,
        runtime: &Arc<dyn Runtime>,
        (prober, clock): (&Arc<Prober>, &Arc<dyn Clock>),
        saved: Option<Health>,
    ) -> Self {
        let started = running.started_at;
        let elapsed = clock.now().since(started);
        let now = Instant::now();
        let verdicts = match saved {
            Some(saved) => TaskVerdicts::restore(task, checks, started, &saved, elapsed),
            None => TaskVerdicts::new(task, checks, started),
        };
        let group = |shared| Group::new(shared, checks);
        let mut checking = Self {
            task,
            clock: Arc::clone(clock),
            anchor: now.checked_sub(elapsed).unwrap_or(now),
            verdicts,
            groups: groups(checks).into_iter().map(group).collect(),
            prober: Arc::clone(prober),
            target: Arc::new(Target::new(task, running.reach.clone(), Arc::clone(runtime))),
            flights: JoinSet::new(),
            turn: Turn::default(),
        };
        checking.plan_attempts();
        checking
    }

    pub fn health(&self) -> Health {
        self.verdicts.health()
    }

    /// The process is gone.
    pub fn exited(&mut self, why: String, at: Timestamp) -> Health {
        self.flights.abort_all();
        self.verdicts.exited(at, why);
        self.verdicts.health()
    }

    /// Until an attempt has changed something worth noting. Loses nothing when dropped.
    pub async fn next(&mut self) -> Noted {
        loop {
            self.start_due();
            let soonest = self.soonest();
            let due = async {
                match soonest {
                    Some(at) => tokio::time::sleep_until(self.anchor + at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(flight) = self.flights.join_next() => {
                    // One that panicked was cancelled with the runtime; there is nothing to note.
                    if let Ok(flight) = flight
                        && let Some(noted) = self.land(flight)
                    {
                        return noted;
                    }
                }
                () = due => {}
            }
        }
    }

    pub fn observation(&self) -> Observation {
        let mut attempts = ByRole::<Vec<Attempt>>::default();
        let mut next = ByRole::default();
        let (elapsed, now) = (self.anchor.elapsed(), self.clock.now());
        for Group { shared, state, .. } in &self.groups {
            for &role in shared.roles {
                *attempts.get_mut(role) = self.verdicts.recent(role).cloned().collect();
                *next.get_mut(role) = match *state {
                    GroupState::Due(at) => Some(now.after(at.saturating_sub(elapsed))),
                    GroupState::Idle | GroupState::InFlight => None,
                };
            }
        }
        Observation { task: self.task, health: self.verdicts.health(), attempts, next }
    }

    pub fn trials(&self) -> Trials {
        Trials {
            clock: Arc::clone(&self.clock),
            prober: Arc::clone(&self.prober),
            target: Arc::clone(&self.target),
            groups: self.groups.iter().map(|group| group.shared.clone()).collect(),
            turn: self.turn.clone(),
        }
    }

    /// Asks when each group is due that has nothing planned or something still to come. What is
    /// overdue stays planned: it starts now, late.
    fn plan_attempts(&mut self) {
        let now = self.anchor.elapsed();
        for group in &mut self.groups {
            let overdue = matches!(group.state, GroupState::Due(at) if at <= now);
            if group.state == GroupState::InFlight || overdue {
                continue;
            }
            group.state = match self.verdicts.next_attempt(group.shared.role, now) {
                Next::At(at) => GroupState::Due(at),
                Next::AfterStartup | Next::Never => GroupState::Idle,
            };
        }
    }

    fn start_due(&mut self) {
        let now = self.anchor.elapsed();
        for (index, group) in self.groups.iter_mut().enumerate() {
            if !matches!(group.state, GroupState::Due(at) if at <= now) {
                continue;
            }
            group.state = GroupState::InFlight;
            let (prober, target) = (Arc::clone(&self.prober), Arc::clone(&self.target));
            let check = group.shared.check.clone();
            let (anchor, clock) = (self.anchor, Arc::clone(&self.clock));
            self.flights.spawn(async move {
                let at = clock.now();
                let timeout = check.timing.timeout.get();
                let seen = prober.attempt(&target, &check.kind, timeout).await;
                // A wait for a free slot is ours, so the attempt began after it.
                let at = at.after(seen.waited);
                let (outcome, message) = (seen.outcome, seen.message);
                let attempt = Attempt { at, latency: whole_millis(seen.latency), outcome, message };
                Flight { group: index, attempt, ended: anchor.elapsed() }
            });
        }
    }

    fn soonest(&self) -> Option<Elapsed> {
        let due = |group: &Group| match group.state {
            GroupState::Due(at) => Some(at),
            GroupState::Idle | GroupState::InFlight => None,
        };
        self.groups.iter().filter_map(due).min()
    }

    fn land(&mut self, flight: Flight) -> Option<Noted> {
        let Flight { group: index, attempt, ended } = flight;
        let group = self.groups.get_mut(index)?;
        group.state = GroupState::Idle;
        let outcome = attempt.outcome;
        let same = group.last.map(kind_of) == Some(kind_of(outcome));
        group.run = if same { group.run.saturating_add(1) } else { 1 };
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
            message = attempt.message,
            "attempt"
        );
        let changed = self.verdicts.observe(role, attempt, ended).is_some();
        self.plan_attempts();
        if changed {
            Some(Noted::Changed)
        } else if decides {
            Some(Noted::Streak)
        } else {
            None
        }
    }
}

impl Group {
    fn new(shared: CheckGroup, checks: &Checks) -> Self {
        let (mut failures, mut successes) = (0, 0);
        for check in shared.roles.iter().filter_map(|role| checks.get(*role).as_ref()) {
            failures = failures.max(check.timing.failures.get());
            successes = successes.max(check.timing.successes.get());
        }
        Self { shared, state: GroupState::Idle, failures, successes, last: None, run: 0 }
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
        let Observation { task, health, attempts, next } = observation;
        let roles = Role::ALL.into_iter().filter(|role| health.roles.get(*role).is_some());
        let attempts = roles.map(|role| pb::RoleAttempts {
            role: pb::Role::from(role).into(),
            attempts: attempts.get(role).iter().map(Into::into).collect(),
            next: next.get(role).map(Into::into),
        });
        Self {
            task_id: task.to_string(),
            attempts: attempts.collect(),
            health: Some((&health).into()),
        }
    }
}
