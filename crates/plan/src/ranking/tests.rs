//! The order that the cluster keeps leads to the node that a look at all of them leads to.

use proptest::{collection::vec, prelude::*, sample::select};
use warren_core::{
    change::Change,
    id::{ServiceId, TaskId},
    node::{Accusation, Availability, Labels, NodeState},
    spec::{PlacementRules, Pull, Replicas, RestartPolicy, ServiceSpec},
    task::{EndKind, Phase, Placement, ReportMark, Stop, StopCause, TaskEnd, TaskStatus},
    time::Timestamp,
};

use super::*;

const NODES: u64 = 12;
const SERVICE: u64 = 1;
const SLOTS: u32 = 3;

/// What a random world says of a node.
#[derive(Debug, Clone)]
struct NodeLook {
    open: bool,
    accused: bool,
    drivers: &'static [Driver],
    zone: Option<&'static str>,
    fits: bool,
}

/// And of a task.
#[derive(Debug, Clone)]
struct TaskLook {
    service: u64,
    slot: u32,
    revision: u64,
    node: Option<u64>,
    end: Option<EndKind>,
    stop: Option<StopCause>,
}

#[derive(Debug, Clone)]
struct Look {
    nodes: Vec<NodeLook>,
    tasks: Vec<TaskLook>,
    spread: Option<&'static str>,
    constraint: Option<&'static str>,
    process: bool,
    slot: u32,
    /// The number of the task that it takes over from.
    old: Option<usize>,
}

fn node_look() -> impl Strategy<Value = NodeLook> {
    let zone = select(vec![None, Some("a"), Some("b"), Some("c")]);
    let mostly = || prop::bool::weighted(0.8);
    let drivers = prop_oneof![
        4 => Just(&[Driver::Containerd, Driver::Process][..]),
        1 => Just(&[Driver::Containerd][..]),
    ];
    (mostly(), prop::bool::weighted(0.2), drivers, zone, mostly()).prop_map(
        |(open, accused, drivers, zone, fits)| NodeLook { open, accused, drivers, zone, fits },
    )
}

fn task_look() -> impl Strategy<Value = TaskLook> {
    let end = prop_oneof![
        3 => Just(None),
        2 => Just(Some(EndKind::Exited)),
        1 => Just(Some(EndKind::Stopped)),
    ];
    let stop = prop_oneof![
        4 => Just(None),
        1 => select(vec![Some(StopCause::Unhealthy), Some(StopCause::Updated)]),
    ];
    let node = prop::option::weighted(0.9, 1..=NODES);
    (SERVICE..=3, 1..=SLOTS, 1..=2_u64, node, end, stop).prop_map(
        |(service, slot, revision, node, end, stop)| TaskLook {
            service,
            slot,
            revision,
            node,
            end,
            stop,
        },
    )
}

prop_compose! {
    fn look()(
        nodes in vec(node_look(), 0..=usize::try_from(NODES).unwrap()),
        tasks in vec(task_look(), 0..40),
        spread in select(vec![None, Some("node.labels.zone"), Some("node.name"), Some("node.id")]),
        constraint in select(vec![
            None,
            None,
            Some("node.labels.zone==b"),
            Some("node.labels.zone!=a"),
            Some("node.name==n3"),
        ]),
        process in any::<bool>(),
        slot in 1..=SLOTS,
        old in prop::option::of(0_usize..40),
    ) -> Look {
        Look { nodes, tasks, spread, constraint, process, slot, old }
    }
}

const NOW: Timestamp = Timestamp::from_millis(1_750_000_000_000);

fn node(number: u64, look: &NodeLook) -> Node {
    let zone = |zone: &str| ("zone".parse().unwrap(), zone.to_owned());
    let accused = Accusation { since: NOW, reason: String::new(), canary: None };
    Node {
        id: NodeId::from_u64(number),
        name: format!("n{number}"),
        state: if look.open { NodeState::Up } else { NodeState::Suspect },
        since: NOW,
        registered_at: NOW,
        drivers: look.drivers.iter().copied().collect(),
        version: String::new(),
        epoch: 1,
        cpus: 1,
        memory_bytes: 1,
        labels: look.zone.map(zone).into_iter().collect(),
        operator_labels: Labels::new(),
        availability: Availability::active(NOW),
        accused: look.accused.then_some(accused),
        doubted: None,
    }
}

fn task(number: u64, look: &TaskLook) -> Task {
    let mut status = TaskStatus::pending(NOW);
    if let Some(kind) = look.end {
        let reason = String::new();
        let exit_code = Some(1);
        let end = TaskEnd { kind, at: NOW, exit_code, oom_killed: false, reason };
        status.phase = Phase::Ended(Box::new(end));
    }
    let stop = |cause| Box::new(Stop { cause, reason: String::new(), at: NOW });
    let stop = look.stop.map(stop);
    Task {
        id: TaskId::from_u64(number),
        service: ServiceId::from_u64(look.service),
        slot: look.slot,
        revision: look.revision,
        attempt: 0,
        placement: match look.node {
            Some(node) => Placement::On(NodeId::from_u64(node)),
            None => Placement::Waiting(String::new()),
        },
        created_at: NOW,
        not_before: NOW,
        replaces: None,
        stop,
        held: None,
        status,
        reported: ReportMark::default(),
    }
}

fn service(look: &Look) -> Service {
    let workload = if look.process {
        Workload::Process { command: vec!["true".to_owned()] }
    } else {
        Workload::Image { image: "app".parse().unwrap(), pull: Pull::Missing, command: Vec::new() }
    };
    let spec = ServiceSpec {
        name: "web".parse().unwrap(),
        replicas: Replicas::new(SLOTS).unwrap(),
        template: Arc::new(TaskTemplate::new(workload)),
        restart: RestartPolicy::default(),
        placement: PlacementRules {
            constraints: look.constraint.map(|text| text.parse().unwrap()).into_iter().collect(),
            spread: look.spread.map(|text| text.parse().unwrap()),
        },
    };
    Service::new(ServiceId::from_u64(SERVICE), spec, NOW)
}

fn cluster(look: &Look) -> Cluster {
    let mut cluster = Cluster::default();
    for (number, look) in (1..).zip(&look.nodes) {
        cluster.apply(&Change::PutNode(Box::new(node(number, look))));
    }
    for (number, look) in (1..).zip(&look.tasks) {
        cluster.apply(&Change::PutTask(Box::new(task(number, look))));
    }
    cluster
}

/// Each node's cost in words of its own, the rows' alone, and of all that fit the least.
fn exhaustive(candidate: &Candidate<'_>, fits: impl Fn(&Node) -> bool) -> Option<NodeId> {
    let Candidate { cluster, service, task, old } = *candidate;
    let leaving = old.filter(|old| !old.has_ended() && old.stop.is_none());
    let mine = |task: &&Arc<Task>| !task.has_ended() && task.stop.is_none();
    let others = |node: &Node| {
        let stays = |t: &&Arc<Task>| leaving.is_none_or(|old| old.id != t.id);
        let here = |t: &&Arc<Task>| t.node() == Some(node.id);
        cluster.tasks_of(service.id).filter(mine).filter(here).filter(stays).count()
    };
    let failures = |node: &Node| {
        let here = |t: &&Arc<Task>| t.node() == Some(node.id);
        let failed = |t: &&Arc<Task>| t.revision == service.template_revision && has_failed(t);
        let count = cluster.tasks_in(service.id, task.slot).filter(here).filter(failed).count();
        let old = old.filter(|old| old.node() == Some(node.id));
        let by_old = old.is_some_and(has_failed);
        let fails = old.filter(|old| leaving.is_some() && old.revision == task.revision);
        count.max(by_old.into()) + usize::from(fails.is_some())
    };
    let spread = |node: &Node| {
        let attribute = service.spec.placement.spread.as_ref()?;
        let value = attribute.of(node);
        let alike = cluster.nodes().filter(|other| attribute.of(other) == value);
        Some((value.is_none(), alike.map(|node| others(node)).sum::<usize>()))
    };
    let load = |node: &Node| {
        let tasks = cluster.tasks_on(node.id).filter(mine);
        tasks.filter(|t| leaving.is_none_or(|old| old.id != t.id)).count()
    };
    let driver = driver_of(&candidate.template()?.workload);
    let suited = cluster.nodes().filter(|n| candidate.suits(n, driver)).filter(|n| fits(n));
    let cost =
        |n: &&Arc<Node>| (failures(n), n.accused.is_some(), spread(n), others(n), load(n), n.id);
    suited.min_by_key(cost).map(|node| node.id)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_kept_order_leads_where_a_look_at_all_nodes_does(look in look()) {
        let (cluster, service) = (cluster(&look), service(&look));
        let new = TaskLook {
            service: SERVICE,
            slot: look.slot,
            revision: service.template_revision,
            node: None,
            end: None,
            stop: None,
        };
        let task = task(1_000, &new);
        let number = look.old.map(|number| TaskId::from_u64(number as u64 + 1));
        let old = number.and_then(|id| cluster.task(id)).filter(|old| old.service == service.id);
        let old = old.map(|old| &**old);
        let candidate = Candidate { cluster: &cluster, service: &service, task: &task, old };
        let fits = |node: &Node| {
            (1..).zip(&look.nodes).any(|(number, look)| node.id.as_u64() == number && look.fits)
        };
        let tasks = tasks_by_node(&cluster, &service);
        let template = candidate.template().unwrap();
        let ranking = Ranking::new(&candidate, template, &tasks);
        for fits in [&fits as &dyn Fn(&Node) -> bool, &|_: &Node| true] {
            let first = ranking.first(fits).map(|node| node.id);
            prop_assert_eq!(first, exhaustive(&candidate, fits));
        }
    }

    /// Whatever runs elsewhere: the first look is the last one.
    #[test]
    fn a_task_without_a_past_is_placed_at_first_sight(
        nodes in vec(node_look(), 1..=usize::try_from(NODES).unwrap()),
        tasks in vec(task_look(), 0..40),
    ) {
        let tasks = tasks.into_iter().filter(|task| task.service != SERVICE).collect();
        let look = Look {
            nodes, tasks, spread: None, constraint: None, process: false, slot: 1, old: None,
        };
        let (cluster, service) = (cluster(&look), service(&look));
        let new = TaskLook {
            service: SERVICE, slot: 1, revision: 1, node: None, end: None, stop: None,
        };
        let task = task(1_000, &new);
        let candidate = Candidate { cluster: &cluster, service: &service, task: &task, old: None };
        let tasks = BTreeMap::new();
        let ranking = Ranking::new(&candidate, candidate.template().unwrap(), &tasks);
        let mut looks = 0;
        let first = ranking.first(|_| { looks += 1; true });
        prop_assert_eq!(looks, usize::from(first.is_some()));
        prop_assert_eq!(first.map(|node| node.id), exhaustive(&candidate, |_| true));
    }
}
