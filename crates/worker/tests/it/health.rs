//! What of a task's checks the manager hears, and what it can ask for.

use std::time::Duration;

use warren_core::{
    check::{Checks, Role},
    health::{HealthStatus, Streak},
    spec::StopSignal,
};

use crate::support::{
    TASK, World, both, exec, failures_of, health_status, is, is_ready, is_running, liveness,
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

/// The clock of a test moves by whole milliseconds.
fn whole_millis(span: Duration) -> Duration {
    Duration::from_millis(u64::try_from((span + Duration::from_micros(500)).as_millis()).unwrap())
}
