//! Rows to write, and a way to wait for a commit without a runtime of its own in each test.

use std::sync::Arc;

use warren_core::{
    change::Change,
    cluster::Cluster,
    event::{Event, EventKind},
    health::TaskHealth,
    id::{NodeId, ServiceId, TaskId},
    node::{Availability, Driver, Labels, Node, NodeState},
    service::Service,
    spec::{PlacementRules, Replicas, RestartPolicy, ServiceSpec, TaskTemplate, Workload},
    task::{Placement, ReportMark, Task, TaskStatus},
    time::Timestamp,
};
use warren_store::{CommitFault, Store};

pub fn commit(store: &mut impl Store, batch: &[Change]) -> Result<u64, CommitFault> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.commit(Arc::from(batch)))
}

/// Does in memory what a commit does on disk.
pub fn apply(cluster: &mut Cluster, batch: &[Change]) {
    for change in batch {
        cluster.apply(change);
    }
    cluster.revision += 1;
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub fn service(id: u64, replicas: u32) -> Change {
    let template = TaskTemplate::new(Workload::Process { command: vec!["/bin/true".to_owned()] });
    let spec = ServiceSpec {
        name: format!("service-{id}").parse().unwrap(),
        replicas: Replicas::new(replicas).unwrap(),
        template: Arc::new(template),
        restart: RestartPolicy::default(),
        placement: PlacementRules::default(),
    };
    Change::PutService(Box::new(Service::new(ServiceId::from_u64(id), spec, at(1_000))))
}

pub fn task(id: u64, service: u64, node: Option<u64>, sequence: u64) -> Change {
    let placement = match node {
        Some(node) => Placement::On(NodeId::from_u64(node)),
        None => Placement::Waiting("no node is up".to_owned()),
    };
    Change::PutTask(Box::new(Task {
        id: TaskId::from_u64(id),
        service: ServiceId::from_u64(service),
        slot: 1,
        revision: 1,
        attempt: 0,
        placement,
        created_at: at(2_000),
        not_before: at(2_000),
        replaces: None,
        stop: None,
        held: None,
        status: TaskStatus::pending(at(2_000)),
        reported: ReportMark { epoch: 1, sequence },
    }))
}

pub fn health(task: u64, since: u64) -> Change {
    Change::PutHealth(TaskId::from_u64(task), Box::new(TaskHealth::starting(at(since))))
}

pub fn node(id: u64, epoch: u64) -> Change {
    Change::PutNode(Box::new(Node {
        id: NodeId::from_u64(id),
        name: format!("node-{id}"),
        state: NodeState::Up,
        since: at(500),
        registered_at: at(500),
        drivers: [Driver::Process].into(),
        version: "0.1.0".to_owned(),
        epoch,
        cpus: 2,
        memory_bytes: 1 << 30,
        labels: Labels::new(),
        availability: Availability::active(at(500)),
        operator_labels: Labels::new(),
        accused: None,
        doubted: None,
    }))
}

pub fn event(sequence: u64) -> Change {
    Change::PutEvent(Box::new(Event {
        sequence,
        at: at(3_000),
        kind: EventKind::TaskCreated,
        service: Some(ServiceId::from_u64(1)),
        service_name: Some("web".parse().unwrap()),
        slot: Some(1),
        task: None,
        node: None,
        message: format!("event {sequence}"),
        decision: None,
    }))
}
