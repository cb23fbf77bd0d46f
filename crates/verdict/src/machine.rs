//! All roles of one task together: its health.

mod edit;
mod restore;

use std::sync::Arc;

use warren_core::{
    check::{ByRole, Checks, Role, Timing},
    health::{Health, HealthStatus, RoleHealth, Verdict},
    id::TaskId,
    outcome::{Attempt, Evidence, Outcome},
    time::Timestamp,
};

use crate::{
    group::Sharing,
    reason,
    run::{Known, RoleRun},
    schedule::Elapsed,
    seats::Seats,
    watch::{Pace, Watch},
};

/// The verdicts of one task, from its process's start to its end.
///
/// Wherever a role is asked for, any role of the same [`CheckGroup`](crate::CheckGroup) does.
#[derive(Debug, Clone)]
pub struct TaskVerdicts {
    checks: Arc<Checks>,
    sharing: Sharing,
    roles: Seats<RoleRun>,
    /// By the role that stands for the group.
    watches: Seats<Watch>,
    life: Life,
    overall: Overall,
}

/// How far the task's process has come.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Life {
    Runs,
    /// It is wanted to end: only readiness is still looked at, and it is ready no more.
    Stops,
    /// How it ended.
    Gone(String),
}

#[derive(Debug, Clone)]
struct Overall {
    status: HealthStatus,
    since: Timestamp,
    ready: bool,
    ready_since: Timestamp,
    was_ready: bool,
    reason: String,
}

/// When to attempt a check next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Never before the `now` that was asked with.
    At(Elapsed),
    /// Startup has not passed yet; ask again when health has changed.
    AfterStartup,
    /// This check has had its last attempt.
    Never,
}

impl TaskVerdicts {
    /// Of a task whose process started at `started_at`.
    pub fn new(task: TaskId, checks: &Arc<Checks>, started_at: Timestamp) -> Self {
        let sharing = Sharing::of(checks);
        let has = |role: &Role| checks.get(*role).is_some();
        let run = |role| Some(role).filter(has).map(|role| RoleRun::new(role, started_at));
        let leads = |role: &Role| has(role) && sharing.lead(*role) == *role;
        let watch = |role| Some(role).filter(leads).map(|role| Watch::new(task, role));
        let overall = Overall {
            status: HealthStatus::Starting,
            since: started_at,
            ready: false,
            ready_since: started_at,
            was_ready: false,
            reason: String::new(),
        };
        let mut verdicts = Self {
            checks: Arc::clone(checks),
            sharing,
            roles: Seats::by_role(run),
            watches: Seats::by_role(watch),
            life: Life::Runs,
            overall,
        };
        verdicts.settle(started_at);
        verdicts
    }

    /// Folds the outcome of an attempt that ended at `now` into every role of the group. The
    /// health when it changed in a way that is reported: a role's verdict, whether it flaps, and
    /// with them perhaps the status, readiness and reason. An outcome that nobody waits for
    /// changes nothing.
    ///
    /// The hot path. It takes constant time: at most two folds of a few comparisons and one push
    /// into a full-grown ring, and no allocation unless a verdict changes or the attempt says
    /// something else than the one before.
    pub fn observe(&mut self, role: Role, attempt: Attempt, now: Elapsed) -> Option<Health> {
        if self.stage(role) != Stage::Due {
            return None;
        }
        let ended = attempt.at.after(attempt.latency);
        if attempt.outcome == Outcome::Fail(Evidence::Gone) {
            let why = reason::failed(role, 1, Elapsed::ZERO, &attempt);
            return self.end(&attempt, ended, why);
        }
        let start = now.saturating_sub(attempt.latency);
        let mut changed = false;
        let stops = self.life == Life::Stops;
        for &fed in self.sharing.fed_by(role) {
            let hears = !stops || fed == Role::Readiness;
            let check = self.checks.get(fed).as_ref().filter(|_| hears);
            if let Some((run, check)) = self.roles.get_mut(fed).zip(check) {
                changed |= run.fold(&check.timing, &attempt, start);
            }
        }
        if let Some(watch) = self.watches.get_mut(self.sharing.lead(role)) {
            watch.record(attempt, start);
        }
        changed.then(|| {
            self.settle(ended);
            self.health()
        })
    }

    /// The process is gone: a verdict at once, whatever the thresholds. `why` is a sentence such
    /// as [`reason::exit`] makes.
    pub fn exited(&mut self, at: Timestamp, why: String) -> Option<Health> {
        let (latency, outcome) = (Elapsed::ZERO, Outcome::Fail(Evidence::Gone));
        let components = Box::default();
        self.end(&Attempt { at, latency, outcome, message: why.clone(), components }, at, why)
    }

    /// The task is wanted to end. Startup and liveness have had their say; readiness goes on, so
    /// that people see how it drains, but nothing makes the task ready again.
    pub fn stop(&mut self, at: Timestamp) -> Health {
        if self.life == Life::Runs {
            self.life = Life::Stops;
            self.settle(at);
        }
        self.health()
    }

    /// Nobody will look for a while. Verdicts stay; runs of outcomes are forgotten, since they
    /// would not be unbroken.
    pub fn pause(&mut self) {
        for role in Role::ALL {
            if let Some(run) = self.roles.get_mut(role) {
                run.pause();
            }
        }
    }

    /// Has the memory fetched that an outcome of this role touches, and does nothing else: whoever
    /// knows of many that are to come waits for all of it together.
    pub fn glance(&self, role: Role) {
        for (run, _) in self.fed_runs(role) {
            run.glance();
        }
        if let Some(watch) = self.watch(role) {
            watch.glance();
        }
    }

    /// When the group's next attempt is due. Holds until the next [`observe`](Self::observe) or
    /// [`exited`](Self::exited); a later `now` only moves what is overdue.
    pub fn next_attempt(&self, role: Role, now: Elapsed) -> Next {
        let watch = match self.stage(role) {
            Stage::Over => return Next::Never,
            Stage::Waits => return Next::AfterStartup,
            Stage::Due => self.watch(role),
        };
        let timing = self.timing(self.sharing.confirmed_by(role));
        let Some((watch, timing)) = watch.zip(timing) else {
            return Next::Never;
        };
        let decisive = self.fed_runs(role).flat_map(|(run, timing)| run.decisive(timing)).flatten();
        Next::At(watch.next(timing, now, self.pace(role), decisive))
    }

    fn pace(&self, role: Role) -> Pace {
        let confirm = self.timed_run(self.sharing.confirmed_by(role));
        if confirm.is_some_and(|(run, timing)| run.wants_confirmation(timing)) {
            Pace::Confirming
        } else if self.fed_runs(role).any(|(run, _)| run.is_starting()) {
            Pace::Starting
        } else {
            Pace::Steady
        }
    }

    fn fed_runs(&self, role: Role) -> impl Iterator<Item = (&RoleRun, &Timing)> {
        let hears = |fed: &&Role| self.life == Life::Runs || **fed == Role::Readiness;
        self.sharing.fed_by(role).iter().filter(hears).filter_map(|&fed| self.timed_run(fed))
    }

    /// The health as it is now, with streaks and last attempts.
    pub fn health(&self) -> Health {
        let Overall { status, since, ready, ready_since, was_ready, reason } = self.overall.clone();
        let roles = by_role(|role| self.role_health(role));
        Health { status, since, ready, ready_since, was_ready, reason, roles }
    }

    /// The last attempts of the role's check, the oldest first; at most eight.
    pub fn recent(&self, role: Role) -> impl Iterator<Item = Attempt> {
        self.watch(role).into_iter().flat_map(Watch::recent)
    }

    /// No later outcome changes the verdict that the task has: its startup failed, or its process
    /// is gone.
    pub fn has_ended(&self) -> bool {
        self.is_gone() || self.startup() == Some(Known::Failing)
    }

    const fn is_gone(&self) -> bool {
        matches!(self.life, Life::Gone(_))
    }

    fn end(&mut self, attempt: &Attempt, at: Timestamp, why: String) -> Option<Health> {
        if self.is_gone() {
            return None;
        }
        for role in Role::ALL {
            if let Some(run) = self.roles.get_mut(role) {
                run.gone(at, &why);
            }
            let concerned = self.known(role) == Some(Known::Failing);
            if let Some(watch) = self.watches.get_mut(role).filter(|_| concerned) {
                watch.remember(attempt.clone());
            }
        }
        self.life = Life::Gone(match self.overall.status {
            HealthStatus::Unhealthy => format!("{why}, after {}", self.overall.reason),
            HealthStatus::Starting
            | HealthStatus::Healthy
            | HealthStatus::Unknown
            | HealthStatus::Unchecked => why,
        });
        self.settle(at);
        Some(self.health())
    }

    /// Derives status, readiness and reason from the roles.
    fn settle(&mut self, at: Timestamp) {
        let (status, ready) = (self.status(), self.ready());
        let overall = &mut self.overall;
        if overall.status != status {
            (overall.status, overall.since) = (status, at);
        }
        if overall.ready != ready {
            (overall.ready, overall.ready_since) = (ready, at);
        }
        overall.was_ready |= ready;
        self.overall.reason = self.reason();
    }

    /// Unhealthy before unknown, unknown before starting, starting before healthy. Readiness has
    /// no say.
    fn status(&self) -> HealthStatus {
        let vital = [Role::Startup, Role::Liveness].map(|role| self.verdict(role));
        if self.is_gone() || vital.contains(&Some(Verdict::Failing)) {
            HealthStatus::Unhealthy
        } else if Role::ALL.iter().all(|&role| self.run(role).is_none()) {
            HealthStatus::Unchecked
        } else if vital.contains(&Some(Verdict::Unknown)) {
            HealthStatus::Unknown
        } else if vital.contains(&Some(Verdict::Pending)) {
            HealthStatus::Starting
        } else {
            HealthStatus::Healthy
        }
    }

    /// What is known decides, not whether anybody could look lately: an unknown verdict leaves
    /// readiness as it was.
    fn ready(&self) -> bool {
        self.life == Life::Runs
            && Role::ALL.iter().all(|&role| matches!(self.known(role), None | Some(Known::Passing)))
    }

    fn reason(&self) -> String {
        if let Life::Gone(gone) = &self.life {
            return gone.clone();
        }
        let Some(role) = self.culprit() else {
            let flaps = Role::ALL.into_iter().find_map(|role| self.run(role)?.window().why());
            return flaps.unwrap_or_default().to_owned();
        };
        match self.run(role).map(RoleRun::why) {
            None | Some("") => reason::not_yet(role),
            Some(why) => why.to_owned(),
        }
    }

    /// The role that keeps the task from being as good as it gets: the worst verdict, and of
    /// equal ones the first role.
    fn culprit(&self) -> Option<Role> {
        let with =
            |verdict| Role::ALL.into_iter().find(|&role| self.verdict(role) == Some(verdict));
        let vital = |role: &Role| *role != Role::Readiness;
        with(Verdict::Failing)
            .filter(vital)
            .or_else(|| with(Verdict::Unknown).filter(vital))
            .or_else(|| with(Verdict::Pending).filter(vital))
            .or_else(|| with(Verdict::Failing))
            .or_else(|| with(Verdict::Unknown))
            .or_else(|| with(Verdict::Pending))
    }

    fn stage(&self, role: Role) -> Stage {
        match (role, self.startup()) {
            _ if self.has_ended() => Stage::Over,
            (Role::Startup | Role::Liveness, _)
                if self.life == Life::Stops && !self.feeds_readiness(role) =>
            {
                Stage::Over
            }
            (Role::Startup, Some(Known::Passing) | None) | (_, Some(Known::Failing)) => Stage::Over,
            (Role::Liveness | Role::Readiness, Some(Known::Pending)) => Stage::Waits,
            (Role::Startup, Some(Known::Pending))
            | (Role::Liveness | Role::Readiness, Some(Known::Passing) | None) => Stage::Due,
        }
    }

    fn feeds_readiness(&self, role: Role) -> bool {
        self.sharing.fed_by(role).contains(&Role::Readiness)
    }

    fn startup(&self) -> Option<Known> {
        self.known(Role::Startup)
    }

    fn run(&self, role: Role) -> Option<&RoleRun> {
        self.roles.get(role)
    }

    fn timing(&self, role: Role) -> Option<&Timing> {
        Some(&self.checks.get(role).as_ref()?.timing)
    }

    fn timed_run(&self, role: Role) -> Option<(&RoleRun, &Timing)> {
        self.run(role).zip(self.timing(role))
    }

    fn known(&self, role: Role) -> Option<Known> {
        self.run(role).map(RoleRun::known)
    }

    fn verdict(&self, role: Role) -> Option<Verdict> {
        self.run(role).map(RoleRun::verdict)
    }

    fn watch(&self, role: Role) -> Option<&Watch> {
        self.watches.get(self.sharing.lead(role))
    }

    fn role_health(&self, role: Role) -> Option<Box<RoleHealth>> {
        let last = self.watch(role).and_then(Watch::last);
        self.run(role).map(|run| Box::new(run.health(last)))
    }
}

/// Where a check is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waits,
    Due,
    Over,
}

fn by_role<T>(make: impl Fn(Role) -> T) -> ByRole<T> {
    ByRole {
        startup: make(Role::Startup),
        liveness: make(Role::Liveness),
        readiness: make(Role::Readiness),
    }
}
