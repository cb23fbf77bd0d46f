//! The channel to containerd: namespace, deadlines, leases, and what its errors mean.

use std::{
    error::Error as _,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use containerd_client::services::v1::{
    AddResourceRequest, CreateRequest, DeleteRequest, PluginsRequest, Resource,
    containers_client::ContainersClient, content_client::ContentClient, diff_client::DiffClient,
    images_client::ImagesClient, introspection_client::IntrospectionClient,
    leases_client::LeasesClient, snapshots::snapshots_client::SnapshotsClient,
    tasks_client::TasksClient, version_client::VersionClient,
};
use tonic::{
    Code, Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};
use warren_core::node::Driver;
use warren_runtime::RuntimeError;

/// For one call. The slowest, a task's creation, takes a second on a loaded machine; and a task's
/// deletion waits up to 12 s for its logger.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// For the first word.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    namespace: MetadataValue<Ascii>,
}

/// Keeps what is written under it from containerd's garbage collection.
#[derive(Debug, Clone)]
pub struct Lease {
    id: String,
    header: MetadataValue<Ascii>,
}

impl Lease {
    /// Whatever the call makes belongs to the lease.
    pub fn over<T>(&self, mut request: Request<T>) -> Request<T> {
        request.metadata_mut().insert("containerd-lease", self.header.clone());
        request
    }
}

impl Client {
    pub async fn connect(socket: &Path, namespace: &str) -> Result<Self, RuntimeError> {
        let failed = |reason: String| {
            unavailable(format!(
                "{} did not answer ({reason}); is containerd running, and may this user use it?",
                socket.display()
            ))
        };
        let namespace = namespace
            .parse()
            .map_err(|_| RuntimeError::Refused(format!("{namespace:?} is not a namespace")))?;
        let connecting = containerd_client::connect(socket);
        let channel = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| failed(format!("waited {CONNECT_TIMEOUT:?}")))?
            .map_err(|error| failed(chain(&error)))?;
        Ok(Self { channel, namespace })
    }

    /// A call in our namespace, with the usual deadline.
    pub fn request<T>(&self, message: T) -> Request<T> {
        self.request_within(message, CALL_TIMEOUT)
    }

    pub fn request_within<T>(&self, message: T, timeout: Duration) -> Request<T> {
        let mut request = self.endless(message);
        request.set_timeout(timeout);
        request
    }

    /// A call that may last for as long as a task lives, or a stream.
    pub fn endless<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("containerd-namespace", self.namespace.clone());
        request
    }

    pub async fn version(&self) -> Result<String, Status> {
        let mut version = VersionClient::new(self.channel.clone());
        Ok(version.version(self.request(())).await?.into_inner().version)
    }

    /// Whether the snapshotter is there and works on this machine.
    pub async fn has_snapshotter(&self, name: &str) -> Result<bool, Status> {
        let filters = vec![format!("type==io.containerd.snapshotter.v1,id=={name}")];
        let mut introspection = IntrospectionClient::new(self.channel.clone());
        let found = introspection.plugins(self.request(PluginsRequest { filters })).await?;
        Ok(found.into_inner().plugins.iter().any(|plugin| plugin.init_err.is_none()))
    }

    pub fn containers(&self) -> ContainersClient<Channel> {
        ContainersClient::new(self.channel.clone())
    }

    pub fn content(&self) -> ContentClient<Channel> {
        ContentClient::new(self.channel.clone())
    }

    pub fn diff(&self) -> DiffClient<Channel> {
        DiffClient::new(self.channel.clone())
    }

    pub fn images(&self) -> ImagesClient<Channel> {
        ImagesClient::new(self.channel.clone())
    }

    pub fn snapshots(&self) -> SnapshotsClient<Channel> {
        SnapshotsClient::new(self.channel.clone())
    }

    pub fn tasks(&self) -> TasksClient<Channel> {
        TasksClient::new(self.channel.clone())
    }

    /// Takes a lease, which ends by itself after `lifetime` when nobody lives to end it. One that
    /// is there already is taken as it is: to end it would let go of what it holds.
    pub async fn lease(&self, id: String, lifetime: Duration) -> Result<Lease, RuntimeError> {
        let header = id
            .parse()
            .map_err(|_| RuntimeError::Refused(format!("{id:?} cannot be a lease's name")))?;
        let expires = humantime::format_rfc3339_seconds(SystemTime::now() + lifetime).to_string();
        let labels = [("containerd.io/gc.expire".to_owned(), expires)].into();
        let create = self.request(CreateRequest { id: id.clone(), labels });
        made(LeasesClient::new(self.channel.clone()).create(create).await)
            .map_err(fault("cannot take a lease in containerd"))?;
        Ok(Lease { id, header })
    }

    /// Lets the lease hold what others made, such as `snapshots/overlayfs`.
    pub async fn hold(&self, lease: &Lease, kind: String, id: &str) -> Result<(), RuntimeError> {
        let resource = Some(Resource { id: id.to_owned(), r#type: kind });
        let add = self.request(AddResourceRequest { id: lease.id.clone(), resource });
        let mut leases = LeasesClient::new(self.channel.clone());
        made(leases.add_resource(add).await).map_err(fault("cannot hold a snapshot"))?;
        Ok(())
    }

    pub async fn release(&self, lease: &Lease) -> Result<(), RuntimeError> {
        self.end_lease(&lease.id).await
    }

    /// By name; there may be none.
    pub async fn end_lease(&self, id: &str) -> Result<(), RuntimeError> {
        let request = self.request(DeleteRequest { id: id.to_owned(), sync: false });
        let ended = LeasesClient::new(self.channel.clone()).delete(request).await;
        found(ended).map_err(fault("cannot end a lease in containerd"))?;
        Ok(())
    }
}

/// A name that nothing had before, in this or an earlier process.
pub fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:x}-{:x}", since.as_nanos(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// `None` when containerd does not have it.
pub fn found<T>(answer: Result<Response<T>, Status>) -> Result<Option<T>, Status> {
    match answer {
        Ok(response) => Ok(Some(response.into_inner())),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}

/// `None` when it is there already.
pub fn made<T>(answer: Result<Response<T>, Status>) -> Result<Option<T>, Status> {
    match answer {
        Ok(response) => Ok(Some(response.into_inner())),
        Err(status) if status.code() == Code::AlreadyExists => Ok(None),
        Err(status) => Err(status),
    }
}

/// Whether the error says nothing about what was asked: containerd, or the shim behind it, did
/// not answer, or went away meanwhile. What our own side of the channel made has a source (a
/// restart shows itself as `Unknown`); what containerd sent has none.
pub fn is_down(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled)
        || status.source().is_some()
        || status.message().contains("ttrpc: closed")
}

/// Turns a failed call into the port's error; `what` begins its sentence.
pub fn fault(what: impl Into<String>) -> impl FnOnce(Status) -> RuntimeError {
    let what = what.into();
    move |status| {
        if is_down(&status) {
            unavailable(format!("{what}: {}", status.message()))
        } else {
            RuntimeError::Refused(format!("{what}: {}", status.message()))
        }
    }
}

pub fn unavailable(reason: String) -> RuntimeError {
    RuntimeError::Unavailable { driver: Driver::Containerd, reason }
}

/// An error with all of its causes, for errors whose own text says little.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        assert_ne!(unique(), unique());
    }

    #[test]
    fn what_containerd_says_is_told_from_its_silence() {
        assert!(is_down(&Status::unavailable("connection refused")));
        assert!(is_down(&Status::from_error("transport error".into())));
        assert!(!is_down(&Status::unknown("runc: executable file not found")));
        assert!(!is_down(&Status::not_found("no such container")));
    }
}
