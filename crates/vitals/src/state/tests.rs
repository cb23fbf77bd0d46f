use super::*;
use crate::settings::Component;

fn settings(with: impl FnOnce(Component) -> Component) -> Settings {
    with(Component::critical("x", async || Ok(()))).settings
}

fn at(seconds: u64) -> Moment {
    Duration::from_secs(seconds)
}

fn fail() -> Result<Details, (Reason, String)> {
    Err((Reason::Failed, "down".to_owned()))
}

/// One whole run that takes no time.
fn run(
    state: &mut State,
    settings: &Settings,
    now: u64,
    result: Result<Details, (Reason, String)>,
) {
    let Want::Launch { id, .. } = state.due(at(now), settings.thresholds) else {
        panic!("nothing to launch")
    };
    let outcome = Outcome { at: at(now), latency: Duration::ZERO, result };
    state.ended(id, outcome, settings.thresholds);
}

fn status(state: &State, settings: &Settings, now: u64) -> Status {
    state.view(at(now), settings).status
}

#[test]
fn what_was_never_checked_is_not_healthy() {
    let view = State::default().view(at(0), &settings(|c| c));
    assert_eq!(
        (view.status, view.message.as_deref()),
        (Status::Unhealthy, Some("not checked yet"))
    );
}

#[test]
fn failures_must_be_enough_and_last_long_enough() {
    let settings = settings(|c| c.failure_threshold(3).min_duration(at(10)));
    let mut state = State::default();
    run(&mut state, &settings, 0, Ok(Details::healthy()));
    for (now, expected) in [
        (1, Status::Healthy),
        (2, Status::Healthy),
        (3, Status::Healthy), // three failures, for two seconds
        (10, Status::Healthy),
        (11, Status::Unhealthy), // ten seconds since the first
    ] {
        run(&mut state, &settings, now, fail());
        assert_eq!(status(&state, &settings, now), expected, "at {now}");
    }
    assert_eq!(state.view(at(11), &settings).failures, 5);
}

#[test]
fn long_enough_alone_is_not_enough() {
    let settings = settings(|c| c.failure_threshold(3).min_duration(at(10)));
    let mut state = State::default();
    run(&mut state, &settings, 0, Ok(Details::healthy()));
    run(&mut state, &settings, 1, fail());
    run(&mut state, &settings, 60, fail());
    assert_eq!(status(&state, &settings, 60), Status::Healthy);
    assert_eq!(state.view(at(60), &settings).message.as_deref(), Some("down"));
}

#[test]
fn what_never_worked_gets_no_credit() {
    let settings = settings(|c| c.failure_threshold(3).success_threshold(3));
    let mut state = State::default();
    run(&mut state, &settings, 0, fail());
    assert_eq!(status(&state, &settings, 0), Status::Unhealthy);
}

#[test]
fn recovery_takes_as_many_successes_as_told() {
    let settings = settings(|c| c.success_threshold(2));
    let mut state = State::default();
    run(&mut state, &settings, 0, Ok(Details::healthy()));
    assert_eq!(status(&state, &settings, 0), Status::Healthy, "the first one is no recovery");
    run(&mut state, &settings, 1, fail());
    run(&mut state, &settings, 2, Ok(Details::healthy()));
    let view = state.view(at(2), &settings);
    assert_eq!(view.status, Status::Unhealthy);
    assert_eq!(view.message.as_deref(), Some("works again: 1 of 2 successes"));
    run(&mut state, &settings, 3, Ok(Details::healthy()));
    assert_eq!(status(&state, &settings, 3), Status::Healthy);
}

#[test]
fn a_result_that_is_too_old_is_unhealthy_whatever_it_said() {
    let settings = settings(|c| c.periodic(at(10)).timeout(at(2)));
    let mut state = State::default();
    run(&mut state, &settings, 0, Ok(Details::healthy()));
    assert_eq!(status(&state, &settings, 32), Status::Healthy);
    let view = state.view(at(33), &settings);
    assert!(view.stale);
    assert_eq!(view.status, Status::Unhealthy);
    assert_eq!(view.message.as_deref(), Some("stale: last checked 33 s ago"));
    let shorter = Settings { max_age: Some(at(5)), ..settings };
    assert_eq!(status(&state, &shorter, 6), Status::Unhealthy);
}

#[test]
fn a_slow_or_unhappy_check_degrades() {
    let settings = settings(|c| c.degraded_above(Duration::from_millis(100)));
    let mut state = State::default();
    run(&mut state, &settings, 0, Ok(Details::degraded("one replica of two")));
    let view = state.view(at(0), &settings);
    assert_eq!(view.status, Status::Degraded);
    assert_eq!(view.message.as_deref(), Some("one replica of two"));
    let Want::Launch { id, .. } = state.due(at(1), settings.thresholds) else { panic!() };
    let latency = Duration::from_millis(250);
    let outcome = Outcome { at: at(1), latency, result: Ok(Details::healthy()) };
    state.ended(id, outcome, settings.thresholds);
    let view = state.view(at(1), &settings);
    assert_eq!(view.status, Status::Degraded);
    assert_eq!(view.message.as_deref(), Some("slow: 250 ms, 100 ms at most"));
}

#[test]
fn one_run_at_a_time_and_a_fresh_result_needs_none() {
    let settings = settings(|c| c.on_demand(at(5)));
    let mut state = State::default();
    let Want::Launch { id, since } = state.want(at(0), &settings) else { panic!() };
    assert_eq!(state.want(at(1), &settings), Want::Join { id, since });
    let outcome = Outcome { at: at(1), latency: at(1), result: Ok(Details::healthy()) };
    state.ended(id, outcome, settings.thresholds);
    assert_eq!(state.want(at(5), &settings), Want::Nothing);
    assert!(matches!(state.want(at(6), &settings), Want::Launch { .. }));
}

#[test]
fn a_run_that_ignores_its_end_keeps_others_away_and_counts_as_failing() {
    let settings = settings(|c| c.failure_threshold(2));
    let mut state = State::default();
    run(&mut state, &settings, 0, Ok(Details::healthy()));
    let Want::Launch { id, .. } = state.due(at(1), settings.thresholds) else { panic!() };
    assert!(state.overdue(id, at(3), &settings));
    assert!(!state.overdue(id, at(3), &settings), "it is said once");
    assert_eq!(status(&state, &settings, 3), Status::Healthy);
    assert_eq!(state.due(at(9), settings.thresholds), Want::Nothing);
    let view = state.view(at(9), &settings);
    assert_eq!(view.status, Status::Unhealthy);
    let expected = "the last run was aborted and still runs after 8.0 s";
    assert_eq!(view.message.as_deref(), Some(expected));
    // What it says at its late end does not count, but the way is free again.
    let outcome = Outcome { at: at(10), latency: at(9), result: Ok(Details::healthy()) };
    state.ended(id, outcome, settings.thresholds);
    assert_eq!(status(&state, &settings, 10), Status::Unhealthy);
    run(&mut state, &settings, 11, Ok(Details::healthy()));
    assert_eq!(status(&state, &settings, 11), Status::Healthy);
    assert_eq!(state.tally.failures(Reason::Timeout), 1);
    assert_eq!(state.tally.failures(Reason::Busy), 1);
    assert_eq!(state.tally.runs(), 3);
}
