//! What is remembered, for how long, and that each row is written once.

use std::collections::BTreeSet;

use warren_core::{
    change::Change,
    event::{Event, EventKind},
    task::EndKind,
};

use crate::world::World;

#[test]
fn the_newest_five_ended_tasks_of_a_slot_are_kept() {
    let mut world = World::new(1);
    let web = world.service("web", 1, &[]);
    world.plan();
    let mut ended = Vec::new();
    for _ in 0..9 {
        let id = world.only(web, 1);
        ended.push(id);
        world.ends(id, EndKind::NotStarted, None);
        world.seconds(300);
    }
    let kept: BTreeSet<_> =
        world.tasks(web).iter().filter(|t| t.has_ended()).map(|t| t.id).collect();
    assert_eq!(kept, ended[4..].iter().copied().collect());
    assert_eq!(world.task(world.only(web, 1)).attempt, 9, "the count outlives the rows");
}

#[test]
fn templates_go_with_the_last_task_that_ran_them() {
    let mut world = World::new(1);
    world.policy.ended_kept = 0;
    let web = world.service("web", 1, &[]);
    world.serve(web);
    let old = world.only(web, 1);
    world.roll(web);
    world.serve(web);
    world.ends(old, EndKind::Stopped, None);
    let known = |world: &World| world.cluster.service(web).unwrap().older_templates.len();
    assert_eq!(known(&world), 1);
    // As long as the successor has not ended, what it replaced is kept.
    world.serve(web);
    assert_eq!(known(&world), 1);
    let new = world.only(web, 1);
    world.exits(new, 1);
    world.plan();
    assert_eq!(known(&world), 0);
}

#[test]
fn events_are_trimmed_many_at_a_time() {
    let mut world = World::new(1);
    (world.policy.events_kept, world.policy.events_slack) = (20, 10);
    let mut trims = 0;
    for sequence in 1..=200 {
        let event = Event {
            sequence: world.cluster.last_event() + 1,
            at: world.now,
            kind: EventKind::NodeUp,
            service: None,
            service_name: None,
            slot: None,
            task: None,
            node: None,
            message: format!("event {sequence}"),
            decision: None,
        };
        world.apply(&Change::PutEvent(Box::new(event)));
        trims += world.plan().changes.len();
        assert!(world.cluster.events().count() <= 30);
        assert_eq!(world.cluster.last_event(), sequence);
    }
    assert_eq!(trims, 16);
}

#[test]
fn the_story_of_a_replacement_can_be_read() {
    let mut world = World::new(2);
    let web = world.service("web", 1, &[]);
    world.serve(web);
    let old = world.only(web, 1);
    world.exits(old, 3);
    world.plan();
    let new = world.only(web, 1);
    world.exits(new, 3);
    world.plan();
    for sentence in [
        format!("task web.1 ({old}) is created"),
        format!("task web.1 ({old}) is placed on node-1"),
        format!(
            "task web.1 ({new}) is created to take over from {old}: its process exited with code 3"
        ),
        "after 2 failures in a row".to_owned(),
    ] {
        assert!(world.said(&sentence), "{sentence}");
    }
}

#[test]
fn a_plan_names_its_tasks_the_same_each_time_and_by_seed() {
    let mut world = World::new(1);
    world.service("web", 50, &[]);
    let plan =
        |world: &World, seed| warren_plan::plan(&world.cluster, &world.policy, world.now, seed);
    assert_eq!(plan(&world, 1), plan(&world, 1));
    assert_ne!(plan(&world, 1), plan(&world, 2));
}
