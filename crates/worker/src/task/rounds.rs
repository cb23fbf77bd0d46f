//! When whose checks are due, and the attempts that are under way: one queue, one timer and one
//! future for all tasks of a worker. A task's own actor sleeps meanwhile: woken for each attempt it
//! would have to fetch memory that has gone cold, which costs more than the attempt.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    hint::black_box,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::Poll,
    time::Duration,
};

use futures::task::AtomicWaker;
use tokio::time::{Instant, sleep_until};

use super::{
    checking::{Begun, Watched},
    flights::{Flights, Handle},
};

/// So many attempts begin together. An early one waits for the others of these, so they must not
/// be too many.
const TOGETHER: usize = 32;

/// A timer that is set earlier than all others wakes tokio's driver by a system call, even where
/// the driver is about to look by itself. So there is always one a little after the next turn, and
/// no attempt's deadline is ever the first.
const LITTLE: Duration = Duration::from_millis(3);

/// As many as are emptied at once where a worker comes late.
const SPARE: usize = 64;

/// Comes by at each task when it has asked for that.
#[derive(Debug, Default)]
pub struct Rounds {
    asked: Mutex<Asked>,
    /// Somebody has asked for the soonest of all.
    sooner: AtomicWaker,
}

/// Who has asked, by the millisecond: those that are due around the same time lie together, and
/// nobody has to be put in order among thousands.
#[derive(Debug)]
struct Asked {
    begin: Instant,
    /// None of them is empty.
    by_milli: BTreeMap<u64, Vec<Visit>>,
    /// The memory of earlier ones.
    spare: Vec<Vec<Visit>>,
}

#[derive(Debug)]
struct Visit {
    at: Instant,
    watched: Weak<Watched>,
}

impl Rounds {
    /// A task that is gone by then is let be.
    pub fn come_by(&self, at: Instant, watched: &Arc<Watched>) {
        let mut asked = self.asked();
        let is_soonest = asked.next().is_none_or(|first| at < first);
        asked.add(Visit { at, watched: Arc::downgrade(watched) });
        drop(asked);
        if is_soonest {
            self.sooner.wake();
        }
    }

    /// Without end. Attempts begin at the ticks of tokio's timer, so that those that are due around
    /// the same time, and mostly their answers too, cost one wake-up together.
    pub async fn make(&self) {
        let mut flights = Flights::new();
        let mut due = Vec::with_capacity(TOGETHER);
        let mut turn = pin!(sleep_until(Instant::now()));
        let mut little_later = pin!(sleep_until(Instant::now()));
        poll_fn(|cx| {
            self.sooner.register(cx.waker());
            flights.make_headway(cx);
            while let Some(next) = self.next() {
                if turn.deadline() != next {
                    turn.as_mut().reset(next);
                    little_later.as_mut().reset(next + LITTLE);
                }
                if turn.as_mut().poll(cx).is_pending() {
                    break;
                }
                let now = Instant::now();
                self.asked().take(now, &mut due);
                visit(&mut due, now, |begun| flights.begin(begun.fly()));
                flights.make_headway(cx);
            }
            // Whoever asks for a sooner turn than that wakes us.
            Poll::<()>::Pending
        })
        .await;
    }

    fn next(&self) -> Option<Instant> {
        self.asked().next()
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        // Nothing panics while it is held.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Since the last time the memory of all of these has gone cold. The processor fetches it for many
/// at once where nothing of the one has to wait for the other, so it is only looked at first. A
/// lock that is taken is such a wait, so all are taken before.
fn visit(due: &mut Vec<Visit>, now: Instant, mut begin: impl FnMut(Begun) -> Handle) {
    for Visit { watched, at: _ } in &*due {
        black_box(watched.strong_count());
    }
    let there = |Visit { at, watched }| Some((at, watched.upgrade()?));
    let due: Vec<_> = due.drain(..).filter_map(there).collect();
    for (_, watched) in &due {
        watched.glance();
    }
    let states: Vec<_> = due.iter().filter_map(|(_, watched)| watched.peek()).collect();
    for state in &states {
        state.glance();
    }
    drop(states);
    for (at, watched) in due {
        watched.come_by(at, now, &mut begin);
    }
}

impl Asked {
    fn add(&mut self, visit: Visit) {
        let milli = self.milli(visit.at);
        let spare = &mut self.spare;
        self.by_milli.entry(milli).or_insert_with(|| spare.pop().unwrap_or_default()).push(visit);
    }

    fn next(&self) -> Option<Instant> {
        let (_, visits) = self.by_milli.first_key_value()?;
        visits.iter().map(|visit| visit.at).min()
    }

    /// Moves the next ones that are due to `due`, a millisecond's before those of the one after,
    /// and no more of them than begin together.
    fn take(&mut self, now: Instant, due: &mut Vec<Visit>) {
        while let Some(mut first) = self.by_milli.first_entry()
            && due.len() < TOGETHER
        {
            let visits = first.get_mut();
            let room = TOGETHER - due.len();
            due.extend(visits.extract_if(.., |visit| visit.at <= now).take(room));
            if !visits.is_empty() {
                return;
            }
            let spare = first.remove();
            if self.spare.len() < SPARE {
                self.spare.push(spare);
            }
        }
    }

    fn milli(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.begin);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Default for Asked {
    fn default() -> Self {
        Self { begin: Instant::now(), by_milli: BTreeMap::new(), spare: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn visit(at: Instant) -> Visit {
        Visit { at, watched: Weak::new() }
    }

    #[test]
    fn they_are_taken_by_the_millisecond_when_they_are_due_and_some_at_a_time() {
        let mut asked = Asked::default();
        let at = |micros: u64| asked.begin + Duration::from_micros(micros);
        let times: Vec<_> = (0..100).map(|number| at(number * 37 % 100 * 50)).collect();
        let (first, half, end) = (at(0), at(2_499), at(10_000));
        for at in &times {
            asked.add(visit(*at));
        }
        assert_eq!(asked.next(), Some(first));
        let mut take = |now| {
            let mut due = Vec::new();
            asked.take(now, &mut due);
            due.into_iter().map(|visit| visit.at).collect::<Vec<_>>()
        };
        let taken: Vec<_> = (0..3).map(|_| take(half)).collect();
        assert_eq!(taken.iter().map(Vec::len).collect::<Vec<_>>(), [32, 18, 0]);
        let rest: Vec<_> = (0..3).map(|_| take(end)).collect();
        assert_eq!(rest.iter().map(Vec::len).collect::<Vec<_>>(), [32, 18, 0]);
        let taken = [taken, rest].concat().concat();
        let milli = |at: &Instant| (*at - first).as_millis();
        assert!(taken.is_sorted_by_key(milli), "{taken:?}");
        assert_eq!(BTreeSet::from_iter(taken), BTreeSet::from_iter(times));
        assert_eq!(asked.next(), None);
    }

    #[test]
    fn what_was_asked_for_before_the_beginning_is_due_at_once() {
        let mut asked =
            Asked { begin: Instant::now() + Duration::from_secs(1), ..Asked::default() };
        let now = Instant::now();
        asked.add(visit(now));
        let mut due = Vec::new();
        asked.take(now, &mut due);
        assert_eq!((due.len(), asked.by_milli.len()), (1, 0));
    }
}
