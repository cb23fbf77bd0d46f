//! Nodes that fall silent, are drained, or do not fit. R-n are clauses of docs/replacement.md.

use std::{sync::Arc, time::Duration};

use warren_core::{
    change::Change,
    health::HealthStatus,
    id::{ServiceId, TaskId},
    node::{AvailabilityKind, NodeState},
    restraint::Restraint,
    rule::Rule,
    spec::{CpuMillis, MemoryBytes, Replicas},
    task::{EndKind, StopCause},
};
use warren_plan::effective_health;

use crate::world::World;

impl World {
    fn label(&mut self, number: u64, value: &str) {
        self.edit_node(number, |node| {
            node.labels.insert("zone".parse().unwrap(), value.to_owned());
        });
    }

    fn operator_label(&mut self, number: u64, value: &str) {
        self.edit_node(number, |node| {
            node.operator_labels.insert("zone".parse().unwrap(), value.to_owned());
        });
    }

    fn constrain(&mut self, service: ServiceId, constraint: &str) {
        self.update(service, |spec| spec.placement.constraints = vec![constraint.parse().unwrap()]);
    }

    fn nodes_of(&self, service: ServiceId, replicas: u32) -> Vec<u64> {
        let mut nodes: Vec<u64> =
            (1..=replicas).map(|slot| self.node_of(self.only(service, slot))).collect();
        nodes.sort_unstable();
        nodes
    }

    fn takes_over(&mut self, new: TaskId) {
        self.runs(new);
        self.is_ready(new);
        self.plan();
    }
}

///
#[test]
fn tasks_of_a_lost_node_are_unknown_and_then_rescheduled() {
    let mut world = World::new(3);
    let web = world.service("web", 3, &[]);
    world.serve(web);
    let old = world.only(web, 1);
    let lost = world.node_of(old);
    world.node(lost, NodeState::Lost);
    let plan = world.plan();
    assert_eq!(world.only(web, 1), old);
    let health = effective_health(&world.cluster, &world.task(old), world.now);
    assert_eq!((health.status, health.ready), (HealthStatus::Unknown, false));
    assert_eq!(plan.wake_at, Some(world.now.after(Duration::from_secs(15))));
    world.seconds(14);
    assert_eq!(world.only(web, 1), old);
    world.seconds(1);
    let (_, new) = world.pair(web, 1);
    assert_ne!(world.node_of(new), lost);
    world.takes_over(new);
    assert_eq!(world.stopped(old), Some(StopCause::NodeLost));
    world.node(lost, NodeState::Up);
    world.plan();
    assert_eq!(world.only(web, 1), new, "the returning node is told to stop what was superseded");
    assert!(world.task(old).stop.is_some() && !world.task(old).has_ended());
}

///
#[test]
fn a_node_that_returns_in_time_keeps_its_tasks() {
    let mut world = World::new(2);
    let web = world.service("web", 2, &[]);
    world.serve(web);
    let old = world.only(web, 1);
    let lost = world.node_of(old);
    world.node(lost, NodeState::Lost);
    world.seconds(15);
    let (_, new) = world.pair(web, 1);
    world.node(lost, NodeState::Up);
    world.plan();
    assert_eq!(world.stopped(new), Some(StopCause::CalledOff));
    assert_eq!(world.only(web, 1), old);
}

///
#[test]
fn a_task_that_never_ran_is_replaced_first_and_a_successor_on_a_lost_node_too() {
    let mut world = World::new(2);
    let web = world.service("web", 1, &[]);
    world.plan();
    let first = world.only(web, 1);
    let node = world.node_of(first);
    world.node(node, NodeState::Lost);
    world.seconds(15);
    assert_eq!(world.stopped(first), Some(StopCause::NodeLost));
    let second = world.only(web, 1);
    assert_eq!((world.node_of(second), world.task(second).attempt), (3 - node, 0));
    world.node(node, NodeState::Up);
    world.serve(web);
    world.is_unhealthy(second);
    world.plan();
    let (_, hedge) = world.pair(web, 1);
    assert_eq!(world.node_of(hedge), node);
    world.node(node, NodeState::Lost);
    world.seconds(15);
    assert_eq!(world.stopped(hedge), Some(StopCause::NodeLost));
    assert_eq!(world.node_of(world.pair(web, 1).1), 3 - node);
}

///
#[test]
fn many_nodes_lost_at_once_freeze_their_replacement_until_recovery_or_command() {
    let mut world = World::new(10);
    let web = world.service("web", 10, &[]);
    world.serve(web);
    for number in 1..=2 {
        world.node(number, NodeState::Lost);
    }
    world.seconds(600);
    assert_eq!(world.in_replacement(web), Vec::<u32>::new());
    let held = |world: &World| {
        world.tasks(web).iter().filter(|t| world.held_by(t.id) == Some(Rule::Silence)).count()
    };
    assert_eq!(held(&world), 2);
    assert!(world.said("nothing is replaced for lost nodes"));
    // What is reported goes on: it is heard.
    let other = (1..=10).find(|&slot| world.node_of(world.only(web, slot)) > 2).unwrap();
    world.is_unhealthy(world.only(web, other));
    world.plan();
    assert_eq!(world.in_replacement(web), [other]);
    let mut released = World::new(0);
    (released.cluster, released.now) = (world.cluster.clone(), world.now);
    released.release(web);
    released.plan();
    assert_eq!(released.in_replacement(web).len(), 3);
    world.node(1, NodeState::Up);
    world.plan();
    assert_eq!(held(&world), 0);
    assert!(world.said("lost nodes are replaced again"));
    assert_eq!(world.in_replacement(web), [other], "the other one may be on its way");
    world.seconds(15);
    assert_eq!(world.in_replacement(web).len(), 2);
}

///
#[test]
fn a_manager_that_starts_waits_for_nodes_and_acts_on_what_is_reported() {
    let mut world = World::new(3);
    let web = world.service("web", 3, &[]);
    world.serve(web);
    let lost = world.only(web, 1);
    world.node(world.node_of(lost), NodeState::Lost);
    world.pass(Duration::from_hours(1));
    let started_at = Some(world.now);
    let restraint = Restraint { started_at, ..Restraint::default() };
    world.apply(&Change::PutRestraint(Box::new(restraint)));
    world.is_unhealthy(world.only(web, 2));
    let plan = world.plan();
    assert_eq!(world.in_replacement(web), [2]);
    assert_eq!(plan.wake_at, Some(world.now.after(Duration::from_secs(15))));
    world.seconds(15);
    assert_eq!(world.in_replacement(web), [1, 2]);
}

///
#[test]
fn nothing_is_placed_on_a_node_that_is_suspect_cordoned_or_drained() {
    let mut world = World::new(3);
    world.node(1, NodeState::Suspect);
    world.open(2, AvailabilityKind::Cordoned);
    world.open(3, AvailabilityKind::Drained);
    let web = world.service("web", 1, &[]);
    world.plan();
    let id = world.only(web, 1);
    assert_eq!(world.waits_because(id), "none of the 2 nodes that are up takes tasks");
    world.open(2, AvailabilityKind::Active);
    world.plan();
    assert_eq!(world.node_of(id), 2);
}

///
#[test]
fn a_drained_node_is_left_start_first_and_a_few_at_a_time() {
    let mut world = World::new(2);
    let web = world.service("web", 8, &[]);
    let port = world.service("port", 1, &[8080]);
    world.serve(web);
    world.serve(port);
    let node = world.node_of(world.only(port, 1));
    world.open(node, AvailabilityKind::Drained);
    world.plan();
    assert_eq!(world.in_replacement(web).len(), 2);
    let (old, new) = world.pair(port, 1);
    assert_eq!((world.node_of(new), world.stopped(old)), (3 - node, None), "another node's port");
    world.takes_over(new);
    assert_eq!(world.stopped(old), Some(StopCause::Moved));
    for _ in 0..4 {
        for slot in world.in_replacement(web) {
            let (_, new) = world.pair(web, slot);
            world.takes_over(new);
        }
    }
    assert_eq!(world.nodes_of(web, 8), [3 - node; 8]);
    assert!(world.tasks(web).iter().all(|task| task.attempt == 0), "nothing failed");
}

///
#[test]
fn a_move_that_fails_is_tried_again_under_backoff_and_the_old_task_stays() {
    let mut world = World::new(2);
    let web = world.service("web", 1, &[]);
    world.serve(web);
    let old = world.only(web, 1);
    world.open(world.node_of(old), AvailabilityKind::Drained);
    world.plan();
    for attempt in 0..5 {
        let (kept, new) = world.pair(web, 1);
        assert_eq!((kept, world.task(new).attempt), (old, attempt));
        world.ends(new, EndKind::NotStarted, None);
        world.plan();
        world.seconds(600);
    }
    assert_eq!(world.stopped(old), None);
}

///
#[test]
fn constraints_choose_nodes_and_move_what_no_longer_fits() {
    let mut world = World::new(3);
    world.label(1, "a");
    world.label(2, "b");
    let web = world.service("web", 2, &[]);
    world.constrain(web, "node.labels.zone==a");
    world.serve(web);
    assert_eq!(world.nodes_of(web, 2), [1, 1]);
    world.constrain(web, "node.labels.zone!=a");
    world.plan();
    assert_eq!(world.in_replacement(web), [1], "one at a time");
    for slot in 1..=2 {
        let (_, new) = world.pair(web, slot);
        world.takes_over(new);
    }
    assert_eq!(world.nodes_of(web, 2), [2, 3]);
    world.constrain(web, "node.name==nowhere");
    world.plan();
    let (_, new) = world.pair(web, 1);
    assert_eq!(world.waits_because(new), "no node that is up fits node.name==nowhere");
}

///
#[test]
fn an_operators_label_counts_at_once_before_the_workers() {
    let mut world = World::new(3);
    for number in 1..=3 {
        world.label(number, "b");
    }
    let web = world.service("web", 1, &[]);
    world.constrain(web, "node.labels.zone==a");
    world.plan();
    let waiting = world.only(web, 1);
    assert_eq!(world.waits_because(waiting), "no node that is up fits node.labels.zone==a");
    world.operator_label(2, "a");
    world.plan();
    assert_eq!(world.node_of(waiting), 2);
    world.runs(waiting);
    world.is_ready(waiting);
    world.operator_label(3, "a");
    world.plan();
    assert_eq!(world.only(web, 1), waiting, "it fits where it is");
    world.operator_label(2, "c");
    world.plan();
    let (old, new) = world.pair(web, 1);
    assert_eq!((old, world.node_of(new), world.stopped(old)), (waiting, 3, None), "start-first");
}

///
#[test]
fn a_label_moves_nothing_that_runs_for_the_sake_of_spread() {
    let mut world = World::new(3);
    let web = world.service("web", 2, &[]);
    world.update(web, |spec| spec.placement.spread = Some("node.labels.zone".parse().unwrap()));
    world.serve(web);
    assert_eq!(world.nodes_of(web, 2), [1, 2]);
    for (number, zone) in [(1, "a"), (2, "a"), (3, "b")] {
        world.operator_label(number, zone);
    }
    world.plan();
    assert_eq!(world.nodes_of(web, 2), [1, 2]);
    world.update(web, |spec| spec.replicas = Replicas::new(4).unwrap());
    world.plan();
    assert_eq!(world.nodes_of(web, 4), [1, 2, 3, 3]);
}

///
#[test]
fn a_service_is_spread_over_the_values_of_a_label() {
    let mut world = World::new(4);
    for (number, zone) in [(1, "a"), (2, "a"), (3, "a"), (4, "b")] {
        world.label(number, zone);
    }
    let web = world.service("web", 4, &[]);
    world.update(web, |spec| spec.placement.spread = Some("node.labels.zone".parse().unwrap()));
    world.plan();
    let nodes = world.nodes_of(web, 4);
    assert_eq!(nodes.iter().filter(|&&node| node == 4).count(), 2, "{nodes:?}");
}

///
#[test]
fn a_node_takes_what_its_tasks_declare_and_no_more() {
    let mut world = World::new(2);
    let web = world.service("web", 5, &[]);
    let declare = |world: &mut World, cpu: Option<u32>, memory: Option<u64>| {
        world.update(web, |spec| {
            let mut template = (*spec.template).clone();
            template.cpu_millis = cpu.map(|cpu| CpuMillis::new(cpu).unwrap());
            template.memory_bytes = memory.map(|bytes| MemoryBytes::new(bytes).unwrap());
            spec.template = Arc::new(template);
        });
    };
    declare(&mut world, Some(2_000), None);
    world.plan();
    let waiting = world.only(web, 5);
    assert_eq!(world.waits_because(waiting), "no node has 2 CPUs left");
    let first = world.only(web, 1);
    world.runs(first);
    world.is_ready(first);
    world.is_unhealthy(first);
    world.plan();
    let (_, new) = world.pair(web, 1);
    assert_eq!(world.node_of(new), world.node_of(first), "it takes its predecessor's place");
}
