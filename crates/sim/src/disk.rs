//! What survives a crash: the manager's database and the workers' state files.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::{Instant, sleep};
use warren_core::{change::Change, cluster::Cluster, id::ClusterId};
use warren_store::{CommitFault, Store};
use warren_worker::{Keeper, StateFault};

use crate::{
    chance::Chance,
    life::{Life, Moment, Write},
    oracle::Oracle,
};

/// How a disk behaves.
#[derive(Debug)]
pub struct Manners {
    chance: Mutex<Chance>,
    slow: Mutex<(Duration, Instant)>,
    /// The next write says that it failed. True: and is there all the same.
    fails: Mutex<Option<bool>>,
}

impl Manners {
    pub fn new(chance: Chance) -> Self {
        let slow = Mutex::new((Duration::ZERO, Instant::now()));
        Self { chance: Mutex::new(chance), slow, fails: Mutex::default() }
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
        let own = Duration::from_millis(self.chance.lock().unwrap().between(0, 4));
        sleep(by + own).await;
    }

    /// Whether the write under way is kept, and whether it says so.
    fn next(&self) -> (bool, bool) {
        match self.fails.lock().unwrap().take() {
            None => (true, true),
            Some(kept) => (kept, false),
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
        Self { manners: Manners::new(chance), cluster: Mutex::default(), oracle }
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
        life.lives().await;
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
}

impl StateDisk {
    pub fn new(chance: Chance) -> Self {
        Self { manners: Manners::new(chance), bytes: Mutex::default() }
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
        life.lives().await;
        let (kept, said) = disk.manners.next();
        if kept {
            *disk.bytes.lock().unwrap() = Some(bytes);
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
