//! Which node, and the sentence when there is none.

use std::sync::Arc;

use warren_core::{
    id::NodeId,
    node::{Driver, NodeState},
    spec::Workload,
    task::EndKind,
};

use crate::world::World;

#[test]
fn the_reason_for_waiting_says_what_is_missing() {
    let mut world = World::new(0);
    let web = world.service("web", 3, &[8080]);
    world.plan();
    let third = world.only(web, 3);
    assert_eq!(world.waits_because(third), "no node is up");
    assert_eq!(world.seconds(60).changes, [], "the same reason is written once");
    world.node(1, NodeState::Lost);
    world.plan();
    assert_eq!(world.waits_because(third), "no node is up");
    world.node(1, NodeState::Up);
    world.node(2, NodeState::Up);
    world.plan();
    assert_eq!(world.waits_because(third), "host port 8080/tcp is taken on all 2 nodes");
}

#[test]
fn a_node_needs_the_driver() {
    let mut world = World::new(2);
    let job = world.service("job", 1, &[]);
    world.update(job, |spec| {
        let mut template = (*spec.template).clone();
        template.workload = Workload::Process { command: vec!["sleep".to_owned()] };
        spec.template = Arc::new(template);
    });
    world.plan();
    let task = world.only(job, 1);
    assert_eq!(world.waits_because(task), "no node that is up has the process driver");
    let mut node = (**world.cluster.node(NodeId::from_u64(2)).unwrap()).clone();
    node.drivers.insert(Driver::Process);
    world.apply(&warren_core::change::Change::PutNode(Box::new(node)));
    world.plan();
    assert_eq!(world.node_of(task), 2);
}

#[test]
fn a_host_port_is_taken_until_its_task_has_ended() {
    let mut world = World::new(1);
    let web = world.service("web", 1, &[8080]);
    let shop = world.service("shop", 1, &[8080]);
    world.serve(web);
    world.plan();
    let waiting = world.only(shop, 1);
    assert_eq!(world.waits_because(waiting), "host port 8080/tcp is taken on node-1");
    let old = world.only(web, 1);
    world.remove(web);
    world.plan();
    assert_eq!(world.waits_because(waiting), "host port 8080/tcp is taken on node-1");
    world.ends(old, EndKind::Stopped, None);
    world.plan();
    assert_eq!(world.node_of(waiting), 1);
}

#[test]
fn a_slot_that_failed_on_a_node_tries_another() {
    let mut world = World::new(2);
    let web = world.service("web", 1, &[]);
    world.serve(web);
    assert_eq!(world.node_of(world.only(web, 1)), 1);
    world.exits(world.only(web, 1), 1);
    world.plan();
    assert_eq!(world.node_of(world.only(web, 1)), 2);
    world.exits(world.only(web, 1), 1);
    world.seconds(5);
    assert_eq!(world.node_of(world.only(web, 1)), 1);
}

#[test]
fn an_unhealthy_task_s_successor_starts_on_another_node() {
    let mut world = World::new(2);
    let web = world.service("web", 1, &[]);
    world.serve(web);
    world.is_unhealthy(world.only(web, 1));
    world.plan();
    let (old, new) = world.pair(web, 1);
    assert_eq!((world.node_of(old), world.node_of(new)), (1, 2));
}

#[test]
fn with_one_node_even_a_failed_one_will_do() {
    let mut world = World::new(1);
    let web = world.service("web", 1, &[]);
    world.serve(web);
    world.exits(world.only(web, 1), 1);
    world.plan();
    assert_eq!(world.node_of(world.only(web, 1)), 1);
}

#[test]
fn services_spread_and_a_rollout_leaves_them_spread() {
    let mut world = World::new(3);
    let web = world.service("web", 3, &[]);
    let shop = world.service("shop", 3, &[]);
    for service in [web, shop] {
        world.serve(service);
    }
    world.roll(web);
    for _ in 0..4 {
        world.serve(web);
    }
    for service in [web, shop] {
        let nodes = [1, 2, 3].map(|slot| world.node_of(world.only(service, slot)));
        assert_eq!(nodes.iter().sum::<u64>(), 6, "{nodes:?}");
    }
}

#[test]
fn the_predecessor_on_a_silent_node_does_not_hold_up_its_successor() {
    let mut world = World::new(2);
    let web = world.service("web", 1, &[8080]);
    world.serve(web);
    world.roll(web);
    world.plan();
    let new = world.only(web, 1);
    assert!(world.waits_because(new).contains("must end first"));
    world.node(1, NodeState::Lost);
    world.plan();
    assert_eq!(world.node_of(new), 2);
}

#[test]
fn the_reason_is_that_of_the_cluster_after_the_plan() {
    let mut world = World::new(2);
    world.service("a", 1, &[80]);
    world.plan();
    world.service("b", 1, &[81]);
    world.plan();
    let both = world.service("c", 1, &[80, 81]);
    world.plan();
    let waiting = world.only(both, 1);
    assert_eq!(world.waits_because(waiting), "no node has all of its host ports free");
    let rest = world.service("d", 1, &[80]);
    world.plan();
    assert_eq!(world.node_of(world.only(rest, 1)), 2);
    assert_eq!(world.waits_because(waiting), "host port 80/tcp is taken on all 2 nodes");
}
