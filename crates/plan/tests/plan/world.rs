//! A cluster without machines: the test says what workers see, the planner answers.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use warren_core::{
    bounds::Port,
    change::Change,
    cluster::Cluster,
    health::{AccusedRole, ExternalVerdict, Health, HealthStatus, TaskHealth},
    id::{NodeId, ServiceId, TaskId},
    node::{Availability, AvailabilityKind, Driver, Node, NodeState},
    rule::Rule,
    service::{ChecksPause, Service},
    spec::{
        EnvVar, PlacementRules, Protocol, Publish, Pull, Replicas, RestartPolicy, ServiceSpec,
        TaskTemplate, Workload,
    },
    task::{EndKind, Phase, Placement, StopCause, Task, TaskEnd},
    time::Timestamp,
};
use warren_plan::{Dirty, Plan, Policy, plan, violations};

pub const REASON: &str = "liveness failed 3 times in a row over 20s: HTTP 500";

pub struct World {
    pub cluster: Cluster,
    pub policy: Policy,
    pub now: Timestamp,
    pub seed: u64,
    /// What changed since this was emptied.
    pub dirty: Dirty,
    ids: u64,
}

impl World {
    /// Begins at some moment of 2025, with so many nodes, 1 to n.
    pub fn new(nodes: u64) -> Self {
        let mut world = Self {
            cluster: Cluster::default(),
            policy: Policy::default(),
            now: Timestamp::from_millis(1_750_000_000_000),
            seed: 7,
            dirty: Dirty::default(),
            ids: 0,
        };
        for number in 1..=nodes {
            world.node(number, NodeState::Up);
        }
        world
    }

    pub fn apply(&mut self, change: &Change) {
        let before = self.cluster.clone();
        self.cluster.apply(change);
        self.dirty.append(Dirty::of(&before, &self.cluster, std::slice::from_ref(change)));
    }

    pub fn node(&mut self, number: u64, state: NodeState) {
        let known = self.cluster.node(NodeId::from_u64(number)).cloned();
        let node = Node {
            id: NodeId::from_u64(number),
            name: format!("node-{number}"),
            state,
            since: self.now,
            registered_at: self.now,
            drivers: BTreeSet::from([Driver::Containerd]),
            version: String::new(),
            epoch: 1,
            cpus: 4,
            memory_bytes: 1 << 33,
            labels: known.as_ref().map(|node| node.labels.clone()).unwrap_or_default(),
            availability: known
                .as_ref()
                .map_or(Availability::active(self.now), |node| node.availability.clone()),
            accused: known.as_ref().and_then(|node| node.accused.clone()),
            doubted: None,
            operator_labels: known.map(|node| node.operator_labels.clone()).unwrap_or_default(),
        };
        self.apply(&Change::PutNode(Box::new(node)));
    }

    pub fn edit_node(&mut self, number: u64, edit: impl FnOnce(&mut Node)) {
        let mut node = (**self.cluster.node(NodeId::from_u64(number)).unwrap()).clone();
        edit(&mut node);
        self.apply(&Change::PutNode(Box::new(node)));
    }

    pub fn open(&mut self, number: u64, kind: AvailabilityKind) {
        let since = self.now;
        self.edit_node(number, |node| {
            node.availability = Availability { kind, ..Availability::active(since) };
        });
    }

    pub fn release(&mut self, id: ServiceId) {
        let mut service = (**self.cluster.service(id).unwrap()).clone();
        service.released_at = Some(self.now);
        self.apply(&Change::PutService(Box::new(service)));
    }

    /// Pauses its checks, or goes on with them.
    pub fn pause(&mut self, id: ServiceId, span: Option<Duration>) {
        let mut service = (**self.cluster.service(id).unwrap()).clone();
        service.checks_paused = span.map(|span| {
            let (since, until) = (self.now, self.now.after(span));
            ChecksPause { since, until, by: None }
        });
        self.apply(&Change::PutService(Box::new(service)));
    }

    pub fn held_by(&self, id: TaskId) -> Option<Rule> {
        self.task(id).held.as_ref().map(|held| held.rule)
    }

    /// Slots of the service with something on its way.
    pub fn in_replacement(&self, service: ServiceId) -> Vec<u32> {
        let replicas = self.cluster.service(service).unwrap().spec.replicas.get();
        (1..=replicas).filter(|&slot| self.live(service, slot).len() == 2).collect()
    }

    pub fn service(&mut self, name: &str, replicas: u32, ports: &[u32]) -> ServiceId {
        self.ids += 1;
        let id = ServiceId::from_u64(self.ids);
        let spec = spec(name, replicas, template(ports, 0));
        self.apply(&Change::PutService(Box::new(Service::new(id, spec, self.now))));
        id
    }

    /// Changes the spec and says what came of it.
    pub fn update(&mut self, id: ServiceId, change: impl FnOnce(&mut ServiceSpec)) {
        let service = Arc::clone(self.cluster.service(id).unwrap());
        let mut spec = service.spec.clone();
        change(&mut spec);
        self.apply(&Change::PutService(Box::new(service.updated(spec, self.now))));
    }

    pub fn scale(&mut self, id: ServiceId, replicas: u32) {
        self.update(id, |spec| spec.replicas = Replicas::new(replicas).unwrap());
    }

    /// A new template with the same ports.
    pub fn roll(&mut self, id: ServiceId) {
        let version = self.cluster.service(id).unwrap().revision;
        self.update(id, |spec| {
            let mut next = (*spec.template).clone();
            next.env = vec![EnvVar::new("VERSION", version.to_string()).unwrap()];
            spec.template = Arc::new(next);
        });
    }

    pub fn remove(&mut self, id: ServiceId) {
        let mut service = (**self.cluster.service(id).unwrap()).clone();
        service.removed_at = Some(self.now);
        self.apply(&Change::PutService(Box::new(service)));
    }

    /// Plans, applies, and plans again to see that nothing is left.
    pub fn plan(&mut self) -> Plan {
        let plan = plan(&self.cluster, &self.policy, self.now, self.seed);
        plan.changes.iter().for_each(|change| self.cluster.apply(change));
        let again = warren_plan::plan(&self.cluster, &self.policy, self.now, self.seed);
        assert_eq!(again.changes, [], "a plan left something to do");
        assert_eq!(violations(&self.cluster, self.now), []);
        plan
    }

    pub fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    pub fn seconds(&mut self, seconds: u64) -> Plan {
        self.pass(Duration::from_secs(seconds));
        self.plan()
    }

    pub fn task(&self, id: TaskId) -> Arc<Task> {
        Arc::clone(self.cluster.task(id).unwrap())
    }

    pub fn tasks(&self, service: ServiceId) -> Vec<Arc<Task>> {
        self.cluster.tasks_of(service).map(Arc::clone).collect()
    }

    /// The live tasks of a slot, the one that takes over last.
    pub fn live(&self, service: ServiceId, slot: u32) -> Vec<TaskId> {
        let live = |t: &&Arc<Task>| t.slot == slot && !t.has_ended() && t.stop.is_none();
        let mut tasks: Vec<_> = self.cluster.tasks_of(service).filter(live).collect();
        let oldest = tasks.iter().map(|t| t.id).collect::<BTreeSet<_>>();
        tasks.sort_by_key(|t| (t.replaces.is_some_and(|id| oldest.contains(&id)), t.created_at));
        tasks.into_iter().map(|t| t.id).collect()
    }

    pub fn only(&self, service: ServiceId, slot: u32) -> TaskId {
        match self.live(service, slot)[..] {
            [id] => id,
            ref others => panic!("slot {slot} has {others:?}"),
        }
    }

    /// The old one and its successor.
    pub fn pair(&self, service: ServiceId, slot: u32) -> (TaskId, TaskId) {
        match self.live(service, slot)[..] {
            [old, new] => {
                assert_eq!(self.task(new).replaces, Some(old));
                (old, new)
            }
            ref others => panic!("slot {slot} has {others:?}"),
        }
    }

    pub fn stopped(&self, id: TaskId) -> Option<StopCause> {
        self.task(id).stop.as_ref().map(|stop| stop.cause)
    }

    pub fn waits_because(&self, id: TaskId) -> String {
        match &self.task(id).placement {
            Placement::Waiting(reason) => reason.clone(),
            Placement::On(node) => panic!("{id} is on {node}"),
        }
    }

    pub fn node_of(&self, id: TaskId) -> u64 {
        self.task(id).node().unwrap().as_u64()
    }

    pub fn edit(&mut self, id: TaskId, edit: impl FnOnce(&mut Task)) {
        let mut task = (*self.task(id)).clone();
        edit(&mut task);
        self.apply(&Change::PutTask(Box::new(task)));
    }

    pub fn look(&mut self, id: TaskId, look: impl FnOnce(&mut Health)) {
        let known = self.cluster.health(id).map(|health| (**health).clone());
        let mut health = known.unwrap_or_else(|| TaskHealth::starting(self.now));
        look(&mut health.observed);
        health.observed.was_ready |= health.observed.ready;
        self.apply(&Change::PutHealth(id, Box::new(health)));
    }

    pub fn runs(&mut self, id: TaskId) {
        let now = self.now;
        self.edit(id, |task| {
            assert!(task.node().is_some(), "{id} has no node");
            task.status.phase = Phase::Running;
            task.status.started_at = Some(now);
        });
        self.look(id, |_| {});
    }

    pub fn observe(&mut self, id: TaskId, status: HealthStatus, ready: bool, reason: &str) {
        let now = self.now;
        self.look(id, |health| {
            *health = Health { status, since: now, ready, ready_since: now, ..health.clone() };
            reason.clone_into(&mut health.reason);
        });
    }

    pub fn is_ready(&mut self, id: TaskId) {
        self.observe(id, HealthStatus::Healthy, true, "");
    }

    pub fn is_unhealthy(&mut self, id: TaskId) {
        self.observe(id, HealthStatus::Unhealthy, false, REASON);
    }

    pub fn is_not_ready(&mut self, id: TaskId) {
        self.observe(id, HealthStatus::Healthy, false, "readiness failed");
    }

    pub fn accuse(&mut self, id: TaskId, role: AccusedRole, ttl: Duration) {
        let verdict = ExternalVerdict {
            reporter: "auditor".to_owned(),
            role,
            reason: "ledger differs".to_owned(),
            reported_at: self.now,
            expires_at: self.now.after(ttl),
        };
        let mut health = (**self.cluster.health(id).unwrap()).clone();
        health.external = vec![verdict];
        self.apply(&Change::PutHealth(id, Box::new(health)));
    }

    pub fn ends(&mut self, id: TaskId, kind: EndKind, exit_code: Option<i32>) {
        let at = self.now;
        let reason = String::new();
        let end = TaskEnd { kind, at, exit_code, oom_killed: false, reason };
        self.edit(id, |task| task.status.phase = Phase::Ended(Box::new(end)));
    }

    pub fn exits(&mut self, id: TaskId, code: i32) {
        self.ends(id, EndKind::Exited, Some(code));
    }

    /// Plans, and has every live task of the service started and ready.
    pub fn serve(&mut self, service: ServiceId) {
        self.plan();
        let live = |t: &Arc<Task>| !t.has_ended() && t.stop.is_none() && t.node().is_some();
        for task in self.tasks(service).into_iter().filter(live) {
            self.runs(task.id);
            self.is_ready(task.id);
        }
        self.plan();
    }

    pub fn said(&self, what: &str) -> bool {
        self.cluster.events().any(|event| event.message.contains(what))
    }
}

pub fn spec(name: &str, replicas: u32, template: TaskTemplate) -> ServiceSpec {
    ServiceSpec {
        name: name.parse().unwrap(),
        replicas: Replicas::new(replicas).unwrap(),
        template: Arc::new(template),
        restart: RestartPolicy::default(),
        placement: PlacementRules::default(),
    }
}

pub fn template(ports: &[u32], version: u64) -> TaskTemplate {
    let publish = |&port: &u32| Publish {
        host_port: Port::new(port).unwrap(),
        task_port: Port::new(80).unwrap(),
        protocol: Protocol::Tcp,
    };
    TaskTemplate {
        env: vec![EnvVar::new("VERSION", version.to_string()).unwrap()],
        publish: ports.iter().map(publish).collect(),
        ..TaskTemplate::new(Workload::Image {
            image: "nginx".parse().unwrap(),
            pull: Pull::Missing,
            command: Vec::new(),
        })
    }
}
