//! The pace until the first pass.

use std::time::Duration;

use warren_core::{
    bounds::{Delay, Period},
    check::{Checks, Role, Timing},
    health::{HealthStatus, Verdict},
    outcome::Outcome,
};
use warren_verdict::{Elapsed, Next, phase};

use crate::make::{
    BLIND, FAIL, PASS, TASK, fresh, liveness, ms, readiness, restored, secs, shared, since,
    startup, tell, timing, verdict, work,
};

const START: Period = Period::from_millis_const(500);

fn hurried(failures: u32, successes: u32) -> Timing {
    Timing { start_interval: START, ..timing(failures, successes) }
}

/// Fails until `from`, then passes; an attempt takes no time.
fn is_up(from: Elapsed) -> impl FnMut(Role, Elapsed) -> (Outcome, Duration) {
    move |_, at| (if at < from { FAIL } else { PASS }, Duration::ZERO)
}

// C-8
#[test]
fn until_the_first_pass_attempts_fall_on_the_grid_of_the_start_interval_and_then_on_the_periods() {
    for (checks, role) in [
        (startup(hurried(3, 1)), Role::Startup),
        (liveness(hurried(3, 1)), Role::Liveness),
        (readiness(hurried(3, 1)), Role::Readiness),
        (shared(hurried(3, 1)), Role::Liveness),
    ] {
        let mut task = fresh(&checks);
        let worked = work(&mut task, &checks, ms(0), secs(60), is_up(ms(5_700)));
        let starts = worked.starts(role);
        let up = starts.iter().position(|&at| at >= ms(5_700)).expect("it is seen");
        assert!(starts[up] < ms(5_700) + START.get(), "{starts:?}");
        let on = |period: Period| {
            let grid = phase(TASK, role, period);
            move |at: &Elapsed| since(grid, *at).as_nanos().is_multiple_of(period.get().as_nanos())
        };
        // The first one of all does not wait for a grid.
        assert!(starts[1..=up].iter().all(on(START)), "{role:?}: {starts:?}");
        assert!(starts[up + 1..].iter().all(on(timing(3, 1).period)), "{role:?}: {starts:?}");
        assert!(role == Role::Startup || starts.len() > up + 4);
    }
}

// C-8: attempts come faster, verdicts of failing do not.
#[test]
fn a_start_at_a_faster_pace_is_judged_no_sooner() {
    for (checks, role) in [
        (startup(hurried(3, 1)), Role::Startup),
        (liveness(hurried(3, 1)), Role::Liveness),
        (readiness(hurried(3, 1)), Role::Readiness),
    ] {
        let mut task = fresh(&checks);
        let worked = work(&mut task, &checks, ms(0), secs(60), is_up(secs(100)));
        let fails = |health: &warren_core::health::Health| {
            health.roles.get(role).as_ref().is_some_and(|role| role.verdict == Verdict::Failing)
        };
        assert_eq!(worked.first(fails), Some(secs(20)), "{role:?}: (3-1) x 10 s");
    }
}

// C-8: what has passed once and fails is confirmed, not started.
#[test]
fn after_the_first_pass_the_start_interval_is_over_for_good() {
    let checks = readiness(hurried(2, 2));
    let mut task = fresh(&checks);
    tell(&mut task, Role::Readiness, PASS, secs(0));
    tell(&mut task, Role::Readiness, FAIL, secs(10));
    assert_eq!(task.next_attempt(Role::Readiness, secs(10)), Next::At(secs(11)));
    tell(&mut task, Role::Readiness, FAIL, secs(11));
    assert_eq!(verdict(&task, Role::Readiness), Some(Verdict::Failing));
    let grid = phase(TASK, Role::Readiness, timing(1, 1).period);
    assert_eq!(task.next_attempt(Role::Readiness, secs(11)), Next::At(grid + secs(10)));
    let restored = restored(&checks, &task.health(), secs(12));
    assert_eq!(restored.next_attempt(Role::Readiness, secs(12)), Next::At(grid + secs(10)));
}

// C-8, C-43
#[test]
fn an_observer_in_trouble_does_not_hurry_a_start() {
    let mut task = fresh(&liveness(hurried(3, 1)));
    tell(&mut task, Role::Liveness, BLIND, secs(0));
    let grid = phase(TASK, Role::Liveness, timing(1, 1).period);
    assert_eq!(task.next_attempt(Role::Liveness, secs(0)), Next::At(grid));
}

// C-8: a start interval that is longer than the period is the period.
#[test]
fn a_start_is_never_slower_than_the_period() {
    let slow = Timing { start_interval: Period::from_millis_const(60_000), ..timing(3, 1) };
    let checks = liveness(slow);
    let mut task = fresh(&checks);
    let worked = work(&mut task, &checks, ms(0), secs(60), is_up(secs(100)));
    assert!(worked.attempts.len() > 4, "{worked:?}");
}

// C-44
#[test]
fn a_task_is_not_failed_before_its_least_time_of_failing() {
    let patient = Timing { min_failing: Delay::from_millis_const(95_000), ..timing(3, 1) };
    for (checks, role) in [(shared(patient), Role::Liveness), (startup(patient), Role::Startup)] {
        let mut task = fresh(&checks);
        let passes = role == Role::Liveness;
        let worked = work(&mut task, &checks, ms(0), secs(200), |_, at| {
            (if passes && at < secs(30) { PASS } else { FAIL }, Duration::ZERO)
        });
        let from = if passes { secs(30) } else { secs(0) };
        let broke = *worked.starts(role).iter().find(|&&at| at >= from).expect("one");
        let dead = worked.first(|health| health.status == HealthStatus::Unhealthy);
        assert_eq!(dead, Some(broke + secs(95)), "to the nanosecond, off the grid");
        // Traffic does not wait for it.
        let out = worked.first(|health| health.was_ready && !health.ready);
        assert_eq!(out, passes.then_some(broke + secs(2)));
    }
}

// C-44: a pass begins it anew, and a time that is shorter than (failures - 1) x period is no
// impatience.
#[test]
fn the_least_time_of_failing_is_unbroken_and_only_adds_patience() {
    let timing = Timing { min_failing: Delay::from_millis_const(25_000), ..timing(2, 1) };
    let mut task = fresh(&liveness(timing));
    for (second, outcome) in [(0, PASS), (10, FAIL), (30, FAIL), (34, PASS), (40, FAIL)] {
        tell(&mut task, Role::Liveness, outcome, secs(second));
    }
    assert_eq!(tell(&mut task, Role::Liveness, FAIL, secs(64)), None);
    assert!(tell(&mut task, Role::Liveness, FAIL, secs(65)).is_some());
    let short = Timing { min_failing: Delay::from_millis_const(5_000), ..timing };
    let checks = Checks { ..liveness(short) };
    let mut task = fresh(&checks);
    tell(&mut task, Role::Liveness, FAIL, secs(0));
    assert_eq!(tell(&mut task, Role::Liveness, FAIL, secs(9)), None);
    assert!(tell(&mut task, Role::Liveness, FAIL, secs(10)).is_some());
}
