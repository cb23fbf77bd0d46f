//! Connections that outlive an attempt. Each serves one check, and only a few attempts: the first
//! one tests that the task accepts, and an attempt that does not pass puts none back.

use std::{
    hash::{Hash, Hasher},
    hint::black_box,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// So many attempts share a connection, the first of which makes it.
const SHARED_BY: u32 = 10;

/// Those of one task that nobody uses right now, by the check that they serve. Of that its hash is
/// enough: one task's few checks do not meet in 64 bits, and the memory of a copy would be cold.
#[derive(Debug)]
pub(crate) struct Kept<C>(Mutex<Idle<C>>);

#[derive(Debug)]
pub(crate) struct Idle<C> {
    /// Mostly there is one check that keeps its connection, and that lies with the task.
    first: Option<(u64, Used<C>)>,
    others: Vec<(u64, Used<C>)>,
}

/// A connection, and the attempts that have been made over it.
#[derive(Debug)]
pub(crate) struct Used<C> {
    pub(crate) connection: C,
    pub(crate) attempts: u32,
}

impl<C> Kept<C> {
    pub(crate) fn take(&self, check: &impl Hash) -> Option<Used<C>> {
        let check = hash(check);
        let Idle { first, others } = &mut *self.idle();
        if let Some((_, used)) = first.take_if(|(known, _)| *known == check) {
            return Some(used);
        }
        let at = others.iter().position(|(known, _)| *known == check)?;
        Some(others.swap_remove(at).1)
    }

    /// After an attempt that passed.
    pub(crate) fn put(&self, check: &impl Hash, used: Used<C>) {
        if used.attempts >= SHARED_BY {
            return;
        }
        let check = hash(check);
        let Idle { first, others } = &mut *self.idle();
        others.retain(|(known, _)| *known != check);
        match first {
            Some((known, _)) if *known != check => others.push((check, used)),
            Some(_) | None => *first = Some((check, used)),
        }
    }

    /// Has its memory fetched, and does nothing else.
    pub(crate) fn glance(&self) {
        black_box(self.0.is_poisoned());
    }

    /// All of them, unless somebody takes or puts one right now.
    pub(crate) fn peek(&self) -> Option<MutexGuard<'_, Idle<C>>> {
        self.0.try_lock().ok()
    }

    /// Closes them all: nobody asks the same soon.
    pub(crate) fn let_go(&self) {
        *self.idle() = Idle::default();
    }

    fn idle(&self) -> MutexGuard<'_, Idle<C>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> Idle<C> {
    /// See [`Kept::glance`].
    pub(crate) fn glance(&self, at: impl FnOnce(&C)) {
        if let Some((known, used)) = &self.first {
            black_box((*known, used.attempts));
            at(&used.connection);
        }
    }
}

fn hash(check: &impl Hash) -> u64 {
    let mut quick = Quick(0);
    check.hash(&mut quick);
    quick.finish()
}

/// As `FxHash` does it: a multiplication for each word. The checks of one task are few and its
/// owner's, so it need not withstand anybody.
struct Quick(u64);

impl Quick {
    const fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.add(u64::from_le_bytes(word));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl<C> Default for Kept<C> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<C> Default for Idle<C> {
    fn default() -> Self {
        Self { first: None, others: Vec::new() }
    }
}
