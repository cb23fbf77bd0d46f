//! How a worker that is short of time itself takes that into account.

use std::time::Duration;

use warren_core::{bounds::Timeout, check::Timing, health::HealthStatus, report::TaskReport};
use warren_worker::Echo;

use crate::support::{TASK, World, assignment, is, is_ready, liveness, runtime::Finds, timing};

/// It is written to, and never answers: as if the machine had no time for it.
fn deaf() -> Echo {
    Echo { program: "/bin/sleep".into(), args: vec!["1000".into()], cgroups: Vec::new() }
}

fn quick() -> Timing {
    Timing { timeout: Timeout::from_millis_const(300), ..timing() }
}

/// Of the last attempt at liveness.
fn latency(report: &TaskReport) -> Option<Duration> {
    let health = report.health.as_ref()?;
    Some(health.roles.liveness.as_ref()?.last.as_ref()?.latency)
}

// C-99, R-22
#[tokio::test(start_paused = true)]
async fn a_worker_that_is_short_of_time_says_so_ahead_of_its_heartbeat() {
    let mut world = World::without_worker();
    world.start_with_echo(deaf());
    world.manager.hello(1).await;
    world.manager.heartbeats(3).await;
    let told = world.manager.scores();
    // Heartbeats come every 5 s. Late three beats of 200 ms after the call, and four more of them.
    assert!((Duration::from_secs(1)..Duration::from_secs(2)).contains(&told[0].after));
    assert_eq!(told[0].score, 4);
    assert_eq!(told[1].after, Duration::from_secs(5));
    assert_eq!(told[1].score, 8);
    assert_eq!(told[2].after, Duration::from_secs(10));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_well_says_so_with_its_heartbeats_alone() {
    let world = World::new();
    world.manager.heartbeats(2).await;
    let told = world.manager.scores();
    assert_eq!((told[0].score, told[0].after), (0, Duration::from_secs(5)));
    assert_eq!((told[1].score, told[1].after), (0, Duration::from_secs(10)));
}

// C-98: each attempt takes a hundredth of what it may take.
#[tokio::test(start_paused = true)]
async fn its_deadlines_grow_with_the_score() {
    let mut world = World::without_worker();
    world.start_with_echo(deaf());
    world.manager.heartbeats(2).await;
    world.manager.assign([assignment(TASK, liveness(quick()))]);
    let healthy = world.manager.report(TASK, is(HealthStatus::Healthy)).await;
    assert_eq!(latency(&healthy), Some(Duration::from_millis(27)));
    world.stop().await;
}

// C-98: what the task itself says is no less true for that.
#[tokio::test(start_paused = true)]
async fn an_answer_counts_whatever_the_score() {
    let mut world = World::without_worker();
    world.start_with_echo(deaf());
    world.manager.heartbeats(2).await;
    world.manager.assign([assignment(TASK, liveness(quick()))]);
    world.manager.report(TASK, is_ready).await;
    world.runtime.find(Finds::Bad);
    let attempts = world.runtime.execs().len();
    let unhealthy = world.manager.report(TASK, is(HealthStatus::Unhealthy)).await;
    assert!(unhealthy.health.unwrap().reason.contains("exit code 1"));
    assert_eq!(world.runtime.execs().len(), attempts + 3);
    world.stop().await;
}
