//! Pauses, other checks for a task that runs, and its termination.

use std::sync::Arc;

use warren_core::{
    check::{ByRole, Check, Checks, Role, Timing},
    health::{Health, HealthStatus, Streak, Verdict},
};
use warren_verdict::{Elapsed, Next, TaskVerdicts, groups};

use crate::make::{
    BLIND, FAIL, PASS, PERIOD_MS, STARTED, TASK, apart, check, flapping, fresh, liveness, ms,
    readiness, restored, role_of, shared, startup, status, streak, tell, tell_all, timing, verdict,
};

const SOON: Elapsed = ms(100 * PERIOD_MS);

fn edit(verdicts: &mut TaskVerdicts, before: &Checks, after: &Checks) -> Option<Health> {
    verdicts.edit(TASK, before, &Arc::new(after.clone()), STARTED.after(SOON), SOON)
}

fn next(verdicts: &TaskVerdicts, role: Role, now: Elapsed) -> Elapsed {
    match verdicts.next_attempt(role, now) {
        Next::At(at) => at,
        other @ (Next::AfterStartup | Next::Never) => panic!("{role:?}: {other:?}"),
    }
}

/// Has passed all that it has.
fn ready(checks: &Checks) -> TaskVerdicts {
    let mut verdicts = fresh(checks);
    for group in groups(checks) {
        tell(&mut verdicts, group.role, PASS, ms(0));
    }
    assert!(status(&verdicts).1);
    verdicts
}

// C-96
#[test]
fn no_failure_from_before_a_pause_counts_after_it() {
    let mut verdicts = ready(&shared(timing(3, 1)));
    tell_all(&mut verdicts, Role::Liveness, ms(PERIOD_MS), &[FAIL, FAIL]);
    let before = verdicts.health();
    verdicts.pause();
    let paused = verdicts.health();
    assert_eq!((paused.status, paused.ready), (before.status, before.ready));
    assert_eq!(streak(&verdicts, Role::Liveness), Some(Streak::None));
    tell_all(&mut verdicts, Role::Liveness, SOON, &[FAIL, FAIL]);
    assert_eq!(status(&verdicts), (HealthStatus::Healthy, true));
    tell(&mut verdicts, Role::Liveness, FAIL, SOON + ms(2 * PERIOD_MS));
    assert_eq!(status(&verdicts), (HealthStatus::Unhealthy, false));
}

// C-96
#[test]
fn a_failing_verdict_outlives_a_pause_and_recovery_is_counted_anew() {
    let mut verdicts = ready(&liveness(timing(2, 3)));
    tell_all(&mut verdicts, Role::Liveness, ms(PERIOD_MS), &[FAIL, FAIL, PASS, PASS]);
    let reason = verdicts.health().reason;
    verdicts.pause();
    assert_eq!(verdict(&verdicts, Role::Liveness), Some(Verdict::Failing));
    assert_eq!(verdicts.health().reason, reason);
    tell_all(&mut verdicts, Role::Liveness, SOON, &[PASS, PASS]);
    assert_eq!(verdict(&verdicts, Role::Liveness), Some(Verdict::Failing));
    tell(&mut verdicts, Role::Liveness, PASS, SOON + ms(2 * PERIOD_MS));
    assert_eq!(verdict(&verdicts, Role::Liveness), Some(Verdict::Passing));
}

// C-96: the failures of the window are forgotten, the mark is not.
#[test]
fn a_pause_empties_the_window_of_flapping_and_keeps_its_mark() {
    let checks = liveness(flapping(timing(9, 1), 2, 4));
    let mut verdicts = ready(&checks);
    tell_all(&mut verdicts, Role::Liveness, ms(PERIOD_MS), &[FAIL]);
    verdicts.pause();
    tell_all(&mut verdicts, Role::Liveness, SOON, &[PASS, FAIL]);
    assert_eq!(verdicts.health().flapping_since(), None, "one of those two came before the pause");
    tell_all(&mut verdicts, Role::Liveness, SOON + ms(2 * PERIOD_MS), &[PASS, FAIL]);
    assert!(verdicts.health().flapping_since().is_some());
    verdicts.pause();
    assert!(verdicts.health().flapping_since().is_some());
    tell_all(&mut verdicts, Role::Liveness, SOON * 2, &[PASS, PASS, PASS]);
    assert!(verdicts.health().flapping_since().is_some(), "the window is not full yet");
    tell_all(&mut verdicts, Role::Liveness, SOON * 2 + ms(3 * PERIOD_MS), &[PASS]);
    assert_eq!(verdicts.health().flapping_since(), None);
}

// C-93
#[test]
fn other_thresholds_keep_what_was_seen_and_count_by_the_new_numbers() {
    let (before, after) = (liveness(timing(7, 1)), liveness(timing(4, 1)));
    let mut verdicts = ready(&before);
    tell_all(&mut verdicts, Role::Liveness, ms(96 * PERIOD_MS), &[FAIL, FAIL, FAIL]);
    assert_eq!(edit(&mut verdicts, &before, &after), None);
    assert_eq!(streak(&verdicts, Role::Liveness), Some(Streak::Failures(3)));
    assert_eq!(verdicts.recent(Role::Liveness).count(), 4);
    tell(&mut verdicts, Role::Liveness, FAIL, ms(99 * PERIOD_MS));
    assert_eq!(verdict(&verdicts, Role::Liveness), Some(Verdict::Failing));
}

// C-93
#[test]
fn another_period_takes_effect_with_the_next_attempt() {
    let slow = timing(3, 1);
    let period = warren_core::bounds::Period::from_millis_const(PERIOD_MS / 10);
    let quick = Timing { period, start_interval: period, confirm_interval: period, ..slow };
    let (before, after) = (liveness(slow), liveness(quick));
    let mut verdicts = ready(&before);
    tell(&mut verdicts, Role::Liveness, PASS, SOON);
    edit(&mut verdicts, &before, &after);
    let due = next(&verdicts, Role::Liveness, SOON);
    assert!(due > SOON && due <= SOON + period.get() * 2, "{due:?}");
}

// C-94
#[test]
fn another_question_keeps_the_verdict_and_nothing_else_and_is_patient_until_it_passes() {
    let before = readiness(timing(2, 1));
    let after = Checks { readiness: Some(check(9, timing(2, 1))), ..Checks::NONE };
    let mut verdicts = ready(&before);
    tell(&mut verdicts, Role::Readiness, FAIL, ms(PERIOD_MS));
    assert_eq!(edit(&mut verdicts, &before, &after).map(|health| health.ready), Some(true));
    assert_eq!(streak(&verdicts, Role::Readiness), Some(Streak::None));
    assert_eq!(verdicts.recent(Role::Readiness).count(), 0);
    assert!(next(&verdicts, Role::Readiness, SOON) > SOON, "not all tasks at once");
    // Two failures faster than the period are not enough for it, a period apart they are.
    tell(&mut verdicts, Role::Readiness, FAIL, SOON);
    tell(&mut verdicts, Role::Readiness, FAIL, SOON + ms(PERIOD_MS / 2));
    assert_eq!(status(&verdicts), (HealthStatus::Healthy, true));
    tell(&mut verdicts, Role::Readiness, FAIL, SOON + ms(PERIOD_MS));
    assert_eq!(status(&verdicts), (HealthStatus::Healthy, false));
    // A task that did not answer the old question is ready once it answers the new one.
    let mut verdicts = ready(&before);
    tell_all(&mut verdicts, Role::Readiness, ms(PERIOD_MS), &[FAIL, FAIL]);
    edit(&mut verdicts, &before, &after);
    assert!(!status(&verdicts).1);
    tell(&mut verdicts, Role::Readiness, PASS, SOON);
    assert!(status(&verdicts).1);
}

// C-94
#[test]
fn a_startup_that_is_over_stays_over() {
    let (before, after) = (apart(timing(2, 1)), apart(timing(5, 1)));
    let other = Checks { startup: Some(check(9, timing(2, 1))), ..before.clone() };
    for after in [&after, &other] {
        let mut verdicts = ready(&before);
        edit(&mut verdicts, &before, after);
        assert_eq!(verdicts.next_attempt(Role::Startup, SOON), Next::Never);
        let mut failed = fresh(&before);
        tell_all(&mut failed, Role::Startup, ms(0), &[FAIL, FAIL]);
        assert_eq!(edit(&mut failed, &before, after), None);
        assert_eq!(status(&failed), (HealthStatus::Unhealthy, false));
        assert_eq!(failed.next_attempt(Role::Liveness, SOON), Next::Never);
    }
    let mut waits = fresh(&before);
    edit(&mut waits, &before, &Checks { startup: None, ..before.clone() });
    assert_eq!(next(&waits, Role::Liveness, SOON), SOON, "nothing is left to wait for");
}

// C-95
#[test]
fn a_new_role_takes_nobody_out_of_traffic_before_it_fails() {
    let with = |readiness: Option<Check>| Checks { readiness, ..liveness(timing(2, 1)) };
    let (before, after) = (with(None), with(Some(check(9, timing(2, 1)))));
    let mut verdicts = ready(&before);
    edit(&mut verdicts, &before, &after);
    assert_eq!(status(&verdicts), (HealthStatus::Healthy, true));
    tell_all(&mut verdicts, Role::Readiness, SOON, &[FAIL, FAIL]);
    assert_eq!(status(&verdicts), (HealthStatus::Healthy, false));
    edit(&mut verdicts, &after, &before);
    assert_eq!(status(&verdicts), (HealthStatus::Healthy, true), "it has no say any more");
    // Nobody looked at all before.
    let mut unchecked = fresh(&Checks::NONE);
    edit(&mut unchecked, &Checks::NONE, &apart(timing(2, 1)));
    assert_eq!(status(&unchecked), (HealthStatus::Healthy, true));
    assert_eq!(unchecked.next_attempt(Role::Startup, SOON), Next::Never);
    tell_all(&mut unchecked, Role::Liveness, SOON, &[FAIL, FAIL]);
    assert_eq!(status(&unchecked), (HealthStatus::Unhealthy, false));
    // One that was not ready has to pass.
    let mut starting = fresh(&before);
    edit(&mut starting, &before, &after);
    tell(&mut starting, Role::Liveness, PASS, SOON);
    assert_eq!(status(&starting), (HealthStatus::Healthy, false));
}

// C-95: liveness that comes to a task which is not healthy, or waits for its startup, has to pass.
#[test]
fn a_new_liveness_is_taken_for_passing_by_healthy_tasks_alone() {
    let with = |liveness: Option<Check>| Checks { liveness, ..startup(timing(2, 1)) };
    let (before, after) = (with(None), with(Some(check(9, timing(2, 1)))));
    let mut starting = fresh(&before);
    edit(&mut starting, &before, &after);
    assert_eq!(verdict(&starting, Role::Liveness), Some(Verdict::Pending));
    tell(&mut starting, Role::Startup, PASS, SOON);
    assert_eq!(status(&starting), (HealthStatus::Starting, false));
    tell(&mut starting, Role::Liveness, PASS, SOON);
    assert_eq!(status(&starting), (HealthStatus::Healthy, true));
    // Nobody could look at whether it has started.
    let mut unknown = fresh(&before);
    tell_all(&mut unknown, Role::Startup, ms(0), &[BLIND, BLIND, BLIND]);
    assert_eq!(status(&unknown), (HealthStatus::Unknown, false));
    edit(&mut unknown, &before, &after);
    assert_eq!(verdict(&unknown, Role::Liveness), Some(Verdict::Pending));
    // A readiness that fails says nothing of whether it lives.
    let (before, after) = (readiness(timing(2, 1)), apart(timing(2, 1)));
    let mut drained = ready(&before);
    tell_all(&mut drained, Role::Readiness, ms(PERIOD_MS), &[FAIL, FAIL]);
    edit(&mut drained, &before, &after);
    assert_eq!(verdict(&drained, Role::Liveness), Some(Verdict::Passing));
    assert_eq!(status(&drained), (HealthStatus::Healthy, false));
}

// C-25, C-93: a worker that ends between the change and the first outcome.
#[test]
fn the_next_worker_counts_what_was_seen_before_a_change_by_the_new_numbers() {
    let (before, after) = (liveness(timing(7, 1)), liveness(timing(4, 1)));
    let mut verdicts = ready(&before);
    tell_all(&mut verdicts, Role::Liveness, ms(97 * PERIOD_MS), &[FAIL, FAIL, FAIL]);
    edit(&mut verdicts, &before, &after);
    let mut next_one = restored(&after, &verdicts.health(), SOON);
    assert_eq!(next_one.health(), verdicts.health());
    assert_eq!(next_one.recent(Role::Liveness).count(), 1, "the last attempt is what is saved");
    // By the new grid, and the fourth in a row since 970 s.
    let due = next(&next_one, Role::Liveness, SOON);
    assert!(due > SOON && due <= SOON + ms(2 * PERIOD_MS), "{due:?}");
    for verdicts in [&mut verdicts, &mut next_one] {
        tell(verdicts, Role::Liveness, FAIL, SOON + ms(1));
        assert_eq!(verdict(verdicts, Role::Liveness), Some(Verdict::Failing));
    }
}

// C-93: together or apart, the loops are those of the new checks.
#[test]
fn roles_that_come_to_differ_are_attempted_apart() {
    let one = check(80, timing(3, 1));
    let slow =
        Timing { period: warren_core::bounds::Period::from_millis_const(60_000), ..one.timing };
    let together = shared(one.timing);
    let split =
        Checks { readiness: Some(Check { timing: slow, ..one.clone() }), ..together.clone() };
    let mut verdicts = ready(&together);
    edit(&mut verdicts, &together, &split);
    assert_eq!(verdicts.recent(Role::Readiness).count(), 1, "it asked the same before");
    tell_all(&mut verdicts, Role::Liveness, SOON, &[FAIL, FAIL, FAIL]);
    assert_eq!(verdict(&verdicts, Role::Readiness), Some(Verdict::Passing));
    assert_eq!(verdict(&verdicts, Role::Liveness), Some(Verdict::Failing));
}

// C-18
#[test]
fn a_task_that_stops_is_out_of_traffic_and_only_its_readiness_goes_on() {
    let checks = apart(timing(2, 1));
    let mut verdicts = ready(&checks);
    let health = verdicts.stop(STARTED.after(SOON));
    assert_eq!((health.status, health.ready), (HealthStatus::Healthy, false));
    assert_eq!(health.ready_since, STARTED.after(SOON));
    for role in [Role::Startup, Role::Liveness] {
        assert_eq!(verdicts.next_attempt(role, SOON), Next::Never, "{role:?}");
    }
    next(&verdicts, Role::Readiness, SOON);
    tell_all(&mut verdicts, Role::Readiness, SOON, &[FAIL, FAIL]);
    assert_eq!(verdict(&verdicts, Role::Readiness), Some(Verdict::Failing));
    tell_all(&mut verdicts, Role::Readiness, SOON * 2, &[PASS, PASS]);
    assert_eq!(status(&verdicts), (HealthStatus::Healthy, false), "never ready again");
}

// C-18: the attempts that both shared are now readiness's alone.
#[test]
fn what_readiness_shares_is_no_news_for_the_liveness_of_a_task_that_stops() {
    let mut verdicts = ready(&shared(timing(2, 1)));
    verdicts.stop(STARTED.after(SOON));
    tell_all(&mut verdicts, Role::Liveness, SOON, &[FAIL, FAIL, FAIL]);
    let health = verdicts.health();
    let of = |role| role_of(&health, role).map(|role| role.verdict);
    assert_eq!(of(Role::Liveness), Some(Verdict::Passing));
    assert_eq!(of(Role::Readiness), Some(Verdict::Failing));
    assert_eq!(health.status, HealthStatus::Healthy);
}

// C-18
#[test]
fn a_task_without_readiness_is_not_attempted_while_it_stops() {
    for checks in [startup(timing(2, 1)), liveness(timing(2, 1))] {
        let mut verdicts = fresh(&checks);
        verdicts.stop(STARTED.after(SOON));
        for group in groups(&checks) {
            assert_eq!(verdicts.next_attempt(group.role, SOON), Next::Never);
        }
        assert_eq!(
            verdicts.health().roles.get(Role::Readiness),
            ByRole::default().get(Role::Readiness)
        );
    }
}
