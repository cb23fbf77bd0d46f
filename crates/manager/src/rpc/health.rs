//! `warren.v1.HealthApi`: what routes traffic reads it, and other controllers have a say.

use std::{collections::VecDeque, sync::Arc};

use futures::stream::unfold;
use tokio::sync::watch;
use tonic::{Request, Response, Status, async_trait};
use warren_core::{
    Invalid,
    bounds::Ttl,
    health::AccusedRole,
    id::ServiceId,
    invalid::At,
    service::Service,
    wire::{duration_from_wire, printable},
};
use warren_proto::v1::{self as pb, health_api_server::HealthApi, watch_health_response::Update};

use super::{Context, Outgoing};
use crate::{
    input::{Handle, Input, Judged, Judgement},
    lookup,
    publish::{Delta, HealthChange, Published},
    rejection::Rejection,
    views,
};

/// Enough for a controller's name and where it runs.
const REPORTER_MAX: usize = 128;
/// It stands in every listing: a sentence, not a log.
const REASON_MAX: usize = 1024;

pub struct HealthService(pub Context);

#[async_trait]
impl HealthApi for HealthService {
    async fn get_health(
        &self,
        request: Request<pb::GetHealthRequest>,
    ) -> Result<Response<pb::HealthEntry>, Status> {
        let published = self.0.handle.published();
        let task = lookup::task(&published.cluster, &request.into_inner().task)?;
        let entry = published.entry(task, self.0.handle.now());
        Ok(Response::new(views::health_entry(&entry)))
    }

    async fn list_health(
        &self,
        request: Request<pb::ListHealthRequest>,
    ) -> Result<Response<pb::ListHealthResponse>, Status> {
        let published = self.0.handle.published();
        let service = Context::service_filter(&published, &request.into_inner().service)?;
        let entries = entries(&published, service.as_deref(), &self.0.handle);
        let revision = published.cluster.revision;
        Ok(Response::new(pb::ListHealthResponse { entries, revision }))
    }

    type WatchHealthStream = Outgoing<pb::WatchHealthResponse>;

    async fn watch_health(
        &self,
        request: Request<pb::WatchHealthRequest>,
    ) -> Result<Response<Self::WatchHealthStream>, Status> {
        let pb::WatchHealthRequest { service, from_revision } = request.into_inner();
        let published = self.0.handle.published();
        let service = Context::service_filter(&published, &service)?;
        let watch = Watch {
            handle: self.0.handle.clone(),
            updates: self.0.handle.watch(),
            service,
            revision: from_revision,
            ready: VecDeque::new(),
        };
        Ok(Response::new(self.0.outgoing(unfold(watch, Watch::next))))
    }

    async fn report_task_health(
        &self,
        request: Request<pb::ReportTaskHealthRequest>,
    ) -> Result<Response<pb::ReportTaskHealthResponse>, Status> {
        let judgement = judgement(request.into_inner()).map_err(Rejection::from)?;
        let health = self.0.handle.ask(|reply| Input::JudgeTask { judgement, reply }).await?;
        Ok(Response::new(pb::ReportTaskHealthResponse { effective: Some((&health).into()) }))
    }
}

fn judgement(request: pb::ReportTaskHealthRequest) -> Result<Judgement, Invalid> {
    let pb::ReportTaskHealthRequest { task, reporter, role, verdict, reason, ttl } = request;
    let role = match pb::Role::try_from(role) {
        Ok(pb::Role::Liveness) => AccusedRole::Liveness,
        Ok(pb::Role::Readiness) => AccusedRole::Readiness,
        Ok(pb::Role::Unspecified | pb::Role::Startup) | Err(_) => {
            return Err(Invalid::new("is not LIVENESS or READINESS").at("role"));
        }
    };
    let verdict = match pb::Verdict::try_from(verdict) {
        Ok(pb::Verdict::Passing) => Judged::Withdrawn,
        Ok(pb::Verdict::Failing) => {
            let ttl = ttl.ok_or_else(|| Invalid::missing("ttl"))?;
            let ttl = duration_from_wire(ttl).and_then(Ttl::new).at("ttl")?;
            Judged::Accused { reason: printable(reason, REASON_MAX).at("reason")?, ttl }
        }
        Ok(pb::Verdict::Unspecified | pb::Verdict::Pending | pb::Verdict::Unknown) | Err(_) => {
            return Err(Invalid::new("is not PASSING or FAILING").at("verdict"));
        }
    };
    let reporter = printable(reporter, REPORTER_MAX).at("reporter")?;
    Ok(Judgement { task, reporter, role, verdict })
}

fn entries(
    published: &Published,
    service: Option<&Service>,
    handle: &Handle,
) -> Vec<pb::HealthEntry> {
    let now = handle.now();
    let tasks = views::living(&published.cluster, service);
    tasks.map(|task| views::health_entry(&published.entry(task, now))).collect()
}

/// One client's watch. It holds a revision, not a queue: what a slow client has missed is read
/// from what the control loop has published, and where that no longer reaches back, it gets a
/// snapshot.
struct Watch {
    handle: Handle,
    updates: watch::Receiver<Arc<Published>>,
    service: Option<Arc<Service>>,
    /// Everything up to here was sent. None: nothing was.
    revision: Option<u64>,
    /// Of one revision at most.
    ready: VecDeque<pb::WatchHealthResponse>,
}

impl Watch {
    async fn next(mut self) -> Option<(Result<pb::WatchHealthResponse, Status>, Self)> {
        loop {
            if let Some(response) = self.ready.pop_front() {
                return Some((Ok(response), self));
            }
            let published = Arc::clone(&self.updates.borrow_and_update());
            if !self.advance(&published) && self.updates.changed().await.is_err() {
                return None;
            }
        }
    }

    /// Makes the next revision ready. False when there is none.
    fn advance(&mut self, published: &Published) -> bool {
        let Some(mut deltas) = self.revision.and_then(|revision| published.since(revision)) else {
            let entries = entries(published, self.service.as_deref(), &self.handle);
            let snapshot = Update::Snapshot(pb::HealthSnapshot { entries });
            self.push(snapshot, published.cluster.revision);
            return true;
        };
        let Some(delta) = deltas.next().cloned() else {
            return false;
        };
        self.take(&delta);
        true
    }

    fn take(&mut self, delta: &Delta) {
        let wanted = self.service.as_ref().map(|service| service.id);
        let is_wanted = |service: ServiceId| wanted.is_none_or(|wanted| wanted == service);
        for change in &delta.health {
            match change {
                HealthChange::Changed(entry) if is_wanted(entry.task.service) => {
                    self.push(Update::Changed(views::health_entry(entry)), delta.revision);
                }
                HealthChange::Removed { task, service } if is_wanted(*service) => {
                    self.push(Update::RemovedTaskId(task.to_string()), delta.revision);
                }
                HealthChange::Changed(_) | HealthChange::Removed { .. } => {}
            }
        }
        self.revision = Some(delta.revision);
    }

    fn push(&mut self, update: Update, revision: u64) {
        self.revision = Some(revision);
        self.ready.push_back(pb::WatchHealthResponse { update: Some(update), revision });
    }
}
