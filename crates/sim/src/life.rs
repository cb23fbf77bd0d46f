//! One run of a process, from its start to its crash or its end.

use std::sync::Mutex;

use tokio_util::sync::CancellationToken;

/// Where a crash can be made to come: around everything that a process writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Now,
    Before(Write),
    After(Write),
}

/// What a process leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// Of the manager: a batch.
    Commit,
    /// Of a worker: its state file.
    Save,
    Create,
    Start,
    Signal,
    Delete,
}

/// The ports of a process go dead with it: what asks them after that waits for ever.
#[derive(Debug, Default)]
pub struct Life {
    ended: CancellationToken,
    /// A write has failed, and it must end.
    faltered: CancellationToken,
    awaited: Mutex<Option<Moment>>,
}

impl Life {
    /// It ends at that moment.
    pub fn end_at(&self, moment: Moment) {
        if moment == Moment::Now {
            self.ended.cancel();
        } else {
            *self.awaited.lock().unwrap() = Some(moment);
        }
    }

    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    pub fn falter(&self) {
        self.faltered.cancel();
    }

    pub async fn falters(&self) {
        self.faltered.cancelled().await;
    }

    /// Goes on only while the process lives.
    pub async fn lives(&self) {
        if self.ended.is_cancelled() {
            std::future::pending::<()>().await;
        }
    }

    /// A moment at which the process may have to end.
    pub async fn passes(&self, moment: Moment) {
        if self.awaited.lock().unwrap().take_if(|awaited| *awaited == moment).is_some() {
            self.ended.cancel();
        }
        self.lives().await;
    }
}
