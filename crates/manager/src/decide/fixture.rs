//! A cluster of one service with one task on one node, for the tables of this module.

use std::sync::Arc;

use warren_core::{
    change::Change,
    check::ByRole,
    health::{Health, HealthStatus, TaskHealth},
    id::{NodeId, ServiceId, TaskId},
    node::{Availability, Driver, Labels, Node, NodeState},
    report::TaskReport,
    service::Service,
    spec::{PlacementRules, Replicas, RestartPolicy, ServiceSpec, TaskTemplate, Workload},
    task::{EndKind, Phase, Placement, ReportMark, Task, TaskEnd, TaskStatus},
    time::Timestamp,
};

use super::{Draft, service};
use crate::input::Hello;

pub const SERVICE: ServiceId = ServiceId::from_u64(0x5e);
pub const TASK: TaskId = TaskId::from_u64(0xaa);
pub const NODE: NodeId = NodeId::from_u64(0x0d);
pub const OTHER_NODE: NodeId = NodeId::from_u64(0x0e);
pub const EPOCH: u64 = 5;

const START: Timestamp = Timestamp::from_millis(1_000_000);

pub fn draft() -> Draft {
    Draft::new(warren_core::cluster::Cluster::default(), START)
}

/// What was drafted is durable, and some seconds have passed.
pub fn later(draft: Draft, seconds: u64) -> Draft {
    let now = draft.now().after(std::time::Duration::from_secs(seconds));
    Draft::new(draft.into_parts().0, now)
}

pub fn spec(name: &str, replicas: u32) -> ServiceSpec {
    let template = TaskTemplate::new(Workload::Process { command: vec!["/bin/server".to_owned()] });
    let replicas = Replicas::new(replicas).unwrap();
    ServiceSpec {
        name: name.parse().unwrap(),
        replicas,
        template: Arc::new(template),
        restart: RestartPolicy::default(),
        placement: PlacementRules::default(),
    }
}

pub fn with_service(replicas: u32) -> Draft {
    let mut draft = draft();
    service::create(&mut draft, spec("web", replicas), SERVICE).unwrap();
    draft
}

/// Placed on [`NODE`], not taken up yet. The history is empty.
pub fn with_task() -> Draft {
    let mut draft = draft();
    draft.put(Change::PutService(Box::new(Service::new(SERVICE, spec("web", 1), START))));
    for (id, name) in [(NODE, "alpha"), (OTHER_NODE, "beta")] {
        draft.put(Change::PutNode(Box::new(Node {
            id,
            name: name.to_owned(),
            state: NodeState::Up,
            since: START,
            registered_at: START,
            drivers: [Driver::Process].into(),
            version: "0.1.0".to_owned(),
            epoch: EPOCH,
            cpus: 2,
            memory_bytes: 1 << 30,
            labels: Labels::new(),
            availability: Availability::active(START),
            accused: None,
            doubted: None,
            operator_labels: Labels::new(),
        })));
    }
    draft.put(Change::PutTask(Box::new(Task {
        id: TASK,
        service: SERVICE,
        slot: 1,
        revision: 1,
        attempt: 0,
        placement: Placement::On(NODE),
        created_at: START,
        not_before: START,
        replaces: None,
        stop: None,
        held: None,
        status: TaskStatus::pending(START),
        reported: ReportMark::default(),
    })));
    later(draft, 0)
}

pub fn with_healthy_task() -> Draft {
    let mut draft = with_task();
    let mut task = (**draft.cluster().task(TASK).unwrap()).clone();
    task.status = running(1_000);
    draft.put(Change::PutTask(Box::new(task)));
    let health = TaskHealth { observed: healthy(1_001), ..TaskHealth::starting(START) };
    draft.put(Change::PutHealth(TASK, Box::new(health)));
    later(draft, 10)
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

pub fn running(seconds: u64) -> TaskStatus {
    let started_at = Some(at(seconds));
    TaskStatus { phase: Phase::Running, started_at, ..TaskStatus::pending(at(seconds)) }
}

pub fn ended(exit_code: i32) -> TaskStatus {
    let end = TaskEnd {
        kind: EndKind::Exited,
        at: at(2_000),
        exit_code: Some(exit_code),
        oom_killed: false,
        reason: String::new(),
    };
    TaskStatus { phase: Phase::Ended(Box::new(end)), ..TaskStatus::pending(at(2_000)) }
}

pub fn healthy(seconds: u64) -> Health {
    Health {
        status: HealthStatus::Healthy,
        since: at(seconds),
        ready: true,
        ready_since: at(seconds),
        was_ready: true,
        reason: String::new(),
        roles: ByRole::default(),
    }
}

/// Of [`TASK`], which runs.
pub fn report(sequence: u64) -> TaskReport {
    TaskReport {
        task: TASK,
        sequence,
        status: running(1_000),
        health: None,
        transitions: Vec::new(),
        transitions_dropped: 0,
    }
}

/// Of [`NODE`].
pub fn hello_of(epoch: u64, tasks: Vec<TaskReport>) -> Hello {
    Hello {
        node: NODE,
        name: "alpha".to_owned(),
        epoch,
        version: "0.1.0".to_owned(),
        drivers: [Driver::Process].into(),
        cpus: 2,
        labels: Labels::new(),
        memory_bytes: 1 << 30,
        has: tasks.iter().map(|report| report.task).collect(),
        tasks,
    }
}
