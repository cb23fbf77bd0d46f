//! The cluster's indexes say what a look at every row would say, whatever happened before.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, sync::Arc};

use proptest::{collection::vec, prelude::*};
use warren_core::{
    bounds::StopGrace,
    change::Change,
    cluster::Cluster,
    event::{Event, EventKind},
    health::{RoleHealth, TaskHealth},
    id::{NodeId, ServiceId, TaskId},
    node::{Accusation, Availability, AvailabilityKind, Driver, Labels, Node, NodeState},
    service::Service,
    spec::{
        PlacementRules, Replicas, RestartPolicy, ServiceName, ServiceSpec, TaskTemplate, Workload,
    },
    task::{Placement, ReportMark, Task, TaskStatus},
    time::Timestamp,
};

const NAMES: [&str; 3] = ["web", "db", "cache"];

fn service(id: u64, name: usize) -> Service {
    let template = TaskTemplate {
        stop_grace_period: StopGrace::MIN,
        ..TaskTemplate::new(Workload::Process { command: vec!["true".to_owned()] })
    };
    let spec = ServiceSpec {
        name: NAMES[name].parse().unwrap(),
        replicas: Replicas::new(1).unwrap(),
        template: Arc::new(template),
        restart: RestartPolicy::default(),
        placement: PlacementRules::default(),
    };
    Service::new(ServiceId::from_u64(id), spec, Timestamp::EPOCH)
}

fn task(id: u64, service: u64, slot: u32, node: Option<u64>) -> Task {
    Task {
        id: TaskId::from_u64(id),
        service: ServiceId::from_u64(service),
        slot,
        revision: 1,
        attempt: 0,
        placement: match node {
            Some(node) => Placement::On(NodeId::from_u64(node)),
            None => Placement::Waiting(String::new()),
        },
        created_at: Timestamp::EPOCH,
        not_before: Timestamp::EPOCH,
        replaces: None,
        stop: None,
        held: None,
        status: TaskStatus::pending(Timestamp::EPOCH),
        reported: ReportMark::default(),
    }
}

/// Of all kinds, by the bits of `look`: closed, accused, with labels and drivers.
fn node(id: u64, look: u8) -> Node {
    let is = |bit: u8| look & (1 << bit) != 0;
    let zone = |value: &str| Labels::from([("zone".parse().unwrap(), value.to_owned())]);
    let kind = if is(4) { AvailabilityKind::Drained } else { AvailabilityKind::Active };
    let accused = Accusation { since: Timestamp::EPOCH, reason: String::new(), canary: None };
    Node {
        id: NodeId::from_u64(id),
        name: format!("n{id}"),
        state: if is(0) { NodeState::Lost } else { NodeState::Up },
        since: Timestamp::EPOCH,
        registered_at: Timestamp::EPOCH,
        drivers: [Some(Driver::Containerd), is(1).then_some(Driver::Process)]
            .into_iter()
            .flatten()
            .collect(),
        version: String::new(),
        epoch: 1,
        cpus: 1,
        memory_bytes: 1,
        labels: if is(2) { zone("a") } else { zone("b") },
        operator_labels: if is(3) { zone("c") } else { Labels::new() },
        availability: Availability { kind, ..Availability::active(Timestamp::EPOCH) },
        accused: is(5).then_some(accused),
        doubted: None,
    }
}

fn event(sequence: u64) -> Event {
    Event {
        sequence,
        at: Timestamp::EPOCH,
        kind: EventKind::NodeUp,
        service: None,
        service_name: None,
        slot: None,
        task: None,
        node: None,
        message: String::new(),
        decision: None,
    }
}

/// Few ids, so that changes meet: services are renamed and removed, tasks placed again and moved
/// to another slot.
fn change() -> impl Strategy<Value = Change> {
    let on = prop::option::of(0..3_u64);
    // Most take tasks.
    let look = (any::<u8>(), any::<u8>()).prop_map(|(a, b)| a & (b | 0b1110));
    prop_oneof![
        3 => (0..3_u64, look).prop_map(|(id, look)| Change::PutNode(Box::new(node(id, look)))),
        1 => (0..3_u64).prop_map(|id| Change::RemoveNode(NodeId::from_u64(id))),
        3 => (0..3_u64, 0..NAMES.len())
            .prop_map(|(id, name)| Change::PutService(Box::new(service(id, name)))),
        1 => (0..3_u64).prop_map(|id| Change::RemoveService(ServiceId::from_u64(id))),
        6 => (0..8_u64, 0..3_u64, 1..4_u32, on).prop_map(|(id, service, slot, node)| {
            Change::PutTask(Box::new(task(id, service, slot, node)))
        }),
        2 => (0..8_u64).prop_map(|id| Change::RemoveTask(TaskId::from_u64(id))),
        2 => (0..8_u64).prop_map(|id| {
            let health = TaskHealth::starting(Timestamp::EPOCH);
            Change::PutHealth(TaskId::from_u64(id), Box::new(health))
        }),
        2 => (1..20_u64, prop::option::of(0..3_u64), prop::option::of(0..8_u64)).prop_map(
            |(sequence, service, task)| {
                let service = service.map(ServiceId::from_u64);
                let task = task.map(TaskId::from_u64);
                Change::PutEvent(Box::new(Event { service, task, ..event(sequence) }))
            }
        ),
        1 => (0..20_u64).prop_map(Change::RemoveEvent),
        1 => (0..20_u64).prop_map(Change::TrimEvents),
    ]
}

fn holder(cluster: &Cluster, name: &ServiceName) -> Option<ServiceId> {
    let mut named = cluster.services().filter(|service| service.spec.name == *name);
    named.next().map(|service| service.id)
}

fn ids<'a>(tasks: impl Iterator<Item = &'a Arc<Task>>) -> Vec<TaskId> {
    tasks.map(|task| task.id).collect()
}

fn assert_indexes_equal_a_scan(cluster: &Cluster) {
    for name in NAMES.map(|name| name.parse::<ServiceName>().unwrap()) {
        let found = cluster.service_named(&name).map(|service| service.id);
        assert_eq!(found, holder(cluster, &name), "{name}");
    }
    for service in (0..3).map(ServiceId::from_u64) {
        let mut scan: Vec<_> = cluster.tasks().filter(|task| task.service == service).collect();
        scan.sort_by_key(|task| (task.slot, task.id));
        assert_eq!(ids(cluster.tasks_of(service)), ids(scan.into_iter()));
    }
    for service in (0..3).map(ServiceId::from_u64) {
        let scan = cluster.events().filter(|event| event.service == Some(service));
        assert!(cluster.events_of_service(service).eq(scan.map(|event| event.sequence)));
    }
    for task in (0..8).map(TaskId::from_u64) {
        let scan = cluster.events().filter(|event| event.task == Some(task));
        assert!(cluster.events_of_task(task).eq(scan.map(|event| event.sequence)));
    }
    for node in (0..3).map(NodeId::from_u64) {
        let load = cluster.tasks_on(node).filter(|t| !t.has_ended() && t.stop.is_none()).count();
        assert_eq!(cluster.load(node) as usize, load);
        let scan = cluster.tasks().filter(|task| task.node() == Some(node));
        assert_eq!(ids(cluster.tasks_on(node)), ids(scan));
    }
}

fn assert_open_nodes_equal_a_scan(cluster: &Cluster) {
    for driver in [Driver::Containerd, Driver::Process] {
        let fits = |node: &&Arc<Node>| node.is_open() && node.drivers.contains(&driver);
        let mut scan: Vec<_> = cluster.nodes().filter(fits).collect();
        scan.sort_by_key(|node| (node.accused.is_some(), cluster.load(node.id), node.id));
        assert_eq!(cluster.open_count(driver), scan.len());
        assert!(cluster.open_nodes(driver).eq(scan));
    }
    let zone = "zone".parse().unwrap();
    let open = cluster.nodes().filter(|node| node.is_open());
    let scan: BTreeSet<_> = open.filter_map(|node| node.label(&zone)).collect();
    assert_eq!(cluster.open_values_count(&zone), scan.len());
    assert!(cluster.open_values(&zone).eq(scan));
}

fn apply(cluster: &mut Cluster, changes: &[Change]) {
    for change in changes {
        cluster.apply(change);
    }
}

proptest! {
    #[test]
    fn indexes_equal_a_scan_after_any_changes(changes in vec(change(), 0..60)) {
        let mut cluster = Cluster::default();
        for change in &changes {
            cluster.apply(change);
            assert_indexes_equal_a_scan(&cluster);
            assert_open_nodes_equal_a_scan(&cluster);
        }
    }

    /// A load puts each row once, in any order.
    #[test]
    fn rows_loaded_afresh_make_the_same_cluster(changes in vec(change(), 0..60)) {
        let mut cluster = Cluster::default();
        apply(&mut cluster, &changes);

        let mut loaded = Cluster::default();
        for event in cluster.events() {
            loaded.apply(&Change::PutEvent(Box::new((**event).clone())));
        }
        for id in (0..8).map(TaskId::from_u64) {
            if let Some(health) = cluster.health(id) {
                loaded.apply(&Change::PutHealth(id, Box::new((**health).clone())));
            }
        }
        for task in cluster.tasks() {
            loaded.apply(&Change::PutTask(Box::new((**task).clone())));
        }
        for node in cluster.nodes() {
            loaded.apply(&Change::PutNode(Box::new((**node).clone())));
        }
        for service in cluster.services() {
            loaded.apply(&Change::PutService(Box::new((**service).clone())));
        }
        prop_assert_eq!(loaded, cluster);
    }

    #[test]
    fn a_snapshot_does_not_see_what_comes_after(
        before in vec(change(), 0..30),
        after in vec(change(), 1..30),
    ) {
        let mut cluster = Cluster::default();
        apply(&mut cluster, &before);
        let (snapshot, mut replayed) = (cluster.clone(), Cluster::default());
        apply(&mut cluster, &after);
        apply(&mut replayed, &before);
        prop_assert_eq!(snapshot, replayed);
    }
}

#[test]
fn two_services_may_exchange_their_names_in_either_order() {
    for order in [[(0, 1), (1, 0)], [(1, 0), (0, 1)]] {
        let mut cluster = Cluster::default();
        cluster.apply(&Change::PutService(Box::new(service(0, 0))));
        cluster.apply(&Change::PutService(Box::new(service(1, 1))));
        for (id, name) in order {
            cluster.apply(&Change::PutService(Box::new(service(id, name))));
        }
        let named = |name: usize| {
            let found = cluster.service_named(&NAMES[name].parse().unwrap());
            found.map(|service| service.id.as_u64())
        };
        assert_eq!((named(0), named(1)), (Some(1), Some(0)));
    }
}

#[test]
fn a_removed_task_takes_its_health_along() {
    let mut cluster = Cluster::default();
    let id = TaskId::from_u64(1);
    cluster.apply(&Change::PutTask(Box::new(task(1, 0, 1, Some(0)))));
    let health = TaskHealth::starting(Timestamp::EPOCH);
    cluster.apply(&Change::PutHealth(id, Box::new(health)));
    assert!(cluster.health(id).is_some());
    cluster.apply(&Change::RemoveTask(id));
    assert!(cluster.health(id).is_none() && cluster.task(id).is_none());
}

#[test]
fn history_is_read_from_a_sequence_and_trimmed_up_to_one() {
    let mut cluster = Cluster::default();
    for sequence in 1..=5 {
        cluster.apply(&Change::PutEvent(Box::new(event(sequence))));
    }
    cluster.apply(&Change::TrimEvents(2));
    let left = |after| cluster.events_after(after).map(|e| e.sequence).collect::<Vec<_>>();
    assert_eq!((left(0), left(4), left(u64::MAX)), (vec![3, 4, 5], vec![5], vec![]));
    assert_eq!(cluster.last_event(), 5);
}

/// The manager holds a hundred thousand of them: see "What the manager costs" in
/// `docs/architecture.md`.
#[test]
fn the_rows_of_a_task_are_small() {
    let [task, health, role] =
        [size_of::<Task>(), size_of::<TaskHealth>(), size_of::<RoleHealth>()];
    // With the two counts of an Arc, what allocators give out for 256 and 128 bytes.
    assert!(task <= 240 && health <= 112 && role <= 112, "{task} {health} {role}");
}
