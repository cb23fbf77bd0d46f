//! A task from its assignment to its end.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use warren_core::{
    assignment::Assignment,
    bounds::Delay,
    check::{Checks, Timing},
    health::HealthStatus,
    report::TaskReport,
    spec::StopSignal,
    task::{EndKind, Phase},
};
use warren_runtime::FoundState;

use crate::support::{
    GRACE, OTHER, TASK, World, assignment, end_of, exec, has_ended, how, is, is_ready, is_running,
    liveness, now,
    runtime::{Finds, Step, Trouble},
    stopping, timing,
};

const TERM: Step = Step::Signal(StopSignal::TERM);
const KILL: Step = Step::Signal(StopSignal::KILL);

/// That nothing was told twice or out of order.
fn assert_moves_forward(reports: &[TaskReport]) {
    for pair in reports.windows(2) {
        let [before, after] = pair else { unreachable!() };
        let (from, to) = (&before.status.phase, &after.status.phase);
        assert!(from.may_become(to), "{} after {}", to.name(), from.name());
        assert!(before.sequence < after.sequence, "{} {}", before.sequence, after.sequence);
    }
}

#[tokio::test(start_paused = true)]
async fn an_assignment_is_prepared_runs_and_is_found_healthy() {
    let world = World::running(liveness(timing())).await;
    let healthy = world.manager.report(TASK, is(HealthStatus::Healthy)).await;
    assert!(is_ready(&healthy));
    let started_at = world.runtime.started_at(TASK);
    assert_eq!(healthy.status.started_at, Some(started_at));
    assert_eq!((healthy.status.pid, healthy.status.address.is_some()), (Some(4242), true));
    assert_eq!(healthy.status.checks.as_deref(), Some(&liveness(timing())));
    let reports = world.manager.reports(TASK);
    assert_moves_forward(&reports);
    let starting = reports.iter().find(|report| is_running(report)).unwrap();
    assert!(is(HealthStatus::Starting)(starting) && !is_ready(starting));
    assert_eq!(world.runtime.steps(TASK), [Step::Create, Step::Start]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_nobody_checks_is_unchecked_and_ready() {
    let world = World::running(Checks::NONE).await;
    let running = world.manager.report(TASK, is_running).await;
    assert!(is(HealthStatus::Unchecked)(&running) && is_ready(&running));
}

#[tokio::test(start_paused = true)]
async fn the_same_assignment_twice_starts_one_task() {
    let world = World::new();
    world.manager.hello(1).await;
    world.manager.assign([assignment(TASK, Checks::NONE)]);
    world.manager.assign([assignment(TASK, Checks::NONE)]);
    world.manager.report(TASK, is_running).await;
    world.manager.hang_up();
    world.manager.hello(2).await;
    world.manager.heartbeats(2).await;
    assert_eq!(world.runtime.steps(TASK), [Step::Create, Step::Start]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_removed_with_the_message_after_its_assignment_does_not_stay() {
    let world = World::new();
    world.manager.hello(1).await;
    world.manager.assign([assignment(TASK, Checks::NONE)]);
    world.manager.forget(TASK);
    world.runtime.until(|runtime| runtime.count(TASK, Step::Delete) > 0).await;
    world.manager.heartbeats(2).await;
    assert_eq!(world.runtime.found(TASK), None);
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_a_signal_a_grace_and_a_kill_and_takes_the_task_out_of_traffic_first() {
    let world = World::running(liveness(timing())).await;
    world.manager.report(TASK, is_ready).await;
    world.write_log(TASK, &["hello"]);
    world.runtime.make_deaf(TASK);
    let asked = Instant::now();
    world.manager.assign([stopping(assignment(TASK, liveness(timing())))]);
    let leaving = world.manager.report(TASK, |r| r.status.phase == Phase::Stopping).await;
    assert!(!is_ready(&leaving) && is(HealthStatus::Healthy)(&leaving));
    let ended = world.manager.report(TASK, has_ended).await;
    assert_eq!(how(&ended), (EndKind::Stopped, Some(137)));
    assert!(!is_ready(&ended) && ended.status.pid.is_none());
    assert!(asked.elapsed() >= GRACE && asked.elapsed() < GRACE * 2, "{:?}", asked.elapsed());
    let steps = [Step::Create, Step::Start, TERM, KILL, Step::Delete];
    assert_eq!(world.runtime.steps(TASK), steps);
    assert_moves_forward(&world.manager.reports(TASK));

    assert!(world.log(TASK).exists(), "an ended task keeps its log");
    world.manager.forget(TASK);
    world.manager.heartbeats(2).await;
    assert!(!world.log(TASK).exists(), "a forgotten one does not");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_obeys_its_signal_is_not_killed() {
    let world = World::running(Checks::NONE).await;
    world.manager.assign([stopping(assignment(TASK, Checks::NONE))]);
    let ended = world.manager.report(TASK, has_ended).await;
    assert_eq!(how(&ended), (EndKind::Stopped, Some(143)));
    assert_eq!(world.runtime.count(TASK, KILL), 0);
}

#[tokio::test(start_paused = true)]
async fn the_owners_stop_signal_is_used() {
    let world = World::new();
    let signal: StopSignal = "SIGQUIT".parse().unwrap();
    let mut quitting = assignment(TASK, Checks::NONE);
    Arc::make_mut(&mut quitting.template).stop_signal = Some(signal);
    world.manager.assign([quitting.clone()]);
    world.manager.report(TASK, is_running).await;
    world.manager.assign([stopping(quitting)]);
    world.manager.report(TASK, has_ended).await;
    assert_eq!(world.runtime.count(TASK, Step::Signal(signal)), 1);
    assert_eq!(world.runtime.count(TASK, TERM), 0);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_exits_by_itself_is_unhealthy_at_once_and_has_ended() {
    let world = World::running(liveness(timing())).await;
    world.manager.report(TASK, is_ready).await;
    world.runtime.exit(TASK, 3);
    let ended = world.manager.report(TASK, has_ended).await;
    assert_eq!(how(&ended), (EndKind::Exited, Some(3)));
    assert_eq!(end_of(&ended).reason, "process exited with code 3");
    assert!(is(HealthStatus::Unhealthy)(&ended) && !is_ready(&ended));
    assert_eq!(ended.health.unwrap().reason, "process exited with code 3");
    assert_eq!(world.runtime.found(TASK), None);
    assert_moves_forward(&world.manager.reports(TASK));
}

#[tokio::test(start_paused = true)]
async fn an_unchecked_task_that_exits_is_unhealthy_too() {
    let world = World::running(Checks::NONE).await;
    world.runtime.exit(TASK, 0);
    let ended = world.manager.report(TASK, has_ended).await;
    assert!(is(HealthStatus::Unhealthy)(&ended) && !is_ready(&ended));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_the_runtime_loses_is_lost() {
    let world = World::running(liveness(timing())).await;
    world.runtime.lose(TASK);
    let ended = world.manager.report(TASK, has_ended).await;
    assert_eq!(how(&ended), (EndKind::Lost, None));
    assert!(is(HealthStatus::Unhealthy)(&ended));
}

#[tokio::test(start_paused = true)]
async fn what_the_runtime_refuses_is_not_started_with_its_words() {
    for step in [Step::EnsureImage, Step::Create, Step::Start] {
        let world = World::new();
        world.runtime.set_trouble(step, Trouble::Refused("no such user: nobody"));
        world.manager.assign([assignment(TASK, liveness(timing()))]);
        let ended = world.manager.report(TASK, has_ended).await;
        assert_eq!(how(&ended), (EndKind::NotStarted, None), "{step:?}");
        assert_eq!(end_of(&ended).reason, "no such user: nobody");
        assert_eq!(world.runtime.found(TASK), None, "{step:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_stopped_while_its_image_comes_is_never_created() {
    let world = World::new();
    world.runtime.set_trouble(Step::EnsureImage, Trouble::Hangs);
    world.manager.assign([assignment(TASK, Checks::NONE)]);
    world.manager.report(TASK, |r| r.status.phase == Phase::Preparing).await;
    world.manager.assign([stopping(assignment(TASK, Checks::NONE))]);
    let ended = world.manager.report(TASK, has_ended).await;
    assert_eq!(how(&ended), (EndKind::Stopped, None));
    assert_eq!(world.runtime.steps(TASK), [Step::Delete]);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_was_begun_is_waited_for_and_its_task_then_stopped() {
    let world = World::new();
    world.runtime.set_trouble(Step::Start, Trouble::Hangs);
    world.manager.assign([assignment(TASK, Checks::NONE)]);
    world.runtime.until(|runtime| runtime.count(TASK, Step::Start) == 1).await;
    world.manager.assign([stopping(assignment(TASK, Checks::NONE))]);
    world.manager.heartbeats(2).await;
    assert_eq!(world.runtime.steps(TASK), [Step::Create, Step::Start]);
    world.runtime.end_trouble();
    let ended = world.manager.report(TASK, has_ended).await;
    assert_eq!(how(&ended), (EndKind::Stopped, Some(143)));
    assert_eq!(world.runtime.steps(TASK), [Step::Create, Step::Start, TERM, Step::Delete]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_forgotten_while_it_is_prepared_leaves_nothing() {
    let world = World::new();
    world.runtime.set_trouble(Step::Create, Trouble::Hangs);
    world.manager.assign([assignment(TASK, Checks::NONE)]);
    world.runtime.until(|runtime| runtime.count(TASK, Step::Create) == 1).await;
    world.write_log(TASK, &["hello"]);
    world.manager.forget(TASK);
    world.manager.heartbeats(2).await;
    world.runtime.end_trouble();
    world.runtime.until(|runtime| runtime.count(TASK, Step::Delete) == 1).await;
    world.manager.heartbeats(2).await;
    assert_eq!(world.runtime.found(TASK), None);
    assert_eq!(world.runtime.count(TASK, Step::Start), 0);
    assert!(!world.log(TASK).exists());
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_forgotten_while_it_stops_still_has_its_grace() {
    let world = World::running(Checks::NONE).await;
    world.runtime.make_deaf(TASK);
    world.manager.assign([stopping(assignment(TASK, Checks::NONE))]);
    world.runtime.until(|runtime| runtime.count(TASK, TERM) == 1).await;
    let signalled = Instant::now();
    world.manager.forget(TASK);
    world.runtime.until(|runtime| runtime.found(TASK).is_none()).await;
    assert!(signalled.elapsed() >= GRACE);
    assert_eq!((world.runtime.count(TASK, TERM), world.runtime.count(TASK, KILL)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_outlives_its_kill_is_killed_again() {
    let world = World::running(Checks::NONE).await;
    let running = world.runtime.found(TASK).unwrap();
    world.runtime.make_deaf(TASK);
    world.manager.assign([stopping(assignment(TASK, Checks::NONE))]);
    world.runtime.set_trouble(Step::Wait, Trouble::Hangs);
    world.runtime.until(|runtime| runtime.count(TASK, KILL) == 1).await;
    // As after a restart of the runtime that lost the signal.
    world.runtime.put(TASK, running);
    world.runtime.end_trouble();
    world.manager.report(TASK, has_ended).await;
    assert_eq!(world.runtime.count(TASK, KILL), 2);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_without_a_task_stops_and_removes_it() {
    let world = World::running(Checks::NONE).await;
    world.manager.assign([assignment(OTHER, Checks::NONE)]);
    world.manager.report(OTHER, is_running).await;
    world.manager.forget_silently(TASK);
    world.manager.hang_up();
    world.runtime.until(|runtime| runtime.found(TASK).is_none()).await;
    assert_eq!(world.runtime.steps(TASK), [Step::Create, Step::Start, TERM, Step::Delete]);
    assert!(matches!(world.runtime.found(OTHER), Some(FoundState::Running(_))));
}

/// The manager places a task only when its time has come; clocks may disagree about when.
#[tokio::test(start_paused = true)]
async fn a_worker_whose_clock_is_behind_starts_what_it_is_given_at_once() {
    let world = World::new();
    let not_before = now().after(Duration::from_hours(1));
    let assigned = Instant::now();
    world.manager.assign([Assignment { not_before, ..assignment(TASK, Checks::NONE) }]);
    world.manager.report(TASK, is_running).await;
    assert!(assigned.elapsed() < Duration::from_mins(1), "{:?}", assigned.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_first_attempt_waits_for_the_delay_and_the_others_for_startup() {
    let delay = Duration::from_secs(90);
    let startup = Timing { delay: Delay::new(delay).unwrap(), ..timing() };
    let checks = Checks { startup: Some(exec(startup)), ..liveness(timing()) };
    let world = World::new();
    world.runtime.find(Finds::Bad);
    world.manager.assign([assignment(TASK, checks)]);
    world.manager.report(TASK, is_running).await;
    let started = Instant::now();
    world.runtime.until(|runtime| runtime.execs().len() == 2).await;
    assert!(world.runtime.execs()[0] - started + Duration::from_secs(1) >= delay);
    // Of the check of liveness there was no attempt: the second came a period later.
    assert!(world.runtime.execs()[1] - world.runtime.execs()[0] >= timing().period.get() / 2);
    world.runtime.find(Finds::Good);
    world.manager.report(TASK, is(HealthStatus::Healthy)).await;
}
