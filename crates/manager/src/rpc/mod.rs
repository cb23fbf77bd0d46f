//! The gRPC services, one file each. A handler decodes, asks, and encodes.

mod database;
mod events;
mod health;
mod images;
mod nodes;
mod services;
mod session;
mod tasks;

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Status, service::Routes};
use warren_core::{id::ClusterId, service::Service};
use warren_proto::v1::{
    database_server::DatabaseServer, events_server::EventsServer,
    health_api_server::HealthApiServer, images_server::ImagesServer, nodes_server::NodesServer,
    services_server::ServicesServer, session_server::SessionServer, tasks_server::TasksServer,
};

use crate::{
    calls::Calls, config::Timing, counters::Counters, input::Handle, lookup, publish::Published,
    rejection::Rejection, wakers::Wakers,
};

/// A worker that comes back names every task it has, with the last output of each check: so much
/// holds thousands of them.
const SESSION_MESSAGE_MAX: usize = 64 << 20;

/// What every handler may use.
#[derive(Clone)]
pub struct Context {
    pub handle: Handle,
    pub calls: Calls,
    pub timing: Timing,
    pub counters: Arc<Counters>,
    /// Nodes that belong to another one are refused.
    pub cluster_id: ClusterId,
    /// Cancelled when the manager ends: streams end with it.
    pub ending: CancellationToken,
    /// Sessions and transfers run on it, and are awaited before the manager ends.
    pub tracker: TaskTracker,
    /// Of the sessions.
    pub wakers: Wakers,
    /// Of the reports that sessions may hold.
    pub in_hand: Arc<Semaphore>,
}

/// A stream to a client.
type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Context {
    /// A service that a request may leave out, which means all.
    fn service_filter(
        published: &Published,
        text: &str,
    ) -> Result<Option<Arc<Service>>, Rejection> {
        if text.is_empty() {
            return Ok(None);
        }
        lookup::service(&published.cluster, text).map(|service| Some(Arc::clone(service)))
    }

    /// Ends with the manager.
    fn outgoing<T: 'static>(
        &self,
        stream: impl Stream<Item = Result<T, Status>> + Send + 'static,
    ) -> Outgoing<T> {
        Box::pin(stream.take_until(self.ending.clone().cancelled_owned()))
    }
}

/// All services, with reflection.
pub fn routes(context: &Context) -> Result<Routes, tonic_reflection::server::Error> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(warren_proto::DESCRIPTORS)
        .build_v1()?;
    let session = SessionServer::new(session::SessionApi(context.clone()))
        .max_decoding_message_size(SESSION_MESSAGE_MAX);
    let routes = Routes::new(reflection)
        .add_service(session)
        .add_service(ServicesServer::new(services::ServicesApi(context.clone())))
        .add_service(TasksServer::new(tasks::TasksApi(context.clone())))
        .add_service(NodesServer::new(nodes::NodesApi(context.clone())))
        .add_service(ImagesServer::new(images::ImagesApi(context.clone())))
        .add_service(HealthApiServer::new(health::HealthService(context.clone())))
        .add_service(DatabaseServer::new(database::DatabaseApi(context.clone())))
        .add_service(EventsServer::new(events::EventsApi(context.clone())));
    Ok(routes)
}
