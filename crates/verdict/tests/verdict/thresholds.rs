//! How many outcomes it takes.

use warren_core::{
    bounds::Delay,
    check::{Role, Timing},
    health::{HealthStatus, Streak, Verdict},
};

use crate::make::{
    FAIL, PASS, STARTED, apart, attempt, fresh, liveness, ms, readiness, role_of, secs, shared,
    startup, status, streak, tell, tell_all, timing, verdict,
};

// C-20
#[test]
fn only_consecutive_failures_count() {
    let mut task = fresh(&liveness(timing(3, 1)));
    tell_all(&mut task, Role::Liveness, secs(0), &[PASS, FAIL, FAIL, PASS, FAIL, FAIL]);
    assert_eq!(verdict(&task, Role::Liveness), Some(Verdict::Passing));
    assert_eq!(streak(&task, Role::Liveness), Some(Streak::Failures(2)));
    tell(&mut task, Role::Liveness, FAIL, secs(60));
    assert_eq!(verdict(&task, Role::Liveness), Some(Verdict::Failing));
}

// C-20
#[test]
fn alternating_outcomes_never_fail_a_threshold_of_two() {
    for checks in [shared(timing(2, 2)), liveness(timing(2, 1)), readiness(timing(2, 1))] {
        let mut task = fresh(&checks);
        let role = if checks.liveness.is_some() { Role::Liveness } else { Role::Readiness };
        for turn in 0..200 {
            let outcome = if turn % 2 == 0 { PASS } else { FAIL };
            let report = tell(&mut task, role, outcome, secs(10 * turn));
            assert_eq!(report.is_some(), turn == 0, "turn {turn}");
        }
        assert_eq!(status(&task), (HealthStatus::Healthy, true));
    }
}

// C-21: nothing is gained by keeping a task that works out of traffic.
#[test]
fn one_pass_is_the_first_verdict_whatever_recovery_takes() {
    let mut task = fresh(&apart(timing(3, 5)));
    tell_all(&mut task, Role::Startup, secs(0), &[FAIL, PASS]);
    tell_all(&mut task, Role::Liveness, secs(10), &[FAIL, FAIL, PASS]);
    tell_all(&mut task, Role::Readiness, secs(10), &[FAIL, PASS]);
    assert_eq!(status(&task), (HealthStatus::Healthy, true));
}

// C-22
#[test]
fn recovery_takes_so_many_passes_in_a_row() {
    let mut task = fresh(&readiness(timing(1, 3)));
    tell_all(&mut task, Role::Readiness, secs(0), &[PASS, FAIL, PASS, PASS, FAIL, PASS, PASS]);
    assert_eq!(verdict(&task, Role::Readiness), Some(Verdict::Failing));
    let health = tell(&mut task, Role::Readiness, PASS, secs(70)).expect("a report");
    assert!(health.ready);
    assert_eq!(health.ready_since, STARTED.after(secs(70)));
}

// C-22: a role that never passed fails all the same, and then has to recover.
#[test]
fn a_first_verdict_may_be_failing() {
    let mut task = fresh(&shared(timing(2, 2)));
    tell_all(&mut task, Role::Liveness, secs(0), &[FAIL, FAIL, PASS]);
    assert_eq!(status(&task), (HealthStatus::Unhealthy, false));
    assert!(!task.health().was_ready);
    tell(&mut task, Role::Liveness, PASS, secs(30));
    assert_eq!(status(&task), (HealthStatus::Healthy, true));
}

fn start_period(millis: u64) -> Timing {
    Timing { start_period: Delay::from_millis_const(millis), ..timing(2, 1) }
}

// C-23
#[test]
fn failures_that_began_in_the_start_period_do_not_count_at_all() {
    let mut task = fresh(&startup(start_period(30_000)));
    tell_all(&mut task, Role::Startup, secs(0), &[FAIL, FAIL, FAIL]);
    assert_eq!(streak(&task, Role::Startup), Some(Streak::None));
    // It began inside and ended outside.
    let late = attempt(FAIL, ms(29_999), secs(4));
    assert_eq!(task.observe(Role::Startup, late, ms(33_999)), None);
    assert_eq!(streak(&task, Role::Startup), Some(Streak::None));
    // They are shown, though.
    assert_eq!(task.recent(Role::Startup).count(), 4);
    // The end of the period is outside.
    tell(&mut task, Role::Startup, FAIL, secs(30));
    assert_eq!(streak(&task, Role::Startup), Some(Streak::Failures(1)));
    tell(&mut task, Role::Startup, FAIL, secs(40));
    assert_eq!(verdict(&task, Role::Startup), Some(Verdict::Failing));
}

// C-23
#[test]
fn the_first_pass_ends_the_start_period() {
    let timing = start_period(60_000);
    let checks = warren_core::check::Checks {
        startup: startup(timing).startup,
        ..shared(Timing { start_period: Delay::MIN, ..timing })
    };
    let mut task = fresh(&checks);
    tell_all(&mut task, Role::Startup, secs(0), &[FAIL, PASS]);
    tell_all(&mut task, Role::Liveness, secs(11), &[PASS, FAIL, FAIL]);
    assert_eq!(status(&task), (HealthStatus::Unhealthy, false));
}

// C-24
#[test]
fn counters_end_with_their_task() {
    let checks = liveness(timing(3, 1));
    let mut first = fresh(&checks);
    tell_all(&mut first, Role::Liveness, secs(0), &[PASS, FAIL, FAIL]);
    first.exited(STARTED.after(secs(25)), "process exited with code 1".to_owned());
    let mut second = fresh(&checks);
    tell(&mut second, Role::Liveness, FAIL, secs(0));
    assert_eq!(streak(&second, Role::Liveness), Some(Streak::Failures(1)));
}

// C-26
#[test]
fn nothing_is_reported_while_nothing_changes_and_the_streak_is_there_all_the_same() {
    let mut task = fresh(&shared(timing(3, 1)));
    assert!(tell(&mut task, Role::Liveness, PASS, secs(0)).is_some());
    for turn in 1..100 {
        assert_eq!(tell(&mut task, Role::Liveness, PASS, secs(10 * turn)), None);
    }
    assert_eq!(tell(&mut task, Role::Liveness, FAIL, secs(1_000)), None);
    assert_eq!(streak(&task, Role::Readiness), Some(Streak::Failures(1)));
    let health = task.health();
    let last = role_of(&health, Role::Liveness).and_then(|role| role.last.as_ref());
    assert_eq!(last.map(|last| last.outcome), Some(FAIL));
    assert_eq!(health.since, STARTED);
}
