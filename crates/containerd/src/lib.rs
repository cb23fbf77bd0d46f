//! Runs tasks over containerd 1.6 to 2.x with the runc shim.
//!
//! Everything of a task carries the task's id: container, snapshot, lease, cgroup, network
//! namespace and directory. Nothing is kept in memory that the next worker would need: labels on
//! the container and files in the task's directory say all of it.

mod abandoned;
mod archive;
mod cgroup;
mod client;
mod cni;
mod container;
mod content;
mod deaf;
mod delete;
mod exec;
mod facts;
mod files;
mod image;
mod import;
mod leftovers;
mod logger;
mod manifest;
mod mounts;
mod netns;
mod pull;
mod reason;
mod registry;
mod rootfs;
mod shared;
mod spec;
mod task;
mod thread;
mod unpack;
mod user;

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use warren_core::{
    check::Command,
    id::{NodeId, TaskId},
    node::Driver,
    spec::{ImageRef, Pull, StopSignal, User},
};
use warren_runtime::{
    ExecEnd, Exit, Found, ImageFacts, ImageRecord, Launch, Running, Runtime, RuntimeError,
};

pub use cni::CniConfig;
use shared::Shared;
pub use spec::observer_cgroups;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// containerd's own, such as `/run/containerd/containerd.sock`.
    pub socket: PathBuf,
    /// containerd's namespace for all that is Warren's.
    pub namespace: String,
    /// Whose tasks are ours, where several workers share a containerd.
    pub node: NodeId,
    /// Small files and network namespaces of each task. The worker alone writes there; containerd
    /// must see it under the same path.
    pub state_dir: PathBuf,
    /// `<log_dir>/<task id>.log`
    pub log_dir: PathBuf,
    /// Started by the shim as `<logger> task-logger <log>`, with the task's stdout and stderr as
    /// descriptors 3 and 4.
    pub logger: PathBuf,
    /// `None`: tasks on the bridge network are refused.
    pub cni: Option<CniConfig>,
    /// `None`: overlayfs where it works, else native.
    pub snapshotter: Option<String>,
    /// A static program that is the first process of tasks that want an init: it runs what follows
    /// `--`, reaps orphans and forwards signals. Only those tasks need it.
    pub init: PathBuf,
}

/// The driver. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Containerd(Arc<Shared>);

impl Containerd {
    /// Fails when containerd does not answer.
    pub async fn connect(config: Config) -> Result<Self, RuntimeError> {
        Ok(Self(Arc::new(Shared::connect(config).await?)))
    }

    /// Waits until all that goes on behind the callers' backs has ended. It is bounded by itself.
    pub async fn settle(&self) {
        self.0.background.close();
        self.0.background.wait().await;
    }
}

#[async_trait]
impl Runtime for Containerd {
    fn driver(&self) -> Driver {
        Driver::Containerd
    }

    async fn ping(&self) -> Result<String, RuntimeError> {
        let version = self.0.client.version().await;
        version.map_err(client::fault("containerd does not say its version"))
    }

    async fn ensure_image(&self, image: &ImageRef, pull: Pull) -> Result<ImageFacts, RuntimeError> {
        self.0.ensure_image(image, pull).await
    }

    async fn images(&self) -> Result<Vec<ImageRecord>, RuntimeError> {
        self.0.image_records().await
    }

    async fn import(&self, archive: PathBuf) -> Result<Vec<ImageRecord>, RuntimeError> {
        self.0.import(archive).await
    }

    async fn create(&self, launch: &Launch) -> Result<(), RuntimeError> {
        self.0.create(launch).await
    }

    async fn start(&self, task: TaskId) -> Result<Running, RuntimeError> {
        self.0.start(task).await
    }

    async fn signal(&self, task: TaskId, signal: StopSignal) -> Result<(), RuntimeError> {
        self.0.signal(task, signal).await
    }

    async fn wait(&self, task: TaskId) -> Result<Exit, RuntimeError> {
        self.0.wait(task).await
    }

    async fn delete(&self, task: TaskId) -> Result<(), RuntimeError> {
        self.0.delete(task).await
    }

    async fn end_commands(&self) {
        self.0.end_commands().await;
    }

    async fn list(&self) -> Result<Vec<Found>, RuntimeError> {
        self.0.list().await
    }

    async fn exec(
        &self,
        task: TaskId,
        command: &Command,
        user: Option<&User>,
        timeout: Duration,
    ) -> Result<ExecEnd, RuntimeError> {
        self.0.exec(task, command, user, timeout).await
    }
}
