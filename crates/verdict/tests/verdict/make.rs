//! What the tests are made of.

use std::{sync::Arc, time::Duration};

use warren_core::{
    bounds::{Delay, Period, Port, Threshold, Timeout},
    check::{Check, CheckKind, Checks, Flapping, Role, TcpCheck, Timing},
    health::{Health, HealthStatus, RoleHealth, Streak, Verdict},
    id::TaskId,
    outcome::{Attempt, Evidence, Outcome},
    time::Timestamp,
};
use warren_verdict::{Elapsed, Next, TaskVerdicts, groups};

pub const TASK: TaskId = TaskId::from_u64(0x5eed);
pub const PASS: Outcome = Outcome::Pass;
pub const FAIL: Outcome = Outcome::Fail(Evidence::Explicit);
pub const GONE: Outcome = Outcome::Fail(Evidence::Gone);
pub const BLIND: Outcome = Outcome::Inconclusive;

/// When the process started, on the wall.
pub const STARTED: Timestamp = Timestamp::from_millis(1_000_000);
pub const PERIOD_MS: u64 = 10_000;

pub const fn ms(millis: u64) -> Elapsed {
    Duration::from_millis(millis)
}

pub fn secs(seconds: u64) -> Elapsed {
    ms(seconds * 1_000)
}

/// A period of 10 s from the start, confirmation each second, no flapping.
pub fn timing(failures: u32, successes: u32) -> Timing {
    Timing {
        period: Period::from_millis_const(PERIOD_MS),
        timeout: Timeout::from_millis_const(5_000),
        delay: Delay::MIN,
        start_period: Delay::MIN,
        start_interval: Period::from_millis_const(PERIOD_MS),
        confirm_interval: Period::from_millis_const(1_000),
        failures: Threshold::new_const(failures),
        successes: Threshold::new_const(successes),
        min_failing: Delay::MIN,
        flapping: None,
        stop_grace_period: None,
    }
}

/// The same, and so many failures of so many attempts flap.
pub fn flapping(timing: Timing, failures: u32, window: u32) -> Timing {
    let flapping = Flapping::new(failures, window);
    Timing { flapping: Some(flapping.unwrap_or_else(|invalid| panic!("{invalid}"))), ..timing }
}

/// Checks on different ports share no attempts.
pub fn check(port: u32, timing: Timing) -> Check {
    let tcp = |port| Check { kind: CheckKind::Tcp(TcpCheck::new(port)), timing };
    Port::new(port).map_or_else(|invalid| panic!("{invalid}"), tcp)
}

pub fn startup(timing: Timing) -> Checks {
    Checks { startup: Some(check(1, timing)), ..Checks::NONE }
}

pub fn liveness(timing: Timing) -> Checks {
    Checks { liveness: Some(check(2, timing)), ..Checks::NONE }
}

pub fn readiness(timing: Timing) -> Checks {
    Checks { readiness: Some(check(3, timing)), ..Checks::NONE }
}

/// As it was when a worker that is gone saw its health last.
pub fn restored(checks: &Checks, saved: &Health, now: Elapsed) -> TaskVerdicts {
    TaskVerdicts::restore(TASK, &Arc::new(checks.clone()), STARTED, saved, now)
}

/// One check in both roles.
pub fn shared(timing: Timing) -> Checks {
    shared_at(80, timing)
}

pub fn shared_at(port: u32, timing: Timing) -> Checks {
    let check = check(port, timing);
    Checks { startup: None, liveness: Some(check.clone()), readiness: Some(check) }
}

/// Three checks, no attempt shared.
pub fn apart(timing: Timing) -> Checks {
    Checks {
        startup: startup(timing).startup,
        liveness: liveness(timing).liveness,
        readiness: readiness(timing).readiness,
    }
}

pub fn fresh(checks: &Checks) -> TaskVerdicts {
    TaskVerdicts::new(TASK, &Arc::new(checks.clone()), STARTED)
}

pub fn attempt(outcome: Outcome, start: Elapsed, latency: Duration) -> Attempt {
    let message = match outcome {
        Outcome::Pass => "",
        Outcome::Fail(_) => "HTTP 500",
        Outcome::Inconclusive => "too many open files",
    };
    let components = Box::default();
    Attempt { at: STARTED.after(start), latency, outcome, message: message.to_owned(), components }
}

/// Tells the outcome of an attempt that took no time.
pub fn tell(
    verdicts: &mut TaskVerdicts,
    role: Role,
    outcome: Outcome,
    at: Elapsed,
) -> Option<Health> {
    verdicts.observe(role, attempt(outcome, at, Duration::ZERO), at)
}

/// One outcome after the other, a period apart from `from` on.
pub fn tell_all(verdicts: &mut TaskVerdicts, role: Role, from: Elapsed, outcomes: &[Outcome]) {
    let mut at = from;
    for &outcome in outcomes {
        tell(verdicts, role, outcome, at);
        at += ms(PERIOD_MS);
    }
}

pub fn role_of(health: &Health, role: Role) -> Option<&RoleHealth> {
    health.roles.get(role).as_deref()
}

pub fn verdict(verdicts: &TaskVerdicts, role: Role) -> Option<Verdict> {
    role_of(&verdicts.health(), role).map(|role| role.verdict)
}

pub fn streak(verdicts: &TaskVerdicts, role: Role) -> Option<Streak> {
    role_of(&verdicts.health(), role).map(|role| role.streak)
}

pub fn status(verdicts: &TaskVerdicts) -> (HealthStatus, bool) {
    let health = verdicts.health();
    (health.status, health.ready)
}

/// Runs a task's loops as a worker does, on a clock of its own, until `until`. `task` answers an
/// attempt of a role that starts at a moment. Returns the attempts' starts and what was reported.
pub fn work(
    verdicts: &mut TaskVerdicts,
    checks: &Checks,
    from: Elapsed,
    until: Elapsed,
    mut task: impl FnMut(Role, Elapsed) -> (Outcome, Duration),
) -> Worked {
    let mut worked = Worked::default();
    // When each loop asks: after its own attempt, or when the one that it waits for has ended.
    let mut loops: Vec<_> = groups(checks).into_iter().map(|group| (group.role, from)).collect();
    loop {
        let due =
            loops.iter().filter_map(|&(role, asks)| match verdicts.next_attempt(role, asks) {
                Next::At(at) => Some((at, role)),
                Next::AfterStartup | Next::Never => None,
            });
        let Some((at, role)) = due.min_by_key(|&(at, _)| at).filter(|&(at, _)| at < until) else {
            return worked;
        };
        let (outcome, latency) = task(role, at);
        let end = at + latency;
        for (other, asks) in &mut loops {
            let waits = verdicts.next_attempt(*other, *asks) == Next::AfterStartup;
            if *other == role || waits {
                *asks = end;
            }
        }
        worked.attempts.push((role, at));
        if let Some(health) = verdicts.observe(role, attempt(outcome, at, latency), end) {
            worked.reports.push((end, health));
        }
    }
}

#[derive(Debug, Default)]
pub struct Worked {
    pub attempts: Vec<(Role, Elapsed)>,
    pub reports: Vec<(Elapsed, Health)>,
}

impl Worked {
    pub fn starts(&self, role: Role) -> Vec<Elapsed> {
        self.attempts.iter().filter(|(of, _)| *of == role).map(|&(_, at)| at).collect()
    }

    /// When a report said so for the first time.
    pub fn first(&self, says: impl Fn(&Health) -> bool) -> Option<Elapsed> {
        self.reports.iter().find(|(_, health)| says(health)).map(|&(at, _)| at)
    }
}

/// From one moment to a later one.
pub fn since(earlier: Elapsed, later: Elapsed) -> Duration {
    later.checked_sub(earlier).unwrap_or_else(|| panic!("{later:?} is before {earlier:?}"))
}
