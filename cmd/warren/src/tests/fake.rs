//! A manager that answers from fixtures and remembers what it was asked.

use std::{
    collections::VecDeque,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex},
};

use clap::Parser;
use tokio::{net::UnixListener, task::JoinSet};
use tokio_stream::{Stream, StreamExt, wrappers::UnixListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};
use warren_proto::v1::{
    self as pb,
    events_server::{Events, EventsServer},
    health_api_server::{HealthApi, HealthApiServer},
    images_server::{Images, ImagesServer},
    nodes_server::{Nodes, NodesServer},
    services_server::{Services, ServicesServer},
    tasks_server::{Tasks, TasksServer},
};

use super::fixture;
use crate::{
    cli::{Cli, Command},
    client::Host,
    cmd,
    console::Console,
};

type Answer<T> = Result<Response<T>, Status>;
type Pieces<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the fake knows and what it was told.
#[derive(Default)]
pub struct State {
    /// Told one after the other, the last one for ever. None: there is no such service.
    pub summaries: VecDeque<pb::ServiceSummary>,
    pub created: Vec<pb::ServiceSpec>,
    pub updated: Vec<(u32, Option<u64>)>,
    pub deleted: Vec<String>,
    pub availability: Vec<pb::SetAvailabilityRequest>,
    pub labels: Vec<pb::SetLabelsRequest>,
    pub moved: u32,
    pub specs: Vec<pb::ServiceSpec>,
    pub pauses: Vec<pb::PauseChecksRequest>,
    pub resumed: Vec<String>,
    pub imported: Vec<u8>,
    /// So many updates meet a revision that has moved on.
    pub aborts: u32,
    /// The workers cannot be asked.
    pub blind: bool,
    /// The checks of the service are paused.
    pub paused: bool,
    pub node_down: bool,
}

#[derive(Clone)]
struct Fake(Arc<Mutex<State>>);

impl Fake {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }

    fn detail(&self, service: &str) -> Result<pb::ServiceDetail, Status> {
        let summary = self.with(|state| match state.summaries.len() {
            0 => None,
            1 => state.summaries.front().cloned(),
            _ => state.summaries.pop_front(),
        });
        let checks_paused = self.with(|state| state.paused).then(|| fixture::pause("ada"));
        match summary {
            Some(summary) if service == "web" => Ok(pb::ServiceDetail {
                service: Some(pb::Service { checks_paused, ..fixture::service() }),
                summary: Some(summary),
                tasks: fixture::tasks(),
                held: fixture::held(),
            }),
            Some(_) | None => Err(Status::not_found(format!("there is no service {service:?}"))),
        }
    }
}

fn pieces<T: Send + 'static>(items: Vec<T>) -> Pieces<T> {
    Box::pin(tokio_stream::iter(items).map(Ok))
}

#[tonic::async_trait]
impl Services for Fake {
    async fn release(
        &self,
        request: Request<pb::ReleaseServiceRequest>,
    ) -> Answer<pb::ReleaseServiceResponse> {
        self.detail(&request.into_inner().service)?;
        Ok(Response::new(pb::ReleaseServiceResponse { released: 3 }))
    }

    async fn create(
        &self,
        request: Request<pb::CreateServiceRequest>,
    ) -> Answer<pb::CreateServiceResponse> {
        let spec = request.into_inner().spec.unwrap_or_default();
        if spec.name == "taken" {
            return Err(Status::already_exists("there is a service \"taken\""));
        }
        if spec.name == "refused" {
            return Err(Status::invalid_argument("spec.template.image: is not wanted"));
        }
        self.with(|state| state.created.push(spec));
        Ok(Response::new(pb::CreateServiceResponse {
            service: None,
            warnings: vec!["only its process is watched".to_owned()],
        }))
    }

    async fn get(&self, request: Request<pb::GetServiceRequest>) -> Answer<pb::ServiceDetail> {
        self.detail(&request.into_inner().service).map(Response::new)
    }

    async fn list(&self, _: Request<pb::ListServicesRequest>) -> Answer<pb::ListServicesResponse> {
        let detail = self.detail("web")?;
        let row = pb::ServiceRow { service: detail.service, summary: detail.summary };
        Ok(Response::new(pb::ListServicesResponse { services: vec![row] }))
    }

    async fn update(
        &self,
        request: Request<pb::UpdateServiceRequest>,
    ) -> Answer<pb::UpdateServiceResponse> {
        let pb::UpdateServiceRequest { service: _, spec, expected_revision } = request.into_inner();
        self.with(|state| {
            if state.aborts > 0 {
                state.aborts -= 1;
                return Err(Status::aborted("the service is at revision 2 now"));
            }
            let spec = spec.unwrap_or_default();
            state.updated.push((spec.replicas, expected_revision));
            state.specs.push(spec);
            Ok(Response::new(pb::UpdateServiceResponse::default()))
        })
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteServiceRequest>,
    ) -> Answer<pb::DeleteServiceResponse> {
        let service = request.into_inner().service;
        self.detail(&service)?;
        self.with(|state| {
            state.deleted.push(service);
            state.summaries.pop_front();
        });
        Ok(Response::new(pb::DeleteServiceResponse {}))
    }

    async fn pause_checks(
        &self,
        request: Request<pb::PauseChecksRequest>,
    ) -> Answer<pb::PauseChecksResponse> {
        let request = request.into_inner();
        let mut service = self.detail(&request.service)?.service;
        if let Some(service) = &mut service {
            service.checks_paused = Some(fixture::pause(&request.by));
        }
        self.with(|state| state.pauses.push(request));
        Ok(Response::new(pb::PauseChecksResponse { service }))
    }

    async fn resume_checks(
        &self,
        request: Request<pb::ResumeChecksRequest>,
    ) -> Answer<pb::ResumeChecksResponse> {
        let service = request.into_inner().service;
        let detail = self.detail(&service)?;
        self.with(|state| state.resumed.push(service));
        Ok(Response::new(pb::ResumeChecksResponse { service: detail.service }))
    }
}

#[tonic::async_trait]
impl Tasks for Fake {
    async fn why(&self, _: Request<pb::WhyTaskRequest>) -> Answer<pb::WhyTaskResponse> {
        let decision = pb::Event {
            rule: pb::Rule::Budget.into(),
            seen: "as many of its service as may be are in replacement".to_owned(),
            message: "1 replacement is held of web by budget".to_owned(),
            ..fixture::event()
        };
        Ok(Response::new(pb::WhyTaskResponse {
            task: fixture::tasks().pop(),
            events: vec![fixture::event(), decision],
            next: "its replacement is held".to_owned(),
        }))
    }

    type LogsStream = Pieces<pb::LogLine>;

    async fn get(&self, request: Request<pb::GetTaskRequest>) -> Answer<pb::TaskDetail> {
        let wanted = request.into_inner().task;
        let id = |detail: &pb::TaskDetail| detail.task.clone().unwrap_or_default().id;
        let found = fixture::tasks().into_iter().find(|detail| id(detail).ends_with(&wanted));
        found
            .map(Response::new)
            .ok_or_else(|| Status::not_found(format!("there is no task {wanted:?}")))
    }

    async fn list(&self, _: Request<pb::ListTasksRequest>) -> Answer<pb::ListTasksResponse> {
        Ok(Response::new(pb::ListTasksResponse { tasks: fixture::tasks() }))
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteTaskRequest>,
    ) -> Answer<pb::DeleteTaskResponse> {
        let task = request.into_inner().task;
        if task == "ended" {
            return Err(Status::failed_precondition("the task has ended"));
        }
        self.with(|state| state.deleted.push(task));
        Ok(Response::new(pb::DeleteTaskResponse {}))
    }

    async fn logs(&self, _: Request<pb::TaskLogsRequest>) -> Answer<Self::LogsStream> {
        let line = |stream: pb::LogStream, text: &str| pb::LogLine {
            at: Some(fixture::before(5)),
            stream: stream.into(),
            line: text.into(),
        };
        Ok(Response::new(pieces(vec![
            line(pb::LogStream::Stdout, "out"),
            line(pb::LogStream::Stderr, "err"),
        ])))
    }

    async fn observe(&self, request: Request<pb::ObserveRequest>) -> Answer<pb::ObserveResponse> {
        if self.with(|state| state.blind) {
            return Err(Status::unavailable("node-a does not answer"));
        }
        let asked = request.into_inner().tasks;
        let seen = [if self.with(|state| state.paused) {
            fixture::paused_observation()
        } else {
            fixture::observation()
        }];
        let observations = seen.into_iter().filter(|seen| asked.contains(&seen.task_id)).collect();
        Ok(Response::new(pb::ObserveResponse { observations }))
    }

    async fn check(&self, request: Request<pb::CheckTaskRequest>) -> Answer<pb::CheckTaskResponse> {
        if self.with(|state| state.blind) {
            return Err(Status::unavailable("node-a is not connected now"));
        }
        let trials = match request.into_inner().role() {
            pb::Role::Startup => {
                return Err(Status::not_found("task a1 has no startup check; it has liveness"));
            }
            pb::Role::Readiness => vec![fixture::trial(pb::Outcome::FailTimeout)],
            pb::Role::Liveness => vec![fixture::trial(pb::Outcome::Inconclusive)],
            pb::Role::Unspecified => vec![fixture::trial(pb::Outcome::Pass)],
        };
        Ok(Response::new(pb::CheckTaskResponse { trials }))
    }
}

#[tonic::async_trait]
impl Nodes for Fake {
    async fn set_availability(
        &self,
        request: Request<pb::SetAvailabilityRequest>,
    ) -> Answer<pb::NodeRow> {
        self.with(|state| state.availability.push(request.into_inner()));
        Ok(Response::new(pb::NodeRow { node: Some(fixture::node()), tasks: 2 }))
    }

    async fn set_labels(&self, request: Request<pb::SetLabelsRequest>) -> Answer<pb::NodeRow> {
        self.with(|state| state.labels.push(request.into_inner()));
        Ok(Response::new(pb::NodeRow { node: Some(fixture::node()), tasks: 2 }))
    }

    async fn get(&self, _: Request<pb::GetNodeRequest>) -> Answer<pb::Node> {
        Ok(Response::new(fixture::node()))
    }

    async fn list(&self, _: Request<pb::ListNodesRequest>) -> Answer<pb::ListNodesResponse> {
        let down = self.with(|state| state.node_down);
        let state = if down { pb::NodeState::Lost } else { pb::NodeState::Up };
        let node = pb::Node { state: state.into(), ..fixture::node() };
        // One less each time, once somebody drains it.
        let tasks = self.with(|state| {
            if !state.availability.is_empty() {
                state.moved += 1;
            }
            3_u32.saturating_sub(state.moved.max(1))
        });
        let row = pb::NodeRow { node: Some(node), tasks };
        Ok(Response::new(pb::ListNodesResponse { nodes: vec![row] }))
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteNodeRequest>,
    ) -> Answer<pb::DeleteNodeResponse> {
        self.with(|state| state.deleted.push(request.into_inner().node));
        Ok(Response::new(pb::DeleteNodeResponse {}))
    }
}

#[tonic::async_trait]
impl Images for Fake {
    async fn list(&self, _: Request<pb::ListImagesRequest>) -> Answer<pb::ListImagesResponse> {
        let away = pb::UnaskedNode {
            node_id: "00000000000000e2".to_owned(),
            node_name: "node-b".to_owned(),
            reason: "it is not connected now".to_owned(),
        };
        let unasked = if self.with(|state| state.blind) { vec![away] } else { Vec::new() };
        Ok(Response::new(pb::ListImagesResponse { images: vec![fixture::image()], unasked }))
    }

    async fn import(
        &self,
        request: Request<Streaming<pb::ImportImageRequest>>,
    ) -> Answer<pb::ImportImageResponse> {
        use pb::import_image_request::Part;

        let mut parts = request.into_inner();
        let first = parts.message().await?.and_then(|message| message.part);
        assert_eq!(first, Some(Part::Node("node-a".to_owned())));
        while let Some(message) = parts.message().await? {
            let Some(Part::Data(data)) = message.part else { panic!("the node comes once") };
            assert!(data.len() <= 1024 * 1024);
            self.with(|state| state.imported.extend(data));
        }
        Ok(Response::new(pb::ImportImageResponse { images: vec![fixture::image()] }))
    }
}

#[tonic::async_trait]
impl HealthApi for Fake {
    type WatchHealthStream = Pieces<pb::WatchHealthResponse>;

    async fn get_health(&self, _: Request<pb::GetHealthRequest>) -> Answer<pb::HealthEntry> {
        Ok(Response::new(fixture::entry()))
    }

    async fn list_health(
        &self,
        _: Request<pb::ListHealthRequest>,
    ) -> Answer<pb::ListHealthResponse> {
        let entries = vec![fixture::entry()];
        Ok(Response::new(pb::ListHealthResponse { entries, revision: 41 }))
    }

    async fn watch_health(
        &self,
        _: Request<pb::WatchHealthRequest>,
    ) -> Answer<Self::WatchHealthStream> {
        use pb::watch_health_response::Update;

        let update = |revision, update| pb::WatchHealthResponse { revision, update: Some(update) };
        let mut changed = fixture::entry();
        changed.health = Some(fixture::unhealthy());
        let snapshot = pb::HealthSnapshot { entries: vec![fixture::entry()] };
        Ok(Response::new(pieces(vec![
            update(41, Update::Snapshot(snapshot)),
            update(42, Update::Changed(changed)),
            update(43, Update::RemovedTaskId("00000000000000a1".to_owned())),
        ])))
    }

    async fn report_task_health(
        &self,
        _: Request<pb::ReportTaskHealthRequest>,
    ) -> Answer<pb::ReportTaskHealthResponse> {
        Err(Status::unimplemented("no command reports"))
    }
}

#[tonic::async_trait]
impl Events for Fake {
    type WatchStream = Pieces<pb::Event>;

    async fn list(&self, _: Request<pb::ListEventsRequest>) -> Answer<pb::ListEventsResponse> {
        // Others of the cluster have come after the one that is listed.
        let list = pb::ListEventsResponse { events: vec![fixture::event()], last_sequence: 9 };
        Ok(Response::new(list))
    }

    async fn watch(&self, request: Request<pb::WatchEventsRequest>) -> Answer<Self::WatchStream> {
        assert_eq!(request.into_inner().from_sequence, Some(9));
        let next = pb::Event {
            sequence: 10,
            kind: pb::EventKind::NodeLost.into(),
            node_id: "00000000000000e1".to_owned(),
            at: Some(fixture::before(0)),
            message: "silent for 15s".to_owned(),
            ..Default::default()
        };
        Ok(Response::new(pieces(vec![next])))
    }
}

/// A fake that listens on a socket of its own until it is dropped.
pub struct Manager {
    fake: Fake,
    dir: tempfile::TempDir,
    servers: JoinSet<()>,
}

/// What a command did.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub code: u8,
    pub out: String,
    pub err: String,
}

impl Manager {
    pub fn start() -> Self {
        Self::with(State {
            summaries: [fixture::summary(1, "1/2 healthy, 1/2 restarting")].into(),
            ..State::default()
        })
    }

    pub fn with(state: State) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fake = Fake(Arc::new(Mutex::new(state)));
        let listener = UnixListener::bind(dir.path().join("warren.sock")).unwrap();
        let server = Server::builder()
            .add_service(ServicesServer::new(fake.clone()))
            .add_service(TasksServer::new(fake.clone()))
            .add_service(NodesServer::new(fake.clone()))
            .add_service(ImagesServer::new(fake.clone()))
            .add_service(HealthApiServer::new(fake.clone()))
            .add_service(EventsServer::new(fake.clone()))
            .serve_with_incoming(UnixListenerStream::new(listener));
        let mut servers = JoinSet::new();
        servers.spawn(async { server.await.unwrap() });
        Self { fake, dir, servers }
    }

    pub fn look<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        assert!(!self.servers.is_empty());
        self.fake.with(look)
    }

    pub async fn run(&self, words: &[&str]) -> Ended {
        run_at(self.dir.path().join("warren.sock"), words).await
    }
}

/// Runs a client command at noon.
pub async fn run_at(socket: PathBuf, words: &[&str]) -> Ended {
    let cli = Cli::try_parse_from([&["warren"], words].concat()).unwrap();
    let Command::Client(command) = cli.command else { panic!("not a client: {words:?}") };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = Console::new(&mut out, &mut err, fixture::noon);
    let result = cmd::run(command, &Host::Unix(socket), &mut console).await;
    let (code, error) = match result {
        Ok(()) => (0, String::new()),
        Err(failure) if failure.is_told() => (failure.exit_code(), String::new()),
        Err(failure) => (failure.exit_code(), format!("error: {}\n", failure.chain())),
    };
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code, out: text(out), err: text(err) + &error }
}
