//! The one thread that writes the database: redb blocks until the disk has answered, and has a
//! single writer anyway.

use std::{io, sync::Arc, thread};

use redb::{Database, Durability};
use tokio::sync::{mpsc, oneshot};
use warren_core::change::Change;
use warren_proto::v1 as pb;

use crate::{fault::CommitFault, tables::Tables};

/// Batches that wait for the disk. The control loop has one under way at a time; the rest is for
/// whoever else comes to write.
const WAITING_MAX: usize = 16;

pub struct Committer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<thread::JoinHandle<()>>,
}

struct Job {
    batch: Arc<[Change]>,
    done: oneshot::Sender<Result<u64, CommitFault>>,
}

impl Committer {
    pub fn start(database: Database, meta: pb::MetaRow) -> Result<Self, io::Error> {
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        let thread = thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || run(&database, meta, waiting))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    pub async fn commit(&self, batch: Arc<[Change]>) -> Result<u64, CommitFault> {
        let (done, result) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(CommitFault::Ended)?;
        jobs.send(Job { batch, done }).await.map_err(|_| CommitFault::Ended)?;
        // The thread ends before its answer only when redb panics.
        result.await.map_err(|_| CommitFault::Died)?
    }
}

impl Drop for Committer {
    /// Waits for the batch under way, so that whoever opens the file next finds it unlocked.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the committer panicked");
        }
    }
}

fn run(database: &Database, mut meta: pb::MetaRow, mut jobs: mpsc::Receiver<Job>) {
    while let Some(Job { batch, done }) = jobs.blocking_recv() {
        meta.revision += 1;
        let result = write(database, &meta, &batch).map(|()| meta.revision);
        let failed = result.is_err();
        // Whoever asked may have gone; the batch is durable all the same.
        let _ = done.send(result);
        if failed {
            // What the disk holds is not known any more, and a second fsync would not tell.
            jobs.close();
            while let Some(Job { batch: _, done }) = jobs.blocking_recv() {
                let _ = done.send(Err(CommitFault::Ended));
            }
        }
    }
}

/// One transaction: the batch and the revision that it makes.
pub fn write(database: &Database, meta: &pb::MetaRow, batch: &[Change]) -> Result<(), CommitFault> {
    let mut tx = database.begin_write()?;
    tx.set_durability(Durability::Immediate)?;
    {
        let mut tables = Tables::open(&tx)?;
        for change in batch {
            tables.apply(change)?;
        }
        tables.put_meta(meta)?;
    }
    tx.commit()?;
    Ok(())
}
