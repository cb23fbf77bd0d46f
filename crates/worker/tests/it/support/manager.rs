//! A manager in memory: hands out what it was told to, and remembers what it heard.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures::stream::BoxStream;
use hyper_util::rt::TokioIo;
use tokio::{
    io::DuplexStream,
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status, Streaming, async_trait,
    transport::{Channel, Endpoint, Server, Uri},
};
use warren_core::{
    assignment::Assignment,
    id::{ClusterId, TaskId},
    report::TaskReport,
};
use warren_proto::v1::{
    self as pb,
    call::Ask,
    call_output::Output,
    manager_message::Message as Down,
    session_server::{Session, SessionServer},
    worker_message::Message as Up,
};

/// Of the paused clock: what has not happened in a day never will.
pub const PATIENCE: Duration = Duration::from_hours(24);
/// Messages that nobody has read yet; more than any test sends.
const MANY: usize = 1024;
pub const CLUSTER: ClusterId = ClusterId::from_u64(0xc1);
pub const OTHER_CLUSTER: ClusterId = ClusterId::from_u64(0xc2);

type ToWorker = mpsc::Sender<Result<pb::ManagerMessage, Status>>;

#[derive(Debug)]
pub struct FakeManager {
    state: Mutex<State>,
    changes: watch::Sender<()>,
    connections: mpsc::Sender<DuplexStream>,
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct State {
    cluster: ClusterId,
    assigned: BTreeMap<TaskId, Assignment>,
    away: bool,
    silent: bool,
    session: Option<(ToWorker, CancellationToken)>,
    heard: Vec<Heard>,
    hellos: Vec<pb::Hello>,
    welcomed: Instant,
    scores: Vec<Told>,
    calls: u64,
    answers: BTreeMap<u64, Answer>,
}

/// A report as it came.
#[derive(Debug, Clone)]
pub struct Heard {
    pub within: Within,
    pub report: TaskReport,
}

/// The observer's score, and how long after the last welcome it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    pub score: u32,
    pub after: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Within {
    Hello,
    Session,
}

#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub outputs: Vec<Output>,
    pub ended: bool,
    abandoned: CancellationToken,
    /// What goes down with the call. `None`: all was given.
    inputs: Option<mpsc::Sender<Result<pb::CallInput, Status>>>,
}

impl FakeManager {
    /// Must be called in a tokio runtime.
    pub fn start() -> Arc<Self> {
        let (connections, incoming) = mpsc::channel(MANY);
        let manager = Arc::new(Self {
            state: Mutex::new(State::new()),
            changes: watch::Sender::new(()),
            connections,
            tasks: Mutex::default(),
        });
        let incoming = ReceiverStream::new(incoming).map(Ok::<_, std::io::Error>);
        let service = SessionServer::new(Service(Arc::clone(&manager)));
        let server = Server::builder().add_service(service);
        manager.tasks.lock().unwrap().spawn(async move {
            server.serve_with_incoming(incoming).await.unwrap();
        });
        manager
    }

    /// Dials it, whenever it is needed.
    pub fn channel(&self) -> Channel {
        let connections = self.connections.clone();
        let connector = tower::service_fn(move |_: Uri| {
            let connections = connections.clone();
            async move {
                let (ours, theirs) = tokio::io::duplex(1 << 16);
                connections.send(theirs).await.map_err(std::io::Error::other)?;
                Ok::<_, std::io::Error>(TokioIo::new(ours))
            }
        });
        Endpoint::from_static("http://manager").connect_with_connector_lazy(connector)
    }

    /// As if its database was emptied, or another manager was in its place.
    pub fn become_another_cluster(&self) {
        self.change(|state| {
            state.cluster = OTHER_CLUSTER;
            state.assigned.clear();
            state.hang_up();
        });
    }

    /// From now on wanted, and said in each snapshot.
    pub fn assign(&self, assignments: impl IntoIterator<Item = Assignment>) {
        let assignments: Vec<_> = assignments.into_iter().collect();
        let put = assignments.iter().map(Into::into).collect();
        self.change(|state| {
            state.assigned.extend(assignments.into_iter().map(|a| (a.task, a)));
            state.send(Down::Assignments(pb::Assignments { full: false, put, remove: Vec::new() }));
        });
    }

    pub fn forget(&self, task: TaskId) {
        self.change(|state| {
            state.assigned.remove(&task);
            let remove = vec![task.to_string()];
            state.send(Down::Assignments(pb::Assignments { full: false, put: Vec::new(), remove }));
        });
    }

    /// No longer wanted, but nobody says so before the next snapshot.
    pub fn forget_silently(&self, task: TaskId) {
        self.change(|state| state.assigned.remove(&task));
    }

    /// Ends the session; no other is opened until [`Self::go_online`].
    pub fn go_offline(&self) {
        self.change(|state| {
            state.away = true;
            state.hang_up();
        });
    }

    pub fn go_online(&self) {
        self.change(|state| state.away = false);
    }

    /// Ends the session; the next one may come at once.
    pub fn hang_up(&self) {
        self.change(State::hang_up);
    }

    /// Acknowledges nothing from now on.
    pub fn stop_acknowledging(&self) {
        self.change(|state| state.silent = true);
    }

    pub fn acknowledge_again(&self) {
        self.change(|state| state.silent = false);
    }

    /// Asks the worker; the answer has this number.
    pub fn ask(&self, ask: Ask) -> u64 {
        self.change(|state| {
            state.calls += 1;
            let id = state.calls;
            state.send(Down::Call(pb::Call { id, ask: Some(ask) }));
            id
        })
    }

    /// The answer, when it is complete.
    pub async fn answer(&self, id: u64) -> Vec<Output> {
        self.until(|state| {
            let answer = state.answers.get(&id).filter(|answer| answer.ended)?;
            Some(answer.outputs.clone())
        })
        .await
    }

    /// Listens no longer.
    pub fn abandon(&self, id: u64) {
        self.end_inputs(id);
        self.answer_so_far(id).abandoned.cancel();
    }

    /// Once the answer is open.
    pub async fn give(&self, id: u64, data: &[u8]) {
        let inputs = self.until(|state| state.answers.get(&id)?.inputs.clone()).await;
        inputs.send(Ok(pb::CallInput { data: data.to_vec() })).await.unwrap();
    }

    /// All was given.
    pub fn end_inputs(&self, id: u64) {
        self.change(|state| state.answers.entry(id).or_default().inputs = None);
    }

    /// As far as it has come.
    pub fn answer_so_far(&self, id: u64) -> Answer {
        self.state().answers.get(&id).cloned().unwrap_or_default()
    }

    /// Waits until the answer has so many pieces.
    pub async fn pieces(&self, id: u64, count: usize) {
        self.until(|s| s.answers.get(&id).filter(|answer| answer.outputs.len() >= count).map(drop))
            .await;
    }

    /// Waits until the worker has opened so many answers.
    pub async fn answers(&self, count: usize) {
        self.until(|state| (state.answers.len() >= count).then_some(())).await;
    }

    /// All reports of the task, the oldest first.
    pub fn reports(&self, task: TaskId) -> Vec<TaskReport> {
        self.heard(task).into_iter().map(|heard| heard.report).collect()
    }

    pub fn heard(&self, task: TaskId) -> Vec<Heard> {
        self.state().heard.iter().filter(|heard| heard.report.task == task).cloned().collect()
    }

    /// Waits until such a report has come; the first one.
    pub async fn report(&self, task: TaskId, is: impl Fn(&TaskReport) -> bool) -> TaskReport {
        self.report_after(0, task, is).await
    }

    /// Not counting the first reports of all tasks.
    pub async fn report_after(
        &self,
        first: usize,
        task: TaskId,
        is: impl Fn(&TaskReport) -> bool,
    ) -> TaskReport {
        self.until(|state| {
            let mut heard = state.heard.iter().skip(first).map(|heard| &heard.report);
            heard.find(|report| report.task == task && is(report)).cloned()
        })
        .await
    }

    /// How many reports have come, of all tasks.
    pub fn count(&self) -> usize {
        self.state().heard.len()
    }

    /// Waits for so many sessions.
    pub async fn hello(&self, number: usize) -> pb::Hello {
        self.until(|state| state.hellos.get(number - 1).cloned()).await
    }

    /// Waits for so many heartbeats from now on: whatever was sent before them has come.
    pub async fn heartbeats(&self, count: usize) {
        let wanted = self.state().scores.len() + count;
        self.until(|state| (state.scores.len() >= wanted).then_some(())).await;
    }

    /// What each heartbeat said.
    pub fn scores(&self) -> Vec<Told> {
        self.state().scores.clone()
    }

    async fn until<T>(&self, find: impl Fn(&State) -> Option<T>) -> T {
        let mut changes = self.changes.subscribe();
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(found) = find(&self.state()) {
                    return found;
                }
                changes.changed().await.unwrap();
            }
        });
        found.await.unwrap_or_else(|_| panic!("it never came to that: {:#?}", self.state()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state());
        self.changes.send_replace(());
        changed
    }

    fn hear(&self, message: pb::WorkerMessage) {
        self.change(|state| match message.message.unwrap() {
            Up::Hello(hello) => {
                state.hear_all(Within::Hello, hello.tasks.clone());
                state.hellos.push(hello);
            }
            Up::Report(report) => state.hear_all(Within::Session, vec![report]),
            Up::Heartbeat(pb::Heartbeat { observer_score }) => {
                let after = state.welcomed.elapsed();
                state.scores.push(Told { score: observer_score, after });
            }
        });
    }
}

impl State {
    fn new() -> Self {
        Self {
            cluster: CLUSTER,
            assigned: BTreeMap::new(),
            away: false,
            silent: false,
            session: None,
            heard: Vec::new(),
            hellos: Vec::new(),
            welcomed: Instant::now(),
            scores: Vec::new(),
            calls: 0,
            answers: BTreeMap::new(),
        }
    }

    fn hear_all(&mut self, within: Within, reports: Vec<pb::TaskReport>) {
        let acks = reports.iter().map(|report| pb::AckedReport {
            task_id: report.task_id.clone(),
            sequence: report.sequence,
        });
        let ack = pb::Ack { reports: acks.collect() };
        let reports = reports.into_iter().map(|report| TaskReport::try_from(report).unwrap());
        self.heard.extend(reports.map(|report| Heard { within, report }));
        if !self.silent {
            self.send(Down::Ack(ack));
        }
    }

    fn send(&mut self, message: Down) {
        if let Some((worker, _)) = &self.session {
            // One that has gone away hears it in the next snapshot.
            let _ = worker.try_send(Ok(pb::ManagerMessage { message: Some(message) }));
        }
    }

    fn welcome(&mut self, worker: ToWorker, over: CancellationToken) {
        self.hang_up();
        self.welcomed = Instant::now();
        self.session = Some((worker, over));
        let heartbeat = Some(Duration::from_secs(5).try_into().unwrap());
        let cluster_id = self.cluster.to_string();
        self.send(Down::Welcome(pb::Welcome { grace: None, heartbeat, cluster_id }));
        let put = self.assigned.values().map(Into::into).collect();
        self.send(Down::Assignments(pb::Assignments { full: true, put, remove: Vec::new() }));
    }

    fn hang_up(&mut self) {
        if let Some((_, over)) = self.session.take() {
            over.cancel();
        }
    }
}

/// What the server calls.
struct Service(Arc<FakeManager>);

#[async_trait]
impl Session for Service {
    type OpenStream = BoxStream<'static, Result<pb::ManagerMessage, Status>>;

    async fn open(
        &self,
        request: Request<Streaming<pb::WorkerMessage>>,
    ) -> Result<Response<Self::OpenStream>, Status> {
        let manager = Arc::clone(&self.0);
        if manager.state().away {
            return Err(Status::unavailable("the manager is away"));
        }
        let mut inbound = request.into_inner();
        let hello = inbound.message().await?.unwrap();
        let (worker, messages) = mpsc::channel(MANY);
        let over = CancellationToken::new();
        manager.change(|state| state.welcome(worker, over.clone()));
        manager.hear(hello);
        self.0.tasks.lock().unwrap().spawn(async move {
            let hear_all = async {
                while let Ok(Some(message)) = inbound.message().await {
                    manager.hear(message);
                }
            };
            over.run_until_cancelled(hear_all).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }

    type AnswerStream = BoxStream<'static, Result<pb::CallInput, Status>>;

    async fn answer(
        &self,
        request: Request<Streaming<pb::CallOutput>>,
    ) -> Result<Response<Self::AnswerStream>, Status> {
        let manager = Arc::clone(&self.0);
        let mut outputs = request.into_inner();
        let first = outputs.message().await?.unwrap();
        let Some(Output::CallId(id)) = first.output else {
            return Err(Status::invalid_argument("the first message names the call"));
        };
        let answer = Answer::default();
        let abandoned = answer.abandoned.clone();
        manager.change(|state| state.answers.insert(id, answer));
        // The stream down ends after the one up: the worker must not be the one to cut it.
        let (given, inputs) = mpsc::channel(8);
        manager.change(|state| state.answers.entry(id).or_default().inputs = Some(given));
        self.0.tasks.lock().unwrap().spawn(async move {
            let mut next = async || abandoned.run_until_cancelled(outputs.message()).await;
            while let Some(Ok(Some(pb::CallOutput { output }))) = next().await {
                let of = |state: &mut State| {
                    state.answers.entry(id).or_default().outputs.push(output.unwrap());
                };
                manager.change(of);
            }
            manager.change(|state| {
                let answer = state.answers.entry(id).or_default();
                (answer.ended, answer.inputs) = (true, None);
            });
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(inputs))))
    }
}
