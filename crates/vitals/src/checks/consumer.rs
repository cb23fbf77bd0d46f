//! Whether a consumer of a log or a queue gets on, whatever client it uses.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    check::{Check, CheckError, Context, Details},
    clock::{Clock, Moment},
    state::seconds,
};

/// What a consumer of Kafka, or of anything that has partitions and positions, knows of itself. It
/// is unhealthy while it is in no group, and when a partition has work and its position has not
/// moved for longer than the bound: an open socket proves neither.
///
/// It holds no client, so it is for those that the check of feature `rdkafka` does not take. The
/// consumer tells it what its client tells the consumer: `assigned` and `revoked` where partitions
/// are rebalanced, `end` from its statistics or high watermarks, and `position` after each batch.
///
/// ```
/// use std::time::Duration;
/// use vitals::{Consumer, Vitals};
///
/// let orders = Consumer::new(Duration::from_secs(60));
/// let health = Vitals::new("billing", "1.0.0").critical("orders", orders.clone());
/// orders.assigned(&[0, 1]); // from the callback of a rebalance
/// orders.end(0, 120); // from the client's statistics
/// orders.position(0, 118); // after a batch
/// # drop(health);
/// ```
#[derive(Clone)]
pub struct Consumer(Arc<Inner>);

struct Inner {
    clock: Clock,
    within: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether a group has taken it in, be it without partitions.
    member: bool,
    partitions: BTreeMap<i32, Partition>,
}

struct Partition {
    position: i64,
    end: i64,
    /// Since when it has had work without getting on.
    waiting_since: Moment,
}

impl Consumer {
    /// Must get on within this time wherever there is work.
    pub fn new(within: Duration) -> Self {
        Self::with_clock(within, Clock::machine())
    }

    /// The same by a clock of one's own, for tests.
    pub fn with_clock(within: Duration, clock: impl Into<Clock>) -> Self {
        Self(Arc::new(Inner { clock: clock.into(), within, state: Mutex::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The group has given it these partitions, in addition to those that it has. A member may get
    /// none.
    pub fn assigned(&self, partitions: &[i32]) {
        let now = self.0.clock.now();
        let mut state = self.state();
        state.member = true;
        for partition in partitions {
            let fresh = Partition { position: 0, end: 0, waiting_since: now };
            state.partitions.entry(*partition).or_insert(fresh);
        }
    }

    /// The group has taken these partitions away.
    pub fn revoked(&self, partitions: &[i32]) {
        self.state().partitions.retain(|partition, _| !partitions.contains(partition));
    }

    /// It is no member of a group any more.
    pub fn left(&self) {
        *self.state() = State::default();
    }

    /// Everything before `offset` is done. Of a partition that was not assigned it means nothing.
    pub fn position(&self, partition: i32, offset: i64) {
        let now = self.0.clock.now();
        if let Some(known) = self.state().partitions.get_mut(&partition)
            && known.position != offset
        {
            known.position = offset;
            known.waiting_since = now;
        }
    }

    /// The partition reaches to `offset`.
    pub fn end(&self, partition: i32, offset: i64) {
        let now = self.0.clock.now();
        if let Some(known) = self.state().partitions.get_mut(&partition) {
            if known.end <= known.position {
                known.waiting_since = now;
            }
            known.end = offset;
        }
    }
}

impl Consumer {
    /// Its partitions are these and no others; says which of them are new.
    #[cfg(feature = "rdkafka")]
    pub(crate) fn keep(&self, partitions: &[i32]) -> Vec<i32> {
        let gone: Vec<i32> = {
            let state = self.state();
            state.partitions.keys().filter(|known| !partitions.contains(known)).copied().collect()
        };
        self.revoked(&gone);
        let known: Vec<i32> = self.state().partitions.keys().copied().collect();
        self.assigned(partitions);
        partitions.iter().filter(|partition| !known.contains(partition)).copied().collect()
    }

    /// How many partitions it has, and how far it is behind in all of them.
    pub(crate) fn judge(&self) -> Result<(usize, i64), CheckError> {
        let now = self.0.clock.now();
        let state = self.state();
        if !state.member {
            return Err(CheckError::new("in no consumer group"));
        }
        for (number, partition) in &state.partitions {
            let (lag, waiting) = (
                partition.end.saturating_sub(partition.position),
                now.saturating_sub(partition.waiting_since),
            );
            if lag > 0 && waiting > self.0.within {
                let waiting = seconds(waiting);
                let said =
                    format!("partition {number}: {lag} behind and no progress for {waiting}");
                return Err(CheckError::new(said));
            }
        }
        let lag = state.partitions.values().map(|p| (p.end - p.position).max(0)).sum();
        Ok((state.partitions.len(), lag))
    }
}

impl Check for Consumer {
    async fn check(&self, _: Context) -> Result<Details, CheckError> {
        let (partitions, lag) = self.judge()?;
        Ok(Details::healthy().message(format!("{partitions} partitions, {lag} behind")))
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("within", &self.0.within).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeClock;

    fn said(consumer: &Consumer) -> Result<String, String> {
        let context = Context { timeout: Duration::from_secs(1) };
        let mut check = std::pin::pin!(Check::check(consumer, context));
        let mut waker = std::task::Context::from_waker(std::task::Waker::noop());
        match check.as_mut().poll(&mut waker) {
            std::task::Poll::Ready(Ok(details)) => Ok(details.message.unwrap_or_default()),
            std::task::Poll::Ready(Err(error)) => Err(error.message().to_owned()),
            std::task::Poll::Pending => panic!("it waits"),
        }
    }

    #[test]
    fn membership_and_progress_count_and_idleness_does_not() {
        let clock = FakeClock::new();
        let consumer = Consumer::with_clock(Duration::from_mins(1), &clock);
        assert_eq!(said(&consumer), Err("in no consumer group".to_owned()));
        consumer.assigned(&[0, 1]);
        clock.advance(Duration::from_hours(1));
        assert_eq!(said(&consumer), Ok("2 partitions, 0 behind".to_owned()), "nothing to do");
        consumer.end(0, 10);
        clock.advance(Duration::from_mins(1));
        assert_eq!(said(&consumer), Ok("2 partitions, 10 behind".to_owned()));
        clock.advance(Duration::from_secs(1));
        let stuck = "partition 0: 10 behind and no progress for 61 s";
        assert_eq!(said(&consumer), Err(stuck.to_owned()));
        consumer.end(0, 20);
        assert!(said(&consumer).is_err(), "more work is no progress");
        consumer.position(0, 1);
        assert_eq!(said(&consumer), Ok("2 partitions, 19 behind".to_owned()));
        clock.advance(Duration::from_secs(61));
        consumer.revoked(&[0]);
        assert_eq!(said(&consumer), Ok("1 partitions, 0 behind".to_owned()));
        consumer.left();
        assert_eq!(said(&consumer), Err("in no consumer group".to_owned()));
    }
}
