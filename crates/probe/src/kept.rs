//! Connections that outlive an attempt. Each serves one check, and only a few attempts: the first
//! one tests that the task accepts, and an attempt that does not pass puts none back.

use std::{
    hash::{Hash, Hasher},
    hint::black_box,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

/// So many attempts share a connection, the first of which makes it.
const SHARED_BY: u32 = 10;

/// Those of one task that nobody uses right now, by the check that they serve. Of that its hash is
/// enough: one task's few checks do not meet in 64 bits, and the memory of a copy would be cold.
#[derive(Debug)]
pub(crate) struct Kept<C> {
    idle: Mutex<Idle<C>>,
    /// Moved on only with the lock in hand.
    era: AtomicU32,
}

/// What an attempt puts back counts only where nothing has been closed or failed since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Era(u32);

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
    /// Of the attempt that begins now.
    pub(crate) fn era(&self) -> Era {
        Era(self.era.load(Ordering::Relaxed))
    }

    pub(crate) fn take(&self, check: &impl Hash) -> Option<Used<C>> {
        take(&mut self.idle(), hash(check))
    }

    /// After an attempt of that era that passed.
    pub(crate) fn put(&self, check: &impl Hash, used: Used<C>, era: Era) {
        if used.attempts >= SHARED_BY {
            return;
        }
        let check = hash(check);
        let mut idle = self.idle();
        if era != self.era() {
            return;
        }
        let Idle { first, others } = &mut *idle;
        others.retain(|(known, _)| *known != check);
        match first {
            Some((known, _)) if *known != check => others.push((check, used)),
            Some(_) | None => *first = Some((check, used)),
        }
    }

    /// Has its memory fetched, and does nothing else.
    pub(crate) fn glance(&self) {
        black_box(self.idle.is_poisoned());
    }

    /// All of them, unless somebody takes or puts one right now.
    pub(crate) fn peek(&self) -> Option<MutexGuard<'_, Idle<C>>> {
        self.idle.try_lock().ok()
    }

    /// Closes them all: nobody asks the same soon.
    pub(crate) fn let_go(&self) {
        let mut idle = self.idle();
        self.end_era();
        *idle = Idle::default();
    }

    /// After an attempt at `check` that did not pass: its next one makes its own.
    pub(crate) fn failed(&self, check: &impl Hash) {
        let mut idle = self.idle();
        self.end_era();
        drop(take(&mut idle, hash(check)));
    }

    fn end_era(&self) {
        self.era.fetch_add(1, Ordering::Relaxed);
    }

    fn idle(&self) -> MutexGuard<'_, Idle<C>> {
        // Nothing panics while it is held.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
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

fn take<C>(idle: &mut Idle<C>, check: u64) -> Option<Used<C>> {
    let Idle { first, others } = idle;
    if let Some((_, used)) = first.take_if(|(known, _)| *known == check) {
        return Some(used);
    }
    let at = others.iter().position(|(known, _)| *known == check)?;
    Some(others.swap_remove(at).1)
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
        Self { idle: Mutex::default(), era: AtomicU32::new(0) }
    }
}

impl<C> Default for Idle<C> {
    fn default() -> Self {
        Self { first: None, others: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(connection: &'static str) -> Used<&'static str> {
        Used { connection, attempts: 1 }
    }

    fn taken(kept: &Kept<&'static str>, check: u32) -> Option<&'static str> {
        kept.take(&check).map(|used| used.connection)
    }

    // C-9
    #[test]
    fn what_was_under_way_when_all_were_let_go_leaves_none() {
        let kept = Kept::default();
        let era = kept.era();
        kept.put(&1, used("before"), era);
        kept.let_go();
        kept.put(&1, used("by hand"), era);
        assert_eq!(taken(&kept, 1), None);
        kept.put(&1, used("after"), kept.era());
        assert_eq!(taken(&kept, 1), Some("after"));
    }

    // C-130
    #[test]
    fn after_a_failure_there_is_none_that_began_before_it() {
        let kept = Kept::default();
        let era = kept.era();
        for check in [1, 2, 3] {
            kept.put(&check, used("passed"), era);
        }
        kept.failed(&2);
        kept.put(&2, used("by hand"), era);
        assert_eq!(taken(&kept, 2), None);
        assert_eq!([1, 3].map(|check| taken(&kept, check)), [Some("passed"); 2], "of other checks");
    }
}
