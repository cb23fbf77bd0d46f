//! "Did the loop turn over in the last N seconds?"

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    check::{Check, CheckError, Context, Details},
    clock::Clock,
    state::seconds,
};

/// A sign of life of a background loop. The loop calls [`beat`](Self::beat) at each turn; when it
/// has not done so for longer than the bound, it hangs.
///
/// It is the only thing that [`Vitals::internal`](crate::Vitals::internal) takes for liveness,
/// since it depends on nothing but this process. It is a [`Check`] as well.
///
/// ```
/// use std::time::Duration;
/// use vitals::{Heartbeat, Vitals};
///
/// let beat = Heartbeat::new(Duration::from_secs(30));
/// let health = Vitals::new("mailer", "1.0.0").internal("queue-loop", &beat);
/// // In the loop, at each turn:
/// beat.beat();
/// # drop(health);
/// ```
#[derive(Clone)]
pub struct Heartbeat(Arc<Beat>);

struct Beat {
    clock: Clock,
    within: Duration,
    /// The moment of the last beat, in milliseconds.
    last: AtomicU64,
}

impl Heartbeat {
    /// Must beat at least every `within` from now on.
    pub fn new(within: Duration) -> Self {
        Self::with_clock(within, Clock::machine())
    }

    /// The same by a clock of one's own, for tests.
    pub fn with_clock(within: Duration, clock: impl Into<Clock>) -> Self {
        let clock = clock.into();
        let last = AtomicU64::new(as_millis(clock.now()));
        Self(Arc::new(Beat { clock, within, last }))
    }

    /// The loop lives.
    pub fn beat(&self) {
        self.0.last.store(as_millis(self.0.clock.now()), Ordering::Relaxed);
    }

    /// How long ago the last beat was.
    pub fn age(&self) -> Duration {
        let last = Duration::from_millis(self.0.last.load(Ordering::Relaxed));
        self.0.clock.now().saturating_sub(last)
    }

    /// What is wrong, if anything is.
    pub(crate) fn complaint(&self) -> Option<String> {
        let age = self.age();
        (age > self.0.within).then(|| {
            let age = Duration::from_millis(as_millis(age));
            format!("no turn for {}, {} at most", seconds(age), seconds(self.0.within))
        })
    }
}

fn as_millis(moment: Duration) -> u64 {
    u64::try_from(moment.as_millis()).unwrap_or(u64::MAX)
}

impl Check for Heartbeat {
    async fn check(&self, _: Context) -> Result<Details, CheckError> {
        match self.complaint() {
            Some(complaint) => Err(CheckError::new(complaint)),
            None => Ok(Details::healthy()),
        }
    }
}

impl From<&Heartbeat> for Heartbeat {
    fn from(beat: &Heartbeat) -> Self {
        beat.clone()
    }
}

impl fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heartbeat").field("age", &self.age()).finish_non_exhaustive()
    }
}
