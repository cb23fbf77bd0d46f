//! The processes: what the user said -> checked values -> parts -> running until a signal.
//!
//! A process that cannot reach its database, its runtime or its addresses does not start. One
//! whose manager or worker fails ends, so that whoever supervises it sees that.

mod drivers;
mod health;
mod listen;
mod machine;
#[cfg(feature = "otlp")]
mod otlp;
mod rules;
mod settings;
mod signals;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use prometheus_client::registry::Registry;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use vitals::Vitals;
use warren_containerd::Containerd;
use warren_manager::{Manager, ManagerConfig};
use warren_runtime::process::ProcessDriver;
use warren_worker::{Drivers, Engine, SessionState, StateFile, SystemClock};

pub use self::listen::Listening;
use self::{
    health::{Health, Served},
    listen::Bound,
    rules::Rules,
    settings::{Home, Logging, Node},
};
use crate::{
    cli::{
        TlsArgs,
        process::{CommonArgs, ManagerArgs, RunArgs, WorkerArgs},
    },
    client::{Client, Host},
    failure::Failure,
};

/// How long the worker's first session may keep the word that all is ready.
const WELCOME_WITHIN: Duration = Duration::from_secs(10);
/// Of one image archive: more than the largest there are, less than fills most disks.
const ARCHIVE_MAX: u64 = 32 << 30;
/// The verb of the process that echoes the worker.
pub const ECHO: &str = "observer-echo";

/// `warren run`: both parts, of which the worker dials the manager's socket.
pub fn both(args: &RunArgs, tls: &TlsArgs) -> Result<(), Failure> {
    let listening = Listening::checked(&args.listen, tls)?;
    let rules = Rules::checked(&args.rules)?;
    let node = Node::checked(&args.node)?;
    let mut health = Health::checked(&args.health, "warren")?;
    health.of_certificate(listening.certificate());
    let (_log, home) = start(&args.common)?;
    in_runtime(async move {
        let manager = Host::Unix(home.socket());
        let (bound, manager_part) = open_manager(&home, &listening, rules).await?;
        let worker_part = WorkerPart::open(&home, &node, &manager, health.registry()).await?;
        let parts = (Some(manager_part), Some(worker_part));
        let served = serve_health(health, &home, &parts)?;
        run(&bound.to_string(), parts, served).await
    })
}

/// `warren manager`.
pub fn manager(args: &ManagerArgs, tls: &TlsArgs) -> Result<(), Failure> {
    let listening = Listening::checked(&args.listen, tls)?;
    let rules = Rules::checked(&args.rules)?;
    let mut health = Health::checked(&args.health, "warren-manager")?;
    health.of_certificate(listening.certificate());
    let (_log, home) = start(&args.common)?;
    in_runtime(async move {
        let (bound, part) = open_manager(&home, &listening, rules).await?;
        let parts = (Some(part), None);
        let served = serve_health(health, &home, &parts)?;
        run(&bound.to_string(), parts, served).await
    })
}

/// `warren worker`.
pub fn worker(args: &WorkerArgs, tls: &TlsArgs) -> Result<(), Failure> {
    let manager = Host::told("--manager", &args.manager, tls)?;
    let node = Node::checked(&args.node)?;
    let mut health = Health::checked(&args.health, "warren-worker")?;
    health.of_certificate(manager.certificate());
    let (_log, home) = start(&args.common)?;
    in_runtime(async move {
        let part = WorkerPart::open(&home, &node, &manager, health.registry()).await?;
        let parts = (None, Some(part));
        let served = serve_health(health, &home, &parts)?;
        run(&format!("worker of {manager}"), parts, served).await
    })
}

/// Logs from here on, and knows where to keep things.
fn start(args: &CommonArgs) -> Result<(Logging, Home), Failure> {
    let log = settings::log(args)?;
    Ok((log, Home::open(args.data_dir.as_deref())?))
}

/// As a manager that starts makes it.
pub fn make_data_dir(dir: &std::path::Path) -> Result<(), Failure> {
    Home::open(Some(dir))?;
    Ok(())
}

fn in_runtime(process: impl Future<Output = Result<()>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    Ok(runtime.block_on(process)?)
}

struct ManagerPart {
    manager: Manager,
    listeners: Vec<warren_manager::Listener>,
}

/// The database first: its lock keeps a second manager away from the first one's socket.
async fn open_manager(
    home: &Home,
    listening: &Listening,
    rules: Rules,
) -> Result<(Bound, ManagerPart)> {
    let Rules { timing, policy } = rules;
    let config = ManagerConfig { data_dir: home.data_dir().to_owned(), timing, policy };
    let manager = Manager::open(config)?;
    let (bound, listeners) = listening.bind(home).await?;
    Ok((bound, ManagerPart { manager, listeners }))
}

struct WorkerPart {
    config: warren_worker::Config,
    state: StateFile,
    drivers: Drivers,
    containerd: Option<Containerd>,
    process: Option<Arc<ProcessDriver>>,
    manager: Host,
}

impl WorkerPart {
    async fn open(
        home: &Home,
        node: &Node,
        manager: &Host,
        registry: &mut Registry,
    ) -> Result<Self> {
        let mut state = StateFile::open(&home.worker_dir(), machine::fresh_node_id()?)?;
        if let Some(cluster) = node.join_cluster {
            state.join_for_good(cluster).await?;
        }
        let found = drivers::find(home, node, state.identity().node).await?;
        let node_name = node.name()?;
        let config = warren_worker::Config {
            echo: Some(drivers::echo(&found, &node_name)?),
            node_name,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            log_dir: home.log_dir(),
            archive_max: ARCHIVE_MAX,
            cpus: machine::cpus(),
            memory_bytes: machine::memory_bytes(),
            clock: Arc::new(SystemClock),
            labels: node.labels.clone(),
            session: watch::Sender::default(),
            metrics: warren_worker::Metrics::new(registry),
            engine: Engine::start().context("cannot start the thread of the checks")?,
        };
        let drivers::Found { drivers, containerd, process } = found;
        Ok(Self { config, state, drivers, containerd, process, manager: manager.clone() })
    }

    async fn run(self, shutdown: CancellationToken) -> Result<()> {
        let Self { config, state, drivers, containerd, process, manager } = self;
        let channel = manager.endpoint()?.connect_lazy();
        let working = warren_worker::run(config, state, drivers, channel, shutdown);
        let mut working = std::pin::pin!(working);
        let ended = tokio::select! {
            ended = &mut working => ended,
            () = first_look(&manager) => working.await,
        };
        if let Some(containerd) = containerd {
            containerd.settle().await;
        }
        if let Some(process) = process {
            process.settle().await;
        }
        Ok(ended?)
    }
}

/// Who turns a client away over TLS can hardly say why, and the session only sees its connection
/// end. So a worker with the wrong certificate is told once what to do, and goes on trying.
async fn first_look(manager: &Host) {
    if let Host::Tls(..) = manager
        && let Err(failure) = Client::connect(manager).await
    {
        tracing::warn!(error = %failure.chain(), "the manager cannot be reached yet");
    }
}

/// What this process runs.
type ProcessParts = (Option<ManagerPart>, Option<WorkerPart>);

fn serve_health(mut health: Health, home: &Home, parts: &ProcessParts) -> Result<Served> {
    let (manager, worker) = parts;
    health.of_home(home);
    if let Some(part) = manager {
        health.of_manager(&part.manager, home);
    }
    if let Some(part) = worker {
        health.of_worker(&part.config, home, part.containerd.clone());
    }
    health.serve()
}

/// Tells that all is ready, and then that it lives. Never returns.
async fn announce(ready: &str, session: Option<watch::Receiver<SessionState>>, vitals: &Vitals) {
    if let Some(mut session) = session {
        let up = session.wait_for(|state| *state == SessionState::Up);
        // The listeners are bound all the same: late is better than never.
        drop(tokio::time::timeout(WELCOME_WITHIN, up).await);
    }
    listen::announce(ready);
    health::tell_systemd(vitals).await;
}

/// Runs the parts until a signal or a fault. The worker ends before its manager, so that what it
/// reported last is still taken.
async fn run(ready: &str, parts: ProcessParts, health: Served) -> Result<()> {
    let (manager, worker) = parts;
    let (end_worker, end_manager) = (CancellationToken::new(), CancellationToken::new());
    let first = if worker.is_some() { &end_worker } else { &end_manager };
    let signals = signals::watch(first.clone(), health.vitals.clone())?;
    // A worker may start before its manager; only where both are ours does ready mean both.
    let session = match (&manager, &worker) {
        (Some(_), Some(worker)) => Some(worker.config.session.subscribe()),
        (Some(_) | None, _) => None,
    };
    let mut parts = JoinSet::new();
    if let Some(ManagerPart { manager, listeners }) = manager {
        let (end_worker, end_manager) = (end_worker.clone(), end_manager.clone());
        parts.spawn(async move {
            let ended = manager.serve(listeners, end_manager).await;
            end_worker.cancel();
            ended.context("the manager ended")
        });
    }
    if let Some(worker) = worker {
        let (end_worker, end_manager) = (end_worker.clone(), end_manager.clone());
        parts.spawn(async move {
            let ended = worker.run(end_worker).await;
            end_manager.cancel();
            ended.context("the worker ended")
        });
    }
    let mut announced = std::pin::pin!(announce(ready, session, &health.vitals));
    let mut result = Ok(());
    loop {
        let ended = tokio::select! {
            ended = parts.join_next() => ended,
            () = &mut announced => None,
        };
        let Some(ended) = ended else { break };
        let ended = ended.context("a part of the process has panicked").flatten();
        if let Err(error) = &ended {
            tracing::error!(error = format!("{error:#}"), "the process ends");
        }
        // The first fault is the cause; what followed from it was logged.
        result = result.and(ended);
        end_worker.cancel();
        end_manager.cancel();
    }
    drop(signals);
    result
}
