//! When whose checks are due, and the attempts that are under way: one queue, one timer and one
//! future for all tasks of a worker. A task's own actor sleeps meanwhile: woken for each attempt it
//! would have to fetch memory that has gone cold, which costs more than the attempt.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::Poll,
    time::Duration,
};

use futures::{
    future::Abortable,
    stream::{FuturesUnordered, StreamExt},
    task::AtomicWaker,
};
use tokio::time::{Instant, sleep_until};

use super::checking::{Begun, Watched};

/// A timer that is set earlier than all others wakes tokio's driver by a system call, even where
/// the driver is about to look by itself. So there is always one a little after the next turn, and
/// no attempt's deadline is ever the first.
const LITTLE: Duration = Duration::from_millis(3);

/// Comes by at each task when it has asked for that.
#[derive(Debug, Default)]
pub struct Rounds {
    asked: Mutex<BinaryHeap<Reverse<Visit>>>,
    /// Somebody has asked for the soonest of all.
    sooner: AtomicWaker,
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
        let is_soonest = asked.peek().is_none_or(|Reverse(first)| at < first.at);
        asked.push(Reverse(Visit { at, watched: Arc::downgrade(watched) }));
        drop(asked);
        if is_soonest {
            self.sooner.wake();
        }
    }

    /// Without end. Attempts begin at the ticks of tokio's timer, so that those that are due around
    /// the same time, and mostly their answers too, cost one wake-up together.
    pub async fn make(&self) {
        let mut flights = FuturesUnordered::new();
        let mut turn = pin!(sleep_until(Instant::now()));
        let mut little_later = pin!(sleep_until(Instant::now()));
        poll_fn(|cx| {
            self.sooner.register(cx.waker());
            while let Some(next) = self.next() {
                if turn.deadline() != next {
                    turn.as_mut().reset(next);
                    little_later.as_mut().reset(next + LITTLE);
                }
                if turn.as_mut().poll(cx).is_pending() {
                    break;
                }
                self.visit(|begun| {
                    let (flight, registration) = begun.fly();
                    flights.push(Abortable::new(flight, registration));
                });
            }
            while let Poll::Ready(Some(_landed_or_given_up)) = flights.poll_next_unpin(cx) {}
            // Whoever asks for a sooner turn than that wakes us.
            Poll::<()>::Pending
        })
        .await;
    }
}

impl Rounds {
    /// At all tasks that are due.
    fn visit(&self, mut begin: impl FnMut(Begun)) {
        let now = Instant::now();
        while let Some(Visit { at, watched }) = self.due(now) {
            if let Some(watched) = watched.upgrade() {
                watched.come_by(at, &mut begin);
            }
        }
    }

    fn due(&self, now: Instant) -> Option<Visit> {
        let mut asked = self.asked();
        let is_due = asked.peek().is_some_and(|Reverse(first)| first.at <= now);
        if is_due { asked.pop().map(|Reverse(visit)| visit) } else { None }
    }

    fn next(&self) -> Option<Instant> {
        self.asked().peek().map(|Reverse(first)| first.at)
    }

    fn asked(&self) -> MutexGuard<'_, BinaryHeap<Reverse<Visit>>> {
        // Nothing panics while it is held.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartialEq for Visit {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Visit {}

impl PartialOrd for Visit {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Visit {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}
