//! The session with the manager: one bidirectional stream, opened again whenever it is lost.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, Interval, MissedTickBehavior},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Streaming, transport::Channel};
use warren_core::{
    Invalid,
    assignment::Assignment,
    id::{ClusterId, TaskId},
    invalid::At,
    node::{Driver, labels_to_wire},
};
use warren_proto::v1::{
    self as pb, manager_message::Message as FromManager, session_client::SessionClient,
    worker_message::Message as ToManager,
};

use crate::{
    Config, SessionState,
    agent::{AgentHandle, Event},
    calls::Calls,
};

/// Reports that wait for the network. More would only be older news: the agent holds the latest
/// of each task anyway.
const OUTBOUND_MAX: usize = 64;
/// Between attempts to reach the manager, doubling from the first to the last. The last is short:
/// an idle dial costs nothing, and health waits behind it.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(3);
/// After a refusal, which ends by what a person does.
const RETRY_REFUSED: Duration = Duration::from_secs(10);
/// A session that lasted this long was a working one, and the next attempt comes at once.
const SESSION_MIN: Duration = RETRY_LAST;
/// Heartbeats before the manager has said how often it wants them.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// From this score on the manager doubts what the worker sees, and is told at once.
const DOUBTED_FROM: u8 = 4;
/// The largest message: a full snapshot of ten thousand tasks is about ten of these MiB.
pub const MESSAGE_MAX: usize = 64 << 20;

#[derive(Debug)]
pub struct Session {
    config: Arc<Config>,
    client: SessionClient<Channel>,
    agent: AgentHandle,
    calls: Calls,
    /// The observer's.
    score: watch::Receiver<u8>,
    shutdown: CancellationToken,
    /// That the node belongs to, once it is known.
    cluster: Option<ClusterId>,
}

impl Session {
    pub fn new(
        config: Config,
        manager: Channel,
        agent: AgentHandle,
        score: watch::Receiver<u8>,
        shutdown: CancellationToken,
    ) -> Self {
        let client = SessionClient::new(manager)
            .max_decoding_message_size(MESSAGE_MAX)
            .max_encoding_message_size(MESSAGE_MAX);
        let config = Arc::new(config);
        let calls =
            Calls::new(client.clone(), agent.clone(), Arc::clone(&config), shutdown.clone());
        let cluster = agent.identity.cluster;
        Self { config, client, agent, calls, score, shutdown, cluster }
    }

    /// Until shutdown.
    pub async fn run(mut self) {
        let mut retry = RETRY_FIRST;
        let shutdown = self.shutdown.clone();
        let calls = TaskTracker::new();
        while !shutdown.is_cancelled() {
            let began = Instant::now();
            let ended = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                ended = self.hold(&calls) => ended,
            };
            if began.elapsed() >= SESSION_MIN {
                retry = RETRY_FIRST;
            }
            self.config.session.send_replace(SessionState::Down);
            match ended {
                Ok(()) => tracing::info!("the manager closed the session"),
                // A person must act; meanwhile all goes on as it is.
                Err(error) if error.code() == tonic::Code::FailedPrecondition => {
                    tracing::error!(
                        error = error.message(),
                        "the manager refuses this node; its tasks go on running"
                    );
                    retry = RETRY_REFUSED;
                }
                Err(error) => tracing::warn!(error = %Chain(&error), "no session with the manager"),
            }
            if !self.agent.tell(Event::Disconnected).await {
                break;
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(retry) => {}
            }
            retry = (retry * 2).clamp(RETRY_FIRST, RETRY_LAST);
        }
        calls.close();
        calls.wait().await;
    }

    /// Opens a session and serves it until it ends.
    async fn hold(&mut self, calls: &TaskTracker) -> Result<(), tonic::Status> {
        let (outbound, messages) = mpsc::channel(OUTBOUND_MAX);
        let hello = Box::new(self.hello());
        self.agent.tell(Event::Connected { outbound: outbound.clone(), hello }).await;
        let mut inbound = self.client.open(ReceiverStream::new(messages)).await?.into_inner();
        tracing::info!("session with the manager is open");
        let mut heartbeat = every(HEARTBEAT);
        let mut news = self.score.clone();
        // Nothing but the hello comes before the welcome.
        let mut told = u8::MAX;
        loop {
            tokio::select! {
                // However much the manager says, it hears that we live.
                biased;
                _ = heartbeat.tick() => told = beat(&outbound, &self.score),
                // Ahead of the verdicts that it bears on.
                () = doubt(&mut news), if told < DOUBTED_FROM => {
                    told = beat(&outbound, &self.score);
                }
                message = next(&mut inbound) => match message? {
                    None => return Ok(()),
                    Some(FromManager::Welcome(welcome)) => {
                        heartbeat = every(heartbeat_of(&welcome));
                        self.join(&welcome).await?;
                        told = 0;
                        self.config.session.send_replace(SessionState::Up);
                    }
                    Some(message) => self.take(message, calls).await?,
                },
            }
        }
    }

    /// The first cluster that welcomes the node is its own from then on.
    async fn join(&mut self, welcome: &pb::Welcome) -> Result<(), tonic::Status> {
        let told = welcome.cluster_id.parse::<ClusterId>().at("cluster_id");
        let told = told.at("welcome").map_err(|e| refused(&e))?;
        let cluster = *self.cluster.get_or_insert(told);
        if cluster != told {
            let why = format!("it speaks for cluster {told}, and this node belongs to {cluster}");
            return Err(tonic::Status::failed_precondition(why));
        }
        self.agent.tell(Event::Welcomed(cluster)).await;
        Ok(())
    }

    fn hello(&self) -> pb::Hello {
        let identity = self.agent.identity;
        let drivers = self.agent.drivers.iter().map(|runtime| match runtime.driver() {
            Driver::Containerd => pb::Driver::Containerd.into(),
            Driver::Process => pb::Driver::Process.into(),
        });
        pb::Hello {
            node_id: identity.node.to_string(),
            node_name: self.config.node_name.clone(),
            epoch: identity.epoch,
            version: self.config.version.clone(),
            drivers: drivers.collect(),
            cpus: self.config.cpus,
            memory_bytes: self.config.memory_bytes,
            labels: labels_to_wire(&self.config.labels),
            // The agent adds them.
            tasks: Vec::new(),
            cluster_id: self.cluster.map(|id| id.to_string()).unwrap_or_default(),
        }
    }

    async fn take(&self, message: FromManager, calls: &TaskTracker) -> Result<(), tonic::Status> {
        let event = match message {
            FromManager::Welcome(_) => return Ok(()),
            FromManager::Assignments(assignments) => {
                assigned(assignments).map_err(|e| refused(&e))?
            }
            FromManager::Ack(ack) => acked(ack).map_err(|e| refused(&e))?,
            FromManager::Call(call) => {
                self.calls.answer(call, calls);
                return Ok(());
            }
        };
        self.agent.tell(event).await;
        Ok(())
    }
}

/// Says that the worker lives, and how well it sees.
fn beat(outbound: &mpsc::Sender<pb::WorkerMessage>, score: &watch::Receiver<u8>) -> u8 {
    let score = *score.borrow();
    let heartbeat = pb::Heartbeat { observer_score: score.into() };
    // Where no more fits, there is life enough to be seen. Not waited for: a manager that waits for
    // us to read would never be read.
    let message = Some(ToManager::Heartbeat(heartbeat));
    drop(outbound.try_send(pb::WorkerMessage { message }));
    score
}

async fn doubt(score: &mut watch::Receiver<u8>) {
    if score.wait_for(|score| *score >= DOUBTED_FROM).await.is_err() {
        // Nobody measures any more.
        std::future::pending::<()>().await;
    }
}

async fn next(
    inbound: &mut Streaming<pb::ManagerMessage>,
) -> Result<Option<FromManager>, tonic::Status> {
    loop {
        match inbound.message().await? {
            None => return Ok(None),
            Some(pb::ManagerMessage { message: Some(message) }) => return Ok(Some(message)),
            // From a newer manager; what it means is not for us.
            Some(pb::ManagerMessage { message: None }) => {}
        }
    }
}

/// Not at once: the hello, which the agent sends, comes first.
fn every(period: Duration) -> Interval {
    let mut interval = tokio::time::interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

fn heartbeat_of(welcome: &pb::Welcome) -> Duration {
    let told = welcome.heartbeat.and_then(|told| Duration::try_from(told).ok());
    told.filter(|told| !told.is_zero()).unwrap_or(HEARTBEAT)
}

fn assigned(assignments: pb::Assignments) -> Result<Event, Invalid> {
    let pb::Assignments { full, put, remove } = assignments;
    let put = put
        .into_iter()
        .enumerate()
        .map(|(i, assignment)| {
            Assignment::try_from(assignment).map_err(|e| e.at_index(i)).at("put")
        })
        .collect::<Result<_, _>>()?;
    let remove = remove
        .iter()
        .enumerate()
        .map(|(i, id)| id.parse::<TaskId>().map_err(|e| e.at_index(i)).at("remove"))
        .collect::<Result<_, _>>()?;
    Ok(Event::Assigned { full, put, remove })
}

fn acked(ack: pb::Ack) -> Result<Event, Invalid> {
    let reports = ack.reports.into_iter().map(|pb::AckedReport { task_id, sequence }| {
        Ok((task_id.parse::<TaskId>().at("task_id")?, sequence))
    });
    reports.collect::<Result<_, _>>().map(Event::Acked)
}

fn refused(invalid: &Invalid) -> tonic::Status {
    tonic::Status::invalid_argument(format!("the manager sent what cannot be: {invalid}"))
}

/// What a status says, with its causes, in one line.
struct Chain<'a>(&'a tonic::Status);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.message())?;
        let mut source = std::error::Error::source(self.0);
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}
