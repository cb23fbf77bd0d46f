//! Connections that outlive an attempt. Each serves one check, and only a few attempts: the first
//! one tests that the task accepts, and an attempt that does not pass puts none back.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many attempts share a connection, the first of which makes it.
const SHARED_BY: u32 = 10;

/// Those of one task that nobody uses right now, by the check that they serve.
#[derive(Debug)]
pub(crate) struct Kept<K, C>(Mutex<Vec<(K, Option<Used<C>>)>>);

/// A connection, and the attempts that have been made over it.
#[derive(Debug)]
pub(crate) struct Used<C> {
    pub(crate) connection: C,
    pub(crate) attempts: u32,
}

impl<K: Clone + PartialEq, C> Kept<K, C> {
    pub(crate) fn take(&self, check: &K) -> Option<Used<C>> {
        let mut idle = self.idle();
        idle.iter_mut().find(|(known, _)| known == check)?.1.take()
    }

    /// After an attempt that passed.
    pub(crate) fn put(&self, check: &K, used: Used<C>) {
        if used.attempts >= SHARED_BY {
            return;
        }
        let mut idle = self.idle();
        match idle.iter_mut().find(|(known, _)| known == check) {
            Some((_, place)) => *place = Some(used),
            None => idle.push((check.clone(), Some(used))),
        }
    }

    /// Closes them all: nobody asks the same soon.
    pub(crate) fn let_go(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(K, Option<Used<C>>)>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, C> Default for Kept<K, C> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}
