//! What survives a crash: the manager's database and the workers' state files.

use std::{
    collections::BTreeSet,
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use prost::Message;
use tokio::time::{Instant, sleep};
use warren_core::{
    change::Change,
    cluster::Cluster,
    id::{ClusterId, TaskId},
};
use warren_proto::v1 as pb;
use warren_store::{CommitFault, Store};
use warren_worker::{Keeper, StateFault};

use crate::{
    chance::Chance,
    faults::{self, Fault},
    life::{Host, Life, Moment, Write},
    oracle::Oracle,
};

/// How a disk behaves.
#[derive(Debug)]
pub struct Manners {
    host: Host,
    chance: Mutex<Chance>,
    slow: Mutex<(Duration, Instant)>,
    /// The next write says that it failed. True: and is there all the same.
    fails: Mutex<Option<bool>>,
}

impl Manners {
    pub fn new(host: Host, chance: Chance) -> Self {
        let slow = Mutex::new((Duration::ZERO, Instant::now()));
        Self { host, chance: Mutex::new(chance), slow, fails: Mutex::default() }
    }

    pub fn slow_down(&self, by: Duration, long: Duration) {
        *self.slow.lock().unwrap() = (by, Instant::now() + long);
    }

    pub fn fail_next(&self, kept: bool) {
        *self.fails.lock().unwrap() = Some(kept);
    }

    pub fn heal(&self) {
        *self.fails.lock().unwrap() = None;
        *self.slow.lock().unwrap() = (Duration::ZERO, Instant::now());
    }

    async fn takes_its_time(&self) {
        let by = {
            let (by, until) = *self.slow.lock().unwrap();
            if Instant::now() < until { by } else { Duration::ZERO }
        };
        if by > Duration::ZERO {
            faults::note(Fault::SlowDisk(self.host));
        }
        let own = Duration::from_millis(self.chance.lock().unwrap().between(0, 4));
        sleep(by + own).await;
    }

    /// Whether the write under way is kept, and whether it says so.
    fn next(&self) -> (bool, bool) {
        match self.fails.lock().unwrap().take() {
            None => (true, true),
            Some(kept) => {
                faults::note(Fault::FailedWrite { host: self.host, kept });
                (kept, false)
            }
        }
    }
}

/// The manager's.
#[derive(Debug)]
pub struct Database {
    pub manners: Manners,
    cluster: Mutex<Cluster>,
    oracle: Arc<Oracle>,
}

impl Database {
    pub fn new(chance: Chance, oracle: Arc<Oracle>) -> Self {
        let manners = Manners::new(Host::Manager, chance);
        Self { manners, cluster: Mutex::default(), oracle }
    }

    /// As a manager that starts now would read it.
    pub fn cluster(&self) -> Cluster {
        self.cluster.lock().unwrap().clone()
    }

    fn apply(&self, batch: &[Change]) -> u64 {
        let mut cluster = self.cluster.lock().unwrap();
        let before = cluster.clone();
        for change in batch {
            cluster.apply(change);
        }
        cluster.revision += 1;
        self.oracle.committed(&before, &cluster, batch);
        cluster.revision
    }
}

/// One manager's hold of it.
pub struct SimStore {
    pub database: Arc<Database>,
    pub life: Arc<Life>,
}

#[async_trait]
impl Store for SimStore {
    fn cluster_id(&self) -> ClusterId {
        ClusterId::from_u64(1)
    }

    async fn commit(&mut self, batch: Arc<[Change]>) -> Result<u64, CommitFault> {
        let Self { database, life } = self;
        life.passes(Moment::Before(Write::Commit)).await;
        database.manners.takes_its_time().await;
        // What is decided on top of it meanwhile is.
        life.passes(Moment::Amid(Write::Commit)).await;
        let (kept, said) = database.manners.next();
        let revision = if kept { database.apply(&batch) } else { 0 };
        life.passes(Moment::After(Write::Commit)).await;
        database.manners.takes_its_time().await;
        life.lives().await;
        if said {
            return Ok(revision);
        }
        life.falter();
        Err(CommitFault::from(redb::StorageError::Io(bad_day())))
    }
}

/// A worker's.
#[derive(Debug)]
pub struct StateDisk {
    pub manners: Manners,
    bytes: Mutex<Option<Vec<u8>>>,
    /// Every task that the file has ever named.
    named: Mutex<BTreeSet<TaskId>>,
}

impl StateDisk {
    pub fn new(chance: Chance) -> Self {
        let manners = Manners::new(Host::Worker, chance);
        Self { manners, bytes: Mutex::default(), named: Mutex::default() }
    }

    fn keep(&self, bytes: Vec<u8>) {
        let state = pb::WorkerState::decode(bytes.as_slice()).unwrap();
        let ids = state
            .assignments
            .iter()
            .map(|assignment| assignment.task_id.parse::<TaskId>().unwrap());
        self.named.lock().unwrap().extend(ids);
        *self.bytes.lock().unwrap() = Some(bytes);
    }

    /// Whether a worker that starts now could know of the task, or one before it could have.
    pub fn has_named(&self, task: TaskId) -> bool {
        self.named.lock().unwrap().contains(&task)
    }

    pub fn bytes(&self) -> Option<Vec<u8>> {
        self.bytes.lock().unwrap().clone()
    }
}

/// One worker's hold of it.
#[derive(Debug)]
pub struct SimKeeper {
    pub disk: Arc<StateDisk>,
    pub life: Arc<Life>,
}

#[async_trait]
impl Keeper for SimKeeper {
    async fn write(&self, bytes: Vec<u8>) -> Result<(), StateFault> {
        let Self { disk, life } = self;
        life.passes(Moment::Before(Write::Save)).await;
        disk.manners.takes_its_time().await;
        // The new file is written, and does not have the name.
        life.passes(Moment::Amid(Write::Save)).await;
        let (kept, said) = disk.manners.next();
        if kept {
            disk.keep(bytes);
        }
        life.passes(Moment::After(Write::Save)).await;
        if said {
            Ok(())
        } else {
            Err(StateFault::Unwritable(PathBuf::from("worker.pb"), bad_day()))
        }
    }
}

fn bad_day() -> io::Error {
    io::Error::other("the disk has a bad day")
}
