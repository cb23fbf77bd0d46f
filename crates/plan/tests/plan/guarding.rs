//! What holds a replacement, and what lets it go. R-n are clauses of docs/replacement.md.

use std::{sync::Arc, time::Duration};

use warren_core::{
    bounds::{Attempts, Port, RestartWindow},
    change::Change,
    check::{Check, CheckKind, Checks, Role, TcpCheck, Timing},
    event::EventKind,
    health::{Grounds, HealthStatus, RoleHealth, Streak, Verdict},
    id::{NodeId, ServiceId, TaskId},
    node::{AvailabilityKind, Doubt},
    outcome::{Attempt, Evidence, Outcome},
    rule::Rule,
    spec::RestartPolicy,
    task::{EndKind, StopCause},
};
use warren_plan::summary::summarize;

use crate::world::World;

impl World {
    fn text(&self, service: ServiceId) -> String {
        let service = Arc::clone(self.cluster.service(service).unwrap());
        summarize(&self.cluster, &service, self.now).text()
    }

    fn allow(&mut self, service: ServiceId, attempts: u32, window: Option<u64>) {
        let window = window.map(|s| RestartWindow::new(Duration::from_secs(s)).unwrap());
        let max_attempts = Some(Attempts::new(attempts).unwrap());
        self.update(service, |spec| spec.restart = RestartPolicy { max_attempts, window });
    }

    /// Unhealthy for nothing but deadlines that passed.
    fn is_late(&mut self, id: TaskId) {
        self.fails_by(id, Evidence::Timeout, &[]);
    }

    /// Unhealthy, and says what is broken.
    fn is_broken(&mut self, id: TaskId, components: &[&str]) {
        self.fails_by(id, Evidence::Explicit, components);
    }

    fn fails_by(&mut self, id: TaskId, evidence: Evidence, components: &[&str]) {
        self.is_unhealthy(id);
        let mut health = (**self.cluster.health(id).unwrap()).clone();
        let last = Attempt {
            at: self.now,
            latency: Duration::from_secs(1),
            outcome: Outcome::Fail(evidence),
            message: String::new(),
            components: components.iter().map(|name| (*name).to_owned()).collect(),
        };
        *health.observed.roles.get_mut(Role::Liveness) = Some(Box::new(RoleHealth {
            verdict: Verdict::Failing,
            since: self.now,
            streak: Streak::Failures(3),
            flapping_since: None,
            grounds: Grounds::Seen,
            lasted_ms: 0,
            last: Some(last),
        }));
        self.apply(&Change::PutHealth(id, Box::new(health)));
    }

    /// Its worker says that it has a check for liveness, every 10 s with a timeout of 5.
    fn is_checked(&mut self, id: TaskId) {
        let kind = CheckKind::Tcp(TcpCheck::new(Port::new(80).unwrap()));
        let check = Check { kind, timing: Timing::default_for(Role::Liveness) };
        let checks = Checks { liveness: Some(check), ..Checks::default() };
        self.edit(id, |task| task.status.checks = Some(Arc::new(checks)));
    }

    fn all_unhealthy(&mut self, service: ServiceId, replicas: u32) {
        for slot in 1..=replicas {
            self.is_unhealthy(self.only(service, slot));
        }
    }

    fn works(&mut self, id: TaskId) {
        self.runs(id);
        self.is_ready(id);
        self.plan();
    }

    fn slots_held(&self, service: ServiceId, rule: Rule) -> usize {
        let held = |id: &TaskId| self.held_by(*id) == Some(rule);
        self.tasks(service).iter().map(|task| task.id).filter(held).count()
    }
}

///
#[test]
fn two_replicas_that_fail_from_the_start_are_both_replaced() {
    let mut world = World::new(1);
    let web = world.service("web", 2, &[]);
    world.plan();
    for slot in 1..=2 {
        let id = world.only(web, slot);
        world.runs(id);
        world.is_unhealthy(id);
    }
    world.plan();
    assert_eq!(world.text(web), "0/2 healthy, 2/2 restarting");
}

///
#[test]
fn two_that_name_the_same_component_minutes_apart_hold_each_other_until_one_works() {
    let mut world = World::new(3);
    let web = world.service("web", 8, &[]);
    world.serve(web);
    world.seconds(60);
    world.is_broken(world.only(web, 2), &["cache", "postgres"]);
    world.plan();
    assert_eq!(world.in_replacement(web), [2], "one alone says it of itself");
    world.seconds(100);
    world.is_broken(world.only(web, 5), &["postgres"]);
    world.is_broken(world.only(web, 7), &["postgres"]);
    world.is_broken(world.only(web, 8), &["disk"]);
    world.plan();
    assert_eq!(world.in_replacement(web), [2, 8], "a canary, and what fails for another reason");
    assert_eq!(world.slots_held(web, Rule::Component), 2);
    assert!(world.said("2 replacements are held of web by component"));
    let reason = world.task(world.only(web, 5)).held.clone().unwrap().reason;
    let expected = "3 of 8 slots fail and say that postgres is broken, which a restart would not \
                    mend: slot 2 is tried first";
    assert_eq!(reason, expected);
    world.seconds(3600);
    assert_eq!(world.slots_held(web, Rule::Component), 2, "time alone lets nothing go");
    let (_, canary) = world.pair(web, 2);
    world.works(canary);
    assert_eq!(world.slots_held(web, Rule::Component), 0);
    assert!(world.said("nothing of web is held by component any more"));
}

///
#[test]
fn far_apart_for_other_components_or_from_one_in_ten_nothing_is_held_for_them() {
    let mut world = World::new(3);
    let web = world.service("web", 8, &[]);
    world.serve(web);
    world.seconds(60);
    world.is_broken(world.only(web, 1), &["postgres"]);
    world.is_broken(world.only(web, 2), &["cache"]);
    world.plan();
    world.seconds(301);
    world.is_broken(world.only(web, 3), &["postgres", "s3"]);
    world.plan();
    assert_eq!(world.slots_held(web, Rule::Component), 0);

    let api = world.service("api", 30, &[]);
    world.serve(api);
    world.seconds(60);
    for slot in [4, 9] {
        world.is_broken(world.only(api, slot), &["postgres"]);
    }
    world.plan();
    assert_eq!(world.slots_held(api, Rule::Component), 0, "2 of 30");
    world.is_broken(world.only(api, 12), &["postgres"]);
    world.plan();
    assert_eq!(world.slots_held(api, Rule::Component), 1, "what began goes on");
}

///
#[test]
fn release_lets_go_what_is_held_for_a_component() {
    let mut world = World::new(3);
    let web = world.service("web", 8, &[]);
    world.serve(web);
    world.seconds(60);
    for slot in 1..=3 {
        world.is_broken(world.only(web, slot), &["postgres"]);
    }
    world.plan();
    assert_eq!(world.in_replacement(web), [1]);
    world.release(web);
    world.plan();
    assert_eq!(world.in_replacement(web), [1, 2], "as the budget has it");
    assert_eq!(world.slots_held(web, Rule::Component), 0);
}

///
#[test]
fn a_burst_that_names_a_component_has_one_canary() {
    let mut world = World::new(3);
    let web = world.service("web", 8, &[]);
    world.serve(web);
    world.seconds(60);
    for slot in 1..=8 {
        let components: &[&str] = if slot < 6 { &["postgres"] } else { &["cache"] };
        world.is_broken(world.only(web, slot), components);
    }
    world.plan();
    assert_eq!(world.in_replacement(web), [1]);
    assert_eq!(world.slots_held(web, Rule::Component), 6);
    assert_eq!(world.slots_held(web, Rule::Dependency), 1, "the canary of the other component");
}

///
#[test]
fn of_fifty_that_fail_at_one_moment_one_is_replaced_until_it_works() {
    let mut world = World::new(5);
    let web = world.service("web", 50, &[]);
    world.serve(web);
    world.all_unhealthy(web, 50);
    world.plan();
    assert_eq!(world.in_replacement(web), [1], "a canary");
    assert_eq!(world.slots_held(web, Rule::Dependency), 49);
    assert_eq!(world.text(web), "0/50 healthy, 1/50 restarting, 49/50 unhealthy, 49 held");
    assert!(world.said("49 replacements are held of web by dependency"));
    let since = world.now;
    world.seconds(3600);
    assert_eq!(world.in_replacement(web), [1], "time alone lets nothing go");
    let held = world.task(world.only(web, 2)).held.clone().unwrap();
    assert_eq!(held.since, since);
    let (old, canary) = world.pair(web, 1);
    world.works(canary);
    assert_eq!(world.stopped(old), Some(StopCause::Unhealthy));
    assert_eq!(world.in_replacement(web).len(), 12, "a quarter at once, as ever");
    assert_eq!(world.slots_held(web, Rule::Dependency), 0);
    assert!(world.said("nothing of web is held by dependency any more"));
}

///
#[test]
fn once_the_canary_works_the_others_are_looked_at_once_more() {
    let mut world = World::new(3);
    let web = world.service("web", 12, &[]);
    world.serve(web);
    for slot in 1..=12 {
        world.is_checked(world.only(web, slot));
    }
    world.exits(world.only(web, 12), 1);
    world.all_unhealthy(web, 11);
    world.plan();
    assert_eq!(world.slots_held(web, Rule::Dependency), 11, "all but a canary");
    let (_, canary) = world.pair(web, 1);
    world.works(canary);
    assert_eq!(world.slots_held(web, Rule::Dependency), 10, "what has ended will not recover");
    world.seconds(14);
    assert_eq!(world.slots_held(web, Rule::Dependency), 10, "a period and a timeout are 15 s");
    for slot in 2..=6 {
        world.is_ready(world.only(web, slot));
    }
    world.plan();
    assert_eq!(world.slots_held(web, Rule::Dependency), 5);
    world.seconds(1);
    assert_eq!(world.slots_held(web, Rule::Dependency), 0);
    assert_eq!(world.in_replacement(web).len(), 3, "those that still fail, within the budget");
    for slot in 2..=6 {
        assert_eq!(world.stopped(world.only(web, slot)), None, "slot {slot} has recovered");
    }
}

///
#[test]
fn the_last_ones_to_recover_are_not_replaced_because_they_are_few() {
    for component in [&["postgres"][..], &[]] {
        let mut world = World::new(3);
        let web = world.service("web", 8, &[]);
        world.serve(web);
        for slot in 1..=8 {
            let id = world.only(web, slot);
            world.is_checked(id);
            world.is_broken(id, component);
        }
        world.plan();
        assert_eq!(world.in_replacement(web), [1], "a canary");
        world.seconds(60);
        for slot in 1..=7 {
            world.is_ready(world.live(web, slot)[0]);
        }
        world.plan();
        assert_eq!(world.in_replacement(web), [0; 0], "called off, and the eighth is held");
        world.seconds(14);
        assert_eq!(world.in_replacement(web), [0; 0], "a period and a timeout are 15 s");
        world.seconds(1);
        assert_eq!(world.in_replacement(web), [8], "it does not recover by itself");
    }
}

///
#[test]
fn a_canary_whose_worker_has_a_clock_ahead_holds_nobody_up() {
    let mut world = World::new(3);
    let web = world.service("web", 8, &[]);
    world.serve(web);
    for slot in 1..=8 {
        world.is_checked(world.only(web, slot));
    }
    world.all_unhealthy(web, 8);
    world.plan();
    let (_, canary) = world.pair(web, 1);
    world.runs(canary);
    let now = world.now;
    world.now = now.after(Duration::from_hours(1));
    world.is_ready(canary);
    world.now = now;
    world.plan();
    assert_eq!(world.slots_held(web, Rule::Dependency), 0);
}

///
#[test]
fn a_canary_that_fails_is_followed_by_another_one_in_its_slot() {
    let mut world = World::new(2);
    let web = world.service("web", 8, &[]);
    world.serve(web);
    world.all_unhealthy(web, 8);
    world.plan();
    let (old, canary) = world.pair(web, 1);
    world.runs(canary);
    world.is_unhealthy(canary);
    world.plan();
    assert_eq!(world.stopped(old), Some(StopCause::Unhealthy), "the hedge has failed");
    let next = world.only(web, 1);
    assert_eq!(world.task(next).attempt, 2);
    for _ in 0..20 {
        world.seconds(60);
        assert_eq!(world.slots_held(web, Rule::Dependency), 7);
    }
}

///
#[test]
fn recovery_lets_go_and_so_does_a_command() {
    let mut world = World::new(2);
    let web = world.service("web", 8, &[]);
    world.serve(web);
    world.all_unhealthy(web, 8);
    world.plan();
    let mut other = World::new(2);
    other.cluster = world.cluster.clone();
    other.now = world.now;
    for slot in 2..=6 {
        world.is_ready(world.only(web, slot));
    }
    world.plan();
    assert_eq!(world.in_replacement(web).len(), 2, "three are few");
    other.release(web);
    other.plan();
    assert_eq!(other.in_replacement(web).len(), 2, "the budget still counts");
    assert_eq!(other.slots_held(web, Rule::Budget), 6);
}

///
#[test]
fn what_fails_one_after_the_other_is_not_held_nor_are_three() {
    let mut world = World::new(2);
    let web = world.service("web", 40, &[]);
    world.serve(web);
    for slot in 1..=5 {
        world.is_unhealthy(world.only(web, slot));
        world.seconds(60);
    }
    assert_eq!(world.in_replacement(web), [1, 2, 3, 4, 5]);
}

///
#[test]
fn processes_that_end_at_one_moment_are_restarted_after_one_of_them_works() {
    let mut world = World::new(2);
    let web = world.service("web", 10, &[]);
    world.serve(web);
    for slot in 1..=10 {
        world.exits(world.only(web, slot), 1);
    }
    world.plan();
    assert_eq!(world.slots_held(web, Rule::Dependency), 9);
    world.works(world.only(web, 1));
    for slot in 2..=10 {
        assert_eq!(world.task(world.only(web, slot)).attempt, 1);
    }
}

///
#[test]
fn the_cluster_replaces_fifty_at_once_and_then_ten_in_a_second() {
    let mut world = World::new(10);
    let services: Vec<ServiceId> =
        (0..80).map(|n| world.service(&format!("s{n}"), 1, &[])).collect();
    for &id in &services {
        world.serve(id);
    }
    for &id in &services {
        let at = world.only(id, 1);
        world.exits(at, 1);
    }
    let replaced =
        |world: &World| services.iter().filter(|&&id| !world.live(id, 1).is_empty()).count();
    let plan = world.plan();
    assert_eq!(replaced(&world), 50);
    assert_eq!(plan.wake_at, Some(world.now.after(Duration::from_millis(100))));
    world.seconds(1);
    assert_eq!(replaced(&world), 60);
    world.pass(Duration::from_millis(99));
    world.plan();
    assert_eq!(replaced(&world), 60);
    world.seconds(2);
    assert_eq!(replaced(&world), 80);
    let held = services.iter().filter(|&&id| world.slots_held(id, Rule::Pace) > 0).count();
    assert_eq!(held, 0);
}

///
#[test]
fn a_clock_that_steps_back_does_not_stop_the_cluster() {
    let mut world = World::new(1);
    let web = world.service("web", 1, &[]);
    world.serve(web);
    world.exits(world.only(web, 1), 1);
    world.plan();
    world.works(world.only(web, 1));
    world.now = warren_core::time::Timestamp::from_millis(world.now.as_millis() - 86_400_000);
    world.exits(world.only(web, 1), 1);
    world.plan();
    assert_eq!(world.live(web, 1).len(), 1);
}

///
#[test]
fn a_slot_is_given_up_after_so_many_restarts_and_released_by_command() {
    let mut world = World::new(1);
    let web = world.service("web", 1, &[]);
    world.allow(web, 2, None);
    world.plan();
    for attempt in 0..=2 {
        let id = world.only(web, 1);
        assert_eq!(world.task(id).attempt, attempt);
        world.runs(id);
        world.exits(id, 1);
        world.plan();
        world.seconds(600);
    }
    assert_eq!(world.live(web, 1), []);
    assert_eq!(world.text(web), "0/1 healthy, 1/1 gave up");
    let told: Vec<_> = world.cluster.events().filter(|e| e.kind == EventKind::GaveUp).collect();
    assert_eq!(told.len(), 1);
    assert!(told[0].message.contains("2 restarts are allowed; warren service release web"));
    world.release(web);
    world.plan();
    assert_eq!(world.task(world.only(web, 1)).attempt, 1);
}

///
#[test]
fn while_checks_are_paused_nothing_is_replaced_for_its_health_and_exits_count() {
    let mut world = World::new(2);
    let web = world.service("web", 2, &[]);
    world.serve(web);
    let (sick, gone) = (world.only(web, 1), world.only(web, 2));
    world.pause(web, Some(Duration::from_mins(10)));
    world.is_unhealthy(sick);
    world.exits(gone, 1);
    world.plan();
    assert_eq!(world.held_by(sick), Some(Rule::Paused));
    assert_eq!(world.live(web, 1), [sick]);
    assert_ne!(world.only(web, 2), gone, "it has ended");
    world.seconds(300);
    assert_eq!(world.live(web, 1), [sick]);
    world.pause(web, None);
    world.plan();
    assert_eq!(world.held_by(sick), None);
    assert_eq!(world.live(web, 1).len(), 2);
}

///
#[test]
fn what_is_held_by_a_pause_is_released_by_command_or_recovers() {
    for recovers in [false, true] {
        let mut world = World::new(2);
        let web = world.service("web", 1, &[]);
        world.serve(web);
        let sick = world.only(web, 1);
        world.pause(web, Some(Duration::from_mins(10)));
        world.is_unhealthy(sick);
        world.plan();
        assert_eq!(world.held_by(sick), Some(Rule::Paused));
        if recovers {
            world.is_ready(sick);
        } else {
            world.release(web);
        }
        world.plan();
        assert_eq!(world.held_by(sick), None);
        assert_eq!(world.live(web, 1).len(), if recovers { 1 } else { 2 });
    }
}

///
#[test]
fn a_new_revision_tries_a_slot_that_was_given_up() {
    let mut world = World::new(1);
    let web = world.service("web", 1, &[]);
    world.allow(web, 1, None);
    for _ in 0..2 {
        world.plan();
        world.seconds(600);
        let id = world.only(web, 1);
        world.runs(id);
        world.is_unhealthy(id);
    }
    world.plan();
    let left = world.only(web, 1);
    assert_eq!(world.held_by(left), Some(Rule::GaveUp), "it is left as it is");
    world.roll(web);
    world.plan();
    assert_eq!(world.stopped(left), Some(StopCause::Unhealthy));
    assert_eq!(world.task(world.only(web, 1)).attempt, 0);
}

///
#[test]
fn only_restarts_within_the_window_count() {
    let mut world = World::new(1);
    let web = world.service("web", 1, &[]);
    world.allow(web, 2, Some(60));
    let fail = |world: &mut World, seconds: u64| {
        world.plan();
        world.seconds(seconds);
        let id = world.only(web, 1);
        world.runs(id);
        world.exits(id, 1);
    };
    for _ in 0..8 {
        fail(&mut world, 400);
    }
    world.plan();
    assert_eq!(world.slots_held(web, Rule::GaveUp), 0);
    world.seconds(400);
    // Once more, and stable: no backoff in between.
    for _ in 0..3 {
        let id = world.only(web, 1);
        world.runs(id);
        world.is_ready(id);
        world.pass(Duration::from_secs(5));
        world.exits(id, 1);
        world.plan();
        if world.live(web, 1).is_empty() {
            break;
        }
        let id = world.only(web, 1);
        world.edit(id, |task| task.not_before = task.created_at);
        world.plan();
    }
    assert_eq!(world.slots_held(web, Rule::GaveUp), 1);
    assert!(world.said("it failed 3 times within 60s"));
}

///
#[test]
fn what_a_starved_worker_sees_too_late_is_not_replaced() {
    let mut world = World::new(2);
    let web = world.service("web", 2, &[]);
    world.serve(web);
    let (late, refused) = (world.only(web, 1), world.only(web, 2));
    for number in 1..=2 {
        let since = world.now;
        world.edit_node(number, |node| node.doubted = Some(Doubt { since, score: 5 }));
    }
    world.is_late(late);
    world.plan();
    assert_eq!(world.held_by(late), Some(Rule::Observer));
    world.is_unhealthy(refused);
    world.plan();
    assert_eq!(world.live(web, 2).len(), 2, "an answer that says no is hard evidence");
    for number in 1..=2 {
        world.edit_node(number, |node| node.doubted = None);
    }
    world.works(world.pair(web, 2).1);
    assert_eq!(world.live(web, 1).len(), 2);
    assert_eq!(world.held_by(late), None);
}

/// Three services of one task each on node 1.
fn three_on_one(world: &mut World) -> [ServiceId; 3] {
    world.open(2, AvailabilityKind::Cordoned);
    let services = ["a", "b", "c"].map(|name| world.service(name, 1, &[]));
    for &id in &services {
        world.serve(id);
    }
    world.open(2, AvailabilityKind::Active);
    services
}

///
#[test]
fn a_node_where_much_fails_at_one_moment_is_accused_and_replaced_singly() {
    let mut world = World::new(2);
    let services = three_on_one(&mut world);
    for &id in &services {
        world.is_unhealthy(world.only(id, 1));
    }
    world.plan();
    let pairs = |world: &World| services.iter().filter(|&&id| world.live(id, 1).len() == 2).count();
    assert_eq!(pairs(&world), 1);
    let held = services.iter().filter(|&&id| world.slots_held(id, Rule::Node) == 1).count();
    assert_eq!(held, 2);
    assert!(world.said("node node-1 is accused"));
    let canary = *services.iter().find(|&&id| world.live(id, 1).len() == 2).unwrap();
    let (old, new) = world.pair(canary, 1);
    assert_eq!(world.node_of(new), 2, "elsewhere");
    world.works(new);
    assert!(world.stopped(old).is_some());
    assert_eq!(pairs(&world), 1, "the next one");
    let next = *services.iter().find(|&&id| world.live(id, 1).len() == 2).unwrap();
    world.works(world.pair(next, 1).1);
    assert!(world.cluster.node(NodeId::from_u64(1)).unwrap().accused.is_none());
    assert!(world.said("node node-1 is accused no more"));
    assert_eq!(pairs(&world), 1);
}

///
#[test]
fn one_service_that_says_no_accuses_no_node_and_one_that_is_late_does() {
    for late in [false, true] {
        let mut world = World::new(1);
        let web = world.service("web", 3, &[]);
        world.serve(web);
        for slot in 1..=3 {
            let id = world.only(web, slot);
            if late { world.is_late(id) } else { world.is_unhealthy(id) }
        }
        world.plan();
        let node = world.cluster.node(NodeId::from_u64(1)).unwrap();
        assert_eq!(node.accused.is_some(), late);
        assert_eq!(world.in_replacement(web).len(), 1);
    }
}

///
#[test]
fn a_node_where_services_fail_that_fail_nowhere_else_is_cordoned_once() {
    let mut world = World::new(12);
    for number in 2..=12 {
        world.open(number, AvailabilityKind::Cordoned);
    }
    let services = ["a", "b", "c"].map(|name| world.service(name, 1, &[]));
    world.plan();
    world.pass(Duration::from_secs(1));
    for &id in &services {
        world.ends(world.only(id, 1), EndKind::NotStarted, None);
    }
    for number in 2..=12 {
        world.open(number, AvailabilityKind::Active);
    }
    world.plan();
    let node = |world: &World, number| {
        let node = world.cluster.node(NodeId::from_u64(number)).unwrap();
        (node.availability.kind, node.availability.automatic)
    };
    assert_eq!(node(&world, 1), (AvailabilityKind::Cordoned, true));
    assert!(services.iter().all(|&id| world.node_of(world.only(id, 1)) != 1));
    // A second one within ten minutes is judged, and left open.
    let more = ["d", "e", "f"].map(|name| world.service(name, 1, &[]));
    for number in 3..=12 {
        world.open(number, AvailabilityKind::Cordoned);
    }
    world.plan();
    world.pass(Duration::from_secs(1));
    for &id in &more {
        assert_eq!(world.node_of(world.only(id, 1)), 2);
        world.ends(world.only(id, 1), EndKind::NotStarted, None);
    }
    for number in 3..=12 {
        world.open(number, AvailabilityKind::Active);
    }
    world.plan();
    assert_eq!(node(&world, 2).0, AvailabilityKind::Active);
    assert!(world.said("node node-2 is not cordoned"));
}

///
#[test]
fn services_that_fail_everywhere_cordon_nothing() {
    let mut world = World::new(3);
    let services = ["a", "b", "c"].map(|name| world.service(name, 3, &[]));
    world.plan();
    world.pass(Duration::from_secs(1));
    for &id in &services {
        for slot in 1..=3 {
            world.ends(world.only(id, slot), EndKind::NotStarted, None);
        }
    }
    world.plan();
    assert!(!world.said("cordoned"));
}

///
#[test]
fn a_slot_goes_where_it_has_failed_least() {
    let mut world = World::new(3);
    let web = world.service("web", 1, &[]);
    world.plan();
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let id = world.only(web, 1);
        nodes.push(world.node_of(id));
        world.runs(id);
        world.exits(id, 1);
        world.plan();
        world.seconds(600);
    }
    nodes.sort_unstable();
    assert_eq!(nodes, [1, 2, 3]);
}

///
#[test]
fn what_waits_for_the_budget_says_so_and_since_when() {
    let mut world = World::new(2);
    let web = world.service("web", 2, &[]);
    world.serve(web);
    world.all_unhealthy(web, 2);
    world.plan();
    let second = world.only(web, 2);
    let held = world.task(second).held.clone().unwrap();
    assert_eq!((held.rule, held.since), (Rule::Budget, world.now));
    let decided = world.cluster.events().find(|e| e.kind == EventKind::ReplacementHeld).unwrap();
    assert_eq!(decided.decision.as_ref().map(|d| d.rule), Some(Rule::Budget));
    world.observe(second, HealthStatus::Healthy, true, "");
    world.plan();
    assert_eq!(world.held_by(second), None);
}
