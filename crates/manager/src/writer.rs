//! Makes durable what the control loop has decided, publishes it, and only then answers. One
//! batch after the other, in the order in which they were decided: while one is on its way to the
//! disk, the next is decided on top of it.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use warren_core::{change::Change, cluster::Cluster, time::Timestamp};
use warren_store::{CommitFault, Store};

use crate::{
    apart::apart, counters::Counters, journal, publish::Published, wakers::Wakers, world::World,
};

/// Sent once the batch is durable.
pub type Answer = Box<dyn FnOnce() + Send>;

/// What one turn of the control loop comes to.
pub struct Batch {
    /// With all of the changes, and those of the batches before.
    pub cluster: Cluster,
    pub changes: Arc<[Change]>,
    /// When it was decided.
    pub now: Timestamp,
    pub answers: Vec<Answer>,
}

pub struct Writer {
    pub batches: mpsc::Receiver<Batch>,
    pub published: watch::Sender<Arc<Published>>,
    pub wakers: Wakers,
    pub store: Box<dyn Store>,
    pub world: Arc<dyn World>,
    pub counters: Arc<Counters>,
}

/// Batches that are decided and wait for the one that is on its way to the disk.
pub const AHEAD: usize = 1;

impl Writer {
    /// Until no more is decided, or until a commit fails: then nobody knows what the disk holds,
    /// and the process must end. What was decided on top of it is neither written nor answered.
    pub async fn run(mut self) -> Result<(), CommitFault> {
        while let Some(Batch { cluster, changes, now, answers }) = self.batches.recv().await {
            if !changes.is_empty() {
                self.commit(cluster, changes, now).await?;
            }
            // Also where there was nothing to write: it may rest on the batches before.
            for answer in answers {
                answer();
            }
        }
        Ok(())
    }

    /// Nothing is published before it is durable.
    async fn commit(
        &mut self,
        mut cluster: Cluster,
        changes: Arc<[Change]>,
        now: Timestamp,
    ) -> Result<(), CommitFault> {
        self.counters.tallies().commit_begins();
        cluster.revision = self.store.commit(Arc::clone(&changes)).await?;
        self.counters.tallies().commit_ends();
        apart(changes.len(), || {
            let before = Arc::clone(&self.published.borrow());
            // Not `now`, which was before the disk had its turn.
            self.counters.batch(&before.cluster, &changes, self.world.now());
            let next = Arc::new(before.next(cluster, &changes, now));
            self.published.send_replace(Arc::clone(&next));
            self.wakers.wake(next.woken());
            // Nobody waits for the log, whose reader may be slow.
            changes.iter().for_each(journal::log);
        });
        Ok(())
    }
}
