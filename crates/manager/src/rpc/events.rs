//! `warren.v1.Events`: the history.

use std::{collections::VecDeque, sync::Arc};

use futures::stream::unfold;
use tokio::sync::watch;
use tonic::{Request, Response, Status, async_trait};
use warren_core::{Invalid, id::ServiceId};
use warren_proto::v1::{self as pb, events_server::Events};

use super::{Context, Outgoing};
use crate::{publish::Published, rejection::Rejection};

/// A screenful or two.
const LIMIT_DEFAULT: u32 = 100;
/// Fits well within gRPC's default message size, with long sentences too.
const LIMIT_MAX: u32 = 1000;
/// Looked at in one go for one watch: a client that begins at the first event reads in steps.
const STEP: usize = 256;

pub struct EventsApi(pub Context);

#[async_trait]
impl Events for EventsApi {
    async fn list(
        &self,
        request: Request<pb::ListEventsRequest>,
    ) -> Result<Response<pb::ListEventsResponse>, Status> {
        let pb::ListEventsRequest { service, limit } = request.into_inner();
        let limit = match limit {
            0 => LIMIT_DEFAULT,
            1..=LIMIT_MAX => limit,
            _ => {
                let why = format!("{limit} is not in 1..={LIMIT_MAX}");
                return Err(Rejection::from(Invalid::new(why).at("limit")).into());
            }
        };
        let published = self.0.handle.published();
        let service = service_id(&published, &service)?;
        let newest = published.cluster.events().rev();
        let newest = newest.filter(|event| service.is_none_or(|id| event.service == Some(id)));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut events: Vec<pb::Event> =
            newest.take(limit).map(|event| (&**event).into()).collect();
        events.reverse();
        Ok(Response::new(pb::ListEventsResponse { events }))
    }

    type WatchStream = Outgoing<pb::Event>;

    async fn watch(
        &self,
        request: Request<pb::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let pb::WatchEventsRequest { service, from_sequence } = request.into_inner();
        let published = self.0.handle.published();
        let watch = Watch {
            service: service_id(&published, &service)?,
            updates: self.0.handle.watch(),
            sequence: from_sequence.unwrap_or_else(|| published.cluster.last_event()),
            ready: VecDeque::new(),
        };
        Ok(Response::new(self.0.outgoing(unfold(watch, Watch::next))))
    }
}

fn service_id(published: &Published, text: &str) -> Result<Option<ServiceId>, Rejection> {
    Ok(Context::service_filter(published, text)?.map(|service| service.id))
}

/// One client's watch: it holds a place in the history, not a queue.
struct Watch {
    service: Option<ServiceId>,
    updates: watch::Receiver<Arc<Published>>,
    /// Everything up to here was looked at.
    sequence: u64,
    ready: VecDeque<pb::Event>,
}

impl Watch {
    async fn next(mut self) -> Option<(Result<pb::Event, Status>, Self)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some((Ok(event), self));
            }
            let published = Arc::clone(&self.updates.borrow_and_update());
            if !self.advance(&published) && self.updates.changed().await.is_err() {
                return None;
            }
        }
    }

    /// Looks at the next events. False when there are none.
    fn advance(&mut self, published: &Published) -> bool {
        let before = self.sequence;
        for event in published.cluster.events_after(before).take(STEP) {
            self.sequence = event.sequence;
            if self.service.is_none_or(|id| event.service == Some(id)) {
                self.ready.push_back((&**event).into());
            }
        }
        self.sequence != before
    }
}
