//! Nodes as people and silence change them. R-n are clauses of docs/replacement.md.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tonic::Code;
use warren_proto::v1 as pb;
use warren_store::MemoryStore;

use crate::support::{FakeWorker, Running, TIMING, healthy, hello, report, spec};

impl Running {
    async fn set(&self, node: &str, kind: pb::AvailabilityKind) -> Result<pb::NodeRow, Code> {
        let reason = "new disk".to_owned();
        let request =
            pb::SetAvailabilityRequest { node: node.to_owned(), kind: kind.into(), reason };
        let row = self.nodes().set_availability(request).await;
        row.map(tonic::Response::into_inner).map_err(|status| status.code())
    }

    async fn said(&self, what: &str) -> bool {
        self.messages().await.iter().any(|message| message.contains(what))
    }
}

/// Two nodes, and a service with a task on each.
async fn two(running: &Running) -> (FakeWorker, FakeWorker) {
    let mut first = FakeWorker::join(running, 1, 1).await;
    let mut second = FakeWorker::join(running, 2, 1).await;
    running.create("web", 2).await;
    first.run_healthy(1).await;
    second.run_healthy(1).await;
    (first, second)
}

///
#[tokio::test(start_paused = true)]
async fn a_lost_nodes_task_is_rescheduled_and_stopped_when_the_node_returns() {
    let running = Running::over(MemoryStore::default()).await;
    let (first, mut second) = two(&running).await;
    let old = first.wanted().remove(0);
    drop(first);
    second.until(|worker| worker.wanted().len() == 2).await;
    assert!(running.said("node node-1 is suspect").await);
    assert!(running.said("node node-1 is lost").await);
    let new = second
        .wanted()
        .into_iter()
        .find(|id| second.assigned[id].slot == 1 || second.assigned[id].task_id != old)
        .unwrap();
    for task in second.wanted() {
        second.report(healthy(&task, 9)).await;
    }
    assert_eq!(running.summary("web").await, "2/2 healthy");
    assert_ne!(new, old);
    let back = hello(1, 1, vec![healthy(&old, 2)]);
    let back = FakeWorker::rejoin(&running, back).await.unwrap();
    let stop = back.assigned[&old].stop.clone().unwrap();
    assert_eq!(stop.cause(), pb::StopCause::NodeLost);
    assert_eq!(running.node("node-1").await.state(), pb::NodeState::Up);
}

///
#[tokio::test(start_paused = true)]
async fn a_node_that_is_silent_within_its_session_is_suspect_until_it_is_heard() {
    let running = Running::over(MemoryStore::default()).await;
    let mute = FakeWorker::join(&running, 1, 1).await;
    sleep(Duration::from_secs(13)).await;
    assert_eq!(running.node("node-1").await.state(), pb::NodeState::Suspect);
    running.create("web", 1).await;
    assert_eq!(running.task("web.1").await.task.unwrap().waiting, "no node is up");
    mute.say(pb::worker_message::Message::Heartbeat(pb::Heartbeat::default())).await;
    sleep(Duration::from_millis(10)).await;
    assert_eq!(running.node("node-1").await.state(), pb::NodeState::Up);
    assert_eq!(running.task("web.1").await.node_name, "node-1");
}

///
#[tokio::test(start_paused = true)]
async fn drain_moves_tasks_start_first_and_uncordon_opens_the_node_again() {
    let running = Running::over(MemoryStore::default()).await;
    let (mut first, mut second) = two(&running).await;
    let old = first.wanted().remove(0);
    let row = running.set("node-1", pb::AvailabilityKind::Drained).await.unwrap();
    assert_eq!(row.node.unwrap().availability.unwrap().reason, "new disk");
    second.until(|worker| worker.wanted().len() == 2).await;
    assert!(first.assigned[&old].stop.is_none(), "until the next one is ready");
    for task in second.wanted() {
        second.report(healthy(&task, 9)).await;
    }
    first.until(|worker| worker.assigned[&old].stop.is_some()).await;
    assert_eq!(first.assigned[&old].stop.as_ref().unwrap().cause(), pb::StopCause::Moved);
    first.report(report(&old, 9, pb::TaskState::Ended)).await;
    let row = running.set("node-1", pb::AvailabilityKind::Drained).await.unwrap();
    assert_eq!(row.tasks, 0);
    running.set("node-1", pb::AvailabilityKind::Active).await.unwrap();
    running.create("api", 2).await;
    first.until(|worker| !worker.wanted().is_empty()).await;
    assert_eq!(running.set("node-9", pb::AvailabilityKind::Active).await, Err(Code::NotFound));
    let none = pb::AvailabilityKind::Unspecified;
    assert_eq!(running.set("node-1", none).await, Err(Code::InvalidArgument));
}

///
#[tokio::test(start_paused = true)]
async fn labels_of_the_worker_meet_constraints_of_the_service() {
    let running = Running::over(MemoryStore::default()).await;
    let label = |value: &str| pb::Label { key: "zone".to_owned(), value: value.to_owned() };
    let with = |node, value| pb::Hello { labels: vec![label(value)], ..hello(node, 1, vec![]) };
    let _first = FakeWorker::rejoin(&running, with(1, "a")).await.unwrap();
    let mut second = FakeWorker::rejoin(&running, with(2, "b")).await.unwrap();
    let constrained = |constraint: &str| pb::CreateServiceRequest {
        spec: Some(pb::ServiceSpec { constraints: vec![constraint.to_owned()], ..spec("web", 3) }),
    };
    let refused = running.services().create(constrained("zone=b")).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().starts_with("spec.constraints[0]: "), "{}", refused.message());
    running.services().create(constrained("node.labels.zone==b")).await.unwrap();
    second.until(|worker| worker.wanted().len() == 3).await;
    let twice = pb::Hello { labels: vec![label("a"), label("b")], ..hello(3, 1, vec![]) };
    let refused = FakeWorker::rejoin(&running, twice).await.map(drop).unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

///
#[tokio::test(start_paused = true)]
async fn labels_that_people_set_count_at_once_and_outlast_the_worker_and_the_manager() {
    let store = MemoryStore::default();
    let running = Running::over(store.clone()).await;
    let _first = FakeWorker::join(&running, 1, 1).await;
    let mut second = FakeWorker::join(&running, 2, 1).await;
    let label = |key: &str, value: &str| pb::Label { key: key.to_owned(), value: value.to_owned() };
    let constraints = vec!["node.labels.zone==b".to_owned()];
    let request =
        pb::CreateServiceRequest { spec: Some(pb::ServiceSpec { constraints, ..spec("web", 2) }) };
    running.services().create(request).await.unwrap();
    let waits = running.task("web.1").await.task.unwrap().waiting;
    assert_eq!(waits, "no node that is up fits node.labels.zone==b");
    let ask = |node: &str, set: &[pb::Label], remove: &[&str]| pb::SetLabelsRequest {
        node: node.to_owned(),
        set: set.to_vec(),
        remove: remove.iter().map(|&key| key.to_owned()).collect(),
    };
    let zone = vec![label("zone", "b")];
    let row = running.nodes().set_labels(ask("node-2", &zone, &[])).await.unwrap();
    assert_eq!(row.into_inner().node.unwrap().operator_labels, zone);
    second.until(|worker| worker.wanted().len() == 2).await;
    assert!(running.said("node node-2 is labelled zone=b").await);

    for (set, remove, refusal) in [
        (vec![label("a b", "c")], &[][..], "set[0].key: \"a b\" is not a label"),
        (vec![], &["-"], "remove[0]: \"-\" is not a label"),
        (zone.clone(), &["zone"], "remove[0]: zone is set as well"),
        (vec![], &["a"; 65], "remove: are more than 64"),
    ] {
        let refused = running.nodes().set_labels(ask("node-2", &set, remove)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().starts_with(refusal), "{}", refused.message());
    }
    let unknown = running.nodes().set_labels(ask("node-9", &[], &[])).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);

    running.kill().await;
    let running = Running::over(store).await;
    let back = pb::Hello { labels: vec![label("zone", "a")], ..hello(2, 2, vec![]) };
    let _second = FakeWorker::rejoin(&running, back).await.unwrap();
    let node = running.node("node-2").await;
    assert_eq!((node.labels, node.operator_labels), (vec![label("zone", "a")], zone));
    assert_eq!(running.task("web.1").await.node_name, "node-2");
}

///
#[tokio::test(start_paused = true)]
async fn a_manager_that_starts_waits_for_nodes_and_acts_on_reports_at_once() {
    let store = MemoryStore::default();
    let running = Running::over(store.clone()).await;
    let (first, mut second) = two(&running).await;
    let (lost, kept) = (first.wanted().remove(0), second.wanted().remove(0));
    drop(first);
    let long = TIMING.grace + Duration::from_secs(1);
    timeout(long, second.until(|_| false)).await.unwrap_err();
    second.report(healthy(&kept, 5)).await;
    drop(second);
    running.kill().await;

    let running = Running::over(store).await;
    let began = tokio::time::Instant::now();
    let broken = crate::support::unhealthy(&kept, 6);
    let mut second = FakeWorker::rejoin(&running, hello(2, 1, vec![broken])).await.unwrap();
    second.until(|worker| worker.assigned.len() == 2).await;
    assert!(began.elapsed() < Duration::from_secs(1), "what is reported acts at once");
    second.until(|worker| worker.assigned.len() == 3).await;
    assert!(began.elapsed() >= Duration::from_secs(15), "the lost node had its time");
    assert!(running.task(&lost).await.task.unwrap().stop.is_none());
}
