//! What holds under every history that workers, people and time can make.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;
use warren_core::{
    change::Change,
    cluster::Cluster,
    health::{AccusedRole, HealthStatus},
    id::{NodeId, ServiceId, TaskId},
    node::{AvailabilityKind, Doubt, NodeState},
    restraint::Restraint,
    task::{EndKind, Phase, Stop, StopCause, Task},
    time::Timestamp,
};
use warren_plan::{
    AtRest, Dirty, Plan, effective_health, observed_health, plan, plan_dirty, summary::summarize,
    violations,
};

use crate::world::World;

/// Something that happens. Numbers pick one of those it can happen to.
#[derive(Debug, Clone)]
enum Op {
    Runs(usize),
    IsReady(usize),
    IsUnhealthy(usize),
    IsNotReady(usize),
    IsUnknown(usize),
    Exits(usize),
    CannotStart(usize),
    StopIsDone(usize),
    Accuse(usize, AccusedRole),
    Ask(usize),
    NodeLost(u64),
    NodeSuspect(u64),
    NodeOpen(u64, AvailabilityKind),
    /// Unhealthy, all on the node at one moment.
    NodeSick(u64),
    /// Unhealthy or ended, all of the service at one moment.
    ServiceSick(usize, bool),
    Release(usize),
    Restart,
    Doubt(u64, bool),
    NodeUp(u64),
    NodeGone(u64),
    Wish(Wish),
    Pass(u64),
}

/// Something that a person asks for.
#[derive(Debug, Clone)]
enum Wish {
    Create { port: bool, replicas: u32 },
    Scale(usize, u32),
    Roll(usize),
    Remove(usize),
}

const NODES: u64 = 3;
const REPLICAS_MAX: u32 = 9;
const SERVICES_MAX: usize = 3;

fn op() -> impl Strategy<Value = Op> {
    let n = || any::<prop::sample::Index>().prop_map(|index| index.index(1 << 16));
    let node = || 1..=NODES;
    let roles = prop_oneof![Just(AccusedRole::Liveness), Just(AccusedRole::Readiness)];
    let kinds = prop_oneof![
        2 => Just(AvailabilityKind::Active),
        1 => Just(AvailabilityKind::Cordoned),
        1 => Just(AvailabilityKind::Drained),
    ];
    prop_oneof![
        12 => n().prop_map(Op::Runs),
        12 => n().prop_map(Op::IsReady),
        8 => n().prop_map(Op::IsUnhealthy),
        2 => n().prop_map(Op::IsNotReady),
        1 => n().prop_map(Op::IsUnknown),
        3 => n().prop_map(Op::Exits),
        3 => n().prop_map(Op::CannotStart),
        8 => n().prop_map(Op::StopIsDone),
        2 => (n(), roles).prop_map(|(i, role)| Op::Accuse(i, role)),
        1 => n().prop_map(Op::Ask),
        1 => node().prop_map(Op::NodeLost),
        1 => node().prop_map(Op::NodeSuspect),
        2 => (node(), kinds).prop_map(|(number, kind)| Op::NodeOpen(number, kind)),
        1 => node().prop_map(Op::NodeSick),
        2 => (n(), any::<bool>()).prop_map(|(i, ends)| Op::ServiceSick(i, ends)),
        1 => n().prop_map(Op::Release),
        1 => Just(Op::Restart),
        1 => (node(), any::<bool>()).prop_map(|(number, doubted)| Op::Doubt(number, doubted)),
        2 => node().prop_map(Op::NodeUp),
        1 => node().prop_map(Op::NodeGone),
        5 => wish().prop_map(Op::Wish),
        8 => prop_oneof![Just(0), 1..10_000u64, 1..700_000u64].prop_map(Op::Pass),
    ]
}

fn wish() -> impl Strategy<Value = Wish> {
    let n = || any::<prop::sample::Index>().prop_map(|index| index.index(1 << 16));
    let replicas = || 0..=REPLICAS_MAX;
    prop_oneof![
        2 => (any::<bool>(), replicas())
            .prop_map(|(port, replicas)| Wish::Create { port, replicas }),
        1 => (n(), replicas()).prop_map(|(i, replicas)| Wish::Scale(i, replicas)),
        1 => n().prop_map(Wish::Roll),
        1 => n().prop_map(Wish::Remove),
    ]
}

/// A world with a manager that keeps the contract of `plan_dirty`.
struct Model {
    world: World,
    wake_at: Option<Timestamp>,
    at_rest: AtRest,
    /// Slots whose once ready task was stopped for its health, and none served since.
    bare: BTreeMap<(ServiceId, u32), Timestamp>,
    /// The largest budget that each service ever had.
    budgets: BTreeMap<ServiceId, usize>,
}

impl Model {
    fn new() -> Self {
        let world = World::new(NODES);
        let (bare, budgets) = (BTreeMap::new(), BTreeMap::new());
        Self { world, wake_at: None, at_rest: AtRest::default(), bare, budgets }
    }

    fn pick(&self, number: usize, fits: impl Fn(&Task) -> bool) -> Option<TaskId> {
        let fitting: Vec<TaskId> =
            self.world.cluster.tasks().filter(|t| fits(t)).map(|t| t.id).collect();
        (!fitting.is_empty()).then(|| fitting[number % fitting.len()])
    }

    fn running(&self, number: usize) -> Option<TaskId> {
        self.pick(number, |t| t.status.phase == Phase::Running && self.is_heard(t))
    }

    fn is_heard(&self, task: &Task) -> bool {
        let node = task.node().and_then(|id| self.world.cluster.node(id));
        node.is_some_and(|node| node.state == NodeState::Up)
    }

    fn service(&self, number: usize) -> Option<ServiceId> {
        let present: Vec<ServiceId> = self
            .world
            .cluster
            .services()
            .filter(|service| service.removed_at.is_none())
            .map(|service| service.id)
            .collect();
        (!present.is_empty()).then(|| present[number % present.len()])
    }

    fn happen(&mut self, op: &Op) {
        match *op {
            Op::Runs(n) => {
                let fits = |t: &Task| t.status.phase == Phase::Pending && self.is_heard(t);
                if let Some(id) = self.pick(n, fits) {
                    self.world.runs(id);
                }
            }
            Op::IsReady(n) => self.sees(n, HealthStatus::Healthy, true),
            Op::IsUnhealthy(n) => self.sees(n, HealthStatus::Unhealthy, false),
            Op::IsNotReady(n) => self.sees(n, HealthStatus::Healthy, false),
            Op::IsUnknown(n) => self.sees(n, HealthStatus::Unknown, false),
            Op::Exits(n) => self.end(n, EndKind::Exited, |t| t.status.phase == Phase::Running),
            Op::CannotStart(n) => {
                self.end(n, EndKind::NotStarted, |t| t.status.phase == Phase::Pending);
            }
            Op::StopIsDone(n) => self.end(n, EndKind::Stopped, |t| t.stop.is_some()),
            Op::Accuse(n, role) => {
                if let Some(id) = self.running(n) {
                    self.world.accuse(id, role, Duration::from_mins(1));
                }
            }
            Op::Ask(n) => self.ask(n),
            Op::NodeLost(number) => self.world.node(number, NodeState::Lost),
            Op::NodeUp(number) => self.world.node(number, NodeState::Up),
            Op::NodeSuspect(number) => self.world.node(number, NodeState::Suspect),
            Op::NodeOpen(number, kind) if self.has_node(number) => self.world.open(number, kind),
            Op::Doubt(number, doubted) if self.has_node(number) => {
                let since = self.world.now;
                let doubt = doubted.then_some(Doubt { since, score: 4 });
                self.world.edit_node(number, |node| node.doubted = doubt);
            }
            Op::NodeOpen(..) | Op::Doubt(..) => {}
            Op::NodeSick(number) => {
                let on = NodeId::from_u64(number);
                self.sick(|task| task.node() == Some(on));
            }
            Op::ServiceSick(n, ends) => {
                if let Some(id) = self.service(n) {
                    self.fail_all(id, ends);
                }
            }
            Op::Release(n) => {
                if let Some(id) = self.service(n) {
                    self.world.release(id);
                }
            }
            Op::Restart => {
                let started_at = Some(self.world.now);
                let restraint = (**self.world.cluster.restraint()).clone();
                let restraint = Restraint { started_at, ..restraint };
                self.world.apply(&Change::PutRestraint(Box::new(restraint)));
                // A manager that starts plans everything.
                self.wake_at = Some(self.world.now);
            }
            Op::NodeGone(number) => {
                self.world.apply(&Change::RemoveNode(NodeId::from_u64(number)));
            }
            Op::Pass(millis) => self.world.pass(Duration::from_millis(millis)),
            Op::Wish(ref wish) => self.wish(wish),
        }
    }

    fn wish(&mut self, wish: &Wish) {
        match *wish {
            Wish::Create { port, replicas } => {
                let number = self.world.cluster.services().count();
                if number < SERVICES_MAX {
                    let name = format!("s{}", self.budgets.len());
                    let ports: &[u32] = if port { &[8080] } else { &[] };
                    let id = self.world.service(&name, replicas, ports);
                    self.widen(id, replicas);
                }
            }
            Wish::Scale(n, replicas) => {
                if let Some(id) = self.service(n) {
                    self.world.scale(id, replicas);
                    self.widen(id, replicas);
                }
            }
            Wish::Roll(n) => {
                if let Some(id) = self.service(n) {
                    self.world.roll(id);
                }
            }
            Wish::Remove(n) => {
                if let Some(id) = self.service(n) {
                    self.world.remove(id);
                }
            }
        }
    }

    fn has_node(&self, number: u64) -> bool {
        self.world.cluster.node(NodeId::from_u64(number)).is_some()
    }

    fn sick(&mut self, fits: impl Fn(&Task) -> bool) {
        let tasks: Vec<TaskId> = self
            .world
            .cluster
            .tasks()
            .filter(|t| fits(t) && t.status.phase == Phase::Running && self.is_heard(t))
            .map(|task| task.id)
            .collect();
        for id in tasks {
            self.world.is_unhealthy(id);
        }
    }

    fn fail_all(&mut self, service: ServiceId, ends: bool) {
        if !ends {
            self.sick(|task| task.service == service);
            return;
        }
        for task in self.world.tasks(service) {
            if task.status.phase == Phase::Running && self.is_heard(&task) {
                self.world.ends(task.id, EndKind::Exited, Some(1));
            }
        }
    }

    fn widen(&mut self, id: ServiceId, replicas: u32) {
        let budget = self.budgets.entry(id).or_default();
        *budget = (*budget).max((replicas as usize / 4).max(1));
    }

    fn sees(&mut self, number: usize, status: HealthStatus, ready: bool) {
        if let Some(id) = self.running(number) {
            self.world.observe(id, status, ready, "as seen");
        }
    }

    fn end(&mut self, number: usize, kind: EndKind, fits: impl Fn(&Task) -> bool) {
        let heard = |t: &Task| !t.has_ended() && self.is_heard(t) && fits(t);
        if let Some(id) = self.pick(number, heard) {
            self.world.ends(id, kind, None);
        }
    }

    fn ask(&mut self, number: usize) {
        if let Some(id) = self.pick(number, |t| !t.has_ended() && t.stop.is_none()) {
            let (at, cause) = (self.world.now, StopCause::Requested);
            let stop = Stop { cause, reason: String::new(), at };
            self.world.edit(id, |task| task.stop = Some(stop.into()));
        }
    }

    /// Plans as a manager does, and holds the plan to every promise.
    fn plan(&mut self) -> Plan {
        let World { now, seed, .. } = self.world;
        let (cluster, policy) = (self.world.cluster.clone(), self.world.policy.clone());
        let dirty = std::mem::take(&mut self.world.dirty);
        let full = plan(&cluster, &policy, now, seed);
        assert_eq!(full, plan(&cluster, &policy, now, seed), "not deterministic");
        if self.wake_at.is_some_and(|at| at <= now) {
            self.wake_at = full.wake_at;
            let all = Dirty::all(&cluster);
            assert_eq!(plan_dirty(&cluster, &policy, now, seed, all, &mut self.at_rest), full);
        } else {
            let part = plan_dirty(&cluster, &policy, now, seed, dirty.clone(), &mut self.at_rest);
            assert_eq!(part.changes, full.changes, "planning {dirty:?} is not planning all");
            self.wake_at = self.wake_at.into_iter().chain(part.wake_at).min();
        }
        if let Some(full) = full.wake_at {
            assert!(self.wake_at.is_some_and(|at| at <= full), "would oversleep");
        }
        full.changes.iter().for_each(|change| self.world.cluster.apply(change));
        let again = plan(&self.world.cluster, &policy, now, seed);
        assert_eq!(again.changes, [], "not idempotent");
        assert_eq!(violations(&self.world.cluster, now), []);
        check_size(&cluster, &full);
        check_observed(&self.world.cluster, now);
        self.check_stops(&cluster);
        full
    }

    fn check_stops(&mut self, before: &Cluster) {
        let (after, now) = (self.world.cluster.clone(), self.world.now);
        for old in before.tasks() {
            let Some(new) = after.task(old.id) else {
                continue;
            };
            assert!(old.stop.is_none() || old.stop == new.stop, "a stop is for good");
            assert!(!old.has_ended() || old.status == new.status, "an end is for good");
            let stop = new.stop.as_ref().filter(|_| old.stop.is_none());
            if stop.is_some_and(|stop| stop.cause == StopCause::Unhealthy) {
                self.check_unhealthy_stop(before, old);
            }
        }
        self.bare.retain(|&(service, slot), at| {
            let replicas = after.service(service).map_or(0, |s| s.spec.replicas.get());
            let served = after
                .tasks_of(service)
                .any(|t| t.slot == slot && is_live(t) && was_ready(&after, t));
            slot <= replicas && !served && now.since(*at) < Duration::from_secs(30)
        });
        for (&service, &most) in &self.budgets {
            let slots = || self.bare.iter().filter(|((of, _), _)| *of == service);
            let fresh = slots().any(|(_, at)| *at == now);
            assert!(!fresh || slots().count() <= most, "more than {most} slots laid bare");
        }
    }

    /// Only what is unhealthy, or what a working successor replaces, is stopped for its health.
    fn check_unhealthy_stop(&mut self, before: &Cluster, task: &Arc<Task>) {
        let now = self.world.now;
        let health = before.health(task.id).map(|health| health.effective(now));
        let unhealthy = health.is_some_and(|health| health.status == HealthStatus::Unhealthy);
        let successor = before.tasks().find(|t| t.replaces == Some(task.id) && is_live(t));
        let replaced = successor.is_some_and(|t| effective_health(before, t, now).ready);
        assert!(unhealthy || replaced, "{} was stopped for no reason", task.id);
        let beside = task.replaces.and_then(|id| before.task(id)).is_some_and(|t| is_live(t));
        if was_ready(before, task) && !beside {
            self.bare.insert((task.service, task.slot), now);
        }
    }

    /// From here on every node is up and every new task works; what is unhealthy stays so.
    fn heal(&mut self) {
        let nodes = u64::from(REPLICAS_MAX) * SERVICES_MAX as u64;
        for number in 1..=nodes {
            self.world.node(number, NodeState::Up);
            self.world.open(number, AvailabilityKind::Active);
            self.world.edit_node(number, |node| node.doubted = None);
        }
        let most = 100 + 20 * self.world.cluster.tasks().count();
        for _ in 0..most {
            let quiet = self.plan().changes.is_empty();
            let idle = !self.work();
            match self.wake_at {
                None if quiet && idle => return,
                Some(at) if quiet && idle => self.world.now = self.world.now.max(at),
                None | Some(_) => self.world.pass(Duration::from_millis(100)),
            }
        }
        panic!("no rest after {most} rounds");
    }

    /// Every worker does what is wanted of it. Says whether there was anything.
    fn work(&mut self) -> bool {
        let mut worked = false;
        let heard = |t: &&Arc<Task>| !t.has_ended() && self.is_heard(t);
        let tasks: Vec<_> = self.world.cluster.tasks().filter(heard).map(Arc::clone).collect();
        for task in tasks {
            let observed = self.world.cluster.health(task.id).map(|h| h.observed.clone());
            let settled = |status, ready| match status {
                HealthStatus::Unhealthy => true,
                HealthStatus::Healthy | HealthStatus::Unchecked => ready,
                HealthStatus::Starting | HealthStatus::Unknown => false,
            };
            if task.stop.is_some() {
                self.world.ends(task.id, EndKind::Stopped, None);
            } else if task.status.phase == Phase::Pending {
                self.world.runs(task.id);
            } else if !observed.is_some_and(|health| settled(health.status, health.ready)) {
                self.world.is_ready(task.id);
            } else {
                continue;
            }
            worked = true;
        }
        worked
    }

    fn check_healed(&self) {
        for service in self.world.cluster.services() {
            assert_eq!(service.removed_at, None, "{} is still there", service.id);
            let summary = summarize(&self.world.cluster, service, self.world.now);
            let replicas = service.spec.replicas.get();
            let counts = (summary.healthy, summary.ready, summary.text());
            assert_eq!(counts, (replicas, replicas, format!("{replicas}/{replicas} healthy")));
            let live: Vec<_> =
                self.world.cluster.tasks_of(service.id).filter(|t| !t.has_ended()).collect();
            assert_eq!(live.len(), replicas as usize);
            assert!(live.iter().all(|t| t.revision == service.template_revision));
        }
    }
}

fn is_live(task: &Task) -> bool {
    !task.has_ended() && task.stop.is_none()
}

fn was_ready(cluster: &Cluster, task: &Task) -> bool {
    cluster.health(task.id).is_some_and(|health| health.observed.was_ready)
}

/// A plan has a bound, and writes each row once.
fn check_size(before: &Cluster, plan: &Plan) {
    let replicas: u32 = before.services().map(|s| s.spec.replicas.get()).sum();
    let slots = before.tasks().count() + replicas as usize + before.services().count();
    // And what restrains the cluster as a whole.
    let slots = slots + before.nodes().count() + 1;
    assert!(plan.changes.len() <= 8 * slots, "{} for {slots} slots", plan.changes.len());
    let mut rows = BTreeSet::new();
    for change in &plan.changes {
        let row = match change {
            Change::PutService(service) => (0, service.id.as_u64()),
            Change::RemoveService(id) => (0, id.as_u64()),
            Change::PutTask(task) => (1, task.id.as_u64()),
            Change::RemoveTask(id) => (1, id.as_u64()),
            Change::PutEvent(event) => (2, event.sequence),
            Change::RemoveEvent(sequence) => (2, *sequence),
            Change::TrimEvents(_) => (3, 0),
            Change::PutNode(node) => (4, node.id.as_u64()),
            Change::PutRestraint(_) => (5, 0),
            Change::PutHealth(..) | Change::RemoveNode(_) => {
                panic!("not the planner's to write: {change:?}")
            }
        };
        assert!(rows.insert(row), "written twice: {change:?}");
    }
}

/// A row that is shown in place of the health that counts says the same.
fn check_observed(cluster: &Cluster, now: Timestamp) {
    for task in cluster.tasks() {
        if let Some(observed) = observed_health(cluster, task, now) {
            assert_eq!(observed.observed, effective_health(cluster, task, now), "{}", task.id);
        }
    }
}

proptest! {
    // Each case is a long history; PROPTEST_CASES asks for four times as many of them.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

    ///
    #[test]
    fn every_history_keeps_the_promises_and_heals(
        first in 1..=REPLICAS_MAX,
        batches in prop::collection::vec(prop::collection::vec(op(), 1..4), 0..40),
    ) {
        let mut model = Model::new();
        model.wish(&Wish::Create { port: false, replicas: first });
        model.plan();
        for batch in &batches {
            for op in batch {
                model.happen(op);
            }
            model.plan();
        }
        model.heal();
        model.check_healed();
    }
}
