//! A manager in this process, reached over pipes in memory, and a worker that does as it is told
//! by the test.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint},
};
use tower::service_fn;
use warren_core::time::Timestamp;
use warren_manager::{Counters, Listener, Manager, ManagerFault, Policy, Timing, World};
use warren_proto::v1::{
    self as pb, events_client::EventsClient, health_api_client::HealthApiClient,
    images_client::ImagesClient, manager_message::Message as Down, nodes_client::NodesClient,
    services_client::ServicesClient, session_client::SessionClient, tasks_client::TasksClient,
    worker_message::Message as Up,
};
use warren_store::{MemoryStore, Store};

pub const TIMING: Timing = Timing {
    heartbeat: Duration::from_secs(5),
    grace: Duration::from_secs(15),
    call_open: Duration::from_secs(10),
    safety_pass: Duration::from_mins(1),
    drain: Duration::from_secs(1),
};

/// Time is tokio's, so it can be paused; chance is a count.
pub struct TestWorld {
    start: Instant,
    drawn: AtomicU64,
}

impl TestWorld {
    pub fn new() -> Self {
        Self { start: Instant::now(), drawn: AtomicU64::new(1) }
    }
}

impl World for TestWorld {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000).after(self.start.elapsed())
    }

    fn random(&self) -> u64 {
        self.drawn.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

pub struct Running {
    pub channel: Channel,
    pub counters: Arc<Counters>,
    pub shutdown: CancellationToken,
    serving: JoinSet<Result<(), ManagerFault>>,
}

impl Running {
    pub async fn over(store: MemoryStore) -> Self {
        let cluster = store.cluster();
        let world = TestWorld::new();
        // Two runs over one store must not draw the same ids.
        world.drawn.fetch_add(cluster.revision << 20, Ordering::Relaxed);
        let store: Box<dyn Store> = Box::new(store);
        let manager =
            Manager::with_store(store, cluster, Arc::new(world), TIMING, Policy::default());
        Self::serve(manager.unwrap()).await
    }

    pub async fn serve(manager: Manager) -> Self {
        let (dial, connections) = mpsc::channel(8);
        let shutdown = CancellationToken::new();
        let counters = manager.counters();
        let mut serving = JoinSet::new();
        serving.spawn(manager.serve(vec![Listener::Memory(connections)], shutdown.clone()));
        Self { channel: connect(dial).await, counters, shutdown, serving }
    }

    /// How serving ended.
    pub async fn ended(mut self) -> Result<(), ManagerFault> {
        self.serving.join_next().await.unwrap().unwrap()
    }

    /// As if the process was killed: nothing is told, nothing is finished.
    pub async fn kill(mut self) {
        self.serving.abort_all();
        while self.serving.join_next().await.is_some() {}
    }

    pub fn services(&self) -> ServicesClient<Channel> {
        ServicesClient::new(self.channel.clone())
    }

    pub fn tasks(&self) -> TasksClient<Channel> {
        TasksClient::new(self.channel.clone())
    }

    pub fn nodes(&self) -> NodesClient<Channel> {
        NodesClient::new(self.channel.clone())
    }

    pub fn images(&self) -> ImagesClient<Channel> {
        ImagesClient::new(self.channel.clone())
    }

    pub fn health(&self) -> HealthApiClient<Channel> {
        HealthApiClient::new(self.channel.clone())
    }

    pub fn events(&self) -> EventsClient<Channel> {
        EventsClient::new(self.channel.clone())
    }

    pub async fn create(&self, name: &str, replicas: u32) -> pb::Service {
        let request = pb::CreateServiceRequest { spec: Some(spec(name, replicas)) };
        let created = self.services().create(request).await.unwrap();
        created.into_inner().service.unwrap()
    }

    pub async fn until_gone(&self, service: &str) {
        let request = || pb::GetServiceRequest { service: service.to_owned() };
        while self.services().get(request()).await.is_ok() {
            sleep(Duration::from_millis(1)).await;
        }
    }

    pub async fn summary(&self, service: &str) -> String {
        self.detail(service).await.summary.unwrap().text
    }

    pub async fn detail(&self, service: &str) -> pb::ServiceDetail {
        let request = pb::GetServiceRequest { service: service.to_owned() };
        self.services().get(request).await.unwrap().into_inner()
    }

    pub async fn task(&self, task: &str) -> pb::TaskDetail {
        let request = pb::GetTaskRequest { task: task.to_owned() };
        self.tasks().get(request).await.unwrap().into_inner()
    }

    pub async fn node(&self, node: &str) -> pb::Node {
        let request = pb::GetNodeRequest { node: node.to_owned() };
        self.nodes().get(request).await.unwrap().into_inner()
    }

    /// What was recorded, the oldest first.
    pub async fn messages(&self) -> Vec<String> {
        let request = pb::ListEventsRequest { service: String::new(), limit: 1000 };
        let events = self.events().list(request).await.unwrap().into_inner().events;
        events.into_iter().map(|event| event.message).collect()
    }
}

async fn connect(dial: mpsc::Sender<DuplexStream>) -> Channel {
    let connector = service_fn(move |_| {
        let dial = dial.clone();
        async move {
            let (near, far) = duplex(256 * 1024);
            dial.send(far).await.map_err(io::Error::other)?;
            Ok::<_, io::Error>(TokioIo::new(near))
        }
    });
    Endpoint::from_static("http://manager").connect_with_connector(connector).await.unwrap()
}

/// A process with a liveness check, so that its health is the worker's to say.
pub fn spec(name: &str, replicas: u32) -> pb::ServiceSpec {
    let endpoint = Some(pb::tcp_check::Endpoint::Port(80));
    let tcp = pb::TcpCheck { endpoint, ..pb::TcpCheck::default() };
    let check = pb::Check { kind: Some(pb::check::Kind::Tcp(tcp)), timing: None };
    let checks = pb::Checks { startup: None, liveness: Some(check), readiness: None };
    let template = pb::TaskTemplate {
        command: vec!["/bin/server".to_owned()],
        health: Some(pb::HealthConfig { source: Some(pb::health_config::Source::Checks(checks)) }),
        ..pb::TaskTemplate::default()
    };
    pb::ServiceSpec {
        name: name.to_owned(),
        replicas,
        template: Some(template),
        ..pb::ServiceSpec::default()
    }
}

pub fn at(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds, nanos: 0 }
}

pub fn status(state: pb::TaskState) -> pb::TaskStatus {
    let ended = state == pb::TaskState::Ended;
    pb::TaskStatus {
        state: state.into(),
        since: Some(at(1_000)),
        started_at: Some(at(1_000)),
        end: ended.then(|| pb::TaskEnd {
            kind: pb::EndKind::Exited.into(),
            at: Some(at(1_001)),
            exit_code: Some(1),
            oom_killed: false,
            reason: String::new(),
        }),
        ..pb::TaskStatus::default()
    }
}

pub fn health(status: pb::HealthStatus) -> pb::Health {
    let good = status == pb::HealthStatus::Healthy;
    let mut health = pb::Health {
        status: status.into(),
        since: Some(at(1_002)),
        ready: good,
        ready_since: Some(at(1_002)),
        reason: if good { String::new() } else { "it says 500".to_owned() },
        ..pb::Health::default()
    };
    health.was_ready = good;
    health
}

pub fn report(task: &str, sequence: u64, state: pb::TaskState) -> pb::TaskReport {
    pb::TaskReport {
        task_id: task.to_owned(),
        sequence,
        status: Some(status(state)),
        ..pb::TaskReport::default()
    }
}

pub fn healthy(task: &str, sequence: u64) -> pb::TaskReport {
    let health = Some(health(pb::HealthStatus::Healthy));
    pb::TaskReport { health, ..report(task, sequence, pb::TaskState::Running) }
}

pub fn unhealthy(task: &str, sequence: u64) -> pb::TaskReport {
    let health = Some(health(pb::HealthStatus::Unhealthy));
    pb::TaskReport { health, ..report(task, sequence, pb::TaskState::Running) }
}

/// One session of a node.
pub struct FakeWorker {
    pub client: SessionClient<Channel>,
    up: mpsc::Sender<pb::WorkerMessage>,
    down: Streaming<pb::ManagerMessage>,
    pub assigned: BTreeMap<String, pb::Assignment>,
    pub acked: Vec<(String, u64)>,
    pub calls: VecDeque<pb::Call>,
    pub messages: usize,
}

pub fn hello(node: u64, epoch: u64, tasks: Vec<pb::TaskReport>) -> pb::Hello {
    pb::Hello {
        node_id: format!("{node:016x}"),
        node_name: format!("node-{node}"),
        epoch,
        version: "0.1.0".to_owned(),
        drivers: vec![pb::Driver::Process.into(), pb::Driver::Containerd.into()],
        cpus: 2,
        memory_bytes: 1 << 30,
        tasks,
        ..pb::Hello::default()
    }
}

impl FakeWorker {
    /// Opens a session and waits for what every session begins with.
    pub async fn join(running: &Running, node: u64, epoch: u64) -> Self {
        Self::rejoin(running, hello(node, epoch, Vec::new())).await.unwrap()
    }

    pub async fn rejoin(running: &Running, hello: pb::Hello) -> Result<Self, Status> {
        let mut client = SessionClient::new(running.channel.clone());
        let (up, messages) = mpsc::channel(64);
        up.send(pb::WorkerMessage { message: Some(Up::Hello(hello)) }).await.unwrap();
        let down = client.open(ReceiverStream::new(messages)).await?.into_inner();
        let mut worker = Self {
            client,
            up,
            down,
            assigned: BTreeMap::new(),
            acked: Vec::new(),
            calls: VecDeque::new(),
            messages: 0,
        };
        // Welcome, assignments, acknowledgement.
        while worker.messages < 3 {
            worker.hear().await?;
        }
        Ok(worker)
    }

    /// Takes one message, with heartbeats while there is none.
    pub async fn hear(&mut self) -> Result<(), Status> {
        let message = loop {
            tokio::select! {
                message = self.down.message() => break message?,
                () = sleep(TIMING.heartbeat) => {
                    self.say(Up::Heartbeat(pb::Heartbeat::default())).await;
                }
            }
        };
        let message = message.ok_or_else(|| Status::cancelled("the session has ended"))?;
        self.messages += 1;
        match message.message.unwrap() {
            Down::Welcome(_) => {}
            Down::Assignments(assignments) => self.assign(assignments),
            Down::Ack(ack) => {
                self.acked.extend(ack.reports.into_iter().map(|r| (r.task_id, r.sequence)));
            }
            Down::Call(call) => self.calls.push_back(call),
        }
        Ok(())
    }

    fn assign(&mut self, assignments: pb::Assignments) {
        let pb::Assignments { full, put, remove } = assignments;
        if full {
            self.assigned.clear();
        }
        for assignment in put {
            self.assigned.insert(assignment.task_id.clone(), assignment);
        }
        for id in remove {
            self.assigned.remove(&id);
        }
    }

    pub async fn until(&mut self, reached: impl Fn(&Self) -> bool) {
        while !reached(self) {
            self.hear().await.unwrap();
        }
    }

    pub async fn say(&self, message: Up) {
        self.up.send(pb::WorkerMessage { message: Some(message) }).await.unwrap();
    }

    /// Waits until the manager has acknowledged it.
    pub async fn report(&mut self, report: pb::TaskReport) {
        let key = (report.task_id.clone(), report.sequence);
        self.say(Up::Report(report)).await;
        self.until(|worker| worker.acked.contains(&key)).await;
    }

    /// Ids of the tasks that should run, by slot.
    pub fn wanted(&self) -> Vec<String> {
        let mut wanted: Vec<_> = self.assigned.values().filter(|a| a.stop.is_none()).collect();
        wanted.sort_by_key(|assignment| assignment.slot);
        wanted.into_iter().map(|assignment| assignment.task_id.clone()).collect()
    }

    /// Waits for so many tasks to run, and says that all of them are healthy.
    pub async fn run_healthy(&mut self, count: usize) -> Vec<String> {
        self.until(|worker| worker.wanted().len() == count).await;
        let wanted = self.wanted();
        for task in &wanted {
            self.report(healthy(task, 1)).await;
        }
        wanted
    }
}
