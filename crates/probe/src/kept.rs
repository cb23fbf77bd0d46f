//! Connections that outlive an attempt. Each serves one check, and only a few attempts: the first
//! one tests that the task accepts, and an attempt that does not pass puts none back.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// So many attempts share a connection, the first of which makes it.
const SHARED_BY: u32 = 10;

/// Those of one task that nobody uses right now, by the check that they serve. Of that its hash is
/// enough: one task's few checks do not meet in 64 bits, and the memory of a copy would be cold.
#[derive(Debug)]
pub(crate) struct Kept<C>(Mutex<Vec<(u64, Option<Used<C>>)>>);

/// A connection, and the attempts that have been made over it.
#[derive(Debug)]
pub(crate) struct Used<C> {
    pub(crate) connection: C,
    pub(crate) attempts: u32,
}

impl<C> Kept<C> {
    pub(crate) fn take(&self, check: &impl Hash) -> Option<Used<C>> {
        let check = hash(check);
        let mut idle = self.idle();
        idle.iter_mut().find(|(known, _)| *known == check)?.1.take()
    }

    /// After an attempt that passed.
    pub(crate) fn put(&self, check: &impl Hash, used: Used<C>) {
        if used.attempts >= SHARED_BY {
            return;
        }
        let check = hash(check);
        let mut idle = self.idle();
        match idle.iter_mut().find(|(known, _)| *known == check) {
            Some((_, place)) => *place = Some(used),
            None => idle.push((check, Some(used))),
        }
    }

    /// Closes them all: nobody asks the same soon.
    pub(crate) fn let_go(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(u64, Option<Used<C>>)>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(check: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    check.hash(&mut hasher);
    hasher.finish()
}

impl<C> Default for Kept<C> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}
