//! A manager in memory that hands out the tasks and counts those that have got where they should.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tokio::{
    io::DuplexStream,
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{
    Request, Response, Status, Streaming, async_trait,
    transport::{Channel, Endpoint, Server, Uri},
};
use warren_core::{assignment::Assignment, health::HealthStatus, report::TaskReport};
use warren_proto::v1::{
    self as pb,
    manager_message::Message as Down,
    session_server::{Session, SessionServer},
    worker_message::Message as Up,
};

type Stream_<T> = std::pin::Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Puts in one message: some dozen KiB.
const CHUNK: usize = 100;
/// What a worker may say at once: it says hello with all of its tasks.
const MESSAGE_MAX: usize = 64 << 20;

#[derive(Debug)]
pub struct Manager {
    assignments: Vec<Assignment>,
    /// Between two messages with some of them.
    pause: Duration,
    well: Mutex<HashSet<String>>,
    count: watch::Sender<usize>,
    /// The server, and who listens to each worker.
    serving: Mutex<JoinSet<()>>,
}

impl Manager {
    pub fn start(assignments: Vec<Assignment>, pause: Duration) -> (Arc<Self>, Channel) {
        let manager = Arc::new(Self {
            assignments,
            pause,
            well: Mutex::default(),
            count: watch::Sender::default(),
            serving: Mutex::default(),
        });
        let (connections, incoming) = mpsc::channel::<DuplexStream>(1);
        let service = SessionServer::new(Service(Arc::clone(&manager)))
            .max_decoding_message_size(MESSAGE_MAX);
        manager.serving.lock().unwrap().spawn(async move {
            let incoming = ReceiverStream::new(incoming).map(Ok::<_, std::io::Error>);
            Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        let connector = tower::service_fn(move |_: Uri| {
            let connections = connections.clone();
            async move {
                let (ours, theirs) = tokio::io::duplex(1 << 16);
                connections.send(theirs).await.map_err(std::io::Error::other)?;
                Ok::<_, std::io::Error>(TokioIo::new(ours))
            }
        });
        let channel = Endpoint::from_static("http://manager");
        (manager, channel.connect_with_connector_lazy(connector))
    }

    /// Until every task is as good as it gets.
    pub async fn all_well(&self) {
        let all = self.assignments.len();
        self.count.subscribe().wait_for(|count| *count == all).await.unwrap();
    }

    fn hear(&self, reports: Vec<pb::TaskReport>) -> pb::Ack {
        let mut well = self.well.lock().unwrap();
        let mut acked = Vec::new();
        for report in reports {
            acked.push(pb::AckedReport {
                task_id: report.task_id.clone(),
                sequence: report.sequence,
            });
            let id = report.task_id.clone();
            let health = TaskReport::try_from(report).unwrap().health;
            match health.map(|health| (health.status, health.ready)) {
                Some((HealthStatus::Healthy | HealthStatus::Unchecked, true)) => well.insert(id),
                _ => well.remove(&id),
            };
        }
        self.count.send_replace(well.len());
        pb::Ack { reports: acked }
    }
}

struct Service(Arc<Manager>);

#[async_trait]
impl Session for Service {
    type OpenStream = Stream_<pb::ManagerMessage>;

    async fn open(
        &self,
        request: Request<Streaming<pb::WorkerMessage>>,
    ) -> Result<Response<Self::OpenStream>, Status> {
        let manager = Arc::clone(&self.0);
        let mut inbound = request.into_inner();
        let (down, messages) = mpsc::channel(64);
        self.0.serving.lock().unwrap().spawn(async move {
            let message = |message| Ok(pb::ManagerMessage { message: Some(message) });
            let assign = |full, put: &[Assignment]| {
                let put = put.iter().map(Into::into).collect();
                Down::Assignments(pb::Assignments { full, put, remove: Vec::new() })
            };
            let _ = down.send(message(assign(true, &[]))).await;
            for chunk in manager.assignments.chunks(CHUNK) {
                let _ = down.send(message(assign(false, chunk))).await;
                tokio::time::sleep(manager.pause).await;
            }
            while let Ok(Some(pb::WorkerMessage { message: said })) = inbound.message().await {
                let reports = match said {
                    Some(Up::Hello(hello)) => hello.tasks,
                    Some(Up::Report(report)) => vec![report],
                    Some(Up::Heartbeat(_)) | None => continue,
                };
                let ack = manager.hear(reports);
                if down.send(message(Down::Ack(ack))).await.is_err() {
                    break;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }

    type AnswerStream = Stream_<pb::CallInput>;

    async fn answer(
        &self,
        _: Request<Streaming<pb::CallOutput>>,
    ) -> Result<Response<Self::AnswerStream>, Status> {
        Err(Status::unimplemented("nothing is ever asked"))
    }
}
