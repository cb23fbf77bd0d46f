//! Points in time as people read them. Only for records and for showing: what is timed by a
//! worker is timed by its monotonic clock.

use std::{fmt, num::NonZeroU64, time::Duration};

/// Milliseconds since the Unix epoch. Kept with one more, so that an absent one takes no room of
/// its own: there are several in each row that the manager holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(NonZeroU64);

const MAX_MILLIS: u64 = 253_402_300_799_999;

impl Timestamp {
    /// The last moment that protobuf's Timestamp can hold: the end of the year 9999.
    pub const MAX: Self = Self::from_millis(MAX_MILLIS);
    pub const EPOCH: Self = Self::from_millis(0);

    /// Later moments than [`Timestamp::MAX`] become it.
    pub const fn from_millis(millis: u64) -> Self {
        let millis = if millis > MAX_MILLIS { MAX_MILLIS } else { millis };
        Self(NonZeroU64::MIN.saturating_add(millis))
    }

    pub const fn as_millis(self) -> u64 {
        self.0.get() - 1
    }

    /// Zero when `earlier` is in fact later: wall clocks step.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.as_millis().saturating_sub(earlier.as_millis()))
    }

    pub fn after(self, delay: Duration) -> Self {
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        Self::from_millis(self.as_millis().saturating_add(millis))
    }
}

impl Default for Timestamp {
    fn default() -> Self {
        Self::EPOCH
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Timestamp").field(&self.as_millis()).finish()
    }
}

mod wire {
    use super::Timestamp;
    use crate::Invalid;

    impl From<Timestamp> for prost_types::Timestamp {
        fn from(time: Timestamp) -> Self {
            let (seconds, millis) = (time.as_millis() / 1000, time.as_millis() % 1000);
            // Neither can overflow: no timestamp is later than MAX.
            Self {
                seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
                nanos: i32::try_from(millis * 1_000_000).unwrap_or(i32::MAX),
            }
        }
    }

    impl TryFrom<prost_types::Timestamp> for Timestamp {
        type Error = Invalid;

        fn try_from(wire: prost_types::Timestamp) -> Result<Self, Invalid> {
            let prost_types::Timestamp { seconds, nanos } = wire;
            let refuse = || {
                let why = "is not a time of whole milliseconds in the years 1970-9999";
                Invalid::new(format!("{seconds} s and {nanos} ns {why}"))
            };
            let whole = u64::try_from(seconds).map_err(|_| refuse())?;
            let part = u64::try_from(nanos).map_err(|_| refuse())?;
            if whole > Self::MAX.as_millis() / 1000
                || part >= 1_000_000_000
                || part % 1_000_000 != 0
            {
                return Err(refuse());
            }
            Ok(Self::from_millis(whole * 1000 + part / 1_000_000))
        }
    }
}
