//! The line that people read.

use std::sync::Arc;

use warren_core::{
    health::{Grounds, HealthStatus, RoleHealth, Streak, Verdict},
    id::ServiceId,
    node::NodeState,
};
use warren_plan::{effective_health, summary::summarize};

use crate::world::World;

fn text(world: &World, service: ServiceId) -> String {
    let service = Arc::clone(world.cluster.service(service).unwrap());
    summarize(&world.cluster, &service, world.now).text()
}

#[test]
fn the_line_follows_the_service() {
    let mut world = World::new(1);
    let web = world.service("web", 2, &[]);
    assert_eq!(text(&world, web), "0/2 healthy, 2/2 starting");
    world.plan();
    for slot in 1..=2 {
        let id = world.only(web, slot);
        world.runs(id);
        world.is_unhealthy(id);
    }
    assert_eq!(text(&world, web), "0/2 healthy, 2/2 unhealthy");
    world.plan();
    assert_eq!(text(&world, web), "0/2 healthy, 2/2 restarting");
    world.serve(web);
    assert_eq!(text(&world, web), "2/2 healthy");
    world.is_unhealthy(world.only(web, 1));
    assert_eq!(text(&world, web), "1/2 healthy, 1/2 unhealthy");
    world.plan();
    assert_eq!(text(&world, web), "1/2 healthy, 1/2 restarting");
    world.is_ready(world.pair(web, 1).0);
    world.plan();
    world.node(1, NodeState::Lost);
    assert_eq!(text(&world, web), "0/2 healthy, 2/2 unknown");
}

#[test]
fn ready_is_counted_apart_from_healthy() {
    let mut world = World::new(1);
    let web = world.service("web", 3, &[]);
    world.serve(web);
    world.is_not_ready(world.only(web, 2));
    world.observe(world.only(web, 3), HealthStatus::Unchecked, true, "");
    let service = Arc::clone(world.cluster.service(web).unwrap());
    let summary = summarize(&world.cluster, &service, world.now);
    assert_eq!((summary.replicas, summary.healthy, summary.ready), (3, 3, 2));
}

// C-48: a flapping task is healthy, and flaps besides.
#[test]
fn flapping_is_counted_apart_from_healthy() {
    let mut world = World::new(1);
    let web = world.service("web", 3, &[]);
    world.serve(web);
    let since = Some(world.now);
    let id = world.only(web, 2);
    world.look(id, |health| {
        health.roles.readiness = Some(Box::new(RoleHealth {
            verdict: Verdict::Passing,
            since: health.since,
            streak: Streak::Passes(1),
            last: None,
            flapping_since: since,
            grounds: Grounds::Seen,
            lasted_ms: 0,
        }));
    });
    assert_eq!(text(&world, web), "3/3 healthy, 1/3 flapping");
    world.plan();
    assert_eq!(world.only(web, 2), id, "nothing is replaced for it");
}

#[test]
fn a_task_that_is_told_to_stop_is_not_ready() {
    let mut world = World::new(1);
    let web = world.service("web", 1, &[]);
    world.serve(web);
    let id = world.only(web, 1);
    assert!(effective_health(&world.cluster, &world.task(id), world.now).ready);
    world.scale(web, 0);
    world.plan();
    assert!(!effective_health(&world.cluster, &world.task(id), world.now).ready);
}
