//! More, fewer, other, and no tasks.

use warren_core::{
    change::Change,
    event::EventKind,
    id::NodeId,
    node::NodeState,
    task::{EndKind, Stop, StopCause},
};

use crate::world::World;

#[test]
fn every_slot_gets_a_task() {
    let mut world = World::new(3);
    let web = world.service("web", 3, &[]);
    world.plan();
    let nodes = [1, 2, 3].map(|slot| world.node_of(world.only(web, slot)));
    assert_eq!(nodes, [1, 2, 3]);
    assert_eq!(world.task(world.only(web, 1)).attempt, 0);
}

#[test]
fn the_highest_slots_go_when_there_are_too_many() {
    let mut world = World::new(1);
    let web = world.service("web", 3, &[]);
    world.serve(web);
    let tasks = [1, 2, 3].map(|slot| world.only(web, slot));
    world.scale(web, 1);
    world.plan();
    assert_eq!(
        tasks.map(|id| world.stopped(id)),
        [None, Some(StopCause::ScaledDown), Some(StopCause::ScaledDown)]
    );
    let stops = world.cluster.events().filter(|e| e.kind == EventKind::TaskStopping);
    assert_eq!(stops.filter_map(|e| e.slot).collect::<Vec<_>>(), [3, 2]);
    world.ends(tasks[2], EndKind::Stopped, None);
    world.plan();
    assert!(world.cluster.task(tasks[2]).is_none(), "a surplus slot leaves no rows");
    assert!(world.cluster.task(tasks[1]).is_some(), "its worker has yet to say that it ended");
}

#[test]
fn both_tasks_of_a_slot_go_when_it_is_one_too_many() {
    let mut world = World::new(1);
    let web = world.service("web", 1, &[]);
    world.serve(web);
    world.is_unhealthy(world.only(web, 1));
    world.plan();
    let (old, new) = world.pair(web, 1);
    world.scale(web, 0);
    world.plan();
    assert_eq!([old, new].map(|id| world.stopped(id)), [Some(StopCause::ScaledDown); 2]);
}

///
#[test]
fn a_new_template_is_rolled_out_slot_by_slot() {
    let mut world = World::new(2);
    let web = world.service("web", 3, &[]);
    world.serve(web);
    world.roll(web);
    for slot in 1..=3 {
        world.plan();
        for other in (1..=3).filter(|&other| other != slot) {
            world.only(web, other);
        }
        let (old, new) = world.pair(web, slot);
        assert_eq!((world.task(new).revision, world.task(new).attempt), (2, 0));
        world.runs(new);
        assert_eq!(world.plan().changes, [], "the next slot waits for this one");
        world.is_ready(new);
        world.plan();
        assert_eq!(world.stopped(old), Some(StopCause::Updated));
        world.ends(old, EndKind::Stopped, None);
    }
    assert!(world.tasks(web).iter().filter(|t| !t.has_ended()).all(|t| t.revision == 2));
}

#[test]
fn a_rollout_with_host_ports_stops_one_and_waits_for_its_successor() {
    let mut world = World::new(2);
    let web = world.service("web", 2, &[8080]);
    world.serve(web);
    let (first, second) = (world.only(web, 1), world.only(web, 2));
    world.roll(web);
    world.plan();
    assert_eq!(world.stopped(first), Some(StopCause::Updated));
    assert_eq!(world.stopped(second), None);
    world.ends(first, EndKind::Stopped, None);
    world.plan();
    let new = world.only(web, 1);
    world.runs(new);
    world.plan();
    assert_eq!(world.stopped(second), None);
    world.is_ready(new);
    world.plan();
    assert_eq!(world.stopped(second), Some(StopCause::Updated));
}

#[test]
fn a_bad_template_costs_no_task_that_serves() {
    let mut world = World::new(2);
    let web = world.service("web", 2, &[]);
    world.serve(web);
    let old = [world.only(web, 1), world.only(web, 2)];
    world.roll(web);
    world.plan();
    for attempt in 0..4 {
        let (_, new) = world.pair(web, 1);
        assert_eq!(world.task(new).attempt, attempt);
        world.seconds(300);
        world.exits(new, 1);
        world.plan();
    }
    assert_eq!(old.map(|id| world.stopped(id)), [None, None]);
    assert_eq!(world.live(web, 2), [old[1]]);
}

#[test]
fn tasks_that_do_not_work_do_not_wait_for_their_turn() {
    let mut world = World::new(1);
    let web = world.service("web", 4, &[]);
    world.serve(web);
    let never = world.only(web, 3);
    world.exits(never, 1);
    world.plan();
    let never = world.only(web, 3);
    world.is_unhealthy(world.only(web, 4));
    world.roll(web);
    world.plan();
    assert_eq!(world.stopped(never), Some(StopCause::Updated), "never ready: at once");
    assert_eq!(world.task(world.only(web, 3)).attempt, 0, "a new revision forgives");
    let (_, new) = world.pair(web, 4);
    assert_eq!(world.task(new).revision, 2, "unhealthy: with the others");
}

#[test]
fn a_removed_service_is_gone_when_its_last_task_has_ended() {
    let mut world = World::new(2);
    let web = world.service("web", 3, &[]);
    world.serve(web);
    let tasks = [1, 2, 3].map(|slot| world.only(web, slot));
    world.remove(web);
    world.plan();
    assert_eq!(tasks.map(|id| world.stopped(id)), [Some(StopCause::ServiceRemoved); 3]);
    world.ends(tasks[0], EndKind::Stopped, None);
    world.ends(tasks[2], EndKind::Stopped, None);
    world.plan();
    assert!(world.cluster.service(web).is_some());
    assert_eq!(world.node_of(tasks[1]), 2);
    world.node(2, NodeState::Lost);
    world.plan();
    assert!(world.cluster.service(web).is_none(), "a silent node is not waited for");
    assert_eq!(world.cluster.tasks().count(), 0);
    let gone = "service web is gone; until their nodes are back tasks may still run: 1 on node-2";
    assert!(world.said(gone));
}

#[test]
fn a_service_that_never_ran_is_gone_at_once() {
    let mut world = World::new(0);
    let web = world.service("web", 3, &[]);
    world.plan();
    world.remove(web);
    world.plan();
    assert!(world.cluster.service(web).is_none());
    assert_eq!(world.cluster.tasks().count(), 0);
}

///
#[test]
fn a_task_that_somebody_stopped_is_replaced_without_blame() {
    let mut world = World::new(1);
    let web = world.service("web", 1, &[]);
    world.serve(web);
    let old = world.only(web, 1);
    let at = world.now;
    let reason = "asked for".to_owned();
    world.edit(old, |t| t.stop = Some(Stop { cause: StopCause::Requested, reason, at }.into()));
    world.plan();
    assert_eq!(world.task(world.only(web, 1)).attempt, 0);
    assert_eq!(world.stopped(old), Some(StopCause::Requested));
}

#[test]
fn tasks_of_a_removed_node_are_lost_and_replaced() {
    let mut world = World::new(2);
    let web = world.service("web", 2, &[]);
    world.serve(web);
    let lost = world.only(web, 1);
    world.apply(&Change::RemoveNode(NodeId::from_u64(1)));
    world.plan();
    assert!(world.task(lost).has_ended());
    assert_eq!(world.node_of(world.only(web, 1)), 2);
    assert!(world.said("its node was removed"));
}

#[test]
fn a_successor_of_an_old_revision_makes_way_for_one_of_the_new() {
    let mut world = World::new(2);
    let web = world.service("web", 1, &[]);
    world.serve(web);
    world.is_unhealthy(world.only(web, 1));
    world.plan();
    let (old, outdated) = world.pair(web, 1);
    world.roll(web);
    world.plan();
    assert_eq!(world.stopped(outdated), Some(StopCause::Updated));
    let (kept, new) = world.pair(web, 1);
    assert_eq!((kept, world.task(new).revision), (old, 2));
    world.is_ready(old);
    world.plan();
    assert_eq!(world.pair(web, 1), (old, new), "recovered, but still outdated");
    world.runs(new);
    world.is_ready(new);
    world.plan();
    assert_eq!(world.stopped(old), Some(StopCause::Updated));
}

#[test]
fn a_slot_that_no_node_takes_does_not_hold_up_a_rollout() {
    let mut world = World::new(2);
    let web = world.service("web", 3, &[8080]);
    world.serve(web);
    let (first, second, third) = (world.only(web, 1), world.only(web, 2), world.only(web, 3));
    assert_eq!(world.task(third).node(), None);
    world.roll(web);
    world.plan();
    assert_eq!(world.stopped(third), Some(StopCause::Updated), "it never served");
    assert_eq!(world.stopped(first), Some(StopCause::Updated));
    world.ends(first, EndKind::Stopped, None);
    world.plan();
    let new = world.only(web, 1);
    world.runs(new);
    world.plan();
    assert_eq!(world.stopped(second), None);
    world.is_ready(new);
    world.plan();
    assert_eq!(world.task(world.only(web, 3)).node(), None);
    assert_eq!(world.stopped(second), Some(StopCause::Updated));
}
