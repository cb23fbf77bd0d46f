//! The time by which ages, thresholds and timeouts are measured: the machine's, or a test's.

use std::{
    fmt,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

/// Where a fake clock starts: 2026-01-01T00:00:00Z.
const FAKE_EPOCH: Duration = Duration::from_hours(490_896);

/// A point in time, as the time since its clock was made.
pub(crate) type Moment = Duration;

/// A monotonic clock that can also tell the date.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    Machine(Instant),
    Fake(FakeClock),
}

impl Clock {
    /// The machine's own.
    pub fn machine() -> Self {
        Self(Source::Machine(Instant::now()))
    }

    pub(crate) fn now(&self) -> Moment {
        match &self.0 {
            Source::Machine(origin) => origin.elapsed(),
            Source::Fake(fake) => *fake.0.borrow(),
        }
    }

    /// The date of a moment that is not in the future.
    pub(crate) fn date(&self, moment: Moment) -> SystemTime {
        match &self.0 {
            Source::Machine(_) => SystemTime::now() - self.now().saturating_sub(moment),
            Source::Fake(_) => SystemTime::UNIX_EPOCH + FAKE_EPOCH + moment,
        }
    }

    pub(crate) async fn sleep_until(&self, moment: Moment) {
        match &self.0 {
            Source::Machine(_) => {
                tokio::time::sleep(moment.saturating_sub(self.now())).await;
            }
            Source::Fake(fake) => {
                // The sender lives in `self`, so the channel stays open.
                drop(fake.0.subscribe().wait_for(|now| *now >= moment).await);
            }
        }
    }
}

/// A clock that stands still until it is told to go on: for tests of what depends on time.
///
/// ```
/// use std::time::Duration;
/// use vitals::{Status, Vitals, testing::{FakeCheck, FakeClock}};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let (clock, database) = (FakeClock::new(), FakeCheck::passing());
/// let health = Vitals::new("payments", "1.0.0")
///     .clock(&clock)
///     .critical("database", database.clone());
/// assert_eq!(health.report().await.status, Status::Healthy);
///
/// database.fail("no connection");
/// assert_eq!(health.report().await.status, Status::Healthy); // the last result is still fresh
/// clock.advance(Duration::from_secs(2));
/// assert_eq!(health.report().await.status, Status::Unhealthy);
/// # });
/// ```
#[derive(Clone)]
pub struct FakeClock(watch::Sender<Moment>);

impl FakeClock {
    /// A clock that stands at the first moment of 2026.
    pub fn new() -> Self {
        Self(watch::Sender::new(Duration::ZERO))
    }

    /// Moves on; who waits for a moment until then wakes up.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now += by);
    }
}

impl Default for FakeClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FakeClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FakeClock").field(&*self.0.borrow()).finish()
    }
}

impl From<&FakeClock> for Clock {
    fn from(fake: &FakeClock) -> Self {
        Self(Source::Fake(fake.clone()))
    }
}
