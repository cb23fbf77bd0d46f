//! When attempts are due, followed by a worker's loop on a clock of the test's own.

use std::{sync::Arc, time::Duration};

use warren_core::{
    bounds::{Delay, Period},
    check::{Checks, Role, Timing},
    health::HealthStatus,
    outcome::{Attempt, Outcome},
    time::Timestamp,
};
use warren_verdict::{Elapsed, Next, TaskVerdicts, phase};

use crate::make::{
    BLIND, FAIL, PASS, STARTED, TASK, apart, attempt, fresh, liveness, ms, readiness, secs, shared,
    since, startup, status, tell, timing, work,
};

const PERIOD: Period = Period::from_millis_const(10_000);

fn at_once(outcome: Outcome) -> (Outcome, Duration) {
    (outcome, Duration::ZERO)
}

/// Passes until `from`, then fails.
fn breaks(from: Elapsed) -> impl FnMut(Role, Elapsed) -> (Outcome, Duration) {
    move |_, at| at_once(if at < from { PASS } else { FAIL })
}

// C-2
#[test]
fn the_first_attempt_comes_exactly_at_the_start_plus_the_delay() {
    let delayed = Timing { delay: Delay::from_millis_const(2_500), ..timing(3, 1) };
    for (checks, role) in [
        (startup(delayed), Role::Startup),
        (liveness(delayed), Role::Liveness),
        (readiness(delayed), Role::Readiness),
    ] {
        let task = fresh(&checks);
        assert_eq!(task.next_attempt(role, ms(0)), Next::At(ms(2_500)));
        // A worker that was late begins at once.
        assert_eq!(task.next_attempt(role, ms(7_000)), Next::At(ms(7_000)));
    }
}

// C-2
#[test]
fn the_others_begin_the_moment_startup_passes_and_not_before_their_own_delay() {
    let mut checks = apart(timing(3, 1));
    if let Some(readiness) = &mut checks.readiness {
        readiness.timing.delay = Delay::from_millis_const(30_000);
    }
    let mut task = fresh(&checks);
    let slow = |role, at: Elapsed| {
        let up = role != Role::Startup || at >= secs(12);
        (if up { PASS } else { FAIL }, ms(40))
    };
    let worked = work(&mut task, &checks, ms(0), secs(60), slow);
    let passed = worked.first(|health| {
        health.status == HealthStatus::Starting
            && health.roles.startup.as_ref().is_some_and(|s| s.last.is_some())
    });
    assert_eq!(worked.starts(Role::Liveness).first().copied(), passed);
    assert_eq!(worked.starts(Role::Readiness).first(), Some(&secs(30)));
}

// C-3
#[test]
fn later_attempts_fall_on_the_grid_of_the_task() {
    let checks = liveness(timing(3, 1));
    let mut task = fresh(&checks);
    let worked = work(&mut task, &checks, ms(0), secs(300), |_, _| at_once(PASS));
    let phase = phase(TASK, Role::Liveness, PERIOD);
    let starts = worked.starts(Role::Liveness);
    assert_eq!(starts.len(), 31);
    for (index, start) in (0..).zip(&starts[1..]) {
        assert_eq!(*start, phase + PERIOD.get() * index);
    }
}

// C-4
#[test]
fn attempts_never_overlap_and_missed_ones_are_not_made_up_for() {
    let checks = liveness(timing(3, 1));
    let mut task = fresh(&checks);
    let worked = work(&mut task, &checks, ms(0), secs(300), |_, _| (PASS, secs(25)));
    let starts = worked.starts(Role::Liveness);
    for pair in starts.windows(2).skip(1) {
        assert_eq!(since(pair[0], pair[1]), secs(30), "the first point of the grid after the end");
    }
}

// C-5: the phase may put the first point of the grid right behind the first attempt.
#[test]
fn two_attempts_are_never_closer_than_the_confirm_interval() {
    for id in 0..200 {
        let task = warren_core::id::TaskId::from_u64(id);
        let checks = shared(timing(3, 1));
        let mut verdicts = TaskVerdicts::new(task, &Arc::new(checks.clone()), STARTED);
        let mut turn = 0_u32;
        let mixed = |_, _| {
            turn += 1;
            at_once(if turn % 7 < 4 { PASS } else { FAIL })
        };
        let worked = work(&mut verdicts, &checks, ms(0), secs(200), mixed);
        let starts = worked.starts(Role::Liveness);
        assert!(starts.windows(2).all(|pair| since(pair[0], pair[1]) >= secs(1)), "{starts:?}");
    }
}

// C-5: a short period is its own confirm interval, and an attempt that is a little late does not
// cost the next point of the grid.
#[test]
fn a_late_attempt_keeps_the_next_point_of_the_grid() {
    let fast = Timing {
        period: Period::from_millis_const(1_000),
        confirm_interval: Period::from_millis_const(1_000),
        ..timing(3, 1)
    };
    let mut task = fresh(&liveness(fast));
    let phase = phase(TASK, Role::Liveness, fast.period);
    tell(&mut task, Role::Liveness, PASS, phase + ms(1_200));
    assert_eq!(task.next_attempt(Role::Liveness, phase + ms(1_200)), Next::At(phase + secs(2)));
}

// C-40
#[test]
fn a_task_that_breaks_leaves_traffic_fast_and_is_unhealthy_as_late_as_its_owner_said() {
    let checks = shared(timing(3, 1));
    let mut task = fresh(&checks);
    let worked = work(&mut task, &checks, ms(0), secs(120), breaks(secs(30)));
    let broke = *worked.starts(Role::Liveness).iter().find(|&&at| at >= secs(30)).expect("one");
    let out = worked.first(|health| health.was_ready && !health.ready);
    let dead = worked.first(|health| health.status == HealthStatus::Unhealthy);
    assert_eq!(out, Some(broke + secs(2)));
    // C-41, C-42: (3-1) x 10 s to the nanosecond.
    assert_eq!(dead, Some(broke + secs(20)));
}

// C-40
#[test]
fn confirmation_ends_with_the_readiness_verdict_and_the_grid_goes_on() {
    let checks = shared(timing(3, 1));
    let mut task = fresh(&checks);
    let worked = work(&mut task, &checks, ms(0), secs(70), breaks(secs(30)));
    let starts = worked.starts(Role::Liveness);
    let broke = starts.iter().position(|&at| at >= secs(30)).expect("one");
    let after: Vec<_> = starts[broke..].iter().map(|&at| since(starts[broke], at)).collect();
    assert_eq!(after[..5], [0, 1, 2, 10, 20].map(secs));
}

// C-40
#[test]
fn a_check_of_liveness_alone_is_confirmed_until_it_has_failed_often_enough() {
    let checks = liveness(timing(4, 1));
    let mut task = fresh(&checks);
    let worked = work(&mut task, &checks, ms(0), secs(70), breaks(secs(30)));
    let starts = worked.starts(Role::Liveness);
    let broke = starts.iter().position(|&at| at >= secs(30)).expect("one");
    let after: Vec<_> = starts[broke..].iter().map(|&at| since(starts[broke], at)).collect();
    assert_eq!(after[..6], [0, 1, 2, 3, 10, 20].map(secs));
}

// C-40: only what passed is confirmed; a task that starts is nobody's emergency.
#[test]
fn a_role_that_has_not_passed_keeps_to_its_grid() {
    let checks = startup(timing(60, 1));
    let mut task = fresh(&checks);
    let worked = work(&mut task, &checks, ms(0), secs(100), |_, _| at_once(FAIL));
    let starts = worked.starts(Role::Startup);
    assert!(
        starts.windows(2).skip(1).all(|pair| since(pair[0], pair[1]) == secs(10)),
        "{starts:?}"
    );
}

// C-41: attempts that come faster do not make liveness less patient.
#[test]
fn liveness_and_startup_need_unbroken_failure_for_n_less_one_periods() {
    for (checks, role) in
        [(liveness(timing(3, 1)), Role::Liveness), (startup(timing(3, 1)), Role::Startup)]
    {
        let mut task = fresh(&checks);
        for second in 0..20 {
            assert_eq!(tell(&mut task, role, FAIL, secs(second)), None, "{second} s");
        }
        assert!(tell(&mut task, role, FAIL, secs(20)).is_some());
    }
}

// C-41: what counts is when attempts began. A first one that timed out does not hurry the last.
#[test]
fn patience_is_measured_between_the_starts_of_attempts() {
    let checks = liveness(timing(2, 1));
    let mut task = fresh(&checks);
    let timed_out = crate::make::attempt(FAIL, secs(0), secs(5));
    assert_eq!(task.observe(Role::Liveness, timed_out, secs(5)), None);
    assert_eq!(tell(&mut task, Role::Liveness, FAIL, ms(9_999)), None);
    assert!(tell(&mut task, Role::Liveness, FAIL, secs(10)).is_some());
}

// C-42: the moment that decides may pass while an attempt is under way.
#[test]
fn a_deciding_moment_that_was_missed_is_answered_at_once() {
    let checks = liveness(timing(2, 1));
    let mut task = fresh(&checks);
    tell(&mut task, Role::Liveness, FAIL, secs(0));
    let slow = crate::make::attempt(FAIL, secs(9), secs(5));
    assert_eq!(task.observe(Role::Liveness, slow, secs(14)), None);
    assert_eq!(task.next_attempt(Role::Liveness, secs(14)), Next::At(secs(14)));
}

// C-43
#[test]
fn an_observer_in_trouble_is_not_hurried() {
    let mut task = fresh(&shared(timing(3, 1)));
    tell(&mut task, Role::Liveness, PASS, secs(0));
    tell(&mut task, Role::Liveness, FAIL, secs(10));
    assert_eq!(task.next_attempt(Role::Liveness, secs(10)), Next::At(secs(11)));
    tell(&mut task, Role::Liveness, BLIND, secs(11));
    let phase = phase(TASK, Role::Liveness, PERIOD);
    assert_eq!(task.next_attempt(Role::Liveness, secs(11)), Next::At(phase + secs(10)));
}

// C-40: readiness and liveness of different checks go at their own paces.
#[test]
fn one_check_that_fails_does_not_hurry_another() {
    let checks = Checks { startup: None, ..apart(timing(3, 1)) };
    let mut task = fresh(&checks);
    tell(&mut task, Role::Liveness, PASS, secs(0));
    tell(&mut task, Role::Readiness, PASS, secs(0));
    let quiet = task.next_attempt(Role::Readiness, secs(5));
    tell(&mut task, Role::Liveness, FAIL, secs(5));
    assert_eq!(task.next_attempt(Role::Liveness, secs(5)), Next::At(secs(6)));
    assert_eq!(task.next_attempt(Role::Readiness, secs(5)), quiet);
}

// C-3: a thousand tasks that start at the same moment.
#[test]
fn tasks_placed_at_once_are_attempted_evenly_over_the_period() {
    let checks = shared(timing(3, 1));
    let mut tenths = [0_u32; 10];
    for id in 0..1_000 {
        let task = warren_core::id::TaskId::from_u64(id);
        let mut verdicts = TaskVerdicts::new(task, &Arc::new(checks.clone()), STARTED);
        let worked = work(&mut verdicts, &checks, ms(0), secs(20), |_, _| at_once(PASS));
        for start in worked.starts(Role::Liveness).iter().filter(|&&at| at >= secs(10)) {
            tenths[usize::try_from((start.as_millis() - 10_000) / 1_000).expect("a tenth")] += 1;
        }
    }
    assert!(tenths.iter().all(|count| (53..=147).contains(count)), "{tenths:?}");
}

/// C-7: of the wall clock a verdict has no more than the records' times.
#[test]
fn a_wall_clock_that_steps_moves_no_attempt_and_no_verdict() {
    let checks = shared(timing(3, 1));
    let ran = |wall: fn(Elapsed) -> Timestamp| {
        let mut task = fresh(&checks);
        let mut asked = Vec::new();
        let mut now = ms(0);
        while let Next::At(at) = task.next_attempt(Role::Liveness, now)
            && at < secs(120)
        {
            let outcome = if at < secs(40) { PASS } else { FAIL };
            let seen = Attempt { at: wall(at), ..attempt(outcome, at, Duration::ZERO) };
            task.observe(Role::Liveness, seen, at);
            asked.push((at, status(&task)));
            now = at;
        }
        asked
    };
    let steady = ran(|at| STARTED.after(at));
    assert_eq!(steady.last().map(|(_, seen)| *seen), Some((HealthStatus::Unhealthy, false)));
    let back = |at| if at < secs(45) { STARTED.after(at) } else { Timestamp::EPOCH.after(at) };
    let ahead = |at: Elapsed| STARTED.after(if at < secs(20) { at } else { at + secs(86_400) });
    assert_eq!((ran(back), ran(ahead)), (steady.clone(), steady));
}
