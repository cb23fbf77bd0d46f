//! The signal that asks a task to stop.

use std::{fmt, str::FromStr};

use crate::Invalid;

/// A Linux signal by its number, 1-64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StopSignal(u8);

/// The signals by name that a program may be asked to stop with, x86-64 and arm64 numbering.
const SIGNALS: [(&str, u8); 14] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ABRT", 6),
    ("KILL", 9),
    ("USR1", 10),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("CONT", 18),
    ("STOP", 19),
    ("WINCH", 28),
    ("PWR", 30),
];

impl StopSignal {
    pub const TERM: Self = Self(15);
    pub const KILL: Self = Self(9);

    pub const fn number(self) -> u8 {
        self.0
    }
}

impl FromStr for StopSignal {
    type Err = Invalid;

    /// `SIGTERM`, `TERM`, `15`, or `SIGRTMIN+3` as systemd's images have it.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let known = SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
        let number = || name.parse().ok().filter(|n| (1..=64).contains(n));
        // glibc's SIGRTMIN; the two below it are its own.
        let realtime = || {
            let above = name.strip_prefix("RTMIN+")?.parse::<u8>().ok()?;
            (above <= 30).then_some(34 + above)
        };
        known
            .or_else(number)
            .or_else(realtime)
            .map(Self)
            .ok_or_else(|| Invalid::new(format!("{text:?} is not a signal such as SIGTERM or 15")))
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SIGNALS.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => write!(f, "SIG{name}"),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_go_by_name_and_by_number() {
        for text in ["SIGTERM", "TERM", "term", "15"] {
            assert_eq!(text.parse(), Ok(StopSignal::TERM));
        }
        assert_eq!("SIGRTMIN+3".parse::<StopSignal>().map(StopSignal::number), Ok(37));
        for text in ["", "0", "65", "SIGNOPE", "RTMIN+99"] {
            assert!(text.parse::<StopSignal>().is_err(), "{text:?}");
        }
    }
}
