//! When a task is replaced, and in which order.

use std::time::Duration;

use warren_core::{
    health::{AccusedRole, HealthStatus},
    node::NodeState,
    task::{EndKind, StopCause},
};

use crate::world::{REASON, World};

///
#[test]
fn a_process_that_exits_is_replaced_whatever_its_code() {
    for (kind, code) in [
        (EndKind::Exited, Some(0)),
        (EndKind::Exited, Some(137)),
        (EndKind::NotStarted, None),
        (EndKind::Lost, None),
    ] {
        let mut world = World::new(1);
        let web = world.service("web", 1, &[]);
        world.serve(web);
        let old = world.only(web, 1);
        world.ends(old, kind, code);
        world.plan();
        let new = world.task(world.only(web, 1));
        assert_eq!((new.attempt, new.replaces), (1, Some(old)), "{kind:?} {code:?}");
        assert_eq!(new.not_before, world.now, "the first failure has no wait");
        assert_eq!(world.stopped(old), None);
    }
}

///
#[test]
fn an_unhealthy_task_is_kept_until_its_successor_is_ready() {
    let mut world = World::new(2);
    let web = world.service("web", 1, &[]);
    world.serve(web);
    let old = world.only(web, 1);
    world.is_unhealthy(old);
    world.plan();
    let (kept, new) = world.pair(web, 1);
    assert_eq!(kept, old);
    assert!(world.said(REASON));
    world.runs(new);
    world.plan();
    assert_eq!(world.stopped(old), None, "the successor runs, but is not ready");
    world.is_ready(new);
    world.plan();
    let stop = world.task(old).stop.clone().unwrap();
    assert_eq!((stop.cause, stop.reason.as_str()), (StopCause::Unhealthy, REASON));
    assert_eq!(world.only(web, 1), new);
}

///
#[test]
fn a_successor_is_called_off_when_the_old_one_recovers_first() {
    let mut world = World::new(2);
    let web = world.service("web", 1, &[]);
    world.serve(web);
    let old = world.only(web, 1);
    world.is_unhealthy(old);
    world.plan();
    let (_, new) = world.pair(web, 1);
    world.runs(new);
    world.is_not_ready(old);
    world.plan();
    assert_eq!(world.stopped(new), None, "alive again is not ready again");
    world.is_ready(old);
    world.plan();
    assert_eq!(world.stopped(new), Some(StopCause::CalledOff));
    assert_eq!(world.only(web, 1), old);
    world.is_unhealthy(old);
    world.plan();
    let (_, again) = world.pair(web, 1);
    assert_eq!(world.task(again).attempt, 2, "a relapse counts");
}

///
#[test]
fn a_task_that_was_never_ready_goes_at_once() {
    let mut world = World::new(1);
    let web = world.service("web", 2, &[]);
    world.plan();
    let both = [world.only(web, 1), world.only(web, 2)];
    for id in both {
        world.runs(id);
        world.is_unhealthy(id);
    }
    world.plan();
    for (id, slot) in both.into_iter().zip(1..) {
        assert_eq!(world.stopped(id), Some(StopCause::Unhealthy));
        assert_eq!(world.task(world.only(web, slot)).replaces, Some(id));
    }
}

///
#[test]
fn when_the_successor_fails_too_the_old_one_goes_and_the_slot_backs_off() {
    let unhealthy: fn(&mut World, _) = |world, new| {
        world.runs(new);
        world.is_unhealthy(new);
    };
    let gone: fn(&mut World, _) = |world, new| world.ends(new, EndKind::NotStarted, None);
    for fail in [unhealthy, gone] {
        let mut world = World::new(2);
        let web = world.service("web", 1, &[]);
        world.serve(web);
        world.is_unhealthy(world.only(web, 1));
        world.plan();
        let (old, new) = world.pair(web, 1);
        fail(&mut world, new);
        world.plan();
        assert_eq!(world.stopped(old), Some(StopCause::Unhealthy));
        let next = world.task(world.only(web, 1));
        assert_eq!((next.attempt, next.replaces), (2, Some(new)));
        let wait = next.not_before.since(world.now);
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(5), "{wait:?}");
        assert_eq!(next.node(), None, "it is placed when its time has come");
        assert_eq!(world.plan().wake_at, Some(next.not_before));
        world.seconds(5);
        assert!(world.task(next.id).node().is_some());
    }
}

///
#[test]
fn a_service_with_host_ports_stops_the_old_one_first() {
    let mut world = World::new(2);
    let web = world.service("web", 1, &[8080]);
    world.serve(web);
    let old = world.only(web, 1);
    world.is_unhealthy(old);
    world.plan();
    assert_eq!(world.stopped(old), Some(StopCause::Unhealthy));
    let new = world.only(web, 1);
    assert!(world.waits_because(new).contains("must end first"));
    world.ends(old, EndKind::Stopped, Some(143));
    world.plan();
    assert!(world.task(new).node().is_some());
}

///
#[test]
fn readiness_alone_never_replaces() {
    let mut world = World::new(1);
    let web = world.service("web", 3, &[]);
    world.serve(web);
    for slot in 1..=3 {
        let id = world.only(web, slot);
        world.is_not_ready(id);
        world.accuse(id, AccusedRole::Readiness, Duration::from_mins(1));
    }
    assert_eq!(world.plan().changes, []);
    assert_eq!(world.seconds(3600).changes, []);
}

///
#[test]
fn unknown_never_replaces() {
    let mut world = World::new(1);
    let web = world.service("web", 2, &[]);
    world.serve(web);
    world.observe(world.only(web, 1), HealthStatus::Unknown, false, "out of file descriptors");
    assert_eq!(world.plan().changes, []);
    let second = world.only(web, 2);
    world.is_unhealthy(second);
    world.node(1, NodeState::Lost);
    world.seconds(3600);
    assert_eq!(world.only(web, 2), second, "what its silent node said last is no verdict");
}

#[test]
fn an_accusation_replaces_until_it_expires() {
    let mut world = World::new(1);
    let web = world.service("web", 1, &[]);
    world.serve(web);
    let old = world.only(web, 1);
    world.accuse(old, AccusedRole::Liveness, Duration::from_mins(1));
    let plan = world.plan();
    let (_, new) = world.pair(web, 1);
    assert_eq!(plan.wake_at, Some(world.now.after(Duration::from_mins(1))));
    assert!(world.said("auditor reports: ledger differs"));
    world.seconds(60);
    assert_eq!(world.stopped(new), Some(StopCause::CalledOff));
}

///
#[test]
fn the_backoff_grows_with_each_failure_and_a_stable_run_resets_it() {
    let mut world = World::new(1);
    let web = world.service("web", 1, &[]);
    world.plan();
    for (failures, longest) in [(1, 0), (2, 5), (3, 10), (4, 20), (5, 40), (6, 80)] {
        let id = world.only(web, 1);
        world.runs(id);
        world.is_ready(id);
        world.pass(Duration::from_secs(599));
        world.exits(id, 1);
        world.plan();
        let next = world.task(world.only(web, 1));
        assert_eq!(next.attempt, failures);
        assert!(next.not_before.since(world.now) <= Duration::from_secs(longest));
        world.seconds(longest);
    }
    let id = world.only(web, 1);
    world.runs(id);
    world.is_ready(id);
    world.pass(Duration::from_mins(10));
    world.exits(id, 1);
    world.plan();
    let next = world.task(world.only(web, 1));
    assert_eq!((next.attempt, next.not_before), (1, world.now));
}

#[test]
fn a_long_run_that_was_never_ready_forgives_nothing() {
    let mut world = World::new(1);
    let web = world.service("web", 1, &[]);
    world.plan();
    for failures in 1..=3 {
        let id = world.only(web, 1);
        world.runs(id);
        world.pass(Duration::from_hours(1));
        world.exits(id, 1);
        world.plan();
        assert_eq!(world.task(world.only(web, 1)).attempt, failures);
        world.seconds(300);
    }
}

///
#[test]
fn the_wait_counts_from_the_failure_and_not_from_the_planning() {
    let mut world = World::new(1);
    let web = world.service("web", 1, &[]);
    world.plan();
    world.exits(world.only(web, 1), 1);
    world.plan();
    world.exits(world.only(web, 1), 1);
    // The manager was away meanwhile.
    world.seconds(5);
    assert!(world.task(world.only(web, 1)).node().is_some());
}

#[test]
fn what_began_goes_on_when_the_old_one_s_node_falls_silent() {
    let mut world = World::new(2);
    let web = world.service("web", 1, &[]);
    world.serve(web);
    world.is_unhealthy(world.only(web, 1));
    world.plan();
    let (old, new) = world.pair(web, 1);
    world.node(1, NodeState::Lost);
    world.plan();
    assert_eq!(world.pair(web, 1), (old, new));
    world.ends(new, EndKind::NotStarted, None);
    world.plan();
    let stop = world.task(old).stop.clone().unwrap();
    assert_eq!((stop.cause, stop.reason.as_str()), (StopCause::Unhealthy, REASON));
    assert_eq!(world.task(world.only(web, 1)).replaces, Some(new));
}
