//! A worker that stops and returns. That a restart after any prefix changes nothing is tested
//! exhaustively elsewhere; here are the cases with a name.

use std::{sync::Arc, time::Duration};

use warren_core::{
    bounds::Delay,
    check::{Checks, Role, Timing},
    health::{HealthStatus, Streak, Verdict},
};
use warren_verdict::{Elapsed, Next, TaskVerdicts, reason};

use crate::make::{
    BLIND, FAIL, PASS, STARTED, TASK, apart, check, fresh, liveness, ms, readiness, restored, secs,
    shared, since, startup, status, streak, tell, tell_all, timing, verdict, work,
};

fn restart(task: &TaskVerdicts, checks: &Checks, now: Elapsed) -> TaskVerdicts {
    restored(checks, &task.health(), now)
}

// C-25
#[test]
fn a_restart_keeps_verdicts_streaks_and_readiness() {
    let checks = shared(timing(3, 1));
    let mut task = fresh(&checks);
    tell_all(&mut task, Role::Liveness, secs(0), &[PASS, FAIL, FAIL]);
    let mut restored = restart(&task, &checks, secs(25));
    assert_eq!(restored.health(), task.health());
    assert_eq!(streak(&restored, Role::Liveness), Some(Streak::Failures(2)));
    let health = tell(&mut restored, Role::Liveness, FAIL, secs(30)).expect("a report");
    assert!(!health.ready);
}

// C-25
#[test]
fn a_restart_before_the_first_attempt_makes_it_at_once() {
    let checks = shared(timing(3, 1));
    let restored = restart(&fresh(&checks), &checks, secs(25));
    assert_eq!(restored.next_attempt(Role::Liveness, secs(25)), Next::At(secs(25)));
}

// C-3, C-25
#[test]
fn a_restart_keeps_the_grid() {
    let checks = shared(timing(3, 1));
    let mut task = fresh(&checks);
    tell(&mut task, Role::Liveness, PASS, secs(0));
    for now in [11, 25, 99, 1_234] {
        let mut restored = restart(&task, &checks, secs(now));
        let passes = |_, _| (PASS, Duration::ZERO);
        let worked = work(&mut restored, &checks, secs(now), secs(now + 60), passes);
        let grid = warren_verdict::phase(TASK, Role::Liveness, timing(3, 1).period);
        for start in worked.starts(Role::Liveness) {
            assert!(since(grid, start).as_nanos().is_multiple_of(secs(10).as_nanos()), "{start:?}");
        }
    }
}

// C-25
#[test]
fn a_restart_never_makes_liveness_less_patient() {
    let checks = liveness(timing(3, 1));
    let mut task = fresh(&checks);
    tell_all(&mut task, Role::Liveness, secs(0), &[PASS]);
    for second in [10, 11, 12] {
        tell(&mut task, Role::Liveness, FAIL, secs(second));
    }
    let mut restored = restart(&task, &checks, secs(13));
    let fails = |_, _| (FAIL, Duration::ZERO);
    let worked = work(&mut restored, &checks, secs(13), secs(100), fails);
    let dead = worked.first(|health| health.status == HealthStatus::Unhealthy);
    // Unbroken since 10 s. Records are of whole milliseconds.
    assert_eq!(dead, Some(ms(30_001)));
}

// C-25, C-41, C-44: also when it dies so often that none of its lives lasts so long.
#[test]
fn liveness_is_no_more_patient_for_any_number_of_restarts() {
    let hour = Timing { min_failing: Delay::from_millis_const(3_600_000), ..timing(3, 1) };
    for (timing, lives, patience) in
        [(timing(3, 1), 15, 20), (timing(3, 1), 7, 20), (hour, 3_590, 3_600), (hour, 15, 3_600)]
    {
        let checks = liveness(timing);
        let mut task = fresh(&checks);
        tell(&mut task, Role::Liveness, PASS, secs(0));
        let (mut from, mut first, mut dead) = (secs(0), None, None);
        let mut restarts = 0;
        while dead.is_none() {
            let until = from + secs(lives);
            let fails = |_, _| (FAIL, Duration::ZERO);
            let worked = work(&mut task, &checks, from, until, fails);
            first = first.or(worked.starts(Role::Liveness).first().copied());
            dead = worked.first(|health| health.status == HealthStatus::Unhealthy);
            task = restart(&task, &checks, until);
            (from, restarts) = (until, restarts + 1);
        }
        let late = since(first.unwrap() + secs(patience), dead.unwrap());
        assert!(late <= ms(restarts), "{lives} s each: {late:?} for {restarts} restarts");
    }
}

// C-25: set back or forward, and for how long it was seen is known from before.
#[test]
fn a_clock_that_was_set_back_makes_liveness_more_patient_and_no_less() {
    let checks = liveness(timing(3, 1));
    let mut task = fresh(&checks);
    tell_all(&mut task, Role::Liveness, secs(100), &[PASS, FAIL, FAIL]);
    // 120 s is when the last one began: ten seconds were seen, and ten more are wanted.
    for (now, dead) in [(121_000, 130_001), (120_000, 130_000), (60_000, 70_000), (3_000, 20_000)] {
        let mut restored = restart(&task, &checks, ms(now));
        let before = ms(dead).saturating_sub(ms(1));
        tell(&mut restored, Role::Liveness, FAIL, before);
        assert_eq!(verdict(&restored, Role::Liveness), Some(Verdict::Passing), "at {now} ms");
        tell(&mut restored, Role::Liveness, FAIL, ms(dead));
        assert_eq!(verdict(&restored, Role::Liveness), Some(Verdict::Failing), "at {now} ms");
    }
}

// C-25, C-94, C-95: a check that has never passed is as patient as C-8 has it, in any worker.
#[test]
fn a_restart_makes_no_readiness_less_patient_whose_check_has_not_passed_yet() {
    let old = readiness(timing(3, 1));
    let new = Checks { readiness: Some(check(9, timing(3, 1))), ..Checks::NONE };
    for (before, after) in [(old, new), (liveness(timing(3, 1)), apart(timing(3, 1)))] {
        let mut task = fresh(&before);
        tell_all(&mut task, Role::ALL[1], secs(0), &[PASS]);
        tell_all(&mut task, Role::ALL[2], secs(0), &[PASS]);
        task.edit(TASK, &before, &Arc::new(after.clone()), STARTED.after(secs(5)), secs(5));
        for second in [10, 11] {
            tell(&mut task, Role::Readiness, FAIL, secs(second));
        }
        let mut restored = restart(&task, &after, secs(11));
        for second in [12, 20, 29] {
            assert_eq!(tell(&mut restored, Role::Readiness, FAIL, secs(second)), None, "{second}");
        }
        assert!(!tell(&mut restored, Role::Readiness, FAIL, secs(30)).expect("a report").ready);
    }
}

// C-15, C-25: of one that was never looked at nobody can say that it passes.
#[test]
fn unknown_since_ever_is_not_taken_for_passing_by_the_next_worker() {
    let before = liveness(timing(1, 1));
    let after = apart(timing(1, 1));
    let mut task = fresh(&before);
    tell_all(&mut task, Role::Liveness, secs(0), &[PASS, FAIL]);
    task.edit(TASK, &before, &Arc::new(after.clone()), STARTED.after(secs(11)), secs(11));
    tell_all(&mut task, Role::Startup, secs(20), &[PASS]);
    tell_all(&mut task, Role::Readiness, secs(20), &[BLIND, BLIND]);
    assert_eq!(verdict(&task, Role::Readiness), Some(Verdict::Unknown));
    let mut restored = restart(&task, &after, secs(30));
    tell(&mut restored, Role::Liveness, PASS, secs(40));
    assert_eq!(status(&restored), (HealthStatus::Healthy, false));
}

// C-11, C-25
#[test]
fn a_failed_startup_stays_failed() {
    let checks = Checks { startup: startup(timing(1, 1)).startup, ..shared(timing(3, 1)) };
    let mut task = fresh(&checks);
    tell(&mut task, Role::Startup, FAIL, secs(0));
    let mut restored = restart(&task, &checks, secs(5));
    assert_eq!(tell(&mut restored, Role::Startup, PASS, secs(6)), None);
    assert_eq!(restored.next_attempt(Role::Startup, secs(6)), Next::Never);
    assert_eq!(restored.health(), task.health());
}

// C-25, C-31
#[test]
fn a_task_that_exited_stays_gone() {
    for checks in [Checks::NONE, shared(timing(3, 1)), apart(timing(3, 1))] {
        let mut task = fresh(&checks);
        task.exited(STARTED.after(secs(1)), reason::exit(Some(1), false));
        let mut restored = restart(&task, &checks, secs(5));
        assert!(restored.has_ended());
        assert_eq!(restored.exited(STARTED.after(secs(6)), "again".to_owned()), None);
        assert_eq!(restored.health(), task.health());
    }
}

// C-25, C-34
#[test]
fn what_was_known_before_unknown_survives_a_restart() {
    let checks = shared(timing(2, 3));
    let mut task = fresh(&checks);
    tell_all(&mut task, Role::Liveness, secs(0), &[PASS, BLIND, BLIND, BLIND]);
    let mut restored = restart(&task, &checks, secs(35));
    assert_eq!(status(&restored), (HealthStatus::Unknown, true));
    tell(&mut restored, Role::Liveness, FAIL, secs(40));
    assert_eq!(status(&restored), (HealthStatus::Healthy, true));
}

// C-25: the reason of a hidden verdict is made anew when it comes to light.
#[test]
fn the_reason_of_each_role_survives_a_restart() {
    let checks = Checks { startup: None, ..apart(timing(1, 1)) };
    let mut task = fresh(&checks);
    tell(&mut task, Role::Readiness, FAIL, secs(0));
    tell(&mut task, Role::Liveness, FAIL, secs(0));
    let mut restored = restart(&task, &checks, secs(5));
    assert_eq!(restored.health().reason, "liveness failed: HTTP 500");
    let health = tell(&mut restored, Role::Liveness, PASS, secs(10)).expect("a report");
    assert_eq!(health.reason, "readiness failed: HTTP 500");
}

// C-25: a new worker is a new observer; what its predecessor could not see, it may.
#[test]
fn a_restart_forgets_a_short_blindness_and_keeps_the_run_behind_it() {
    let checks = liveness(timing(2, 1));
    let mut task = fresh(&checks);
    tell_all(&mut task, Role::Liveness, secs(0), &[PASS, FAIL, BLIND, BLIND]);
    let mut restored = restart(&task, &checks, secs(35));
    assert_eq!(streak(&restored, Role::Liveness), Some(Streak::Failures(1)));
    assert_eq!(tell(&mut restored, Role::Liveness, BLIND, secs(40)), None);
    tell(&mut restored, Role::Liveness, FAIL, ms(45_000));
    assert_eq!(verdict(&restored, Role::Liveness), Some(Verdict::Failing));
}
