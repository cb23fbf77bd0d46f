//! What of a task's checks the manager hears, and what it can ask for.

use std::time::Duration;

use warren_core::{
    bounds::Period,
    check::{Checks, Flapping, Role, Timing},
    health::{HealthStatus, Streak},
    report::TaskReport,
    spec::StopSignal,
};

use crate::support::{
    TASK, World, assignment, both, exec, failures_of, health_status, is, is_ready, is_running,
    liveness,
    runtime::{Finds, Step},
    timing,
};

#[tokio::test(start_paused = true)]
async fn a_hundred_passing_attempts_are_one_report_and_one_write() {
    let world = World::running(liveness(timing())).await;
    world.manager.report(TASK, is(HealthStatus::Healthy)).await;
    world.manager.heartbeats(1).await;
    let before = world.manager.count();
    let written = std::fs::metadata(world.state_file()).unwrap().modified().unwrap();
    world.runtime.until(|runtime| runtime.execs().len() > 100).await;
    world.manager.heartbeats(2).await;
    assert_eq!(world.manager.count(), before);
    assert_eq!(std::fs::metadata(world.state_file()).unwrap().modified().unwrap(), written);
}

#[tokio::test(start_paused = true)]
async fn as_many_failures_as_it_takes_are_one_report_and_the_worker_does_nothing_else() {
    let world = World::running(liveness(timing())).await;
    world.manager.report(TASK, is_ready).await;
    let before = world.manager.count();
    world.runtime.find(Finds::Bad);
    let unhealthy = world.manager.report(TASK, is(HealthStatus::Unhealthy)).await;
    assert_eq!(failures_of(&unhealthy, Role::Liveness), Streak::Failures(3));
    assert!(!is_ready(&unhealthy));
    assert!(unhealthy.health.as_ref().unwrap().reason.contains("broken"));
    assert_eq!(unhealthy.transitions.len(), 1);
    let attempts = world.runtime.execs().len();
    world.runtime.until(|runtime| runtime.execs().len() > attempts + 10).await;
    world.manager.heartbeats(2).await;
    assert_eq!(world.manager.count(), before + 1);
    assert_eq!(world.runtime.steps(TASK), [Step::Create, Step::Start]);
    assert_eq!(world.runtime.count(TASK, Step::Signal(StopSignal::KILL)), 0);
    assert!(is_running(&unhealthy));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_recovers_is_healthy_again() {
    let world = World::running(liveness(timing())).await;
    world.manager.report(TASK, is_ready).await;
    world.runtime.find(Finds::Bad);
    world.manager.report(TASK, is(HealthStatus::Unhealthy)).await;
    let before = world.manager.count();
    world.runtime.find(Finds::Good);
    let healthy = world.manager.report_after(before, TASK, is(HealthStatus::Healthy)).await;
    assert!(is_ready(&healthy));
}

#[tokio::test(start_paused = true)]
async fn readiness_alone_takes_out_of_traffic_and_leaves_healthy() {
    let checks = Checks { readiness: Some(exec(timing())), ..Checks::NONE };
    let world = World::running(checks).await;
    world.manager.report(TASK, is_ready).await;
    let before = world.manager.count();
    world.runtime.find(Finds::Bad);
    let out = world.manager.report_after(before, TASK, |report| !is_ready(report)).await;
    assert_eq!(health_status(&out), Some(HealthStatus::Healthy));
    assert_eq!(out.transitions.len(), 1);
    assert_eq!(out.transitions[0].at, out.health.unwrap().ready_since);
}

#[tokio::test(start_paused = true)]
async fn liveness_and_readiness_that_ask_the_same_share_one_attempt() {
    let world = World::running(both(timing())).await;
    world.manager.report(TASK, is_ready).await;
    let count = 20;
    world.runtime.until(|runtime| runtime.execs().len() == count).await;
    let execs = world.runtime.execs();
    // The first one does not wait for the grid.
    for pair in execs[1..].windows(2) {
        assert_eq!(whole_millis(pair[1] - pair[0]), timing().period.get());
    }
    world.runtime.find(Finds::Bad);
    let unhealthy = world.manager.report(TASK, is(HealthStatus::Unhealthy)).await;
    for role in [Role::Liveness, Role::Readiness] {
        assert_eq!(failures_of(&unhealthy, role), Streak::Failures(3));
    }
}

// C-46, C-48
#[tokio::test(start_paused = true)]
async fn a_task_that_fails_by_turns_is_reported_as_flapping_once_and_lives_on() {
    let flapping = Flapping::new(2, 4).ok();
    let world = World::running(liveness(Timing { flapping, ..timing() })).await;
    world.manager.report(TASK, is_ready).await;
    let before = world.manager.count();
    world.runtime.find(Finds::ByTurns);
    let flaps = |report: &TaskReport| {
        report.health.as_ref().is_some_and(|health| health.flapping_since().is_some())
    };
    let report = world.manager.report(TASK, flaps).await;
    assert_eq!((health_status(&report), is_ready(&report)), (Some(HealthStatus::Healthy), true));
    let reason = "liveness flaps, 2 of its last 4 attempts failed: exit code 1: broken";
    assert_eq!(report.health.as_ref().unwrap().reason, reason);
    let [told] = &report.transitions[..] else { panic!("{:?}", report.transitions) };
    assert_eq!((told.flapping, Some(told.at)), (true, report.health.unwrap().flapping_since()));
    let attempts = world.runtime.execs().len();
    world.runtime.until(|runtime| runtime.execs().len() > attempts + 20).await;
    assert_eq!(world.manager.count(), before + 1);
    world.runtime.find(Finds::Good);
    let calm = world.manager.report_after(before + 1, TASK, |report| !flaps(report)).await;
    assert!(calm.transitions.iter().all(|told| !told.flapping), "{:?}", calm.transitions);
    assert_eq!(calm.health.unwrap().reason, "");
}

// C-8
#[tokio::test(start_paused = true)]
async fn a_task_that_is_not_up_yet_is_looked_at_often_until_it_is() {
    let fast = Period::from_millis_const(100);
    let world = World::new();
    world.runtime.find(Finds::Bad);
    world.manager.assign([assignment(TASK, both(Timing { start_interval: fast, ..timing() }))]);
    world.runtime.until(|runtime| runtime.execs().len() == 20).await;
    world.runtime.find(Finds::Good);
    world.manager.report(TASK, is_ready).await;
    let starting = world.runtime.execs();
    assert!(starting[20] - starting[0] <= fast.get() * 21, "{starting:?}");
    world.runtime.until(|runtime| runtime.execs().len() == 25).await;
    let steady = world.runtime.execs();
    assert_eq!(whole_millis(steady[24] - steady[23]), timing().period.get());
}

/// The clock of a test moves by whole milliseconds.
fn whole_millis(span: Duration) -> Duration {
    Duration::from_millis(u64::try_from((span + Duration::from_micros(500)).as_millis()).unwrap())
}
