//! A store that keeps what it is given in memory, and fails when it is told to.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use warren_core::{change::Change, cluster::Cluster, id::ClusterId};

use crate::{CommitFault, Store};

/// For tests and simulation. Clones share what is kept, so that one of them can be given to a
/// manager while another looks at what it made durable.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    cluster: Cluster,
    failing: bool,
}

impl MemoryStore {
    /// The id of every cluster that is kept in memory.
    pub const CLUSTER: ClusterId = ClusterId::from_u64(0xc1);

    pub fn new(cluster: Cluster) -> Self {
        Self { kept: Arc::new(Mutex::new(Kept { cluster, failing: false })) }
    }

    /// What a manager that starts now would read.
    pub fn cluster(&self) -> Cluster {
        self.kept().cluster.clone()
    }

    /// From now on every commit fails, and nothing more is kept.
    pub fn fail(&self) {
        self.kept().failing = true;
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn cluster_id(&self) -> ClusterId {
        Self::CLUSTER
    }

    async fn commit(&mut self, batch: Arc<[Change]>) -> Result<u64, CommitFault> {
        let mut kept = self.kept();
        if kept.failing {
            let error = io::Error::other("told to fail");
            return Err(redb::StorageError::Io(error).into());
        }
        for change in batch.iter() {
            kept.cluster.apply(change);
        }
        kept.cluster.revision += 1;
        Ok(kept.cluster.revision)
    }
}
