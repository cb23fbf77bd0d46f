//! An attempt that lands and an order that comes in one tick, before the task's actor goes on.

use std::{
    future::ready,
    net::{IpAddr, Ipv4Addr},
};

use futures::FutureExt as _;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::async_trait;
use warren_core::{
    assignment::Assignment,
    bounds::{Port, Threshold},
    check::{Check, CheckKind, Command, HealthConfig, Role, TcpCheck, Timing},
    health::{HealthStatus, Streak},
    node::Driver,
    outcome::Evidence,
    spec::{ImageRef, Pull, StopSignal, TaskTemplate, User},
    task::{Phase, Stop, StopCause, TaskStatus},
};
use warren_probe::Observer;
use warren_runtime::{ExecEnd, Exit, Found, ImageFacts, ImageRecord, Launch, Reach, RuntimeError};

use super::{
    super::{Actor, Heeded, Orders, Purpose, Update, flights::Flights, watch_over::Eyes},
    *,
};
use crate::{Config, Engine, Metrics, SystemClock, agent::Event, held};

const PASS: Outcome = Outcome::Pass;
const FAIL: Outcome = Outcome::Fail(Evidence::Explicit);

/// Has nothing to say, and carries out nothing.
#[derive(Debug)]
struct Silent;

#[async_trait]
impl Runtime for Silent {
    fn driver(&self) -> Driver {
        Driver::Process
    }
    async fn ping(&self) -> Result<String, RuntimeError> {
        std::future::pending().await
    }
    async fn ensure_image(&self, _: &ImageRef, _: Pull) -> Result<ImageFacts, RuntimeError> {
        std::future::pending().await
    }
    async fn images(&self) -> Result<Vec<ImageRecord>, RuntimeError> {
        std::future::pending().await
    }
    async fn import(&self, _: std::path::PathBuf) -> Result<Vec<ImageRecord>, RuntimeError> {
        std::future::pending().await
    }
    async fn create(&self, _: &Launch) -> Result<(), RuntimeError> {
        std::future::pending().await
    }
    async fn start(&self, _: TaskId) -> Result<Running, RuntimeError> {
        std::future::pending().await
    }
    async fn signal(&self, _: TaskId, _: StopSignal) -> Result<(), RuntimeError> {
        std::future::pending().await
    }
    async fn wait(&self, _: TaskId) -> Result<Exit, RuntimeError> {
        std::future::pending().await
    }
    async fn delete(&self, _: TaskId) -> Result<(), RuntimeError> {
        std::future::pending().await
    }
    async fn list(&self) -> Result<Vec<Found>, RuntimeError> {
        std::future::pending().await
    }
    async fn exec(
        &self,
        _: TaskId,
        _: &Command,
        _: Option<&User>,
        _: Duration,
    ) -> Result<ExecEnd, RuntimeError> {
        std::future::pending().await
    }
}

/// The actor of a task that runs, and its agent.
struct Scene {
    actor: Actor,
    eyes: Eyes,
    assignment: Assignment,
    orders: watch::Sender<Orders>,
    events: mpsc::Receiver<Event>,
}

impl Scene {
    fn new(checks: &Checks) -> Self {
        let (sender, events) = mpsc::channel(64);
        let config = Config {
            node_name: "node".to_owned(),
            version: "test".to_owned(),
            log_dir: "/nowhere".into(),
            archive_max: 0,
            cpus: 1,
            memory_bytes: 0,
            clock: Arc::new(SystemClock),
            session: watch::Sender::default(),
            labels: warren_core::node::Labels::new(),
            metrics: Metrics::default(),
            engine: Engine::here(),
            echo: None,
        };
        let context = Context::new(
            sender,
            CancellationToken::default(),
            &config,
            &Arc::<Observer>::default(),
        );
        let context = Arc::new(context.unwrap());
        let runtime: Arc<dyn Runtime> = Arc::new(Silent);
        let assignment = with(held::tests::held().assignment(), checks);
        let (orders, ordered) = watch::channel(Orders::of(&assignment));
        let Assignment { task, service, service_name, slot, template, .. } = assignment.clone();
        let now = context.clock.now();
        let reach = Reach { netns: None, address: IpAddr::V4(Ipv4Addr::LOCALHOST), root_of: None };
        let running = Running { pid: 1, started_at: now, reach };
        let checks = Arc::new(checks.clone());
        let checking =
            Checking::new(task, &service_name, &checks, &running, &runtime, &context, None);
        let actor = Actor {
            launch: Launch { task, service, service_name, slot, template },
            runtime,
            context,
            orders: ordered.clone(),
            seen: Arc::default(),
            status: TaskStatus {
                phase: Phase::Running,
                checks: Some(checks),
                ..TaskStatus::pending(now)
            },
            health: Some(checking.health()),
            heeded: Heeded::default(),
            ended: watch::Sender::new(false),
        };
        let eyes = Eyes::new(checking, &ordered);
        Self { actor, eyes, assignment, orders, events }
    }

    /// An attempt of the role has seen this.
    fn land(&self, role: Role, outcome: Outcome) {
        let watched = self.eyes.checking.watched();
        let (mut begun, mut flights) = (Vec::new(), Flights::new());
        let mut state = watched.state();
        for group in &mut state.groups {
            let due = group.shared.roles.contains(&role);
            group.state = if due { GroupState::Due(Elapsed::ZERO) } else { GroupState::Idle };
        }
        watched.start_due(&mut state, watched.anchor.elapsed(), &mut |one| {
            begun.push(one);
            flights.begin(ready(()))
        });
        drop(state);
        let [Begun { index, number, .. }] = &begun[..] else { panic!("{} begun", begun.len()) };
        let attempt = Attempt {
            at: watched.clock.now(),
            latency: Duration::ZERO,
            outcome,
            message: String::new(),
            components: Box::default(),
        };
        let ended = watched.anchor.elapsed();
        let late = Duration::ZERO;
        watched.land(*index, *number, Landed { attempt, late, stretched: false, ended });
    }

    fn order(&self, assignment: &Assignment) {
        self.orders.send_replace(Orders::of(assignment));
    }

    /// Lets the actor attend to all that there is, and returns what it says.
    async fn go_on(&mut self) -> Vec<Update> {
        while let Some(seen) = self.eyes.next().now_or_never() {
            self.actor.attend(seen, &mut self.eyes).await;
        }
        said(&mut self.events)
    }

    /// Once each of these roles has passed.
    async fn ready(checks: &Checks, roles: &[Role]) -> Self {
        let mut scene = Self::new(checks);
        for role in roles {
            scene.land(*role, PASS);
        }
        assert!(is_ready(scene.go_on().await.last().unwrap()));
        scene
    }
}

fn said(events: &mut mpsc::Receiver<Event>) -> Vec<Update> {
    let mut said = Vec::new();
    while let Ok(event) = events.try_recv() {
        let Event::Update(update) = event else { panic!("{event:?}") };
        said.push(*update);
    }
    said
}

fn with(assignment: &Assignment, checks: &Checks) -> Assignment {
    let health = if checks.is_empty() {
        HealthConfig::Disabled
    } else {
        HealthConfig::Checks(checks.clone().into())
    };
    let template = TaskTemplate { health, ..(*assignment.template).clone() };
    Assignment { template: Arc::new(template), ..assignment.clone() }
}

fn check(port: u32, failures: u32) -> Check {
    let kind = CheckKind::Tcp(TcpCheck::new(Port::new(port).unwrap()));
    let failures = Threshold::new_const(failures);
    Check { kind, timing: Timing { failures, ..Timing::default_for(Role::Readiness) } }
}

fn readiness(check: Check) -> Checks {
    Checks { readiness: Some(check), ..Checks::NONE }
}

fn is_ready(update: &Update) -> bool {
    update.health.as_ref().unwrap().ready
}

/// The rows for the history, as far as they tell of readiness.
fn rows(said: &[Update]) -> Vec<bool> {
    let row = |update: &Update| match &update.purpose {
        Purpose::Report(transition) => transition.as_ref().map(|row| row.ready),
        Purpose::Note | Purpose::Secure(_) => None,
    };
    said.iter().filter_map(row).collect()
}

// C-26, C-95: the role that had failed has no more say, and nobody hears of it afterwards.
#[tokio::test(start_paused = true)]
async fn what_a_role_found_as_it_was_taken_away_is_not_told_after_the_change() {
    let without = Checks { liveness: Some(check(80, 1)), ..Checks::NONE };
    for rest in [without, Checks::NONE] {
        let both = Checks { readiness: Some(check(81, 1)), ..rest.clone() };
        let roles: &[Role] =
            if rest.is_empty() { &[Role::Readiness] } else { &[Role::Liveness, Role::Readiness] };
        let mut scene = Scene::ready(&both, roles).await;
        scene.land(Role::Readiness, FAIL);
        scene.order(&with(&scene.assignment, &rest));
        let said = scene.go_on().await;
        assert!(!said.is_empty() && said.iter().all(is_ready), "{said:?}");
    }
}

// C-18, C-26
#[tokio::test(start_paused = true)]
async fn a_pass_that_came_with_the_stop_makes_nobody_ready() {
    let scene = Scene::new(&readiness(check(80, 1)));
    scene.land(Role::Readiness, PASS);
    let stop = Stop { cause: StopCause::Requested, reason: String::new(), at: Timestamp::EPOCH };
    scene.order(&Assignment { stop: Some(stop), ..scene.assignment.clone() });
    let Scene { mut actor, eyes, mut events, .. } = scene;
    assert_eq!(actor.stop(eyes, std::future::pending()).now_or_never(), None);
    let said = said(&mut events);
    assert!(said.iter().any(|update| update.status.phase == Phase::Stopping));
    assert!(!said.iter().any(is_ready), "{said:?}");
}

// C-26, C-96
#[tokio::test(start_paused = true)]
async fn a_failure_that_came_with_the_pause_is_forgotten_and_what_it_decided_is_told() {
    for (failures, expected) in [(3, vec![]), (1, vec![false])] {
        let mut scene = Scene::ready(&readiness(check(80, failures)), &[Role::Readiness]).await;
        scene.land(Role::Readiness, FAIL);
        let until = Some(scene.actor.now().after(Duration::from_mins(1)));
        scene.order(&Assignment { checks_paused_until: until, ..scene.assignment.clone() });
        let said = scene.go_on().await;
        let last = said.last().unwrap().health.as_ref().unwrap();
        assert_eq!(last.roles.readiness.as_ref().unwrap().streak, Streak::None);
        assert_eq!(rows(&said), expected);
    }
}

// C-11, C-94: the next worker would not know why it failed.
#[tokio::test(start_paused = true)]
async fn a_task_whose_startup_has_failed_keeps_its_checks() {
    let liveness = Checks { liveness: Some(check(80, 1)), ..Checks::NONE };
    let checks = Checks { startup: Some(check(81, 1)), ..liveness.clone() };
    let mut scene = Scene::new(&checks);
    scene.land(Role::Startup, FAIL);
    scene.go_on().await;
    scene.order(&with(&scene.assignment, &liveness));
    scene.go_on().await;
    assert_eq!(scene.actor.status.checks.as_deref(), Some(&checks));
    assert_eq!(scene.eyes.checking.health().status, HealthStatus::Unhealthy);
}
