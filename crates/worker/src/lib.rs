//! The agent of one machine: assignments in, tasks run, health out.
//!
//! ```text
//! session ──assignments, acks──▶ agent ──wanted──▶ one task actor per assignment ──▶ Runtime
//!         ◀──────reports─────── (owner)◀─updates──  prepare, watch over, stop      ──▶ probe
//! ```
//!
//! The worker is right without its manager: what it must run, and what it knows of it, lies in a
//! local file. A stopped worker leaves its tasks running, and the next one adopts them.

mod agent;
mod calls;
mod clock;
mod drivers;
mod engine;
mod held;
mod leftovers;
mod metrics;
mod pulse;
mod session;
mod state_file;
mod task;

use std::{path::PathBuf, sync::Arc};

use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::Channel;
use warren_core::{
    id::{ClusterId, NodeId},
    node::{Driver, Labels},
};
use warren_probe::Observer;
use warren_runtime::RuntimeError;

pub use clock::{Clock, SystemClock};
pub use drivers::Drivers;
pub use engine::Engine;
pub use metrics::Metrics;
pub use pulse::{Echo, echo_main};
pub use state_file::{Keeper, StateFault, StateFile};

/// What a worker needs to know.
#[derive(Debug)]
pub struct Config {
    pub node_name: String,
    pub version: String,
    /// Where tasks' logs lie: `<log_dir>/<task id>.log`.
    pub log_dir: PathBuf,
    /// The largest image archive that is taken, in bytes.
    pub archive_max: u64,
    pub cpus: u32,
    pub memory_bytes: u64,
    pub clock: Arc<dyn Clock>,
    /// Told when the manager has taken the node in, and when the session is lost.
    pub session: watch::Sender<SessionState>,
    /// For the placement of services.
    pub labels: Labels,
    pub metrics: Metrics,
    pub engine: Engine,
    /// By which the worker measures itself. None: it trusts its own eyes.
    pub echo: Option<Echo>,
}

/// Whether the manager knows of this worker now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SessionState {
    #[default]
    Down,
    Up,
}

/// Runs until `shutdown`; tasks go on without it.
///
/// `manager` is dialled whenever there is no session, so it need not be there yet.
pub async fn run(
    config: Config,
    state: StateFile,
    drivers: Drivers,
    manager: Channel,
    shutdown: CancellationToken,
) -> Result<(), WorkerFault> {
    // A fault of the worker is told by its return; what else the caller runs is not ours to end.
    let shutdown = shutdown.child_token();
    let tracker = TaskTracker::new();
    let drivers = drivers.map(|runtime| config.engine.driver(runtime));
    let (sender, events) = agent::events();
    let observer = Arc::new(Observer::default());
    let context = task::Context::new(sender, shutdown.clone(), &config, &observer)?;
    context.make_rounds(&tracker);
    let (agent, handle) =
        agent::Agent::adopt(state, drivers, events, context, tracker.clone()).await?;
    if let Some(echo) = config.echo.clone() {
        let observer = Arc::clone(&observer);
        let (engine, metrics) = (&config.engine, config.metrics.clone());
        let elsewhere = engine.elsewhere().clone();
        let pulse = pulse::run(observer, echo, elsewhere, metrics, shutdown.clone());
        tracker.spawn_on(pulse, engine.handle());
    }
    let score = observer.watch();
    let session = session::Session::new(config, manager, handle, score, shutdown.clone());
    tracker.spawn(session.run());
    let ended = agent.run().await;
    shutdown.cancel();
    tracker.close();
    tracker.wait().await;
    Ok(ended?)
}

/// Why a worker cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkerFault {
    #[error(transparent)]
    State(#[from] StateFault),
    #[error("cannot make health checks")]
    Probe(#[from] warren_probe::Fault),
    #[error("cannot adopt the tasks that run; start the runtime, then the worker")]
    Runtime(#[from] RuntimeError),
    #[error(
        "this node has tasks of the {driver} driver, which is not there; start its runtime, then \
         the worker",
        driver = .0.name()
    )]
    NoDriver(Driver),
}

/// Who this worker is: kept in its state file from the first start on.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    pub node: NodeId,
    /// Grows with each start.
    pub epoch: u64,
    /// The first one that has welcomed it.
    pub cluster: Option<ClusterId>,
}
