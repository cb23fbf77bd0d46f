//! The worker as it ships, with a manager and a runtime in memory.

use std::{path::Path, sync::Arc, time::Duration};

use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use warren_core::{
    assignment::Assignment,
    bounds::{Age, Delay, Period, Port, Threshold, Timeout},
    check::{
        Check, CheckKind, Checks, Command, ExecCheck, FileCheck, GrpcCheck, HealthConfig,
        HttpCheck, Parts, Payload, TcpCheck, TextMatch, Timing,
    },
    id::{NodeId, ServiceId},
    node::Labels,
    spec::{AbsolutePath, Network, Pull, TaskTemplate, Workload},
    time::Timestamp,
};
use warren_runtime::Runtime;
use warren_worker::{Config, Drivers, Engine, Metrics, StateFile, SystemClock};

use crate::{
    child,
    manager::Manager,
    rounds::IDLE,
    runtime::{AllRun, task},
    show::as_f64,
    targets::{GRPC_PORT, PORT, Plan},
};

/// Ready once every task is healthy. `mode` says what checks they have.
pub fn run(plan: &Plan, mode: &str) {
    let dir = child::dir();
    // As `warren worker` makes it.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let kinds: Vec<_> =
        kinds(mode, &dir).into_iter().map(|checks| template(checks, plan)).collect();
    let tasks: Vec<_> = (0..plan.targets)
        .map(|target| {
            // Those of a kind one after the other, as those of a service come.
            let kind = target * kinds.len() / plan.targets;
            assignment(target, kind, &kinds[kind])
        })
        .collect();
    runtime.block_on(async {
        let pause = if plan.period == IDLE { Duration::from_millis(20) } else { Duration::ZERO };
        let (manager, channel) = Manager::start(tasks, pause);
        let state = StateFile::open(&dir, NodeId::from_u64(9)).unwrap();
        let config = config(&dir, metrics);
        let drivers = Drivers::new([Arc::new(AllRun { netns: plan.netns }) as Arc<dyn Runtime>]);
        let worker = warren_worker::run(config, state, drivers, channel, CancellationToken::new());
        let told = async {
            manager.all_well().await;
            settled(&dir.join("worker.pb")).await;
            let asked = tokio::task::spawn_blocking(move || tell(&registry));
            asked.await.unwrap();
        };
        tokio::select! {
            ended = worker => ended.unwrap(),
            () = told => {}
        }
    });
}

/// Until all that the start had to say is in the state file.
async fn settled(file: &Path) {
    let written = || std::fs::metadata(file).and_then(|file| file.modified()).unwrap();
    let mut before = None;
    while before != Some(written()) {
        before = Some(written());
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

fn config(dir: &Path, metrics: Metrics) -> Config {
    Config {
        node_name: "bench".to_owned(),
        version: "bench".to_owned(),
        log_dir: dir.to_owned(),
        archive_max: 1 << 30,
        cpus: 2,
        memory_bytes: 1 << 30,
        labels: Labels::new(),
        clock: Arc::new(SystemClock),
        session: watch::Sender::default(),
        metrics,
        engine: Engine::start().unwrap(),
        echo: None,
    }
}

/// Says how late attempts began since the last time, for each line that it reads.
fn tell(registry: &Registry) {
    let requests = child::requests();
    child::ready();
    let mut before = Vec::new();
    while requests.recv().is_ok() {
        let now = lateness(registry);
        child::answer(&since(&before, &now));
        before = now;
    }
}

/// The cumulative buckets of `warren_probe_schedule_lag_seconds`: up to so many seconds, so many.
fn lateness(registry: &Registry) -> Vec<(f64, u64)> {
    let mut text = String::new();
    encode(&mut text, registry).unwrap();
    let prefix = "warren_probe_schedule_lag_seconds_bucket{le=\"";
    let buckets = text.lines().filter_map(|line| line.strip_prefix(prefix));
    let parsed = buckets.filter_map(|line| {
        let (bound, count) = line.split_once("\"} ")?;
        // `+Inf` is one of the numbers.
        Some((bound.parse().ok()?, count.parse().ok()?))
    });
    parsed.collect()
}

/// p50 and p99, interpolated within their buckets as Prometheus does it, and the bound of the
/// bucket that the latest is in, in milliseconds; and how many there were.
fn since(before: &[(f64, u64)], now: &[(f64, u64)]) -> String {
    let earlier = |at: usize| before.get(at).map_or(0, |(_, count)| *count);
    let counts: Vec<(f64, u64)> =
        now.iter().enumerate().map(|(at, (bound, count))| (*bound, count - earlier(at))).collect();
    let total = counts.last().map_or(0, |(_, count)| *count);
    let quantile = |part: f64| {
        let rank = part * as_f64(total);
        let mut below = (0.0, 0);
        for &(bound, count) in &counts {
            if as_f64(count) >= rank {
                let inside = (rank - as_f64(below.1)) / as_f64((count - below.1).max(1));
                return (below.0 + (bound - below.0) * inside) * 1e3;
            }
            below = (bound, count);
        }
        0.0
    };
    let most = counts.iter().find(|(_, count)| *count == total).map_or(0.0, |(bound, _)| *bound);
    format!("{:.2} {:.2} {:.1} {total}", quantile(0.5), quantile(0.99), most * 1e3)
}

/// Of each kind of task, what its readiness asks and what its liveness.
type Asked = [Option<CheckKind>; 2];

fn kinds(mode: &str, dir: &Path) -> Vec<Asked> {
    match mode {
        "none" => vec![[None, None]],
        "tcp" => vec![[Some(tcp()), None]],
        "kept" => vec![[Some(kept()), None]],
        "two" => vec![[Some(http()), Some(tcp())]],
        "mixed" => {
            let kinds = [http(), kept(), talk(), exec(), grpc(), file(dir), all()];
            kinds.map(|kind| [Some(kind), Some(tcp())]).into()
        }
        _ => vec![[Some(http()), None]],
    }
}

fn template(asked: Asked, plan: &Plan) -> Arc<TaskTemplate> {
    let [readiness, liveness] =
        asked.map(|kind| kind.map(|kind| Check { kind, timing: timing(plan) }));
    let checks = Checks { readiness, liveness, ..Checks::NONE };
    let health = match checks {
        Checks::NONE => HealthConfig::Disabled,
        checks => HealthConfig::Checks(checks.into()),
    };
    Arc::new(TaskTemplate {
        network: Network::Host,
        health,
        ..TaskTemplate::new(Workload::Image {
            image: "web".parse().unwrap(),
            pull: Pull::Missing,
            command: Vec::new(),
        })
    })
}

fn assignment(target: usize, kind: usize, template: &Arc<TaskTemplate>) -> Assignment {
    Assignment {
        task: task(target),
        service: ServiceId::from_u64(2 + kind as u64),
        service_name: format!("web-{kind}").parse().unwrap(),
        slot: u32::try_from(target).unwrap() + 1,
        template: Arc::clone(template),
        not_before: Timestamp::EPOCH,
        stop: None,
        checks_paused_until: None,
    }
}

fn http() -> CheckKind {
    CheckKind::Http(HttpCheck::new(port()))
}

/// Over connections that are kept for a few attempts.
fn kept() -> CheckKind {
    CheckKind::Http(HttpCheck::new(port()).kept().unwrap())
}

fn tcp() -> CheckKind {
    CheckKind::Tcp(TcpCheck::new(port()))
}

/// Asks and listens.
fn talk() -> CheckKind {
    let send = Payload::new(*b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    let expect = Some(TextMatch::contains("200 OK").unwrap());
    CheckKind::Tcp(TcpCheck { send, expect, ..TcpCheck::new(port()) })
}

/// Without containerd and runc, which are not what is measured.
fn exec() -> CheckKind {
    CheckKind::Exec(ExecCheck::new(Command::argv(vec!["true".to_owned()]).unwrap()))
}

/// Over connections that are kept for a few attempts, as gRPC's always are.
fn grpc() -> CheckKind {
    CheckKind::Grpc(GrpcCheck::new(Port::new(u32::from(GRPC_PORT)).unwrap()))
}

/// One that says what all programs of a service say.
fn file(dir: &Path) -> CheckKind {
    let file = dir.join("alive");
    std::fs::write(&file, []).unwrap();
    let path = AbsolutePath::new(file.to_str().unwrap().to_owned()).unwrap();
    let max_age = Some(Age::new(Duration::from_hours(1)).unwrap());
    CheckKind::File(FileCheck { path, max_age })
}

fn all() -> CheckKind {
    CheckKind::All(Parts::new(vec![tcp(), http()]).unwrap())
}

fn port() -> Port {
    Port::new(u32::from(PORT)).unwrap()
}

fn timing(plan: &Plan) -> Timing {
    let period = Period::new(plan.period).unwrap();
    Timing {
        period,
        timeout: Timeout::from_millis_const(5_000),
        delay: Delay::MIN,
        start_period: Delay::MIN,
        start_interval: period,
        confirm_interval: period,
        failures: Threshold::new_const(3),
        successes: Threshold::ONE,
        min_failing: Delay::MIN,
        stop_grace_period: None,
        flapping: None,
    }
}
