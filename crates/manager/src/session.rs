//! One worker's session: its reports in, its assignments out.

use std::collections::BTreeSet;

use futures::FutureExt;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use warren_core::{
    Invalid,
    id::{ClusterId, NodeId, TaskId},
    node::Driver,
    report::TaskReport,
    wire::{duration_to_wire, enumerated, parsed, printable, text},
};
use warren_proto::v1::{
    self as pb, manager_message::Message as Down, worker_message::Message as Up,
};

use crate::{
    assign::Assigned,
    calls::Outbox,
    input::{Hello, Input, Joined},
    rejection::Rejection,
    rpc::Context,
};

/// Messages of one session that are decided together: what has piled up while the batch before
/// was on its way to the disk.
const BATCH_MAX: usize = 256;

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
    let mut talk = Talk { context, node, epoch, outbox, last_heard: Instant::now() };
    let result = talk.run(&mut inbound, acks, &replaced).await;
    let last_heard = talk.last_heard;
    context.calls.disconnect(node, session);
    tracing::info!(node.id = %node, epoch, "session ended");
    context.handle.session_lost(node, session, last_heard).await;
    result
}

struct Talk<'a> {
    context: &'a Context,
    node: NodeId,
    epoch: u64,
    outbox: &'a Outbox,
    last_heard: Instant,
}

/// The worker does not listen any more: the session has ended.
struct Gone;

impl Talk<'_> {
    async fn run(
        &mut self,
        inbound: &mut Streaming<pb::WorkerMessage>,
        acks: Vec<pb::AckedReport>,
        replaced: &CancellationToken,
    ) -> Result<(), Rejection> {
        let Self { context, node, epoch, outbox, last_heard } = self;
        let (node, epoch) = (*node, *epoch);
        let assign = assign(context, node, outbox, acks);
        let receive = receive(context, node, epoch, inbound, outbox, last_heard);
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
}

/// Tells the worker all that it is to run, then every change of it.
async fn assign(
    context: &Context,
    node: NodeId,
    outbox: &Outbox,
    acks: Vec<pb::AckedReport>,
) -> Gone {
    let mut watch = context.handle.watch();
    let mut assigned = Assigned::new(node);
    let published = watch.borrow_and_update().clone();
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
        if watch.changed().await.is_err() {
            return Gone;
        }
        let published = watch.borrow_and_update().clone();
        if published.concerns(node, revision) {
            news.extend(assigned.delta(&published.cluster).map(Down::Assignments));
        }
        revision = published.cluster.revision;
    }
}

/// Takes the worker's reports and acknowledges them once they are durable. What arrives meanwhile
/// waits in the stream and makes the next batch.
async fn receive(
    context: &Context,
    node: NodeId,
    epoch: u64,
    inbound: &mut Streaming<pb::WorkerMessage>,
    outbox: &Outbox,
    last_heard: &mut Instant,
) -> Result<(), Rejection> {
    loop {
        let silence_ends = *last_heard + context.timing.grace;
        let Ok(heard) = timeout_at(silence_ends, hear(inbound)).await else {
            let grace = context.timing.grace;
            return Err(Rejection::Late(format!("nothing was heard for {grace:?}")));
        };
        *last_heard = Instant::now();
        let (reports, acks) = decode_reports(context, heard.messages)?;
        if !acks.is_empty() {
            let input = |reply| Input::Reports { node, epoch, reports, reply };
            context.handle.tell(input).await?;
            if send(outbox, Down::Ack(pb::Ack { reports: acks })).await.is_err() {
                return Ok(());
            }
        }
        if heard.ended {
            return Ok(());
        }
    }
}

async fn send(outbox: &Outbox, message: Down) -> Result<(), Gone> {
    outbox.send(Ok(pb::ManagerMessage { message: Some(message) })).await.map_err(|_| Gone)
}

struct Heard {
    messages: Vec<pb::WorkerMessage>,
    ended: bool,
}

/// Waits for one message and takes with it what has arrived already.
async fn hear(inbound: &mut Streaming<pb::WorkerMessage>) -> Heard {
    let mut messages = Vec::new();
    let mut next = Some(inbound.message().await);
    while let Some(result) = next {
        match result {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return Heard { messages, ended: true },
            Err(status) => {
                tracing::debug!(error = %status, "session broke");
                return Heard { messages, ended: true };
            }
        }
        if messages.len() >= BATCH_MAX {
            break;
        }
        next = inbound.message().now_or_never();
    }
    Heard { messages, ended: false }
}

/// What can be understood, and the acknowledgement of everything: a worker that sent nonsense
/// would only send it again.
fn decode_reports(
    context: &Context,
    messages: Vec<pb::WorkerMessage>,
) -> Result<(Vec<TaskReport>, Vec<pb::AckedReport>), Rejection> {
    let mut reports = Vec::new();
    let mut acks = Vec::new();
    for pb::WorkerMessage { message } in messages {
        match message {
            Some(Up::Report(report)) => {
                let (ack, report) = decode_report(context, report);
                acks.push(ack);
                reports.extend(report);
            }
            // Absent: what a newer worker says is not for us.
            Some(Up::Heartbeat(pb::Heartbeat {})) | None => {}
            Some(Up::Hello(_)) => {
                return Err(Invalid::new("only the first message is a hello").at("hello").into());
            }
        }
    }
    Ok((reports, acks))
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
        tasks: reports.into_iter().flatten().collect(),
        has,
    };
    Ok((hello, acks))
}
