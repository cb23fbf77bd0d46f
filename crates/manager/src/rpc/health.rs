//! `warren.v1.HealthApi`: what routes traffic reads it, and other controllers have a say.

use std::{collections::VecDeque, sync::Arc};

use futures::stream::unfold;
use prost::Message;
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
/// Of a snapshot's first message. gRPC's clients take 4 MiB by default.
const SNAPSHOT_BYTES: usize = 1 << 20;
/// While a snapshot is on its way there is no revision to go on from. Nothing came before the
/// first change, so a watch from here gets everything, as a new snapshot or change by change.
const INCOMPLETE: u64 = 0;

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
            self.push(snapshot(entries), INCOMPLETE, published.cluster.revision);
            return true;
        };
        let Some(delta) = deltas.next().cloned() else {
            return false;
        };
        let updates = self.updates_of(&delta);
        self.push(updates, delta.revision.saturating_sub(1), delta.revision);
        true
    }

    fn updates_of(&self, delta: &Delta) -> Vec<Update> {
        let wanted = self.service.as_ref().map(|service| service.id);
        let is_wanted = |service: ServiceId| wanted.is_none_or(|wanted| wanted == service);
        let update = |change: &HealthChange| match change {
            HealthChange::Changed(entry) if is_wanted(entry.task.service) => {
                Some(Update::Changed(views::health_entry(entry)))
            }
            HealthChange::Removed { task, service } if is_wanted(*service) => {
                Some(Update::RemovedTaskId(task.to_string()))
            }
            HealthChange::Changed(_) | HealthChange::Removed { .. } => None,
        };
        delta.health.iter().filter_map(update).collect()
    }

    /// Only the last update carries the revision that all of them lead to: whoever is cut off
    /// before it goes on from `until_then`, and misses nothing.
    fn push(&mut self, updates: Vec<Update>, until_then: u64, revision: u64) {
        self.revision = Some(revision);
        let last = updates.len().saturating_sub(1);
        self.ready.extend(updates.into_iter().enumerate().map(|(at, update)| {
            let revision = if at == last { revision } else { until_then };
            pb::WatchHealthResponse { update: Some(update), revision }
        }));
    }
}

/// The snapshot as it is sent: what does not fit into one message follows as changes.
fn snapshot(entries: Vec<pb::HealthEntry>) -> Vec<Update> {
    let mut size = 0;
    let fits = entries.iter().take_while(|entry| {
        size += entry.encoded_len();
        size <= SNAPSHOT_BYTES
    });
    let fits = fits.count();
    let mut entries = entries.into_iter();
    let first = pb::HealthSnapshot { entries: entries.by_ref().take(fits).collect() };
    [Update::Snapshot(first)].into_iter().chain(entries.map(Update::Changed)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_into_the_snapshots_message_follows_as_changes() {
        let entry = |id: usize| pb::HealthEntry {
            task_id: id.to_string(),
            health: Some(pb::Health { reason: "r".repeat(1000), ..pb::Health::default() }),
            ..pb::HealthEntry::default()
        };
        let all: Vec<_> = (0..3000).map(entry).collect();
        let mut updates = snapshot(all.clone()).into_iter();
        let Some(Update::Snapshot(first)) = updates.next() else { panic!("no snapshot first") };
        assert!(first.encoded_len() < 2 * SNAPSHOT_BYTES && first.entries.len() > 500);
        let rest = updates.map(|update| match update {
            Update::Changed(entry) => entry,
            Update::Snapshot(_) | Update::RemovedTaskId(_) => panic!("not a change"),
        });
        assert_eq!(first.entries.into_iter().chain(rest).collect::<Vec<_>>(), all);
        let [Update::Snapshot(empty)] = &snapshot(Vec::new())[..] else { panic!("not one") };
        assert!(empty.entries.is_empty());
    }
}
