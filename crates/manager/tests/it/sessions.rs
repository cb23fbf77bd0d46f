//! Services become assignments, reports become health, over real gRPC in paused time.

use std::time::Duration;

use crate::support::{FakeWorker, Running, TIMING, healthy, hello, report, spec, unhealthy};
use tokio::time::sleep;
use tonic::Code;
use warren_manager::ManagerFault;
use warren_proto::v1 as pb;
use warren_store::MemoryStore;

#[tokio::test(start_paused = true)]
async fn a_node_of_another_cluster_is_refused_before_anything_is_known_of_it() {
    let running = Running::over(MemoryStore::default()).await;
    let ours = MemoryStore::CLUSTER.to_string();
    let hello = |cluster: &str| pb::Hello { cluster_id: cluster.to_owned(), ..hello(1, 1, vec![]) };
    let refused = FakeWorker::rejoin(&running, hello("00000000000000ff")).await.map(drop);
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let says = |text: &str| refused.message().contains(text);
    assert!(says("cluster 00000000000000ff") && says(&format!("--join-cluster {ours}")));
    let nodes = running.nodes().list(pb::ListNodesRequest {}).await.unwrap().into_inner().nodes;
    assert_eq!(nodes, [], "it is not even known");
    let nonsense = FakeWorker::rejoin(&running, hello("x")).await.map(drop).unwrap_err();
    assert!(nonsense.message().starts_with("hello.cluster_id: "), "{nonsense}");
    FakeWorker::rejoin(&running, hello(&ours)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_service_is_assigned_reported_and_summed_up() {
    let running = Running::over(MemoryStore::default()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    running.create("web", 3).await;
    worker.until(|worker| worker.wanted().len() == 3).await;
    assert_eq!(running.summary("web").await, "0/3 healthy, 3/3 starting");
    let tasks = worker.run_healthy(3).await;
    assert_eq!(running.summary("web").await, "3/3 healthy");
    let first = worker.assigned[&tasks[0]].clone();
    assert_eq!((first.service_name.as_str(), first.slot), ("web", 1));
    assert_eq!(first.template.unwrap().command, ["/bin/server"]);
    let detail = running.task("web.1").await;
    assert_eq!(detail.task.unwrap().id, tasks[0]);
    assert_eq!(detail.node_name, "node-1");
}

#[tokio::test(start_paused = true)]
async fn an_unhealthy_task_gets_a_successor_and_is_stopped_once_that_is_ready() {
    let running = Running::over(MemoryStore::default()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    running.create("web", 1).await;
    let old = worker.run_healthy(1).await.remove(0);
    worker.report(unhealthy(&old, 2)).await;
    worker.until(|worker| worker.assigned.len() == 2).await;
    let new = worker.assigned.keys().find(|id| **id != old).unwrap().clone();
    worker.report(healthy(&new, 1)).await;
    worker.until(|worker| worker.assigned[&old].stop.is_some()).await;
    let stop = worker.assigned[&old].stop.clone().unwrap();
    assert_eq!(stop.cause(), pb::StopCause::Unhealthy);
    let kept = running.task(&old).await.health.unwrap().observed.unwrap();
    assert_eq!((kept.status(), kept.reason.as_str()), (pb::HealthStatus::Unhealthy, "it says 500"));
}

#[tokio::test(start_paused = true)]
async fn a_removed_service_is_stopped_everywhere_and_then_forgotten() {
    let running = Running::over(MemoryStore::default()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    running.create("web", 2).await;
    let tasks = worker.run_healthy(2).await;
    let request = pb::DeleteServiceRequest { service: "web".to_owned() };
    running.services().delete(request).await.unwrap();
    worker.until(|worker| worker.wanted().is_empty()).await;
    for task in &tasks {
        worker.report(report(task, 2, pb::TaskState::Ended)).await;
    }
    worker.until(|worker| worker.assigned.is_empty()).await;
    let services = running.services().list(pb::ListServicesRequest {}).await.unwrap();
    assert_eq!(services.into_inner().services, []);
}

#[tokio::test(start_paused = true)]
async fn stale_foreign_and_unknown_reports_are_settled_counted_and_change_nothing() {
    let running = Running::over(MemoryStore::default()).await;
    let mut worker = FakeWorker::join(&running, 1, 5).await;
    running.create("web", 1).await;
    let task = worker.run_healthy(1).await.remove(0);
    let mut other = FakeWorker::join(&running, 2, 1).await;
    other.report(unhealthy(&task, 9)).await;
    worker.report(unhealthy(&task, 1)).await;
    worker.report(unhealthy("00000000000000ff", 1)).await;
    worker.report(pb::TaskReport { status: None, ..healthy(&task, 7) }).await;
    let counts = running.counters.reports();
    assert_eq!((counts.taken, counts.foreign, counts.stale), (1, 1, 1));
    assert_eq!((counts.unknown, counts.invalid), (1, 1));
    assert_eq!(running.summary("web").await, "1/1 healthy");
}

#[tokio::test(start_paused = true)]
async fn a_newer_session_takes_the_node_over_and_an_older_worker_is_refused() {
    let running = Running::over(MemoryStore::default()).await;
    let mut first = FakeWorker::join(&running, 1, 5).await;
    running.create("web", 1).await;
    let task = first.run_healthy(1).await.remove(0);
    let second = FakeWorker::rejoin(&running, hello(1, 6, vec![healthy(&task, 1)])).await.unwrap();
    assert_eq!(second.wanted(), std::slice::from_ref(&task));
    assert_eq!(second.acked, [(task.clone(), 1)]);
    let replaced = loop {
        if let Err(status) = first.hear().await {
            break status;
        }
    };
    assert_eq!(replaced.code(), Code::Aborted);
    let older = FakeWorker::rejoin(&running, hello(1, 5, vec![])).await.map(drop).unwrap_err();
    assert_eq!(older.code(), Code::FailedPrecondition);
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_is_suspect_then_lost_and_up_again_when_it_returns() {
    let running = Running::over(MemoryStore::default()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    running.create("web", 1).await;
    let task = worker.run_healthy(1).await.remove(0);
    drop(worker);
    sleep(TIMING.grace.saturating_sub(Duration::from_secs(1))).await;
    assert_eq!(running.node("node-1").await.state(), pb::NodeState::Suspect);
    assert_eq!(running.summary("web").await, "1/1 healthy");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(running.node("node-1").await.state(), pb::NodeState::Lost);
    let effective = running.task(&task).await.effective.unwrap();
    assert_eq!((effective.status(), effective.ready), (pb::HealthStatus::Unknown, false));
    let back = FakeWorker::rejoin(&running, hello(1, 1, vec![healthy(&task, 1)])).await.unwrap();
    assert!(back.assigned.contains_key(&task));
    assert_eq!(running.node("node-1").await.state(), pb::NodeState::Up);
    let messages = running.messages().await;
    assert!(messages.contains(&"node node-1 is lost: nothing was heard of it for 15s".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_session_without_heartbeats_is_ended() {
    let running = Running::over(MemoryStore::default()).await;
    // Held, and silent: the pipe stays open.
    let _mute = FakeWorker::join(&running, 1, 1).await;
    sleep(TIMING.grace + Duration::from_secs(1)).await;
    assert_eq!(running.node("node-1").await.state(), pb::NodeState::Lost);
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_everything_is_as_it_was_and_nothing_is_replaced() {
    let store = MemoryStore::default();
    let running = Running::over(store.clone()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    running.create("web", 2).await;
    let tasks = worker.run_healthy(2).await;
    let (before, history) = (running.detail("web").await, running.messages().await);
    drop(worker);
    running.kill().await;

    let running = Running::over(store).await;
    assert_eq!(running.detail("web").await, before);
    let known = tasks.iter().map(|task| healthy(task, 1)).collect();
    let mut worker = FakeWorker::rejoin(&running, hello(1, 1, known)).await.unwrap();
    worker.until(|worker| worker.acked.len() == 2).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(worker.wanted(), tasks);
    assert_eq!(running.messages().await, history);
}

#[tokio::test(start_paused = true)]
async fn a_failed_commit_ends_the_manager_and_nothing_undurable_was_acknowledged() {
    let store = MemoryStore::default();
    let running = Running::over(store.clone()).await;
    running.create("web", 1).await;
    store.fail();
    let durable = store.cluster();
    let request = pb::CreateServiceRequest { spec: Some(spec("api", 1)) };
    let refused = running.services().create(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    let fault = running.ended().await.unwrap_err();
    assert!(matches!(fault, ManagerFault::Commit(_)), "{fault}");
    assert_eq!(store.cluster(), durable);
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_is_told_to_ends_in_order() {
    let running = Running::over(MemoryStore::default()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    running.shutdown.cancel();
    let ended = loop {
        if let Err(status) = worker.hear().await {
            break status;
        }
    };
    assert_eq!(ended.code(), Code::Cancelled);
    running.ended().await.unwrap();
}
