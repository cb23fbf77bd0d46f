//! What holds for any checks, any timing and any length.

use std::time::Duration;

use proptest::{collection::vec, prelude::*};
use warren_core::{
    bounds::{Delay, Period, Threshold},
    check::{Checks, Flapping, Role, Timing},
    health::{Health, HealthStatus, Verdict},
    outcome::{Evidence, Outcome},
};
use warren_verdict::{Next, groups};

use crate::{
    make::{FAIL, PASS, check, fresh, ms, restored, since, timing, work},
    oracle::{Told, judge},
};

fn any_timing() -> impl Strategy<Value = Timing> {
    let periods = prop_oneof![Just(10_u64), 10..2_000_u64, Just(10_000)];
    let thresholds = (1..6_u32, 1..4_u32, 0..9_000_u64, 0..9_u32, 2..9_u32);
    let spans = (periods, 10..3_000_u64, 10..3_000_u64, 0..3_000_u64, 0..20_000_u64);
    (spans, thresholds).prop_map(|(spans, thresholds)| {
        let (period, start, confirm, delay, start_period) = spans;
        let (failures, successes, min_failing, flaps, window) = thresholds;
        Timing {
            period: Period::from_millis_const(period),
            start_interval: Period::from_millis_const(start),
            confirm_interval: Period::from_millis_const(confirm),
            delay: Delay::from_millis_const(delay),
            start_period: Delay::from_millis_const(start_period),
            failures: Threshold::new_const(failures),
            successes: Threshold::new_const(successes),
            min_failing: Delay::from_millis_const(min_failing),
            flapping: Flapping::new(flaps, window).ok(),
            ..timing(1, 1)
        }
    })
}

/// How long failure must be unbroken before it costs the task.
fn patience(timing: &Timing) -> Duration {
    (timing.period.get() * (timing.failures.get() - 1)).max(timing.min_failing.get())
}

/// Any checks; every second time liveness and readiness share one.
fn any_checks() -> impl Strategy<Value = Checks> {
    let role = || proptest::option::of(any_timing());
    (role(), role(), role(), any::<bool>()).prop_map(|(startup, liveness, readiness, same)| {
        let liveness = liveness.map(|timing| check(2, timing));
        let readiness = match (&liveness, readiness) {
            (Some(liveness), Some(timing)) if same => {
                let Timing { period, delay, start_interval, .. } = liveness.timing;
                Some(check(2, Timing { period, delay, start_interval, ..timing }))
            }
            (_, readiness) => readiness.map(|timing| check(3, timing)),
        };
        Checks { startup: startup.map(|timing| check(1, timing)), liveness, readiness }
    })
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        3 => Just(Outcome::Pass),
        3 => Just(FAIL),
        1 => Just(Outcome::Fail(Evidence::Timeout)),
        2 => Just(Outcome::Inconclusive),
    ]
}

fn any_answers() -> impl Strategy<Value = Vec<(Outcome, u64)>> {
    vec((any_outcome(), 0..4_000_u64), 1..60)
}

/// Makes a script into a task; past its end the last answer stands.
fn script(answers: &[(Outcome, u64)]) -> impl FnMut(Role, Duration) -> (Outcome, Duration) {
    let mut next = 0;
    move |_, _| {
        let (outcome, latency) = answers[next.min(answers.len() - 1)];
        next += 1;
        (outcome, ms(latency))
    }
}

fn together(checks: &Checks) -> bool {
    groups(checks).iter().any(|group| group.roles.len() == 2)
}

fn failing(health: &Health, role: Role) -> bool {
    health.roles.get(role).as_ref().is_some_and(|role| role.verdict == Verdict::Failing)
}

proptest! {
    // C-10 to C-16, C-20 to C-23, C-32 to C-34, C-41
    #[test]
    fn the_machine_and_the_oracle_agree_on_what_a_worker_sees(
        checks in any_checks(), answers in any_answers(),
    ) {
        let mut task = fresh(&checks);
        let (mut told, mut answer) = (Vec::<Told>::new(), script(&answers));
        let worked = work(&mut task, &checks, ms(0), ms(60_000), |role, at| {
            let more = told.len() < 60;
            let (outcome, latency) = if more { answer(role, at) } else { (PASS, ms(5_000)) };
            told.push((role, outcome, at));
            (outcome, latency)
        });
        prop_assert_eq!(worked.attempts.len(), told.len());
        let health = task.health();
        let judged = judge(&checks, together(&checks), &told);
        prop_assert_eq!((health.status, health.ready), (judged.status, judged.ready));
        for (role, judged) in Role::ALL.into_iter().zip(judged.roles) {
            let seen = health.roles.get(role).as_ref().map(|role| (role.verdict, role.streak));
            prop_assert_eq!(seen, judged, "{:?}", role);
        }
        prop_assert_eq!(health.flapping_since().is_some(), judged.flapping.contains(&true));
    }

    // C-11, C-14, C-15, C-26
    #[test]
    fn reports_are_news_and_never_contradict_themselves(
        checks in any_checks(), answers in any_answers(),
    ) {
        let mut task = fresh(&checks);
        let mut before = task.health();
        let worked = work(&mut task, &checks, ms(0), ms(30_000), script(&answers));
        for (_, health) in worked.reports {
            let verdicts = |health: &Health| {
                Role::ALL.map(|role| health.roles.get(role).as_ref().map(|role| role.verdict))
            };
            let flaps = |health: &Health| {
                Role::ALL.map(|role| health.roles.get(role).as_ref()?.flapping_since)
            };
            let told = |health: &Health| (verdicts(health), flaps(health));
            prop_assert!(told(&health) != told(&before), "no news");
            prop_assert!(!failing(&before, Role::Startup), "after the end: {:?}", health);
            if health.ready {
                prop_assert!(health.was_ready);
                prop_assert!(!matches!(
                    health.status,
                    HealthStatus::Unhealthy | HealthStatus::Starting
                ));
            }
            prop_assert!(health.was_ready || !before.was_ready);
            let all_pass =
                verdicts(&health).iter().flatten().all(|verdict| *verdict == Verdict::Passing);
            let at_rest = all_pass && health.flapping_since().is_none();
            prop_assert_eq!(health.reason.is_empty(), at_rest, "{:?}", health);
            before = health;
        }
    }

    // C-41: whatever the pace of attempts, and over any number of worker restarts.
    #[test]
    fn liveness_is_never_less_patient_than_its_owner(
        timing in any_timing(), answers in any_answers(), restarts in vec(any::<bool>(), 60),
    ) {
        let checks = Checks { liveness: Some(check(2, timing)), ..Checks::NONE };
        let mut task = fresh(&checks);
        let (mut answer, mut unbroken_since) = (script(&answers), None);
        let mut now = ms(0);
        for restart in restarts {
            if restart {
                task = restored(&checks, &task.health(), now);
            }
            let Next::At(start) = task.next_attempt(Role::Liveness, now) else { unreachable!() };
            prop_assert!(start >= now, "never in the past");
            let (outcome, latency) = answer(Role::Liveness, start);
            now = start + latency;
            match outcome {
                Outcome::Pass => unbroken_since = None,
                Outcome::Fail(_) => unbroken_since = unbroken_since.or(Some(start)),
                Outcome::Inconclusive => {}
            }
            let attempt = crate::make::attempt(outcome, start, latency);
            let was_failing = failing(&task.health(), Role::Liveness);
            let report = task.observe(Role::Liveness, attempt, now);
            let fails = report.is_some_and(|health| failing(&health, Role::Liveness));
            if fails && !was_failing {
                let patience = patience(&timing);
                let lasted = unbroken_since.map(|first| since(first, start));
                prop_assert!(lasted >= Some(patience), "{lasted:?} < {patience:?}");
            }
        }
    }

    // C-2, C-41, C-42, C-44: whatever the phase, and to the nanosecond.
    #[test]
    fn liveness_is_no_more_patient_than_its_owner_either(timing in any_timing()) {
        let checks = Checks { liveness: Some(check(2, timing)), ..Checks::NONE };
        let mut task = fresh(&checks);
        let fails = |_, _| (FAIL, ms(0));
        // Two attempts lie a gap apart, though the owner would wait for less.
        let start = timing.start_interval.min(timing.period).get();
        let gap = (start / 2).min(timing.confirm_interval.get());
        let patience = patience(&timing);
        let patience = if patience.is_zero() { patience } else { patience.max(gap) };
        let until = timing.delay.get() + patience + timing.period.get();
        let worked = work(&mut task, &checks, ms(0), until, fails);
        let dead = worked.first(|health| failing(health, Role::Liveness));
        prop_assert_eq!(dead, Some(timing.delay.get() + patience));
    }

    // C-26
    #[test]
    fn a_report_is_what_health_says(checks in any_checks(), answers in any_answers()) {
        let mut task = fresh(&checks);
        let mut now = ms(0);
        for (&(outcome, latency), role) in answers.iter().zip(Role::ALL.into_iter().cycle()) {
            let (start, before) = (now, task.health());
            now += ms(latency);
            let attempt = crate::make::attempt(outcome, start, ms(latency));
            let report = task.observe(role, attempt, now);
            let after = task.health();
            let told = |health: &Health| {
                let Health { status, since, ready, ready_since, .. } = health.clone();
                (status, since, ready, ready_since, health.reason.clone())
            };
            prop_assert!(report.is_some() || told(&after) == told(&before));
            prop_assert!(report.is_none_or(|health| health == after));
        }
    }
}
