//! What each kind of outcome counts for.

use warren_core::{
    check::{Checks, Role},
    health::{HealthStatus, Streak, Verdict},
    outcome::{Evidence, Outcome},
};
use warren_verdict::{Next, reason};

use crate::make::{
    BLIND, FAIL, GONE, PASS, STARTED, apart, fresh, liveness, role_of, secs, shared, startup,
    status, streak, tell, tell_all, timing, verdict,
};

// C-30: what the observer holds in its hand is shown; for the verdict a failure is a failure.
#[test]
fn explicit_refused_and_timeout_count_alike() {
    for evidence in [Evidence::Explicit, Evidence::Refused, Evidence::Timeout] {
        let mut task = fresh(&liveness(timing(2, 1)));
        let fail = Outcome::Fail(evidence);
        tell_all(&mut task, Role::Liveness, secs(0), &[PASS, fail]);
        assert_eq!(verdict(&task, Role::Liveness), Some(Verdict::Passing));
        tell(&mut task, Role::Liveness, fail, secs(20));
        assert_eq!(verdict(&task, Role::Liveness), Some(Verdict::Failing));
    }
}

// C-31
#[test]
fn an_exit_is_a_verdict_at_once_whatever_the_thresholds() {
    let checks = Checks { startup: None, ..apart(timing(1_000, 1)) };
    let mut task = fresh(&checks);
    tell(&mut task, Role::Liveness, PASS, secs(0));
    tell(&mut task, Role::Readiness, PASS, secs(0));
    let at = STARTED.after(secs(3));
    let health = task.exited(at, reason::exit(Some(1), false)).expect("a report");
    assert_eq!((health.status, health.ready), (HealthStatus::Unhealthy, false));
    assert_eq!((health.since, health.ready_since), (at, at));
    assert_eq!(health.reason, "process exited with code 1");
    for role in [Role::Liveness, Role::Readiness] {
        let role_health = role_of(&health, role).expect("the role");
        assert_eq!(role_health.verdict, Verdict::Failing);
        assert_eq!(role_health.last.as_ref().map(|last| last.outcome), Some(GONE));
        assert_eq!(task.next_attempt(role, secs(3)), Next::Never);
    }
    // C-36: an attempt that was under way, and a second word of the same end.
    assert_eq!(tell(&mut task, Role::Liveness, PASS, secs(4)), None);
    assert_eq!(task.exited(at, "again".to_owned()), None);
    assert_eq!(task.health(), health);
}

// C-31: the start period forgives failures, not an end.
#[test]
fn an_exit_during_startup_fails_it() {
    let mut patient = timing(60, 1);
    patient.start_period = warren_core::bounds::Delay::MAX;
    let mut task = fresh(&startup(patient));
    task.exited(STARTED, reason::exit(Some(127), false));
    assert_eq!(verdict(&task, Role::Startup), Some(Verdict::Failing));
    let mut started = fresh(&startup(patient));
    tell(&mut started, Role::Startup, PASS, secs(1));
    started.exited(STARTED.after(secs(2)), reason::exit(Some(0), false));
    assert_eq!(verdict(&started, Role::Startup), Some(Verdict::Passing));
    assert_eq!(status(&started), (HealthStatus::Unhealthy, false));
}

// C-31: a check may be the first to find out.
#[test]
fn an_attempt_that_finds_the_process_gone_ends_the_task() {
    let mut task = fresh(&apart(timing(3, 1)));
    tell(&mut task, Role::Startup, PASS, secs(0));
    tell(&mut task, Role::Readiness, PASS, secs(0));
    assert!(tell(&mut task, Role::Readiness, GONE, secs(1)).is_some());
    assert!(task.has_ended());
    assert_eq!(status(&task), (HealthStatus::Unhealthy, false));
    assert_eq!(verdict(&task, Role::Liveness), Some(Verdict::Failing));
}

// C-35: the first cause is not forgotten.
#[test]
fn an_exit_after_a_verdict_names_both() {
    let mut task = fresh(&liveness(timing(1, 1)));
    tell(&mut task, Role::Liveness, FAIL, secs(0));
    let health = task.exited(STARTED.after(secs(1)), reason::exit(Some(137), true));
    let health = health.expect("a report: the reason has changed");
    assert_eq!(health.reason, "process was killed: out of memory, after liveness failed: HTTP 500");
    assert_eq!(health.since, STARTED);
}

// C-32
#[test]
fn an_inconclusive_attempt_neither_counts_nor_breaks_a_run() {
    let mut task = fresh(&liveness(timing(3, 2)));
    tell_all(&mut task, Role::Liveness, secs(0), &[PASS, FAIL, BLIND, FAIL, BLIND, BLIND]);
    assert_eq!(verdict(&task, Role::Liveness), Some(Verdict::Passing));
    assert_eq!(streak(&task, Role::Liveness), Some(Streak::Failures(2)));
    tell(&mut task, Role::Liveness, FAIL, secs(60));
    assert_eq!(verdict(&task, Role::Liveness), Some(Verdict::Failing));
    tell_all(&mut task, Role::Liveness, secs(70), &[PASS, BLIND, PASS]);
    assert_eq!(verdict(&task, Role::Liveness), Some(Verdict::Passing));
}

// C-33: three attempts are enough, three periods are not yet over.
#[test]
fn unknown_takes_as_many_attempts_and_as_many_periods_as_failing_takes_failures() {
    let mut task = fresh(&liveness(timing(3, 1)));
    tell(&mut task, Role::Liveness, PASS, secs(0));
    tell_all(&mut task, Role::Liveness, secs(10), &[BLIND, BLIND, BLIND]);
    assert_eq!(verdict(&task, Role::Liveness), Some(Verdict::Passing));
    let health = tell(&mut task, Role::Liveness, BLIND, secs(40)).expect("a report");
    assert_eq!((health.status, health.ready), (HealthStatus::Unknown, true));
    assert_eq!(
        health.reason,
        "liveness could not be checked 4 times in a row over 30s: too many open files"
    );
    assert_eq!(streak(&task, Role::Liveness), Some(Streak::Inconclusive(4)));
    // Few attempts over a long time do not do either.
    let mut slow = fresh(&liveness(timing(3, 1)));
    tell(&mut slow, Role::Liveness, BLIND, secs(0));
    assert_eq!(tell(&mut slow, Role::Liveness, BLIND, secs(1_000)), None);
}

// C-33
#[test]
fn failing_is_never_softened_to_unknown() {
    let mut task = fresh(&shared(timing(1, 2)));
    tell_all(&mut task, Role::Liveness, secs(0), &[PASS, FAIL, BLIND, BLIND, BLIND, BLIND]);
    assert_eq!(status(&task), (HealthStatus::Unhealthy, false));
    assert_eq!(streak(&task, Role::Liveness), Some(Streak::Failures(1)));
}

// C-34
#[test]
fn the_next_conclusive_outcome_ends_unknown() {
    let unknown = || {
        let mut task = fresh(&shared(timing(2, 3)));
        tell_all(&mut task, Role::Liveness, secs(0), &[PASS, FAIL, BLIND, BLIND, BLIND]);
        assert_eq!(status(&task), (HealthStatus::Unknown, true));
        task
    };
    let mut passes = unknown();
    tell(&mut passes, Role::Liveness, PASS, secs(60));
    assert_eq!(status(&passes), (HealthStatus::Healthy, true));
    // The failure before the silence is too long ago to be one of two in a row.
    let mut fails = unknown();
    tell(&mut fails, Role::Liveness, FAIL, secs(60));
    assert_eq!(status(&fails), (HealthStatus::Healthy, true));
    assert_eq!(streak(&fails, Role::Liveness), Some(Streak::Failures(1)));
    tell(&mut fails, Role::Liveness, FAIL, secs(70));
    assert_eq!(status(&fails), (HealthStatus::Unhealthy, false));
}

// C-34: what never had a verdict goes back to having none.
#[test]
fn unknown_from_the_start_ends_in_pending() {
    let mut task = fresh(&liveness(timing(2, 1)));
    tell_all(&mut task, Role::Liveness, secs(0), &[BLIND, BLIND, BLIND]);
    assert_eq!(status(&task), (HealthStatus::Unknown, false));
    tell(&mut task, Role::Liveness, FAIL, secs(30));
    assert_eq!(status(&task), (HealthStatus::Starting, false));
}

// C-37
#[test]
fn the_last_eight_attempts_are_kept_the_oldest_first() {
    let mut task = fresh(&shared(timing(3, 1)));
    tell_all(&mut task, Role::Liveness, secs(0), &[PASS; 20]);
    let kept: Vec<_> = task.recent(Role::Readiness).map(|attempt| attempt.at).collect();
    let expected: Vec<_> = (12..20).map(|turn| STARTED.after(secs(10 * turn))).collect();
    assert_eq!(kept, expected);
}
