//! What it costs to plan, without anything around it.

use std::time::{Duration, Instant};

use warren_core::{
    change::Change,
    cluster::Cluster,
    health::TaskHealth,
    id::{NodeId, ServiceId, TaskId},
    node::{Availability, Driver, Node, NodeState},
    report::TaskReport,
    service::Service,
    task::{EndKind, Task},
    time::Timestamp,
};
use warren_plan::{AtRest, Dirty, Policy, plan, plan_dirty};

use crate::{
    numbers::row,
    tasks::{PER_SERVICE, ended, spec, works},
};

const TASKS_ON_A_NODE: usize = 100;
/// Tasks that end, in each of the clusters.
const ENDS: usize = 50;

#[derive(Debug)]
pub struct Cost {
    pub tasks: usize,
    /// One task has ended: to decide and to place its successor.
    pub dirty_us: f64,
    /// The same once more, with all that it reads in the processor's caches.
    pub again_us: f64,
    /// Everything is looked at, and there is nothing to do.
    pub all_ms: f64,
}

/// In clusters of a hundredth and a tenth, and of so many tasks.
pub fn measure(tasks: usize) -> Vec<Cost> {
    [tasks / 100, tasks / 10, tasks].into_iter().filter(|n| *n >= PER_SERVICE).map(cost).collect()
}

pub fn show(costs: &[Cost]) {
    for Cost { tasks, dirty_us, again_us, all_ms } in costs {
        row(&format!("{tasks} tasks: plan for one that ended, µs"), &format!("{dirty_us:.0}"));
        row(&format!("{tasks} tasks: the same from caches, µs"), &format!("{again_us:.0}"));
        row(&format!("{tasks} tasks: plan all of them, ms"), &format!("{all_ms:.1}"));
    }
}

fn cost(tasks: usize) -> Cost {
    let policy = Policy::default();
    let mut cluster = filled(tasks, &policy);
    let begun = Instant::now();
    let now = crate::tasks::now();
    let rest = plan(&cluster, &policy, now, 7);
    let all_ms = begun.elapsed().as_secs_f64() * 1e3;
    assert!(rest.changes.is_empty(), "{:?}", rest.changes.first());
    let victims: Vec<Task> =
        cluster.tasks().step_by(tasks / ENDS.min(tasks / 2)).map(|task| (**task).clone()).collect();
    let mut took = [Duration::ZERO; 2];
    for victim in &victims {
        let before = cluster.clone();
        let TaskReport { status, .. } = ended(victim.id, 2, EndKind::Exited);
        let change = Change::PutTask(Box::new(Task { status, ..victim.clone() }));
        cluster.apply(&change);
        for took in &mut took {
            let begun = Instant::now();
            let dirty = Dirty::of(&before, &cluster, std::slice::from_ref(&change));
            let planned = plan_dirty(&cluster, &policy, now, 8, dirty, &mut AtRest::default());
            *took += begun.elapsed();
            assert!(!planned.changes.is_empty());
        }
        // As it was: the next one finds the same cluster.
        cluster = before;
    }
    let victims = crate::numbers::as_f64(victims.len() as u64);
    let [dirty_us, again_us] = took.map(|took| took.as_secs_f64() * 1e6 / victims);
    Cost { tasks, dirty_us, again_us, all_ms }
}

/// All tasks placed, healthy and ready.
fn filled(tasks: usize, policy: &Policy) -> Cluster {
    let mut cluster = Cluster::default();
    let now = crate::tasks::now();
    for number in 0..tasks.div_ceil(TASKS_ON_A_NODE) {
        cluster.apply(&Change::PutNode(Box::new(node(number, now))));
    }
    for number in 0..tasks / PER_SERVICE {
        let id = ServiceId::from_u64(number as u64 + 1);
        let service = Service::new(id, spec(number), now);
        let change = Change::PutService(Box::new(service));
        let before = cluster.clone();
        cluster.apply(&change);
        let dirty = Dirty::of(&before, &cluster, std::slice::from_ref(&change));
        let mut at_rest = AtRest::default();
        let plan = plan_dirty(&cluster, policy, now, number as u64, dirty, &mut at_rest);
        for change in plan.changes {
            cluster.apply(&change);
        }
    }
    let ids: Vec<TaskId> = cluster.tasks().map(|task| task.id).collect();
    assert_eq!(ids.len(), tasks);
    for id in ids {
        let TaskReport { status, health, .. } = works(id, 1, now, true);
        let task = (**cluster.task(id).unwrap()).clone();
        cluster.apply(&Change::PutTask(Box::new(Task { status, ..task })));
        let mut observed = health.unwrap();
        observed.was_ready = true;
        let health = TaskHealth { observed, ..TaskHealth::starting(now) };
        cluster.apply(&Change::PutHealth(id, Box::new(health)));
    }
    cluster
}

fn node(number: usize, now: Timestamp) -> Node {
    Node {
        id: NodeId::from_u64(number as u64 + 1),
        name: format!("node-{number}"),
        state: NodeState::Up,
        since: now,
        registered_at: now,
        drivers: [Driver::Containerd].into(),
        version: "bench".to_owned(),
        epoch: 1,
        cpus: 64,
        memory_bytes: 256 << 30,
        labels: warren_core::node::Labels::new(),
        availability: Availability::active(now),
        operator_labels: warren_core::node::Labels::new(),
        accused: None,
        doubted: None,
    }
}
