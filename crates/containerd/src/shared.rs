//! What all parts of the driver have in common.

use std::{path::PathBuf, time::Duration};

use tokio::sync::{Mutex, Semaphore};
use tokio_util::task::TaskTracker;
use warren_core::{id::TaskId, node::Driver};
use warren_runtime::{RuntimeError, exec::Turns};

use crate::{
    Config,
    client::{Client, fault},
    cni::Cni,
    exec::Processes,
};

/// Snapshotters in the order in which they are tried. The second one works everywhere, and
/// copies whole file trees.
const SNAPSHOTTERS: [&str; 2] = ["overlayfs", "native"];
/// Images that are fetched or unpacked at the same time. Beyond a few they only share the disk.
pub const IMAGES_AT_ONCE: usize = 8;

#[derive(Debug)]
pub struct Shared {
    pub client: Client,
    pub config: Config,
    pub snapshotter: String,
    pub cni: Option<Cni>,
    /// One turn at a time for the same image, by a hash of its name: the replicas of a service
    /// ask for it all at once.
    pub image_turns: [Mutex<()>; IMAGES_AT_ONCE],
    /// Layers on their way from registries, over all images.
    pub downloads: Semaphore,
    /// What goes on after the call that began it: commands in tasks, and the cleaning up behind.
    pub background: TaskTracker,
    /// How the processes of those tasks are run that commands are run beside.
    pub processes: Processes,
    /// Whose command runs.
    pub turns: Turns,
    /// Whose users are looked up.
    pub looks: Turns,
}

/// Layers that are fetched at once. What docker and containerd do; more is unkind to registries.
const DOWNLOADS_AT_ONCE: usize = 3;

impl Shared {
    pub async fn connect(config: Config) -> Result<Self, RuntimeError> {
        let client = Client::connect(&config.socket, &config.namespace).await?;
        let snapshotter = match &config.snapshotter {
            Some(name) => name.clone(),
            None => working_snapshotter(&client).await?,
        };
        Ok(Self {
            cni: config.cni.clone().map(Cni::new),
            client,
            config,
            snapshotter,
            image_turns: std::array::from_fn(|_| Mutex::new(())),
            downloads: Semaphore::new(DOWNLOADS_AT_ONCE),
            background: TaskTracker::new(),
            processes: Processes::default(),
            turns: Turns::default(),
            looks: Turns::default(),
        })
    }

    /// The files of one task, which end with it.
    pub fn task_dir(&self, task: TaskId) -> PathBuf {
        self.tasks_dir().join(task.to_string())
    }

    pub fn tasks_dir(&self) -> PathBuf {
        self.config.state_dir.join("tasks")
    }

    pub fn netns(&self, task: TaskId) -> PathBuf {
        self.config.state_dir.join("netns").join(task.to_string())
    }

    pub fn log(&self, task: TaskId) -> PathBuf {
        self.config.log_dir.join(format!("{task}.log"))
    }

    /// What the task has of the network.
    pub fn network_record(&self, task: TaskId) -> PathBuf {
        self.task_dir(task).join("network.json")
    }
}

async fn working_snapshotter(client: &Client) -> Result<String, RuntimeError> {
    for name in SNAPSHOTTERS {
        let has = client.has_snapshotter(name).await;
        if has.map_err(fault("containerd does not say what it can do"))? {
            return Ok(name.to_owned());
        }
    }
    Err(RuntimeError::Refused(format!(
        "{} has neither an overlayfs nor a native snapshotter that works: see its log",
        Driver::Containerd.name()
    )))
}

/// Enough for a file system under load; what takes longer is broken.
pub const GRACE: Duration = Duration::from_secs(10);
