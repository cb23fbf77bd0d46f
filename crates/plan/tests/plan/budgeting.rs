//! How many are replaced for their health at once.

use std::time::Duration;

use warren_core::task::{EndKind, StopCause};

use crate::world::World;

///
#[test]
fn at_most_a_quarter_of_a_service_is_in_replacement_for_its_health() {
    for (replicas, budget) in [(1, 1), (3, 1), (8, 2), (9, 2), (40, 10)] {
        let mut world = World::new(2);
        let web = world.service("web", replicas, &[]);
        world.serve(web);
        for slot in 1..=replicas {
            world.is_unhealthy(world.only(web, slot));
            // One after the other: what fails at one moment is another guard's.
            world.pass(Duration::from_mins(1));
        }
        world.plan();
        let pairs =
            |world: &World| (1..=replicas).filter(|&slot| world.live(web, slot).len() == 2).count();
        assert_eq!(pairs(&world), budget, "{replicas} replicas");
        let (_, new) = world.pair(web, 1);
        world.runs(new);
        world.is_ready(new);
        world.plan();
        let expected = budget.min(replicas as usize - 1);
        assert_eq!(pairs(&world), expected, "the next one follows when one is through");
    }
}

///
#[test]
fn a_failed_replacement_holds_its_part_of_the_budget_for_a_while() {
    let mut world = World::new(1);
    let web = world.service("web", 2, &[]);
    world.serve(web);
    for slot in 1..=2 {
        world.is_unhealthy(world.only(web, slot));
    }
    world.plan();
    let (old, new) = world.pair(web, 1);
    world.ends(new, EndKind::NotStarted, None);
    world.plan();
    assert_eq!(world.stopped(old), Some(StopCause::Unhealthy));
    let plan = world.seconds(29);
    assert_eq!(world.live(web, 2).len(), 1);
    assert_eq!(plan.wake_at, Some(world.now.after(Duration::from_secs(1))));
    world.seconds(1);
    assert_eq!(world.live(web, 2).len(), 2);
}

/// Found by simulation, seed 1729.
#[test]
fn failures_in_a_row_do_not_push_out_the_memory_that_the_slot_was_laid_bare() {
    let mut world = World::new(1);
    world.policy.backoff_base = Duration::from_millis(100);
    let web = world.service("web", 2, &[]);
    world.serve(web);
    for slot in 1..=2 {
        world.is_unhealthy(world.only(web, slot));
    }
    world.plan();
    let (old, new) = world.pair(web, 1);
    world.ends(new, EndKind::NotStarted, None);
    world.plan();
    world.ends(old, EndKind::Stopped, None);
    for _ in 0..2 * world.policy.ended_kept {
        let next = world.only(web, 1);
        world.ends(next, EndKind::NotStarted, None);
        world.seconds(2);
        assert_eq!(world.live(web, 2).len(), 1);
    }
    world.seconds(10);
    assert_eq!(world.live(web, 2).len(), 2);
    assert!(world.cluster.task(old).is_none(), "it is forgotten once it holds nothing");
}

#[test]
fn a_slot_that_waits_for_its_successor_keeps_its_part_of_the_budget() {
    let mut world = World::new(2);
    let web = world.service("web", 2, &[8080]);
    world.serve(web);
    let (first, second) = (world.only(web, 1), world.only(web, 2));
    world.is_unhealthy(first);
    world.is_unhealthy(second);
    world.plan();
    assert_eq!(world.stopped(first), Some(StopCause::Unhealthy));
    world.seconds(3600);
    assert_eq!(world.stopped(second), None, "the first has no port to come back to yet");
    world.ends(first, EndKind::Stopped, None);
    world.plan();
    let new = world.only(web, 1);
    world.runs(new);
    world.is_ready(new);
    world.plan();
    assert_eq!(world.stopped(second), Some(StopCause::Unhealthy));
}

#[test]
fn a_slot_that_served_again_gives_its_part_back() {
    let mut world = World::new(1);
    let web = world.service("web", 1, &[]);
    world.serve(web);
    world.is_unhealthy(world.only(web, 1));
    world.plan();
    let (old, new) = world.pair(web, 1);
    world.ends(new, EndKind::NotStarted, None);
    world.plan();
    assert_eq!(world.stopped(old), Some(StopCause::Unhealthy));
    world.seconds(5);
    let next = world.only(web, 1);
    world.runs(next);
    world.is_ready(next);
    world.plan();
    world.is_unhealthy(next);
    world.plan();
    assert_eq!(world.pair(web, 1).0, next, "it does not wait for its own predecessor");
}

///
#[test]
fn a_process_that_is_gone_and_a_task_that_never_worked_need_no_budget() {
    let mut world = World::new(1);
    let web = world.service("web", 3, &[]);
    world.serve(web);
    world.is_unhealthy(world.only(web, 1));
    for slot in 2..=3 {
        let id = world.only(web, slot);
        world.exits(id, 1);
    }
    world.plan();
    world.pair(web, 1);
    for slot in 2..=3 {
        let id = world.only(web, slot);
        world.runs(id);
        world.is_unhealthy(id);
    }
    world.plan();
    for slot in 2..=3 {
        assert_eq!(world.task(world.only(web, slot)).attempt, 2);
    }
}
