//! What is remembered, for how long, and that each row is written once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::{collection::vec, prelude::*};

use warren_core::{
    change::Change,
    event::{Event, EventKind},
    id::{ServiceId, TaskId},
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

fn tell(world: &mut World, service: Option<ServiceId>, task: Option<TaskId>) -> u64 {
    let sequence = world.cluster.last_event() + 1;
    let event = Event {
        sequence,
        at: world.now,
        kind: EventKind::HealthChanged,
        service,
        service_name: None,
        slot: None,
        task,
        node: None,
        message: format!("event {sequence}"),
        decision: None,
    };
    world.apply(&Change::PutEvent(Box::new(event)));
    sequence
}

#[test]
fn events_are_trimmed_many_at_a_time() {
    let mut world = World::new(1);
    (world.policy.events_kept, world.policy.events_slack) = (20, 10);
    let mut trims = 0;
    for _ in 1..=200 {
        let sequence = tell(&mut world, None, None);
        trims += world.plan().changes.len();
        assert!(world.cluster.events().count() <= 30);
        assert_eq!(world.cluster.last_event(), sequence);
    }
    assert_eq!(trims, 16);
}

#[test]
fn history_goes_after_a_month_but_for_the_newest_row() {
    let mut world = World::new(1);
    let web = world.service("web", 1, &[]);
    world.serve(web);
    let begun = world.cluster.events().count();
    assert!(begun >= 2);
    let days = |world: &mut World, days: u64| world.pass(Duration::from_hours(24 * days));
    days(&mut world, 30);
    world.plan();
    assert_eq!(world.cluster.events().count(), begun, "trims are rare");
    let last = tell(&mut world, None, None);
    days(&mut world, 2);
    world.plan();
    let left = |world: &World| world.cluster.events().map(|e| e.sequence).collect::<Vec<_>>();
    assert_eq!(left(&world), [last]);
    days(&mut world, 40);
    world.plan();
    assert_eq!(left(&world), [last], "the next one is numbered after it");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Each task belongs to a service; some tasks are told of far more often than others.
    #[test]
    fn the_history_of_each_task_and_service_is_bounded_and_the_newest_survives(
        tellings in vec((0..12_u64, 1..40_usize), 1..40)
    ) {
        let mut world = World::new(1);
        world.policy.events_per_task = 10;
        world.policy.events_per_service = 30;
        (world.policy.events_kept, world.policy.events_slack) = (100, 10);
        let (mut of_task, mut of_service) = (BTreeMap::new(), BTreeMap::new());
        for (number, times) in tellings {
            // The first one of each service is the service itself.
            let service = ServiceId::from_u64(1 + number / 4);
            let task = (number % 4 > 0).then(|| TaskId::from_u64(number));
            for _ in 0..times {
                let sequence = tell(&mut world, Some(service), task);
                of_service.entry(service).or_insert_with(Vec::new).push(sequence);
                of_task.entry(task).or_insert_with(Vec::new).push(sequence);
            }
            world.plan();
            prop_assert!(world.cluster.events().count() <= 110);
            prop_assert_eq!(of_task.values().flatten().max(), Some(&world.cluster.last_event()));
            for (task, told) in of_task.iter().filter_map(|(task, told)| Some(((*task)?, told))) {
                let kept: Vec<u64> = world.cluster.events_of_task(task).collect();
                prop_assert!(kept.len() <= 11 && told.ends_with(&kept), "{:?} of {:?}", kept, told);
            }
            for (service, told) in &of_service {
                let kept: Vec<u64> = world.cluster.events_of_service(*service).collect();
                prop_assert!(kept.len() <= 33);
                // Where nothing else pushes them out, the newest of them are there.
                let newest = told.last().copied();
                let recent = newest.is_some_and(|n| world.cluster.last_event() - n < 60);
                prop_assert!(!recent || kept.last().copied() == newest);
            }
        }
    }
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
