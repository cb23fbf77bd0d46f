//! Numbers with bounds. A value of one of these types is within them.

use std::{fmt, num::NonZeroU16, time::Duration};

use crate::Invalid;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A time span of whole milliseconds within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span<const MIN_MS: u64, const MAX_MS: u64>(u64);

/// Between attempts. Below 10 ms a check would measure the scheduler; above a day nobody waits.
pub type Period = Span<10, DAY_MS>;
/// For one attempt.
pub type Timeout = Span<1, DAY_MS>;
/// Before something begins to count. May be nothing.
pub type Delay = Span<0, DAY_MS>;
/// Between the stop signal and SIGKILL. An hour is the longest that a node drain can reasonably
/// wait.
pub type StopGrace = Span<0, { 60 * 60 * 1000 }>;
/// Since a file was last written. A year is longer than any backup waits.
pub type Age = Span<1, { 366 * DAY_MS }>;
/// How long another controller's verdict counts.
pub type Ttl = Span<1000, DAY_MS>;
/// In which restarts are counted.
pub type RestartWindow = Span<1000, DAY_MS>;

impl<const MIN_MS: u64, const MAX_MS: u64> Span<MIN_MS, MAX_MS> {
    pub const MIN: Self = Self(MIN_MS);
    pub const MAX: Self = Self(MAX_MS);

    pub fn new(span: Duration) -> Result<Self, Invalid> {
        let refuse = || {
            Invalid::new(format!(
                "{span:?} is not in {:?}..={:?}",
                Duration::from_millis(MIN_MS),
                Duration::from_millis(MAX_MS)
            ))
        };
        if !span.subsec_nanos().is_multiple_of(1_000_000) {
            return Err(Invalid::new(format!("{span:?} is finer than a millisecond")));
        }
        let millis = u64::try_from(span.as_millis()).map_err(|_| refuse())?;
        if (MIN_MS..=MAX_MS).contains(&millis) { Ok(Self(millis)) } else { Err(refuse()) }
    }

    /// For constants: a value out of bounds does not compile where the constant is used.
    pub const fn from_millis_const(millis: u64) -> Self {
        assert!(millis >= MIN_MS && millis <= MAX_MS, "out of bounds");
        Self(millis)
    }

    pub const fn get(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl<const MIN_MS: u64, const MAX_MS: u64> fmt::Display for Span<MIN_MS, MAX_MS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.get())
    }
}

/// How many consecutive outcomes it takes: 1-1000. More would outlive every history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Threshold(u32);

impl Threshold {
    pub const ONE: Self = Self(1);
    pub const MAX: Self = Self(1000);

    pub fn new(count: u32) -> Result<Self, Invalid> {
        match count {
            1..=1000 => Ok(Self(count)),
            _ => Err(Invalid::new(format!("{count} is not in 1..=1000"))),
        }
    }

    /// For constants; see [`Span::from_millis_const`].
    pub const fn new_const(count: u32) -> Self {
        assert!(count >= 1 && count <= 1000, "out of bounds");
        Self(count)
    }

    pub const fn get(self) -> u32 {
        self.0
    }
}

/// How many restarts: 1-100. Each is a row that is kept for as long as it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attempts(u32);

impl Attempts {
    pub fn new(count: u32) -> Result<Self, Invalid> {
        match count {
            1..=100 => Ok(Self(count)),
            _ => Err(Invalid::new(format!("{count} is not in 1..=100"))),
        }
    }

    pub const fn get(self) -> u32 {
        self.0
    }
}

/// A TCP or UDP port: 1-65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port(NonZeroU16);

impl Port {
    pub fn new(number: u32) -> Result<Self, Invalid> {
        u16::try_from(number)
            .ok()
            .and_then(NonZeroU16::new)
            .map(Self)
            .ok_or_else(|| Invalid::new(format!("{number} is not in 1..=65535")))
    }

    /// For constants; see [`Span::from_millis_const`].
    pub const fn new_const(number: u16) -> Self {
        match NonZeroU16::new(number) {
            Some(number) => Self(number),
            None => panic!("out of bounds"),
        }
    }

    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

mod wire {
    use super::Span;
    use crate::{
        Invalid,
        wire::{duration_from_wire, duration_to_wire},
    };

    impl<const MIN: u64, const MAX: u64> From<Span<MIN, MAX>> for prost_types::Duration {
        fn from(span: Span<MIN, MAX>) -> Self {
            duration_to_wire(span.get())
        }
    }

    impl<const MIN: u64, const MAX: u64> TryFrom<prost_types::Duration> for Span<MIN, MAX> {
        type Error = Invalid;

        fn try_from(wire: prost_types::Duration) -> Result<Self, Invalid> {
            Self::new(duration_from_wire(wire)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_in_and_their_neighbours_are_out() {
        assert!(Period::new(Duration::from_millis(10)).is_ok());
        assert!(Period::new(Duration::from_millis(9)).is_err());
        assert!(Period::new(Duration::from_hours(24)).is_ok());
        assert!(Period::new(Duration::from_millis(86_400_001)).is_err());
        assert!(Delay::new(Duration::ZERO).is_ok());
        assert!(Threshold::new(0).is_err() && Threshold::new(1001).is_err());
        assert!(Port::new(0).is_err() && Port::new(65_535).is_ok() && Port::new(70_000).is_err());
    }

    /// C-1.
    #[test]
    fn a_span_is_exact_to_the_millisecond() {
        assert!(Period::new(Duration::from_micros(10_500)).is_err());
        assert_eq!(Timeout::MIN.get(), Duration::from_millis(1));
    }
}
