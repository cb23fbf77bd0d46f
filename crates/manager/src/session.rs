//! One worker's session: its reports in, its assignments out.

use std::{collections::BTreeSet, time::Duration};

use futures::FutureExt;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use warren_core::{
    Invalid,
    id::{ClusterId, NodeId, TaskId},
    node::{Driver, labels_from_wire},
    report::TaskReport,
    wire::{duration_to_wire, enumerated, parsed, printable, text},
};
use warren_proto::v1::{
    self as pb, manager_message::Message as Down, worker_message::Message as Up,
};

use crate::{
    assign::Assigned,
    calls::Outbox,
    decide,
    input::{Handle, Hello, Input, Joined, NodeInput, Silence},
    phi::Phi,
    presence::SessionId,
    rejection::Rejection,
    rpc::Context,
};

/// Messages of one session that are decided together: what has piled up while the batch before
/// was on its way to the disk.
const BATCH_MAX: u32 = 256;

/// Reports that all sessions together have in hand: what the control loop takes in four batches of
/// its own. A report that waits in its stream is a tenth of one that is decoded, and a thousand
/// sessions may have a hundred each to say at once.
pub const IN_HAND_MAX: usize = 16_384;

/// As long as DNS allows a host's name to be.
const NODE_NAME_MAX: usize = 253;

/// Serves the session until either side ends it, and says why where the worker should know.
pub async fn serve(context: Context, inbound: Streaming<pb::WorkerMessage>, outbox: Outbox) {
    if let Err(rejection) = session(&context, inbound, &outbox).await {
        // A worker that is gone does not need to be told.
        let _ = outbox.send(Err(Status::from(rejection))).await;
    }
}

async fn session(
    context: &Context,
    mut inbound: Streaming<pb::WorkerMessage>,
    outbox: &Outbox,
) -> Result<(), Rejection> {
    let hello = timeout(context.timing.grace, inbound.message()).await;
    let (hello, acks) = match hello {
        Ok(Ok(Some(pb::WorkerMessage { message: Some(Up::Hello(hello)) }))) => {
            decode_hello(context, hello)?
        }
        Ok(Ok(_)) => return Err(Invalid::new("the first message is a hello").at("hello").into()),
        Ok(Err(_)) => return Ok(()),
        Err(_) => return Err(Rejection::Late("no hello came".to_owned())),
    };
    let (node, epoch) = (hello.node, hello.epoch);
    let joined = context.handle.tell(|reply| Input::Hello { hello, reply }).await?;
    let Joined { session, replaced } = joined;
    tracing::info!(node.id = %node, epoch, "session opened");
    context.calls.connect(node, session, outbox.clone());
    let now = Instant::now();
    let phi = Phi::new(context.timing.heartbeat, now);
    let mut pulse = Pulse { node, session, last_heard: now, phi, suspect: false };
    let talk = Talk { context, node, epoch, outbox };
    let result = talk.run(&mut inbound, acks, &replaced, &mut pulse).await;
    context.calls.disconnect(node, session);
    tracing::info!(node.id = %node, epoch, "session ended");
    context.handle.session_lost(node, session, pulse.silence()).await;
    result
}

struct Talk<'a> {
    context: &'a Context,
    node: NodeId,
    epoch: u64,
    outbox: &'a Outbox,
}

/// What is known of the node's silence while its session is open.
struct Pulse {
    node: NodeId,
    session: SessionId,
    last_heard: Instant,
    phi: Phi,
    /// That was said.
    suspect: bool,
}

impl Pulse {
    fn silence(&self) -> Silence {
        let suspect_at = self.last_heard + self.phi.patience();
        Silence { last_heard: self.last_heard, suspect_at }
    }

    /// When there is something to say of the silence, if it goes on.
    fn deadline(&self, grace: Duration) -> Instant {
        let lost_at = self.last_heard + grace;
        if self.suspect { lost_at } else { self.silence().suspect_at.min(lost_at) }
    }

    async fn suspects(&mut self, handle: &Handle) {
        self.suspect = true;
        let (node, session) = (self.node, self.session);
        handle.note(NodeInput::Suspicion { node, session, suspect: true }).await;
    }

    /// Something came. Only heartbeats tell of habits.
    async fn hears(&mut self, context: &Context, scores: &[u32]) {
        let Context { handle, calls, .. } = context;
        let (node, session, now) = (self.node, self.session, Instant::now());
        self.last_heard = now;
        if std::mem::take(&mut self.suspect) {
            handle.note(NodeInput::Suspicion { node, session, suspect: false }).await;
        }
        if let Some(&score) = scores.last() {
            self.phi.beat(now);
            calls.note_score(node, session, score);
            // Nearly never news, and the control loop has better to do than to hear so.
            let published = handle.published();
            if published.cluster.node(node).is_some_and(|node| decide::node::is_news(node, score)) {
                handle.note(NodeInput::Score { node, session, score }).await;
            }
        }
    }
}

/// The worker does not listen any more: the session has ended.
struct Gone;

impl Talk<'_> {
    async fn run(
        &self,
        inbound: &mut Streaming<pb::WorkerMessage>,
        acks: Vec<pb::AckedReport>,
        replaced: &CancellationToken,
        pulse: &mut Pulse,
    ) -> Result<(), Rejection> {
        let Self { context, node, epoch: _, outbox } = self;
        let (context, node, outbox) = (*context, *node, *outbox);
        let assign = assign(context, node, outbox, acks);
        let receive = self.receive(inbound, pulse);
        tokio::select! {
            biased;
            () = context.ending.cancelled() => Ok(()),
            () = replaced.cancelled() => {
                let why = format!("another session of node {node} has taken over");
                Err(Rejection::Moved(why))
            }
            () = outbox.closed() => Ok(()),
            result = receive => result,
            Gone = assign => Ok(()),
        }
    }

    /// Takes the worker's reports and acknowledges them once they are durable. What arrives
    /// meanwhile waits in the stream and makes the next batch.
    async fn receive(
        &self,
        inbound: &mut Streaming<pb::WorkerMessage>,
        pulse: &mut Pulse,
    ) -> Result<(), Rejection> {
        let Self { context, node, epoch, outbox } = self;
        let (node, epoch, grace) = (*node, *epoch, context.timing.grace);
        loop {
            let Ok(first) = timeout_at(pulse.deadline(grace), inbound.message()).await else {
                if pulse.last_heard + grace <= Instant::now() {
                    return Err(Rejection::Late(format!("nothing was heard for {grace:?}")));
                }
                pulse.suspects(&context.handle).await;
                continue;
            };
            // Held until what is heard now is durable.
            let Ok(mut in_hand) = context.in_hand.acquire_many(BATCH_MAX).await else {
                return Ok(());
            };
            let heard = hear(first, inbound);
            drop(in_hand.split(BATCH_MAX as usize - heard.messages.len()));
            // A connection that breaks is no word of the node.
            let silent = heard.messages.is_empty();
            let Decoded { reports, acks, scores } = decode_messages(context, heard.messages)?;
            if !silent {
                context.counters.tallies().hear(node, context.handle.now());
                pulse.hears(context, &scores).await;
            }
            if !acks.is_empty() {
                let input = |reply| Input::Reports { node, epoch, reports, reply };
                context.handle.tell(input).await?;
                // Now: a worker that does not listen keeps nobody else waiting.
                drop(in_hand);
                if send(outbox, Down::Ack(pb::Ack { reports: acks })).await.is_err() {
                    return Ok(());
                }
            }
            if heard.ended {
                return Ok(());
            }
        }
    }
}

/// Tells the worker all that it is to run, then every change of it.
async fn assign(
    context: &Context,
    node: NodeId,
    outbox: &Outbox,
    acks: Vec<pb::AckedReport>,
) -> Gone {
    let waker = context.wakers.register(node);
    let mut assigned = Assigned::new(node);
    let published = context.handle.published();
    let mut revision = published.cluster.revision;
    let mut news = vec![
        Down::Welcome(pb::Welcome {
            grace: Some(duration_to_wire(context.timing.grace)),
            heartbeat: Some(duration_to_wire(context.timing.heartbeat)),
            cluster_id: context.cluster_id.to_string(),
        }),
        Down::Assignments(assigned.full(&published.cluster)),
        Down::Ack(pb::Ack { reports: acks }),
    ];
    loop {
        for message in news.drain(..) {
            if send(outbox, message).await.is_err() {
                return Gone;
            }
        }
        waker.woken().await;
        let published = context.handle.published();
        let wanted = published.wanted(node, revision);
        news.extend(assigned.delta(&published.cluster, wanted).map(Down::Assignments));
        revision = published.cluster.revision;
    }
}

async fn send(outbox: &Outbox, message: Down) -> Result<(), Gone> {
    outbox.send(Ok(pb::ManagerMessage { message: Some(message) })).await.map_err(|_| Gone)
}

struct Heard {
    messages: Vec<pb::WorkerMessage>,
    ended: bool,
}

/// The first message, and with it what has arrived already.
fn hear(
    first: Result<Option<pb::WorkerMessage>, Status>,
    inbound: &mut Streaming<pb::WorkerMessage>,
) -> Heard {
    let mut messages = Vec::new();
    let mut next = Some(first);
    while let Some(result) = next {
        match result {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return Heard { messages, ended: true },
            Err(status) => {
                tracing::debug!(error = %status, "session broke");
                return Heard { messages, ended: true };
            }
        }
        if messages.len() >= BATCH_MAX as usize {
            break;
        }
        next = inbound.message().now_or_never();
    }
    Heard { messages, ended: false }
}

#[derive(Default)]
struct Decoded {
    reports: Vec<TaskReport>,
    acks: Vec<pb::AckedReport>,
    /// Of the heartbeats.
    scores: Vec<u32>,
}

/// What can be understood, and the acknowledgement of everything: a worker that sent nonsense
/// would only send it again.
fn decode_messages(
    context: &Context,
    messages: Vec<pb::WorkerMessage>,
) -> Result<Decoded, Rejection> {
    let mut decoded = Decoded::default();
    for pb::WorkerMessage { message } in messages {
        match message {
            Some(Up::Report(report)) => {
                let (ack, report) = decode_report(context, report);
                decoded.acks.push(ack);
                decoded.reports.extend(report);
            }
            Some(Up::Heartbeat(pb::Heartbeat { observer_score })) => {
                decoded.scores.push(observer_score);
            }
            // Absent: what a newer worker says is not for us.
            None => {}
            Some(Up::Hello(_)) => {
                return Err(Invalid::new("only the first message is a hello").at("hello").into());
            }
        }
    }
    Ok(decoded)
}

fn decode_report(
    context: &Context,
    report: pb::TaskReport,
) -> (pb::AckedReport, Option<TaskReport>) {
    let ack = pb::AckedReport { task_id: report.task_id.clone(), sequence: report.sequence };
    let report = TaskReport::try_from(report).inspect_err(|error| {
        context.counters.invalid_report();
        tracing::warn!(task.id = ack.task_id, %error, "report cannot be understood");
    });
    (ack, report.ok())
}

/// Its tasks would all be unknown here, and be stopped.
fn refuse_another(ours: ClusterId, theirs: ClusterId) -> Result<(), Rejection> {
    if ours == theirs {
        return Ok(());
    }
    Err(Rejection::Forbidden(format!(
        "the node belongs to cluster {theirs} and this is the manager of {ours}: name the right \
         manager, or put that cluster's database back; to give the node to this one, which ends \
         the tasks that it runs, start its worker with --join-cluster {ours}"
    )))
}

fn decode_hello(
    context: &Context,
    hello: pb::Hello,
) -> Result<(Hello, Vec<pb::AckedReport>), Rejection> {
    let pb::Hello {
        node_id,
        node_name,
        epoch,
        version,
        drivers,
        cpus,
        memory_bytes,
        tasks,
        cluster_id,
        labels,
    } = hello;
    let at = |invalid: Invalid| invalid.at("hello");
    if !cluster_id.is_empty() {
        refuse_another(context.cluster_id, parsed("cluster_id", &cluster_id).map_err(at)?)?;
    }
    let drivers = drivers.into_iter().map(|driver| enumerated::<pb::Driver, _>("drivers", driver));
    let drivers: BTreeSet<Driver> = drivers.collect::<Result<_, _>>().map_err(at)?;
    let (acks, reports): (Vec<_>, Vec<_>) =
        tasks.into_iter().map(|report| decode_report(context, report)).unzip();
    let has = acks.iter().filter_map(|ack| ack.task_id.parse::<TaskId>().ok()).collect();
    let hello = Hello {
        node: parsed("node_id", &node_id).map_err(at)?,
        name: printable(node_name, NODE_NAME_MAX).map_err(|invalid| at(invalid.at("node_name")))?,
        epoch,
        version: text(version),
        drivers,
        cpus,
        memory_bytes,
        labels: labels_from_wire(labels).map_err(|invalid| at(invalid.at("labels")))?,
        tasks: reports.into_iter().flatten().collect(),
        has,
    };
    Ok((hello, acks))
}

#[cfg(test)]
mod tests;
