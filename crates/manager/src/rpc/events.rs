//! `warren.v1.Events`: the history.

use std::{collections::VecDeque, sync::Arc};

use futures::stream::unfold;
use tokio::sync::watch;
use tonic::{Request, Response, Status, async_trait};
use warren_core::{Invalid, cluster::Cluster, event::Event, id::ServiceId, spec::ServiceName};
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
        let wanted = Wanted::parse(&published.cluster, &service)?;
        let newest = published.cluster.events().rev().filter(|event| wanted.has(event));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut events: Vec<pb::Event> =
            newest.take(limit).map(|event| (&**event).into()).collect();
        events.reverse();
        let last_sequence = published.cluster.last_event();
        Ok(Response::new(pb::ListEventsResponse { events, last_sequence }))
    }

    type WatchStream = Outgoing<pb::Event>;

    async fn watch(
        &self,
        request: Request<pb::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let pb::WatchEventsRequest { service, from_sequence } = request.into_inner();
        let published = self.0.handle.published();
        let watch = Watch {
            wanted: Wanted::parse(&published.cluster, &service)?,
            updates: self.0.handle.watch(),
            sequence: from_sequence.unwrap_or_else(|| published.cluster.last_event()),
            ready: VecDeque::new(),
        };
        Ok(Response::new(self.0.outgoing(unfold(watch, Watch::next))))
    }
}

/// Whose events.
enum Wanted {
    All,
    /// Of one service, and by the name also of those that had it before.
    Of {
        id: Option<ServiceId>,
        name: Option<ServiceName>,
    },
}

impl Wanted {
    /// A service that is gone is known by the events that are left of it.
    fn parse(cluster: &Cluster, text: &str) -> Result<Self, Rejection> {
        if text.is_empty() {
            return Ok(Self::All);
        }
        let name = text.parse::<ServiceName>().ok();
        let id = match name.as_ref().and_then(|name| cluster.service_named(name)) {
            Some(service) => Some(service.id),
            None => text.parse().ok(),
        };
        let lives = id.is_some_and(|id| cluster.service(id).is_some());
        let wanted = Self::Of { id, name };
        if lives || cluster.events().any(|event| wanted.has(event)) {
            return Ok(wanted);
        }
        let why = format!("there is no service {text:?}, and no event is left of one");
        Err(Rejection::NotFound(why))
    }

    fn has(&self, event: &Event) -> bool {
        match self {
            Self::All => true,
            Self::Of { id, name } => {
                id.is_some_and(|id| event.service == Some(id))
                    || name.as_ref().is_some_and(|name| event.service_name.as_ref() == Some(name))
            }
        }
    }
}

/// One client's watch: it holds a place in the history, not a queue.
struct Watch {
    wanted: Wanted,
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
            if self.wanted.has(event) {
                self.ready.push_back((&**event).into());
            }
        }
        self.sequence != before
    }
}
