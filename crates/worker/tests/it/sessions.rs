//! What reaches the manager over sessions that come and go.

use std::time::Duration;

use warren_core::{check::Checks, health::HealthStatus, id::NodeId};
use warren_worker::StateFile;

use crate::support::{
    OTHER, TASK, World, assignment, has_ended, health_status, is, is_ready, is_running, liveness,
    manager::{CLUSTER, OTHER_CLUSTER, Within},
    next_millisecond,
    runtime::{Finds, Step},
    timing,
};

#[tokio::test(start_paused = true)]
async fn a_worker_goes_on_without_its_manager_and_tells_it_all_with_the_times_of_their_own() {
    let mut world = World::running(liveness(timing())).await;
    world.manager.report(TASK, is_ready).await;
    world.manager.heartbeats(1).await;
    world.manager.go_offline();

    let offline = next_millisecond();
    for (finds, attempts) in [(Finds::Bad, 5), (Finds::Good, 2), (Finds::Bad, 5)] {
        world.runtime.find(finds);
        let before = world.runtime.execs().len();
        // One more begins only once the last one has been taken in.
        world.runtime.until(|runtime| runtime.execs().len() > before + attempts).await;
        next_millisecond();
    }
    let back = next_millisecond();
    // It is all the same when another worker tells it.
    world.stop().await;
    world.start();
    let before = world.manager.count();
    world.manager.go_online();
    let report = world.manager.report_after(before, TASK, is_running).await;
    let transitions = report.transitions;
    let told: Vec<_> = transitions.iter().map(|told| (told.status, told.ready)).collect();
    let (down, up) = ((HealthStatus::Unhealthy, false), (HealthStatus::Healthy, true));
    assert_eq!(told, [down, up, down]);
    let mut times: Vec<_> = transitions.iter().map(|told| told.at).collect();
    // A time is that of an attempt's end, and its latency is virtual: at most its timeout.
    let back = back.after(Duration::from_secs(1));
    assert!(times.iter().all(|at| (offline..back).contains(at)));
    assert_eq!(times.len(), 3);
    times.dedup();
    assert_eq!(times.len(), 3, "each has its own");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_acknowledged_is_told_again_in_the_hello_and_what_was_is_not() {
    let world = World::running(liveness(timing())).await;
    world.manager.report(TASK, is_ready).await;
    world.manager.heartbeats(1).await;
    world.manager.stop_acknowledging();
    world.runtime.find(Finds::Bad);
    let sent = world.manager.report(TASK, is(HealthStatus::Unhealthy)).await;
    world.manager.acknowledge_again();
    world.manager.hang_up();
    world.manager.hello(2).await;
    let again = world.manager.heard(TASK).pop().unwrap();
    assert_eq!((again.within, &again.report), (Within::Hello, &sent));

    world.manager.heartbeats(1).await;
    world.manager.hang_up();
    world.manager.hello(3).await;
    let after = world.manager.heard(TASK).pop().unwrap();
    assert_eq!(after.within, Within::Hello);
    assert_eq!(after.report.transitions, [], "the manager has it");
    assert_eq!(health_status(&after.report), Some(HealthStatus::Unhealthy));
}

#[tokio::test(start_paused = true)]
async fn while_a_report_is_not_acknowledged_the_news_wait_and_come_as_one() {
    let world = World::running(liveness(timing())).await;
    world.manager.report(TASK, is_ready).await;
    world.manager.heartbeats(1).await;
    world.manager.stop_acknowledging();
    world.runtime.find(Finds::Bad);
    world.manager.report(TASK, is(HealthStatus::Unhealthy)).await;
    let before = world.manager.count();
    for (finds, attempts) in [(Finds::Good, 2), (Finds::Bad, 5)] {
        world.runtime.find(finds);
        let so_far = world.runtime.execs().len();
        world.runtime.until(|runtime| runtime.execs().len() == so_far + attempts).await;
    }
    world.manager.heartbeats(1).await;
    assert_eq!(world.manager.count(), before);
    world.manager.acknowledge_again();
    world.manager.hang_up();
    let told = world.manager.report_after(before, TASK, is_running).await.transitions;
    assert_eq!(told.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn another_clusters_manager_ends_no_task() {
    let mut world = World::running(liveness(timing())).await;
    world.manager.report(TASK, is_ready).await;
    world.manager.become_another_cluster();
    let hello = world.manager.hello(3).await;
    assert_eq!(hello.cluster_id, CLUSTER.to_string());
    world.stop().await;
    world.start();
    let hello = world.manager.hello(5).await;
    assert_eq!(hello.cluster_id, CLUSTER.to_string(), "the file says so");
    let attempts = world.runtime.execs().len();
    world.runtime.until(|runtime| runtime.execs().len() > attempts + 1).await;
    assert_eq!(world.runtime.steps(TASK), [Step::Create, Step::Start]);

    world.stop().await;
    let mut file = StateFile::open(world.dir.path(), NodeId::from_u64(9)).unwrap();
    file.join_for_good(OTHER_CLUSTER).await.unwrap();
    drop(file);
    world.start();
    world.runtime.until(|runtime| runtime.found(TASK).is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn an_end_that_nobody_heard_is_told_in_the_next_session() {
    let world = World::running(Checks::NONE).await;
    world.manager.go_offline();
    world.runtime.exit(TASK, 7);
    world.runtime.until(|runtime| runtime.found(TASK).is_none()).await;
    world.manager.go_online();
    world.manager.report(TASK, has_ended).await;
    let ends = || world.manager.reports(TASK).into_iter().filter(has_ended).count();
    world.manager.heartbeats(3).await;
    assert_eq!(ends(), 1, "and once");
}

#[tokio::test(start_paused = true)]
async fn what_was_assigned_meanwhile_comes_with_the_next_session() {
    let world = World::running(Checks::NONE).await;
    world.manager.go_offline();
    world.manager.assign([assignment(OTHER, Checks::NONE)]);
    world.manager.go_online();
    world.manager.report(OTHER, is_running).await;
    assert_eq!(world.runtime.steps(TASK), [Step::Create, Step::Start]);
}

#[tokio::test(start_paused = true)]
async fn a_hello_says_who_the_node_is() {
    let world = World::new();
    let hello = world.manager.hello(1).await;
    assert_eq!((hello.node_id.as_str(), hello.epoch), ("0000000000000009", 1));
    assert_eq!((hello.node_name.as_str(), hello.cpus), ("node", 2));
    assert_eq!(hello.drivers, [i32::from(warren_proto::v1::Driver::Containerd)]);
}
