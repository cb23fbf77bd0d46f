//! Opens the store, and runs the control loop and the servers until one of them ends.

use std::{fs, io, path::PathBuf, sync::Arc};

use futures::FutureExt;
use prometheus_client::registry::Registry;
use thiserror::Error;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::{JoinError, JoinSet},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;
use warren_core::cluster::Cluster;
use warren_plan::Policy;
use warren_store::{CommitFault, OpenFault, RedbStore, Store};

use crate::{
    calls::Calls,
    config::{ManagerConfig, Timing},
    control::{Control, Parts},
    counters::Counters,
    input::{Handle, QUEUE_MAX},
    listen::Listener,
    metrics,
    publish::Published,
    pulse::Pulse,
    rpc::{Context, routes},
    serve,
    session::IN_HAND_MAX,
    wakers::Wakers,
    world::{RealWorld, World},
    writer::{AHEAD, Writer},
};

/// Everything that is needed to serve. Nothing runs before [`Manager::serve`].
pub struct Manager {
    control: Control,
    writer: Writer,
    context: Context,
    routes: Routes,
}

/// The manager cannot go on. Nothing that it acknowledged is lost.
#[derive(Debug, Error)]
pub enum ManagerFault {
    #[error("the manager cannot start")]
    Open(#[from] OpenFault),
    #[error("the manager ends, because what it decided may not be durable")]
    Commit(#[from] CommitFault),
    #[error("the schema of the API cannot be served")]
    Reflection(#[from] tonic_reflection::server::Error),
    #[error("a listener of the manager has failed")]
    Serve(#[from] tonic::transport::Error),
    #[error("the manager's socket cannot be served by a thread of its own")]
    Socket(#[source] io::Error),
    #[error("a listener of the manager has ended by itself")]
    ListenerEnded,
    #[error("a part of the manager has panicked")]
    Panic(#[from] JoinError),
}

impl Manager {
    /// Opens the database in the data directory and reads the cluster. Blocks meanwhile.
    pub fn open(config: ManagerConfig) -> Result<Self, ManagerFault> {
        let ManagerConfig { data_dir, timing, policy } = config;
        let (store, cluster) = RedbStore::open(&data_dir)?;
        Self::with_store(Box::new(store), cluster, Arc::new(RealWorld), timing, policy)
    }

    /// Over any store and in any world, for tests and simulation. Called within a tokio runtime.
    pub fn with_store(
        store: Box<dyn Store>,
        cluster: Cluster,
        world: Arc<dyn World>,
        timing: Timing,
        policy: Policy,
    ) -> Result<Self, ManagerFault> {
        let published = Arc::new(Published::new(cluster.clone(), world.now()));
        let (published, watch) = watch::channel(published);
        let (sender, inputs) = mpsc::channel(QUEUE_MAX);
        let counters = Arc::new(Counters::default());
        let context = Context {
            cluster_id: store.cluster_id(),
            handle: Handle::new(sender, watch, Arc::clone(&world)),
            calls: Calls::new(timing.call_open),
            timing,
            counters: Arc::clone(&counters),
            ending: CancellationToken::new(),
            tracker: TaskTracker::new(),
            wakers: Wakers::default(),
            in_hand: Arc::new(Semaphore::new(IN_HAND_MAX)),
        };
        let (sender, batches) = mpsc::channel(AHEAD);
        let wakers = context.wakers.clone();
        let writer = Writer {
            batches,
            published,
            wakers,
            store,
            world: Arc::clone(&world),
            counters: Arc::clone(&counters),
        };
        let parts = Parts { inputs, batches: sender, cluster, policy, timing, world, counters };
        let control = Control::new(parts);
        Ok(Self { control, writer, routes: routes(&context)?, context })
    }

    /// What is counted, for whoever shows it.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.context.counters)
    }

    /// Adds what there is to count and to measure to a registry.
    pub fn register(&self, registry: &mut Registry) {
        metrics::register(registry, self.context.handle.clone(), self.counters());
    }

    /// Tells, while the manager serves, whether its control loop turns.
    pub fn pulse(&self) -> Pulse {
        Pulse::new(self.context.handle.clone(), self.counters())
    }

    /// Serves until `shutdown`, and then ends in order: streams end, connections close, and what
    /// was reported is made durable. Any fault ends it at once.
    pub async fn serve(
        self,
        listeners: Vec<Listener>,
        shutdown: CancellationToken,
    ) -> Result<(), ManagerFault> {
        let Self { control, writer, context, routes } = self;
        let Context { ending, tracker, timing, .. } = context;
        let control_ending = CancellationToken::new();
        let mut loops = JoinSet::new();
        loops.spawn(writer.run());
        loops.spawn(control.run(control_ending.clone()).map(Ok));
        let mut sockets = Vec::new();
        let mut servers = JoinSet::new();
        for listener in listeners {
            sockets.extend(socket_path(&listener));
            servers.spawn(serve::at(listener, routes.clone(), ending.clone()));
        }
        let result = tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            Some(ended) = loops.join_next() => end_of_loop(ended),
            Some(ended) = servers.join_next() => end_of_listener(ended),
        };
        ending.cancel();
        tracker.close();
        let drained = async {
            tracker.wait().await;
            while servers.join_next().await.is_some() {}
        };
        if timeout(timing.drain, drained).await.is_err() {
            tracing::warn!("connections were cut: their peers did not close them in time");
        }
        servers.shutdown().await;
        control_ending.cancel();
        // The control loop ends first, and the writer once it has written what that decided.
        let mut result = result;
        while let Some(ended) = loops.join_next().await {
            result = result.and(end_of_loop(ended));
        }
        sockets.iter().for_each(remove_socket);
        result
    }
}

fn end_of_loop(ended: Result<Result<(), CommitFault>, JoinError>) -> Result<(), ManagerFault> {
    Ok(ended??)
}

fn end_of_listener(ended: Result<Result<(), ManagerFault>, JoinError>) -> Result<(), ManagerFault> {
    ended??;
    Err(ManagerFault::ListenerEnded)
}

fn socket_path(listener: &Listener) -> Option<PathBuf> {
    match listener {
        Listener::Unix { path, .. } => Some(path.clone()),
        Listener::Tcp(_) | Listener::Tls(..) | Listener::Memory(_) => None,
    }
}

fn remove_socket(path: &PathBuf) {
    if let Err(error) = fs::remove_file(path) {
        tracing::debug!(%error, path = %path.display(), "socket is not removed");
    }
}
