//! How a task is looked at may change while it runs, and while it stops.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use warren_core::{
    assignment::Assignment,
    bounds::{Delay, Period, StopGrace},
    check::{CheckKind, Checks, Command, ExecCheck, HealthConfig, Parts, Role, Timing},
    health::{HealthStatus, Streak, Verdict},
    report::TaskReport,
    spec::StopSignal,
    task::{Phase, Stop, StopCause},
};
use warren_proto::v1::{self as pb, call::Ask, call_output::Output};

use crate::support::{
    GRACE, TASK, World, assignment, both, exec, failures_of, has_ended, is, is_ready, liveness,
    now,
    runtime::{Finds, NOBODY, Step, Trouble},
    stopping, timing,
};

const PERIOD: Duration = Duration::from_secs(10);
const TEN_MINUTES: Duration = Duration::from_mins(10);
/// A pause is measured by the wall clock first, which goes on while a test runs.
const ALMOST_TEN_MINUTES: Duration = Duration::from_secs(598);

fn paused(span: Duration, checks: Checks) -> Assignment {
    Assignment { checks_paused_until: Some(now().after(span)), ..assignment(TASK, checks) }
}

fn is_stopping(report: &TaskReport) -> bool {
    report.status.phase == Phase::Stopping
}

async fn observed(world: &World) -> pb::Observation {
    let task_ids = vec![TASK.to_string()];
    let call = world.manager.ask(Ask::Observe(pb::ObserveCall { task_ids }));
    let outputs = world.manager.answer(call).await;
    let [Output::Observation(observation)] = &outputs[..] else { panic!("{outputs:?}") };
    observation.clone()
}

/// Ready, with the agent knowing a streak of two failures.
async fn failing_twice(world: &World) {
    world.manager.report(TASK, is_ready).await;
    world.runtime.find(Finds::Bad);
    let before = world.runtime.execs().len();
    world.runtime.until(|runtime| runtime.execs().len() == before + 2).await;
    sleep(Duration::from_secs(1)).await;
}

// C-90, C-96
#[tokio::test(start_paused = true)]
async fn while_paused_nothing_is_attempted_and_afterwards_streaks_start_anew() {
    let world = World::running(both(timing())).await;
    failing_twice(&world).await;
    world.manager.assign([paused(TEN_MINUTES, both(timing()))]);
    let begun = Instant::now();
    let mut observation = observed(&world).await;
    while observation.paused_until.is_none() {
        observation = observed(&world).await;
    }
    assert!(observation.attempts.iter().all(|role| role.next.is_none() && role.attempts.len() > 2));
    let attempts = world.runtime.execs();
    world.runtime.until(|runtime| runtime.execs().len() > attempts.len()).await;
    let pause = world.runtime.execs()[attempts.len()] - begun;
    assert!(pause >= ALMOST_TEN_MINUTES && pause <= TEN_MINUTES + PERIOD, "{pause:?}");
    // The third failure since, and not the first, is the verdict.
    world.manager.report(TASK, is(HealthStatus::Unhealthy)).await;
    assert_eq!(world.runtime.execs().len(), attempts.len() + 3);
    assert_eq!(observed(&world).await.paused_until, None);
}

// C-9: what is under way when a pause comes has never been.
#[tokio::test(start_paused = true)]
async fn an_attempt_in_flight_is_cancelled_by_a_pause_and_recorded_nowhere() {
    let world = World::running(both(timing())).await;
    world.manager.report(TASK, is_ready).await;
    world.runtime.until(|runtime| runtime.execs().len() == 3).await;
    world.manager.assign([paused(TEN_MINUTES, both(timing()))]);
    sleep(Duration::from_mins(1)).await;
    assert_eq!(world.runtime.execs().len(), 3, "it takes ten milliseconds");
    assert_eq!(observed(&world).await.attempts[0].attempts.len(), 2);
}

// C-91
#[tokio::test(start_paused = true)]
async fn a_pause_is_ended_by_the_manager_and_else_by_itself() {
    let world = World::running(both(timing())).await;
    world.manager.report(TASK, is_ready).await;
    world.manager.assign([paused(TEN_MINUTES, both(timing()))]);
    sleep(Duration::from_mins(2)).await;
    let attempts = world.runtime.execs().len();
    world.manager.assign([assignment(TASK, both(timing()))]);
    let resumed = Instant::now();
    world.runtime.until(|runtime| runtime.execs().len() > attempts).await;
    assert!(resumed.elapsed() <= PERIOD + Duration::from_secs(6), "{:?}", resumed.elapsed());
    world.manager.assign([paused(TEN_MINUTES, both(timing()))]);
    sleep(Duration::from_mins(1)).await;
    world.manager.go_offline();
    let attempts = world.runtime.execs().len();
    sleep(TEN_MINUTES).await;
    assert!(world.runtime.execs().len() > attempts);
}

// C-91, C-96: also one that ended while there was no worker.
#[tokio::test(start_paused = true)]
async fn a_pause_and_what_it_forgot_outlive_the_worker() {
    for (span, goes_on) in [(TEN_MINUTES, false), (Duration::from_millis(300), true)] {
        let mut world = World::running(both(timing())).await;
        failing_twice(&world).await;
        world.manager.assign([paused(span, both(timing()))]);
        world.manager.heartbeats(2).await;
        world.stop().await;
        // Real time, which is what is left of a pause is measured by at a start.
        std::thread::sleep(Duration::from_millis(350));
        let before = world.manager.count();
        let attempts = world.runtime.execs().len();
        world.start();
        let first = world.manager.report_after(before, TASK, |_| true).await;
        assert_ne!(failures_of(&first, Role::Liveness), Streak::Failures(2));
        sleep(Duration::from_secs(15)).await;
        assert_eq!(world.runtime.execs().len() > attempts, goes_on, "{span:?}");
    }
}

// C-90
#[tokio::test(start_paused = true)]
async fn a_process_that_exits_during_a_pause_is_gone() {
    let world = World::running(both(timing())).await;
    world.manager.report(TASK, is_ready).await;
    world.manager.assign([paused(TEN_MINUTES, both(timing()))]);
    world.manager.heartbeats(2).await;
    world.runtime.exit(TASK, 3);
    let ended = world.manager.report(TASK, has_ended).await;
    assert!(is(HealthStatus::Unhealthy)(&ended) && !is_ready(&ended));
}

// C-90
#[tokio::test(start_paused = true)]
async fn a_task_that_starts_paused_is_attempted_when_the_pause_is_over() {
    let world = World::new();
    world.manager.assign([paused(TEN_MINUTES, both(timing()))]);
    let begun = Instant::now();
    let ready = world.manager.report(TASK, is_ready).await;
    assert!(is(HealthStatus::Healthy)(&ready));
    let at = world.runtime.execs()[0] - begun;
    assert!(at >= ALMOST_TEN_MINUTES && at < TEN_MINUTES + Duration::from_secs(2), "{at:?}");
}

// C-92, C-93
#[tokio::test(start_paused = true)]
async fn other_settings_are_taken_up_by_the_task_that_runs() {
    let world = World::running(both(timing())).await;
    failing_twice(&world).await;
    let failures = warren_core::bounds::Threshold::new_const(5);
    let patient = both(Timing { failures, ..timing() });
    world.manager.assign([assignment(TASK, patient.clone())]);
    let told =
        world.manager.report(TASK, |report| report.status.checks.as_deref() == Some(&patient));
    told.await;
    let before = world.runtime.execs().len();
    world.manager.report(TASK, is(HealthStatus::Unhealthy)).await;
    assert_eq!(world.runtime.execs().len(), before + 3, "two of the five were there before");
    assert_eq!(world.runtime.steps(TASK), [Step::Create, Step::Start]);
}

// C-92, C-94
#[tokio::test(start_paused = true)]
async fn checks_may_come_change_their_question_and_go() {
    let world = World::running(Checks::NONE).await;
    world.manager.assign([assignment(TASK, both(timing()))]);
    let checked = |report: &TaskReport| {
        report.health.as_ref().is_some_and(|health| health.roles.get(Role::Liveness).is_some())
    };
    let first = world.manager.report(TASK, checked).await;
    assert!(is(HealthStatus::Healthy)(&first) && is_ready(&first), "it was as good before");
    world.runtime.until(|runtime| runtime.execs().len() == 2).await;
    let other = CheckKind::Exec(ExecCheck::new(Command::shell("other").unwrap()));
    let other = Checks::one(other, timing());
    world.runtime.find(Finds::Bad);
    world.manager.assign([assignment(TASK, other)]);
    let bad = world.manager.report(TASK, is(HealthStatus::Unhealthy)).await;
    assert_eq!(failures_of(&bad, Role::Liveness), Streak::Failures(3));
    world.manager.assign([assignment(TASK, Checks::NONE)]);
    let count = world.manager.count();
    let left = world.manager.report_after(count, TASK, is(HealthStatus::Unchecked)).await;
    assert!(is_ready(&left));
    let attempts = world.runtime.execs().len();
    sleep(Duration::from_mins(1)).await;
    assert_eq!(world.runtime.execs().len(), attempts);
}

// C-92: the file has the new checks, and the next worker's task still the old ones' record.
#[tokio::test(start_paused = true)]
async fn a_change_that_came_while_there_was_no_worker_is_taken_up_by_the_next_one() {
    let mut world = World::running(both(timing())).await;
    world.manager.report(TASK, is_ready).await;
    world.stop().await;
    let slow = Period::from_millis_const(60_000);
    let slow =
        both(Timing { period: slow, start_interval: slow, confirm_interval: slow, ..timing() });
    world.manager.assign([assignment(TASK, slow.clone())]);
    world.start();
    world.manager.report(TASK, |report| report.status.checks.as_deref() == Some(&slow)).await;
    let attempts = world.runtime.execs().len();
    sleep(Duration::from_secs(55)).await;
    assert!(world.runtime.execs().len() <= attempts + 1);
    assert_eq!(world.runtime.steps(TASK), [Step::Create, Step::Start]);
}

// C-92: from checks of its own back to the image's, of which there are none.
#[tokio::test(start_paused = true)]
async fn what_the_image_says_is_read_anew_only_when_the_owner_says_so() {
    let world = World::running(both(timing())).await;
    world.manager.report(TASK, is_ready).await;
    world.manager.assign([auto()]);
    world.manager.report(TASK, is(HealthStatus::Unchecked)).await;
    let asked = world.runtime.count(NOBODY, Step::EnsureImage);
    world.manager.assign([Assignment { checks_paused_until: Some(now().after(PERIOD)), ..auto() }]);
    world.manager.heartbeats(2).await;
    let again = world.runtime.count(NOBODY, Step::EnsureImage);
    assert_eq!(again, asked);
}

/// Whose checks become the image's, while nobody can say what these are.
async fn unread() -> World {
    let world = World::running(both(timing())).await;
    world.manager.report(TASK, is_ready).await;
    world.runtime.set_trouble(Step::EnsureImage, Trouble::Unavailable);
    let asked = world.runtime.count(NOBODY, Step::EnsureImage);
    world.manager.assign([auto()]);
    world.runtime.until(|runtime| runtime.count(NOBODY, Step::EnsureImage) > asked + 1).await;
    world
}

fn auto() -> Assignment {
    let mut auto = assignment(TASK, Checks::NONE);
    Arc::make_mut(&mut auto.template).health = HealthConfig::Auto;
    auto
}

// C-92
#[tokio::test(start_paused = true)]
async fn until_the_image_can_be_read_the_task_is_looked_at_as_before() {
    for ends in [false, true] {
        let world = unread().await;
        world.runtime.find(Finds::Bad);
        world.manager.report(TASK, is(HealthStatus::Unhealthy)).await;
        if ends {
            world.runtime.exit(TASK, 3);
            world.manager.report(TASK, has_ended).await;
        } else {
            world.runtime.end_trouble();
            world.manager.report(TASK, is(HealthStatus::Unchecked)).await;
        }
    }
}

// C-92
#[tokio::test(start_paused = true)]
async fn other_checks_that_come_before_the_images_could_be_read_are_what_counts() {
    let world = unread().await;
    let other = liveness(timing());
    world.manager.assign([assignment(TASK, other.clone())]);
    let told = |report: &TaskReport| report.status.checks.as_deref() == Some(&other);
    world.manager.report(TASK, told).await;
    world.runtime.end_trouble();
    let count = world.manager.count();
    sleep(Duration::from_mins(1)).await;
    assert!(!world.manager.reports(TASK)[count..].iter().any(|report| !told(report)));
}

// C-92: the file has the new orders, and not yet what was to come of them.
#[tokio::test(start_paused = true)]
async fn a_worker_that_ends_before_it_could_read_the_image_leaves_that_to_the_next_one() {
    let mut world = unread().await;
    for _ in 0..2 {
        world.stop().await;
        world.start();
        world.manager.heartbeats(1).await;
    }
    world.runtime.end_trouble();
    world.manager.report(TASK, is(HealthStatus::Unchecked)).await;
    let asked = world.runtime.count(NOBODY, Step::EnsureImage);
    world.stop().await;
    let before = world.manager.count();
    world.start();
    world.manager.report_after(before, TASK, is(HealthStatus::Unchecked)).await;
    world.manager.heartbeats(1).await;
    assert_eq!(world.runtime.count(NOBODY, Step::EnsureImage), asked, "it was read once");
}

// C-18, C-9
#[tokio::test(start_paused = true)]
async fn readiness_goes_on_while_a_task_stops_and_liveness_does_not() {
    let apart = Checks { readiness: Some(exec(timing())), ..Checks::NONE };
    let ping = CheckKind::Exec(ExecCheck::new(Command::shell("live").unwrap()));
    let liveness = warren_core::check::Check { kind: ping, timing: timing() };
    let checks = Checks { liveness: Some(liveness), ..apart };
    let mut slow = assignment(TASK, checks);
    let hour = StopGrace::new(Duration::from_hours(1)).unwrap();
    Arc::make_mut(&mut slow.template).stop_grace_period = hour;
    let world = World::new();
    world.manager.assign([slow.clone()]);
    world.manager.report(TASK, is_ready).await;
    world.runtime.make_deaf(TASK);
    world.manager.assign([stopping(slow)]);
    world.manager.report(TASK, is_stopping).await;
    world.runtime.find(Finds::Bad);
    let (before, attempts) = (observed(&world).await, world.runtime.execs().len());
    assert_eq!(before.attempts[0].next, None, "liveness");
    let drained = world.manager.report(TASK, |report| {
        let readiness = report.health.as_ref().and_then(|h| h.roles.get(Role::Readiness).as_ref());
        is_stopping(report) && readiness.is_some_and(|role| role.verdict == Verdict::Failing)
    });
    let drained = drained.await;
    assert!(is(HealthStatus::Healthy)(&drained) && !is_ready(&drained));
    assert_eq!(world.runtime.execs().len(), attempts + 3, "one loop, three failures");
    let after = observed(&world).await;
    assert_eq!(after.attempts[0].attempts, before.attempts[0].attempts);
    assert_eq!(after.attempts[1].attempts.len(), before.attempts[1].attempts.len() + 3);
    world.runtime.find(Finds::Good);
    sleep(Duration::from_mins(1)).await;
    assert!(!world.manager.reports(TASK).iter().any(|r| is_stopping(r) && is_ready(r)));
}

// C-18
#[tokio::test(start_paused = true)]
async fn a_task_that_stops_goes_on_being_seen_by_the_next_worker() {
    let mut world = World::running(both(timing())).await;
    world.manager.report(TASK, is_ready).await;
    world.runtime.make_deaf(TASK);
    world.manager.assign([stopping(assignment(TASK, both(timing())))]);
    let first = world.manager.report(TASK, is_stopping).await;
    world.stop().await;
    let attempts = world.runtime.execs().len();
    let count = world.manager.count();
    world.start();
    let again = world.manager.report_after(count, TASK, is_stopping).await;
    assert!(!is_ready(&again));
    let since = |report: &TaskReport| report.health.as_ref().unwrap().ready_since;
    assert_eq!(since(&again), since(&first), "it is out of traffic since then");
    world.manager.report(TASK, has_ended).await;
    assert!(world.runtime.execs().len() > attempts);
}

/// How long a task that hears no signal has from being told to stop to its end.
async fn farewell(checks: Checks, finds: Finds, cause: StopCause) -> Duration {
    let world = World::running(checks.clone()).await;
    world.manager.report(TASK, is_ready).await;
    world.runtime.make_deaf(TASK);
    world.runtime.find(finds);
    if finds == Finds::Bad {
        world.manager.report(TASK, is(HealthStatus::Unhealthy)).await;
    }
    let asked = Instant::now();
    let stop = Some(Stop { cause, reason: String::new(), at: now() });
    world.manager.assign([Assignment { stop, ..assignment(TASK, checks) }]);
    world.manager.report(TASK, has_ended).await;
    let kills = world.runtime.count(TASK, Step::Signal(StopSignal::KILL));
    assert_eq!(kills, 1);
    asked.elapsed()
}

// C-45
#[tokio::test(start_paused = true)]
async fn a_task_that_is_stopped_for_a_check_has_the_grace_of_that_check() {
    let quick = Timing { stop_grace_period: Some(StopGrace::from_millis_const(2_000)), ..timing() };
    let two_seconds = Duration::from_secs(2)..Duration::from_secs(5);
    let own = GRACE..GRACE * 2;
    for (timing, finds, cause, expected) in [
        (quick, Finds::Bad, StopCause::Unhealthy, &two_seconds),
        (quick, Finds::Bad, StopCause::Updated, &own),
        (quick, Finds::Good, StopCause::Unhealthy, &own),
        (timing(), Finds::Bad, StopCause::Unhealthy, &own),
    ] {
        let took = farewell(liveness(timing), finds, cause).await;
        assert!(expected.contains(&took), "{finds:?} {cause:?}: {took:?}");
    }
}

// C-2: in virtual time there is no other reason to be late.
#[tokio::test(start_paused = true)]
async fn the_first_attempt_comes_when_it_is_due() {
    for delay in [0, 1, 2_500, 90_000] {
        let delay = Duration::from_millis(delay);
        let world = World::new();
        let checks = liveness(Timing { delay: Delay::new(delay).unwrap(), ..timing() });
        let late = world.first_attempt(checks).await.abs_diff(delay);
        assert!(late <= Duration::from_millis(10), "{delay:?}: {late:?}");
    }
}

// C-74, C-129: of one permit that serves all its commands.
#[tokio::test(start_paused = true)]
async fn the_wait_of_a_check_of_several_parts_for_a_permit_is_measured() {
    let command = |line: &str| CheckKind::Exec(ExecCheck::new(Command::shell(line).unwrap()));
    let parts = Parts::new(vec![command("a"), command("b")]).unwrap();
    let world = World::running(Checks::one(CheckKind::All(parts), timing())).await;
    world.manager.report(TASK, is_ready).await;
    let measured = world.metrics();
    assert!(measured.contains("\nwarren_probe_queue_wait_seconds_count 1\n"), "{measured}");
}
