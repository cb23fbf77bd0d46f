//! Batches of changes made durable, and the cluster read back.
//!
//! The port is one method. [`RedbStore`] is a file beside the manager; [`MemoryStore`] keeps
//! nothing and fails on demand, for tests and simulation.

mod committer;
mod copy;
mod disk;
mod fault;
mod memory;
mod migrate;
mod tables;

use std::sync::Arc;

use async_trait::async_trait;
use warren_core::{change::Change, id::ClusterId};

pub use copy::{CopyFault, Inspection, inspect, write_whole};
pub use disk::{FILE, RedbStore};
pub use fault::{CommitFault, OpenFault};
pub use memory::MemoryStore;
pub use tables::SCHEMA;

/// Where the one control loop puts what it has decided.
#[async_trait]
pub trait Store: Send + 'static {
    /// Of what it holds. Another id is another cluster, whatever its rows say.
    fn cluster_id(&self) -> ClusterId;

    /// Makes the whole batch durable, or nothing of it, and says the cluster's new revision.
    ///
    /// A fault is final: whether the batch is on the disk is not known, and every later commit
    /// fails. The caller ends, and what opens the store next finds out.
    async fn commit(&mut self, batch: Arc<[Change]>) -> Result<u64, CommitFault>;
}
