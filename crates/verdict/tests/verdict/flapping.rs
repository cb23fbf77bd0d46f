//! Passes and failures that alternate, whatever the thresholds say.

use warren_core::{
    check::{Flapping, Role},
    health::HealthStatus,
    outcome::Outcome,
};
use warren_verdict::TaskVerdicts;

use crate::make::{
    BLIND, FAIL, PASS, PERIOD_MS, STARTED, apart, flapping, fresh, liveness, ms, readiness,
    restored, secs, shared, startup, status, tell, tell_all, timing,
};

fn flaps(task: &TaskVerdicts) -> bool {
    task.health().flapping_since().is_some()
}

fn default(failures: u32) -> warren_core::check::Timing {
    flapping(timing(failures, 1), Flapping::DEFAULT.failures(), Flapping::DEFAULT.window())
}

// C-46: by default four of ten.
#[test]
fn four_failures_of_ten_with_passes_between_flap_and_leave_the_task_as_it_is() {
    let mut task = fresh(&shared(default(3)));
    let turns = [PASS, FAIL, PASS, FAIL, FAIL, PASS];
    tell_all(&mut task, Role::Liveness, secs(0), &turns);
    assert!(!flaps(&task));
    let health = tell(&mut task, Role::Liveness, FAIL, secs(60)).expect("a report");
    assert_eq!((health.status, health.ready), (HealthStatus::Healthy, true));
    assert_eq!(health.flapping_since(), Some(STARTED.after(secs(60))));
    assert_eq!(health.reason, "liveness flaps, 4 of its last 7 attempts failed: HTTP 500");
    // It is said once.
    assert_eq!(tell(&mut task, Role::Liveness, PASS, secs(70)), None);
    assert!(flaps(&task));
}

// C-46: an outage is not a flap, however often it is seen.
#[test]
fn one_run_of_failures_is_no_flapping() {
    let mut task = fresh(&shared(default(3)));
    let mut turns = vec![PASS; 4];
    turns.extend([FAIL; 9]);
    turns.extend([PASS; 4]);
    for (turn, &outcome) in (0..).zip(&turns) {
        tell(&mut task, Role::Liveness, outcome, ms(PERIOD_MS * turn));
        assert!(!flaps(&task), "turn {turn}");
    }
    // The next failure shows that it was the first of several.
    tell(&mut task, Role::Liveness, FAIL, secs(170));
    assert!(flaps(&task));
}

// C-46: what comes before the first pass is a start.
#[test]
fn failures_before_the_first_pass_do_not_count() {
    let mut task = fresh(&shared(default(9)));
    tell_all(&mut task, Role::Liveness, secs(0), &[FAIL, FAIL, FAIL, FAIL, PASS, FAIL, PASS]);
    assert!(!flaps(&task));
    let checks = startup(flapping(timing(9, 1), 2, 2));
    let mut starting = fresh(&checks);
    tell_all(&mut starting, Role::Startup, secs(0), &[FAIL, FAIL, FAIL, PASS, FAIL]);
    assert!(!flaps(&starting));
}

// C-46: what nobody saw is neither.
#[test]
fn inconclusive_attempts_leave_the_window_as_it_is() {
    let mut task = fresh(&liveness(default(3)));
    for (turn, outcome) in (0..).zip([PASS, FAIL, PASS, FAIL, PASS, FAIL, PASS]) {
        tell(&mut task, Role::Liveness, outcome, secs(20 * turn));
        tell(&mut task, Role::Liveness, BLIND, secs(20 * turn + 10));
    }
    assert!(!flaps(&task));
    tell(&mut task, Role::Liveness, FAIL, secs(140));
    assert!(flaps(&task));
}

// C-47
#[test]
fn it_ends_when_half_as_many_of_a_full_window_failed() {
    let mut task = fresh(&liveness(default(3)));
    let alternate = [PASS, FAIL, PASS, FAIL, PASS, FAIL, PASS, FAIL];
    tell_all(&mut task, Role::Liveness, secs(0), &alternate);
    assert!(flaps(&task));
    // After so many passes the last ten hold four, four, then three, three, then two failures.
    let ended: Vec<bool> = (8..14)
        .map(|turn| tell(&mut task, Role::Liveness, PASS, secs(10 * turn)).is_some())
        .collect();
    assert_eq!(ended, [false, false, false, false, false, true]);
    assert_eq!(task.health().reason, "");
}

// C-48: it is the task's owner who decides what a flapping task is worth.
#[test]
fn flapping_decides_nothing() {
    let alternate: Vec<Outcome> = [PASS, FAIL].into_iter().cycle().take(100).collect();
    let mut flapping = fresh(&shared(default(2)));
    let mut plain = fresh(&shared(timing(2, 1)));
    for (turn, &outcome) in (0..).zip(&alternate) {
        for task in [&mut flapping, &mut plain] {
            tell(task, Role::Liveness, outcome, secs(10 * turn));
        }
        assert_eq!(status(&flapping), status(&plain));
    }
    assert!(flaps(&flapping) && !flaps(&plain), "off is off");
    assert_eq!(status(&flapping), (HealthStatus::Healthy, true));
}

// C-46: each role by its own outcomes, and a verdict's reason goes before it.
#[test]
fn roles_flap_apart_and_a_verdict_is_the_better_reason() {
    let checks = warren_core::check::Checks { startup: None, ..apart(default(1)) };
    let mut task = fresh(&checks);
    tell(&mut task, Role::Liveness, PASS, secs(0));
    let turns = [PASS, FAIL, PASS, FAIL, PASS, FAIL, PASS, FAIL];
    tell_all(&mut task, Role::Readiness, secs(0), &turns);
    let health = task.health();
    let since = |role: Role| health.roles.get(role).as_ref().and_then(|role| role.flapping_since);
    assert_eq!(
        (since(Role::Liveness), since(Role::Readiness)),
        (None, Some(STARTED.after(secs(70))))
    );
    assert_eq!(health.reason, "readiness failed: HTTP 500");
}

// C-48: a restart keeps the mark and forgets the window, so it takes a full one to end it.
#[test]
fn a_restart_keeps_the_mark() {
    let checks = readiness(default(3));
    let mut task = fresh(&checks);
    let turns = [PASS, FAIL, PASS, FAIL, PASS, FAIL, PASS, FAIL, PASS];
    tell_all(&mut task, Role::Readiness, secs(0), &turns);
    let mut restored = restored(&checks, &task.health(), secs(95));
    assert_eq!(restored.health(), task.health());
    for turn in 0..9 {
        let report = tell(&mut restored, Role::Readiness, PASS, secs(100 + 10 * turn));
        assert_eq!(report, None, "turn {turn}");
        assert_eq!(restored.health().reason, task.health().reason);
    }
    assert!(tell(&mut restored, Role::Readiness, PASS, secs(190)).is_some());
    assert!(!flaps(&restored));
}
