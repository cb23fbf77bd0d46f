//! A runtime that does not answer says nothing about its tasks.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use warren_core::{
    check::{Checks, Role},
    health::{HealthStatus, Verdict},
    spec::StopSignal,
    task::{EndKind, Phase},
};

use crate::support::{
    TASK, World, assignment, has_ended, health_status, how, is, is_ready, is_running, liveness,
    runtime::{Finds, Step, Trouble},
    stopping, timing,
};

const OUTAGE: Duration = Duration::from_mins(10);

#[tokio::test(start_paused = true)]
async fn a_preparation_waits_for_the_runtime_and_says_so() {
    for step in [Step::EnsureImage, Step::Create, Step::Start] {
        let world = World::new();
        world.runtime.set_trouble(step, Trouble::Unavailable);
        world.manager.assign([assignment(TASK, Checks::NONE)]);
        let why = |text: &str| text.contains("containerd runtime does not answer");
        world.manager.report(TASK, |report| why(&report.status.message)).await;
        sleep(OUTAGE).await;
        let reports = world.manager.reports(TASK);
        assert_eq!(reports.last().unwrap().status.phase, Phase::Preparing, "{step:?}");
        world.runtime.end_trouble();
        let running = world.manager.report(TASK, is_running).await;
        assert_eq!(running.status.message, "");
    }
}

#[tokio::test(start_paused = true)]
async fn a_preparation_that_waits_can_be_stopped() {
    for step in [Step::EnsureImage, Step::Create, Step::Start] {
        let world = World::new();
        world.runtime.set_trouble(step, Trouble::Unavailable);
        world.manager.assign([assignment(TASK, Checks::NONE)]);
        world.manager.report(TASK, |report| !report.status.message.is_empty()).await;
        world.manager.assign([stopping(assignment(TASK, Checks::NONE))]);
        let ended = world.manager.report(TASK, has_ended).await;
        assert_eq!(how(&ended), (EndKind::Stopped, None), "{step:?}");
        assert_eq!(world.runtime.found(TASK), None, "{step:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_runtime_is_restarted_goes_on_as_healthy_as_it_was() {
    let world = World::running(liveness(timing())).await;
    world.manager.report(TASK, is_ready).await;
    let before = world.manager.count();
    world.runtime.set_trouble(Step::Wait, Trouble::Unavailable);
    sleep(OUTAGE).await;
    world.runtime.end_trouble();
    world.manager.heartbeats(2).await;
    assert_eq!(world.manager.count(), before, "nothing happened to the task");
    world.runtime.exit(TASK, 5);
    let ended = world.manager.report(TASK, has_ended).await;
    assert_eq!(how(&ended), (EndKind::Exited, Some(5)), "its end is noticed as ever");
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_runtime() {
    let world = World::running(Checks::NONE).await;
    world.runtime.set_trouble(Step::Signal(StopSignal::TERM), Trouble::Unavailable);
    world.manager.assign([stopping(assignment(TASK, Checks::NONE))]);
    sleep(OUTAGE).await;
    assert!(!world.manager.reports(TASK).iter().any(has_ended));
    world.runtime.end_trouble();
    let ended = world.manager.report(TASK, has_ended).await;
    assert_eq!(how(&ended), (EndKind::Stopped, Some(143)));
}

#[tokio::test(start_paused = true)]
async fn an_end_is_told_although_the_leftovers_cannot_be_removed_and_they_are_removed_later() {
    let world = World::running(Checks::NONE).await;
    world.runtime.set_trouble(Step::Delete, Trouble::Unavailable);
    world.runtime.exit(TASK, 1);
    let exited = Instant::now();
    world.manager.report(TASK, has_ended).await;
    assert!(exited.elapsed() < Duration::from_secs(5), "{:?}", exited.elapsed());
    sleep(OUTAGE).await;
    assert!(world.runtime.found(TASK).is_some());
    world.runtime.end_trouble();
    world.runtime.until(|runtime| runtime.found(TASK).is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn what_may_still_run_is_not_told_as_ended() {
    let world = World::new();
    world.runtime.set_trouble(Step::Start, Trouble::Unavailable);
    world.runtime.set_trouble(Step::Delete, Trouble::Unavailable);
    world.manager.assign([assignment(TASK, Checks::NONE)]);
    world.runtime.until(|runtime| runtime.count(TASK, Step::Start) > 0).await;
    world.manager.assign([stopping(assignment(TASK, Checks::NONE))]);
    sleep(OUTAGE).await;
    assert!(!world.manager.reports(TASK).iter().any(has_ended));
    world.runtime.end_trouble();
    let ended = world.manager.report(TASK, has_ended).await;
    assert_eq!(how(&ended), (EndKind::Stopped, None));
}

#[tokio::test(start_paused = true)]
async fn a_check_that_the_runtime_cannot_make_becomes_unknown_when_it_lasts_and_never_unhealthy() {
    let world = World::running(liveness(timing())).await;
    world.manager.report(TASK, is_ready).await;
    let (before, first) = (world.manager.count(), world.runtime.execs().len());
    world.runtime.find(Finds::RuntimeDown);
    world.runtime.until(|runtime| runtime.execs().len() == first + 2).await;
    world.manager.heartbeats(1).await;
    assert_eq!(world.manager.count(), before, "two say nothing yet");

    let unknown = world.manager.report(TASK, is(HealthStatus::Unknown)).await;
    assert!(is_ready(&unknown), "what is known still counts for traffic");
    let verdict = unknown.health.unwrap().roles.get(Role::Liveness).as_ref().unwrap().verdict;
    assert_eq!(verdict, Verdict::Unknown);
    sleep(OUTAGE).await;
    assert_eq!(world.manager.count(), before + 1, "and that is all there is to say");

    world.runtime.find(Finds::Good);
    world.manager.report_after(before, TASK, is(HealthStatus::Healthy)).await;
    let unhealthy = |r: &_| health_status(r) == Some(HealthStatus::Unhealthy);
    assert!(!world.manager.reports(TASK).iter().any(unhealthy));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_panics_says_nothing_of_the_task_and_others_follow() {
    let world = World::running(liveness(timing())).await;
    world.manager.report(TASK, is_ready).await;
    let before = world.manager.count();
    world.runtime.find(Finds::Panic);
    let unknown = world.manager.report(TASK, is(HealthStatus::Unknown)).await;
    assert!(is_ready(&unknown), "what is known still counts for traffic");
    world.runtime.find(Finds::Good);
    world.manager.report_after(before, TASK, is(HealthStatus::Healthy)).await;
}
