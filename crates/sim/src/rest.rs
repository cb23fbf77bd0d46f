//! Whether the cluster is as it was asked to be, and every task is accounted for.

use std::{collections::BTreeSet, sync::Arc};

use warren_core::{
    cluster::Cluster,
    id::TaskId,
    node::NodeState,
    rule::Rule,
    service::Service,
    task::{Phase, Task},
};
use warren_plan::effective_health;

use crate::cluster::Sim;

/// The first thing that is not as it should be.
pub fn unrest(sim: &Sim) -> Option<String> {
    let cluster = sim.manager.database.cluster();
    for node in &sim.nodes {
        let known = cluster.node(node.id);
        if known.is_none_or(|known| known.state != NodeState::Up) {
            return Some(format!("{} is not up", node.machine.name));
        }
    }
    for service in cluster.services() {
        if let Some(why) = unrest_of(sim, &cluster, service) {
            return Some(format!("{}: {why}", service.spec.name));
        }
    }
    sim.nodes.iter().find_map(|node| {
        let placed: BTreeSet<TaskId> =
            cluster.tasks_on(node.id).filter(|task| !task.has_ended()).map(|t| t.id).collect();
        let (running, held) = (node.machine.running(), node.machine.held());
        let name = &node.machine.name;
        if placed != running.iter().copied().collect() {
            return Some(format!("{name} runs {running:?}, and {placed:?} are placed there"));
        }
        (held.len() != running.len()).then(|| format!("{name} holds {held:?}, beside what runs"))
    })
}

fn unrest_of(sim: &Sim, cluster: &Cluster, service: &Service) -> Option<String> {
    if service.removed_at.is_some() {
        return Some("is still being removed".to_owned());
    }
    let now = sim.manager.clock.read();
    let living: Vec<&Task> =
        cluster.tasks_of(service.id).map(|task| &**task).filter(|task| !task.has_ended()).collect();
    // Two programs that bind one port cannot share a node: one waits, and the others wait for it
    // with their update.
    let crowded = service.spec.template.binds_host_ports() && living.len() > sim.nodes.len();
    // So does one that was to take over while a node was lost, and what was there works on.
    let is_there = |id: TaskId| living.iter().any(|task| task.id == id);
    let waits_beside =
        |task: &Task| crowded && task.node().is_none() && task.replaces.is_some_and(is_there);
    let filled = living.iter().filter(|task| !waits_beside(task));
    let slots: Vec<u32> = filled.map(|task| task.slot).collect();
    // The task that is tried for all of them may be one that waits, and then they have no room.
    let is_held = |slot: &u32| {
        let is_it =
            |task: &Arc<Task>| task.held.as_ref().is_some_and(|held| held.rule == Rule::Dependency);
        crowded && !slots.contains(slot) && cluster.tasks_in(service.id, *slot).any(is_it)
    };
    let wanted: Vec<u32> =
        (1..=service.spec.replicas.get()).filter(|slot| !is_held(slot)).collect();
    if slots != wanted {
        return Some(format!("slots {slots:?} are filled, and {wanted:?} are wanted"));
    }
    living.iter().find_map(|task| {
        let health = effective_health(cluster, task, now);
        let works = task.status.phase == Phase::Running
            && task.stop.is_none()
            && health.ready
            && health.status.is_good();
        let is_new = task.revision == service.template_revision;
        let waits = crowded && task.node().is_none();
        (!waits && !(works && (is_new || crowded))).then(|| {
            let (id, slot, status) = (task.id, task.slot, health.status.name());
            let (phase, ready, stop) = (task.status.phase.name(), health.ready, &task.stop);
            format!("task {id} of slot {slot} is {phase}, {status}, ready {ready}, {stop:?}")
        })
    })
}
