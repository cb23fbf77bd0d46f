//! A worker and its surroundings.

pub mod manager;
pub mod runtime;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use warren_core::{
    assignment::Assignment,
    bounds::{Delay, Period, Threshold, Timeout},
    check::{Check, CheckKind, Checks, Command, ExecCheck, HealthConfig, Role, Timing},
    health::HealthStatus,
    id::{NodeId, ServiceId, TaskId},
    report::TaskReport,
    spec::{Network, Pull, TaskTemplate, Workload},
    task::{EndKind, Phase, Stop, StopCause, TaskEnd},
    time::Timestamp,
};
use warren_runtime::Runtime;
use warren_worker::{Clock, Config, Drivers, Echo, Engine, Metrics, StateFile, WorkerFault};

use self::{
    manager::FakeManager,
    runtime::{FakeRuntime, Step},
};

pub const TASK: TaskId = TaskId::from_u64(1);
pub const OTHER: TaskId = TaskId::from_u64(2);
pub const GRACE: Duration = Duration::from_secs(10);

/// Everything around one node, and at most one worker on it.
pub struct World {
    pub dir: TempDir,
    pub runtime: Arc<FakeRuntime>,
    pub manager: Arc<FakeManager>,
    pub clock: Arc<Wall>,
    worker: JoinSet<Result<(), WorkerFault>>,
    shutdown: CancellationToken,
    /// Of the last worker.
    registry: Registry,
}

impl World {
    /// With a worker that runs.
    pub fn new() -> Self {
        let mut world = Self::without_worker();
        world.start();
        world
    }

    pub fn without_worker() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            runtime: Arc::default(),
            manager: FakeManager::start(),
            clock: Arc::default(),
            worker: JoinSet::new(),
            shutdown: CancellationToken::new(),
            registry: Registry::default(),
        }
    }

    /// What the worker measured, a line for each series.
    pub fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }

    /// With a worker whose only task has these checks, and that has said that it runs.
    pub async fn running(checks: Checks) -> Self {
        let world = Self::new();
        world.manager.assign([assignment(TASK, checks)]);
        world.manager.report(TASK, is_running).await;
        world
    }

    /// Gives the worker its only task, with these checks. So long after the start of its process
    /// its first command comes.
    pub async fn first_attempt(&self, checks: Checks) -> Duration {
        self.manager.assign([assignment(TASK, checks)]);
        self.runtime.until(|runtime| runtime.count(TASK, Step::Start) == 1).await;
        let started = Instant::now();
        self.runtime.until(|runtime| runtime.execs().len() == 1).await;
        self.runtime.execs()[0] - started
    }

    pub fn start(&mut self) {
        self.start_with(Drivers::new([Arc::clone(&self.runtime) as Arc<dyn Runtime>]));
    }

    pub fn start_with(&mut self, drivers: Drivers) {
        self.start_worker(drivers, None);
    }

    /// With a worker that measures itself.
    pub fn start_with_echo(&mut self, echo: Echo) {
        let drivers = Drivers::new([Arc::clone(&self.runtime) as Arc<dyn Runtime>]);
        self.start_worker(drivers, Some(echo));
    }

    fn start_worker(&mut self, drivers: Drivers, echo: Option<Echo>) {
        let state = StateFile::open(self.dir.path(), NodeId::from_u64(9)).unwrap();
        self.shutdown = CancellationToken::new();
        self.registry = Registry::default();
        let config = Config {
            node_name: "node".to_owned(),
            version: "test".to_owned(),
            log_dir: self.dir.path().to_owned(),
            archive_max: 1 << 20,
            cpus: 2,
            memory_bytes: 1 << 30,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            session: watch::Sender::default(),
            labels: warren_core::node::Labels::new(),
            metrics: Metrics::new(&mut self.registry),
            engine: Engine::here(),
            echo,
        };
        let channel = self.manager.channel();
        let shutdown = self.shutdown.clone();
        self.worker.spawn(warren_worker::run(config, state, drivers, channel, shutdown));
    }

    /// Ends the worker in order.
    pub async fn stop(&mut self) {
        self.shutdown.cancel();
        self.ended().await.unwrap();
    }

    /// How the worker ended.
    pub async fn ended(&mut self) -> Result<(), WorkerFault> {
        self.worker.join_next().await.unwrap().unwrap()
    }

    pub fn state_file(&self) -> PathBuf {
        self.dir.path().join("worker.pb")
    }

    pub fn log(&self, task: TaskId) -> PathBuf {
        warren_runtime::logs::path(self.dir.path(), task)
    }

    pub fn write_log(&self, task: TaskId, lines: &[&str]) {
        append_log(&self.log(task), lines);
    }
}

/// The worker's time of day, which may be set.
#[derive(Debug, Default)]
pub struct Wall {
    ahead_ms: AtomicI64,
}

impl Wall {
    pub fn step(&self, seconds: i64) {
        self.ahead_ms.fetch_add(seconds * 1_000, Ordering::Relaxed);
    }
}

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        let ahead = self.ahead_ms.load(Ordering::Relaxed);
        Timestamp::from_millis(now().as_millis().saturating_add_signed(ahead))
    }
}

pub fn append_log(path: &Path, lines: &[&str]) {
    let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
    for line in lines {
        use std::io::Write as _;
        writeln!(file, "2026-11-21T10:00:00.000000000Z stdout F {line}").unwrap();
    }
}

pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap())
}

/// Real time, since records carry the wall clock: until it shows another millisecond.
pub fn next_millisecond() -> Timestamp {
    let before = now();
    loop {
        let after = now();
        if after > before {
            return after;
        }
        std::thread::yield_now();
    }
}

pub fn assignment(task: TaskId, checks: Checks) -> Assignment {
    let health = if checks.is_empty() {
        HealthConfig::Disabled
    } else {
        HealthConfig::Checks(checks.into())
    };
    let template = TaskTemplate {
        network: Network::Host,
        health,
        ..TaskTemplate::new(Workload::Image {
            image: "web".parse().unwrap(),
            pull: Pull::Missing,
            command: Vec::new(),
        })
    };
    Assignment {
        task,
        service: ServiceId::from_u64(2),
        service_name: "web".parse().unwrap(),
        slot: 1,
        template: Arc::new(template),
        not_before: Timestamp::EPOCH,
        stop: None,
        checks_paused_until: None,
    }
}

/// The same, to be stopped.
pub fn stopping(assignment: Assignment) -> Assignment {
    let cause = StopCause::Requested;
    Assignment { stop: Some(Stop { cause, reason: String::new(), at: now() }), ..assignment }
}

/// Every ten seconds, three failures.
pub fn timing() -> Timing {
    let period = Period::from_millis_const(10_000);
    Timing {
        period,
        timeout: Timeout::from_millis_const(1_000),
        delay: Delay::MIN,
        start_period: Delay::MIN,
        start_interval: period,
        confirm_interval: period,
        failures: Threshold::new_const(3),
        successes: Threshold::ONE,
        min_failing: Delay::MIN,
        flapping: None,
        stop_grace_period: None,
    }
}

pub fn exec(timing: Timing) -> Check {
    let command = Command::shell("check").unwrap();
    Check { kind: CheckKind::Exec(ExecCheck::new(command)), timing }
}

pub fn liveness(timing: Timing) -> Checks {
    Checks { liveness: Some(exec(timing)), ..Checks::NONE }
}

pub fn both(timing: Timing) -> Checks {
    Checks::one(exec(timing).kind, timing)
}

pub fn is_running(report: &TaskReport) -> bool {
    report.status.phase == Phase::Running
}

pub fn has_ended(report: &TaskReport) -> bool {
    matches!(report.status.phase, Phase::Ended(_))
}

pub fn is(status: HealthStatus) -> impl Fn(&TaskReport) -> bool {
    move |report| health_status(report) == Some(status)
}

pub fn health_status(report: &TaskReport) -> Option<HealthStatus> {
    report.health.as_ref().map(|health| health.status)
}

pub fn is_ready(report: &TaskReport) -> bool {
    report.health.as_ref().is_some_and(|health| health.ready)
}

pub fn end_of(report: &TaskReport) -> &TaskEnd {
    let Phase::Ended(end) = &report.status.phase else { panic!("it has not ended: {report:?}") };
    end
}

pub fn how(report: &TaskReport) -> (EndKind, Option<i32>) {
    let end = end_of(report);
    (end.kind, end.exit_code)
}

pub fn failures_of(report: &TaskReport, role: Role) -> warren_core::health::Streak {
    report.health.as_ref().unwrap().roles.get(role).as_ref().unwrap().streak
}
