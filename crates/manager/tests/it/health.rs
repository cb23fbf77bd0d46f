//! Watches of health, and the verdicts of other controllers.

use std::time::Duration;

use crate::support::{FakeWorker, Running, TIMING, healthy, unhealthy};
use tonic::{Code, Streaming};
use warren_proto::v1::{self as pb, watch_health_response::Update};
use warren_store::MemoryStore;

async fn watch(running: &Running, from: Option<u64>) -> Streaming<pb::WatchHealthResponse> {
    let request = pb::WatchHealthRequest { service: "web".to_owned(), from_revision: from };
    running.health().watch_health(request).await.unwrap().into_inner()
}

/// Status and readiness of the next change.
async fn next(
    watch: &mut Streaming<pb::WatchHealthResponse>,
) -> (String, pb::HealthStatus, bool, u64) {
    let response = watch.message().await.unwrap().unwrap();
    match response.update.unwrap() {
        Update::Changed(entry) => {
            let health = entry.health.unwrap();
            (entry.task_id, health.status(), health.ready, response.revision)
        }
        Update::Snapshot(_) | Update::RemovedTaskId(_) => panic!("not a change"),
    }
}

async fn snapshot(watch: &mut Streaming<pb::WatchHealthResponse>) -> (usize, u64) {
    let response = watch.message().await.unwrap().unwrap();
    match response.update.unwrap() {
        Update::Snapshot(snapshot) => (snapshot.entries.len(), response.revision),
        Update::Changed(_) | Update::RemovedTaskId(_) => panic!("not a snapshot"),
    }
}

fn accuse(task: &str, ttl_seconds: i64) -> pb::ReportTaskHealthRequest {
    pb::ReportTaskHealthRequest {
        task: task.to_owned(),
        reporter: "auditor".to_owned(),
        role: pb::Role::Readiness.into(),
        verdict: pb::Verdict::Failing.into(),
        reason: "ledger differs".to_owned(),
        ttl: Some(prost_types::Duration { seconds: ttl_seconds, nanos: 0 }),
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_begins_with_a_snapshot_shows_every_change_and_resumes() {
    let running = Running::over(MemoryStore::default()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    running.create("web", 1).await;
    let task = worker.run_healthy(1).await.remove(0);
    let mut watching = watch(&running, None).await;
    let (entries, from) = snapshot(&mut watching).await;
    assert_eq!(entries, 1);
    // Both are durable before the watch is read: neither may be lost or merged.
    worker.report(unhealthy(&task, 2)).await;
    worker.report(healthy(&task, 3)).await;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let (id, status, ready, revision) = next(&mut watching).await;
        if id == task {
            seen.push((status, ready, revision));
        }
    }
    let states: Vec<_> = seen.iter().map(|(status, ready, _)| (*status, *ready)).collect();
    let expected = [(pb::HealthStatus::Unhealthy, false), (pb::HealthStatus::Healthy, true)];
    assert_eq!(states, expected);
    assert!(from <= seen[0].2 && seen[0].2 < seen[1].2);
    // From the first change on, what followed it.
    let mut resumed = watch(&running, Some(seen[0].2)).await;
    let again = loop {
        let change = next(&mut resumed).await;
        if change.0 == task && change.1 == pb::HealthStatus::Healthy {
            break change;
        }
    };
    assert_eq!(again.3, seen[1].2);
    // From a future that this manager does not know: a snapshot.
    let mut lost = watch(&running, Some(1_000_000)).await;
    assert!(snapshot(&mut lost).await.0 >= 1);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_breaks_within_a_revision_goes_on_without_a_gap() {
    let running = Running::over(MemoryStore::default()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    running.create("web", 3).await;
    let mut tasks = worker.run_healthy(3).await;
    tasks.sort();
    let mut watching = watch(&running, None).await;
    let (_, from) = snapshot(&mut watching).await;
    // The node's silence changes all of its tasks at once.
    drop(worker);
    let first = next(&mut watching).await;
    let second = next(&mut watching).await;
    let third = next(&mut watching).await;
    assert!(first.3 >= from);
    assert_eq!((first.3, second.3), (third.3 - 1, third.3 - 1));
    for cut_off_after in [&first, &second] {
        let mut resumed = watch(&running, Some(cut_off_after.3)).await;
        let mut told = Vec::new();
        while told.len() < 3 {
            let (id, status, ..) = next(&mut resumed).await;
            assert_eq!(status, pb::HealthStatus::Unknown);
            told.push(id);
        }
        assert_eq!(told, tasks);
    }
    // Who has heard all of it hears nothing of it again.
    let mut resumed = watch(&running, Some(third.3)).await;
    let _worker = FakeWorker::join(&running, 1, 2).await;
    assert_ne!(next(&mut resumed).await.1, pb::HealthStatus::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_falls_silent_shows_in_a_watch_and_so_does_a_removal() {
    let running = Running::over(MemoryStore::default()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    running.create("web", 1).await;
    let task = worker.run_healthy(1).await.remove(0);
    let mut watching = watch(&running, None).await;
    snapshot(&mut watching).await;
    drop(worker);
    let (id, status, ready, _) = next(&mut watching).await;
    assert_eq!((id, status, ready), (task.clone(), pb::HealthStatus::Unknown, false));
    let request = pb::DeleteServiceRequest { service: "web".to_owned() };
    running.services().delete(request).await.unwrap();
    let request = pb::DeleteNodeRequest { node: "node-1".to_owned() };
    running.nodes().delete(request).await.unwrap();
    let removed = loop {
        let response = watching.message().await.unwrap().unwrap();
        if let Some(Update::RemovedTaskId(id)) = response.update {
            break id;
        }
    };
    assert_eq!(removed, task);
}

#[tokio::test(start_paused = true)]
async fn an_external_verdict_counts_at_once_and_its_expiry_shows_by_itself() {
    let running = Running::over(MemoryStore::default()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    running.create("web", 1).await;
    let task = worker.run_healthy(1).await.remove(0);
    let mut watching = watch(&running, None).await;
    snapshot(&mut watching).await;
    let reported = running.health().report_task_health(accuse("web.1", 2)).await.unwrap();
    assert!(!reported.into_inner().effective.unwrap().ready);
    assert!(!next(&mut watching).await.2);
    let accused_at = tokio::time::Instant::now();
    assert!(next(&mut watching).await.2);
    let lasted = accused_at.elapsed();
    assert!(lasted >= Duration::from_secs(2) && lasted < TIMING.heartbeat, "{lasted:?}");
    assert!(running.task(&task).await.health.unwrap().external.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_verdict_that_makes_no_sense_is_refused_by_its_field() {
    let running = Running::over(MemoryStore::default()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    running.create("web", 1).await;
    worker.run_healthy(1).await;
    let good = accuse("web.1", 60);
    let cases = [
        (accuse("web.1", 0), "ttl: "),
        (accuse("web.1", 90_000), "ttl: "),
        (pb::ReportTaskHealthRequest { ttl: None, ..good.clone() }, "ttl: "),
        (pb::ReportTaskHealthRequest { reason: String::new(), ..good.clone() }, "reason: "),
        (pb::ReportTaskHealthRequest { reporter: String::new(), ..good.clone() }, "reporter: "),
        (pb::ReportTaskHealthRequest { role: 1, ..good.clone() }, "role: "),
        (pb::ReportTaskHealthRequest { verdict: 77, ..good.clone() }, "verdict: "),
    ];
    for (request, field) in cases {
        let refused = running.health().report_task_health(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{field}");
        assert!(refused.message().starts_with(field), "{refused}");
    }
    let unknown = running.health().report_task_health(accuse("api.1", 60)).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let request = pb::ListHealthRequest { service: "web".to_owned() };
    let listed = running.health().list_health(request).await.unwrap().into_inner();
    assert!(listed.entries[0].health.as_ref().unwrap().ready);
}
