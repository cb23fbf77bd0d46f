//! What a verdict of each role does to the task, and which roles share attempts.

use warren_core::{
    bounds::{Delay, Period, Timeout},
    check::{Checks, Role, Timing},
    health::{HealthStatus, Streak, Verdict},
};
use warren_verdict::{Next, groups};

use crate::make::{
    BLIND, FAIL, PASS, STARTED, apart, check, fresh, liveness, readiness, secs, shared, startup,
    status, streak, tell, tell_all, timing, verdict,
};

// C-10
#[test]
fn liveness_and_readiness_wait_until_startup_passes() {
    let mut task = fresh(&apart(timing(1, 1)));
    assert_eq!(task.next_attempt(Role::Startup, secs(0)), Next::At(secs(0)));
    assert_eq!(task.next_attempt(Role::Liveness, secs(0)), Next::AfterStartup);
    assert_eq!(task.next_attempt(Role::Readiness, secs(0)), Next::AfterStartup);
    // C-36
    assert_eq!(tell(&mut task, Role::Liveness, FAIL, secs(1)), None);
    assert_eq!(status(&task), (HealthStatus::Starting, false));

    assert!(tell(&mut task, Role::Startup, PASS, secs(2)).is_some());
    assert_eq!(task.next_attempt(Role::Startup, secs(2)), Next::Never);
    assert_eq!(task.next_attempt(Role::Liveness, secs(2)), Next::At(secs(2)));
    assert_eq!(task.next_attempt(Role::Readiness, secs(2)), Next::At(secs(2)));
}

// C-10
#[test]
fn a_startup_that_passed_is_never_asked_again() {
    let mut task = fresh(&startup(timing(1, 1)));
    tell(&mut task, Role::Startup, PASS, secs(0));
    assert_eq!(status(&task), (HealthStatus::Healthy, true));
    assert_eq!(tell(&mut task, Role::Startup, FAIL, secs(1)), None);
    assert_eq!(status(&task), (HealthStatus::Healthy, true));
}

// C-11
#[test]
fn a_failed_startup_ends_the_task_and_nothing_revives_it() {
    let mut task = fresh(&apart(timing(2, 1)));
    tell_all(&mut task, Role::Startup, secs(0), &[FAIL, FAIL]);
    let failed = task.health();
    assert_eq!((failed.status, failed.ready), (HealthStatus::Unhealthy, false));
    assert_eq!(failed.reason, "startup failed 2 times in a row over 10s: HTTP 500");
    assert!(task.has_ended());
    for role in Role::ALL {
        assert_eq!(task.next_attempt(role, secs(60)), Next::Never);
        assert_eq!(tell(&mut task, role, PASS, secs(60)), None);
    }
    assert_eq!(task.health(), failed);
}

// C-12
#[test]
fn failing_liveness_is_unhealthy_and_may_recover() {
    let mut task = fresh(&liveness(timing(3, 2)));
    tell_all(&mut task, Role::Liveness, secs(0), &[PASS, FAIL, FAIL]);
    assert_eq!(status(&task), (HealthStatus::Healthy, true));
    let health = tell(&mut task, Role::Liveness, FAIL, secs(30)).expect("a report");
    assert_eq!((health.status, health.ready), (HealthStatus::Unhealthy, false));
    assert_eq!(health.reason, "liveness failed 3 times in a row over 20s: HTTP 500");
    assert!(!task.has_ended());
    tell_all(&mut task, Role::Liveness, secs(40), &[PASS, PASS]);
    assert_eq!(status(&task), (HealthStatus::Healthy, true));
    assert_eq!(task.health().reason, "");
}

// C-13
#[test]
fn failing_readiness_takes_out_of_traffic_and_leaves_healthy() {
    let mut task = fresh(&readiness(timing(2, 1)));
    assert_eq!(status(&task), (HealthStatus::Healthy, false));
    assert_eq!(task.health().reason, "waiting for readiness to pass for the first time");
    tell(&mut task, Role::Readiness, PASS, secs(0));
    assert_eq!(status(&task), (HealthStatus::Healthy, true));
    tell_all(&mut task, Role::Readiness, secs(10), &[FAIL, FAIL, FAIL, FAIL]);
    assert_eq!(status(&task), (HealthStatus::Healthy, false));
    assert_eq!(task.health().reason, "readiness failed 2 times in a row over 10s: HTTP 500");
}

// C-14: two verdicts at a time, the graver one is the status.
#[test]
fn unhealthy_comes_before_unknown_before_starting_before_healthy() {
    let mut task = fresh(&apart(timing(1, 1)));
    assert_eq!(
        (status(&task).0, task.health().reason.as_str()),
        (HealthStatus::Starting, "waiting for startup to pass for the first time")
    );
    tell_all(&mut task, Role::Startup, secs(0), &[BLIND, BLIND]);
    assert_eq!(status(&task), (HealthStatus::Unknown, false));
    tell(&mut task, Role::Startup, PASS, secs(20));
    assert_eq!(
        (status(&task).0, task.health().reason.as_str()),
        (HealthStatus::Starting, "waiting for liveness to pass for the first time")
    );
    tell(&mut task, Role::Liveness, PASS, secs(20));
    assert_eq!(status(&task), (HealthStatus::Healthy, false));
    tell(&mut task, Role::Readiness, PASS, secs(20));
    assert_eq!(status(&task), (HealthStatus::Healthy, true));
    tell(&mut task, Role::Liveness, FAIL, secs(30));
    assert_eq!(status(&task), (HealthStatus::Unhealthy, false));
}

// C-15: for missing information nobody leaves traffic, and nobody enters it.
#[test]
fn unknown_leaves_readiness_as_it_was() {
    let mut ready = fresh(&shared(timing(1, 1)));
    tell_all(&mut ready, Role::Liveness, secs(0), &[PASS, BLIND, BLIND]);
    assert_eq!(status(&ready), (HealthStatus::Unknown, true));

    let mut never_ready = fresh(&apart(timing(1, 1)));
    tell(&mut never_ready, Role::Startup, PASS, secs(0));
    tell_all(&mut never_ready, Role::Liveness, secs(0), &[BLIND, BLIND]);
    tell(&mut never_ready, Role::Readiness, PASS, secs(20));
    assert_eq!(status(&never_ready), (HealthStatus::Unknown, false));
}

// C-15: what is seen counts, whatever is not seen elsewhere.
#[test]
fn readiness_follows_its_own_check_while_liveness_is_unknown() {
    let mut task = fresh(&apart(timing(1, 1)));
    for role in Role::ALL {
        tell(&mut task, role, PASS, secs(0));
    }
    tell_all(&mut task, Role::Liveness, secs(10), &[BLIND, BLIND]);
    assert_eq!(status(&task), (HealthStatus::Unknown, true));
    tell(&mut task, Role::Readiness, FAIL, secs(30));
    assert_eq!(status(&task), (HealthStatus::Unknown, false));
    tell(&mut task, Role::Readiness, PASS, secs(40));
    assert_eq!(status(&task), (HealthStatus::Unknown, true));
}

// C-15
#[test]
fn was_ready_is_never_unset() {
    let mut task = fresh(&liveness(timing(1, 1)));
    assert!(!task.health().was_ready);
    tell_all(&mut task, Role::Liveness, secs(0), &[PASS, FAIL]);
    assert!(task.health().was_ready && !task.health().ready);
}

// C-16
#[test]
fn a_check_in_two_roles_is_attempted_once_and_feeds_both() {
    let checks = shared(timing(2, 1));
    let groups = groups(&checks);
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0].role, Role::Liveness);
    assert_eq!(groups[0].roles, [Role::Liveness, Role::Readiness]);
    // Under either name, and once.
    let mut task = fresh(&checks);
    tell(&mut task, Role::Liveness, PASS, secs(0));
    tell(&mut task, Role::Readiness, PASS, secs(10));
    for role in [Role::Liveness, Role::Readiness] {
        assert_eq!(streak(&task, role), Some(Streak::Passes(2)));
        assert_eq!(task.recent(role).count(), 2);
    }
}

// C-16
#[test]
fn roles_that_differ_in_what_or_when_they_ask_are_attempted_apart() {
    let base = timing(3, 1);
    let other_period = Period::from_millis_const(9_000);
    let other_timeout = Timeout::from_millis_const(1);
    let other_delay = Delay::from_millis_const(1);
    for readiness in [
        check(81, base),
        check(80, Timing { period: other_period, ..base }),
        check(80, Timing { timeout: other_timeout, ..base }),
        check(80, Timing { delay: other_delay, ..base }),
    ] {
        let checks = Checks { readiness: Some(readiness), ..shared(base) };
        assert_eq!(groups(&checks).len(), 2);
    }
    // Thresholds are not asked of the task, and a startup check always runs alone.
    let checks = Checks { readiness: Some(check(80, timing(9, 5))), ..shared(base) };
    assert_eq!(groups(&checks).len(), 1);
    let startup = Some(check(80, base));
    assert_eq!(groups(&Checks { startup, ..shared(base) }).len(), 2);
    assert_eq!(groups(&Checks::NONE), []);
}

// C-17
#[test]
fn a_task_without_checks_is_unchecked_and_ready_until_it_exits() {
    let mut task = fresh(&Checks::NONE);
    assert_eq!(status(&task), (HealthStatus::Unchecked, true));
    for role in Role::ALL {
        assert_eq!(task.next_attempt(role, secs(0)), Next::Never);
        assert_eq!(tell(&mut task, role, FAIL, secs(0)), None);
    }
    let health = task.exited(STARTED.after(secs(5)), "process exited with code 0".to_owned());
    let health = health.expect("a report");
    assert_eq!((health.status, health.ready), (HealthStatus::Unhealthy, false));
    assert_eq!(health.reason, "process exited with code 0");
    assert_eq!(verdict(&task, Role::Liveness), None::<Verdict>);
}
