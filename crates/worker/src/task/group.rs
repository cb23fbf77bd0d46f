//! One check of a task that is attempted apart from the others, and how its attempts go.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use smallvec::SmallVec;
use warren_core::{
    check::Checks,
    health::{Health, Verdict},
    outcome::Outcome,
    spec::ServiceName,
};
use warren_probe::Stake;
use warren_verdict::{CheckGroup, Elapsed, groups};

use super::{Context, flights::Handle};
use crate::metrics::Meter;

/// The groups that the newest task has. Tasks that begin after each other mostly have the same
/// checks, and then they share them.
#[derive(Debug, Default)]
pub struct Groups(Mutex<Newest>);

type Newest = Option<(Arc<Checks>, Vec<Arc<CheckGroup>>)>;

pub struct Group {
    pub(super) shared: Arc<CheckGroup>,
    pub(super) meter: Arc<Meter>,
    _stake: Stake,
    pub(super) state: GroupState,
    /// The most that any of its roles wants in a row. Beyond them a streak decides nothing.
    failures: u32,
    successes: u32,
    /// Consecutive outcomes of one kind, the last one's.
    last: Option<Outcome>,
    run: u32,
    /// So much after its due time the last attempt began.
    pub(super) late: Option<Duration>,
    run_since: Elapsed,
    /// One of its roles has the verdict that it fails.
    fails: bool,
}

pub enum GroupState {
    /// Nothing is planned: it waits for startup, or has had its last attempt.
    Idle,
    Due(Elapsed),
    InFlight(Flight),
}

/// An attempt under way. Given up, it has never been.
pub struct Flight {
    pub(super) number: u64,
    pub(super) attempt: Handle,
}

impl Groups {
    /// The newest task's checks, where these are the same: those of an image or a preset are made
    /// anew for each task.
    pub(super) fn share(&self, checks: Arc<Checks>) -> Arc<Checks> {
        match &*self.newest() {
            Some((known, _)) if *known == checks => Arc::clone(known),
            Some(_) | None => checks,
        }
    }

    fn of(&self, checks: &Arc<Checks>) -> Vec<Arc<CheckGroup>> {
        let mut newest = self.newest();
        match &*newest {
            Some((known, groups)) if Arc::ptr_eq(known, checks) => groups.clone(),
            Some(_) | None => {
                let groups: Vec<_> = groups(checks).into_iter().map(Arc::new).collect();
                *newest = Some((Arc::clone(checks), groups.clone()));
                groups
            }
        }
    }

    fn newest(&self) -> MutexGuard<'_, Newest> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Mostly there is one, and that lies with the task: what lies elsewhere takes time to fetch.
pub(super) type Loops = SmallVec<[Group; 1]>;

/// One for each check that is attempted apart from the others.
pub(super) fn loops(
    service: &ServiceName,
    checks: &Arc<Checks>,
    health: &Health,
    context: &Context,
) -> Loops {
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

    /// Whether one of its roles may wait for this outcome.
    pub(super) fn note_outcome(&mut self, outcome: Outcome, ended: Elapsed) -> bool {
        let same = self.last.map(kind_of) == Some(kind_of(outcome));
        self.run = if same { self.run.saturating_add(1) } else { 1 };
        self.run_since = if same { self.run_since } else { ended };
        self.last = Some(outcome);
        self.run
            <= match outcome {
                Outcome::Pass => self.successes,
                Outcome::Fail(_) | Outcome::Inconclusive => self.failures,
            }
    }

    pub(super) fn note_verdicts(&mut self, health: &Health, now: Elapsed) {
        let fails = self.fails_in(health);
        if fails && !self.fails {
            self.meter.detected(now.saturating_sub(self.run_since));
        }
        self.fails = fails;
    }

    /// What comes after is no run with what came before.
    pub(super) const fn forget(&mut self) {
        (self.last, self.run) = (None, 0);
    }

    /// Nothing of an attempt under way is recorded.
    pub(super) fn cancel(&mut self) {
        let before = std::mem::replace(&mut self.state, GroupState::Idle);
        if let GroupState::InFlight(Flight { number: _, attempt }) = before {
            attempt.give_up();
        }
    }

    fn fails_in(&self, health: &Health) -> bool {
        let mut roles =
            self.shared.roles.iter().filter_map(|role| health.roles.get(*role).as_ref());
        roles.any(|role| role.verdict == Verdict::Failing)
    }
}

const fn kind_of(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Pass => 0,
        Outcome::Fail(_) => 1,
        Outcome::Inconclusive => 2,
    }
}

#[cfg(test)]
mod tests {
    use warren_core::{
        bounds::Port,
        check::{Check, CheckKind, Role, TcpCheck, Timing},
    };

    use super::*;

    fn checks(port: u32) -> Arc<Checks> {
        let kind = CheckKind::Tcp(TcpCheck::new(Port::new(port).unwrap()));
        let timing = Timing::default_for(Role::Liveness);
        Arc::new(Checks { liveness: Some(Check { kind, timing }), ..Checks::NONE })
    }

    #[test]
    fn tasks_that_begin_after_each_other_share_checks_that_are_the_same() {
        let groups = Groups::default();
        let first = groups.share(checks(80));
        groups.of(&first);
        assert!(Arc::ptr_eq(&groups.share(checks(80)), &first));
        assert_eq!(groups.share(checks(81)), checks(81));
    }
}
