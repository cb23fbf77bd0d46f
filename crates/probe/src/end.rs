//! How an attempt ended, and what the system's errors say of it.

use std::{fmt, io};

use nix::errno::Errno;
use warren_core::{
    clause::Clause,
    outcome::{Evidence, Outcome},
};

use crate::clause;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) outcome: Outcome,
    /// That decided.
    pub(crate) clause: Clause,
    pub(crate) message: String,
    /// That the answer of a failure names as broken.
    pub(crate) components: Box<[String]>,
}

impl End {
    pub(crate) fn pass(clause: Clause, message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Pass, clause, message: message.into(), components: Box::default() }
    }

    pub(crate) fn fail(clause: Clause, evidence: Evidence, message: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Fail(evidence),
            clause,
            message: message.into(),
            components: Box::default(),
        }
    }

    pub(crate) fn inconclusive(clause: Clause, message: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Inconclusive,
            clause,
            message: message.into(),
            components: Box::default(),
        }
    }

    /// Of an error on the connection to `peer`; `when` ends the sentence.
    pub(crate) fn of_io(error: &io::Error, peer: impl fmt::Display, when: &str) -> Self {
        let outcome = outcome_of(error);
        let message = match errno(error) {
            Some(Errno::ECONNREFUSED) => format!("connection refused by {peer}{when}"),
            Some(Errno::ECONNRESET | Errno::EPIPE) => format!("connection reset by {peer}{when}"),
            Some(other) => format!("no connection to {peer}: {}{when}", other.desc()),
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                format!("{peer} closed the connection{when}")
            }
            None => format!("broken answer from {peer}{when}: {error}"),
        };
        Self {
            outcome,
            clause: clause::of_connection(outcome),
            message,
            components: Box::default(),
        }
    }
}

/// The task's side refused, reset or cannot be reached. That there is no route to its address
/// counts here: the task's own namespace always has one while its network is whole, and a new
/// task gets a new network.
const REFUSED: [Errno; 8] = [
    Errno::ECONNREFUSED,
    Errno::ECONNRESET,
    Errno::ECONNABORTED,
    Errno::EPIPE,
    Errno::EHOSTUNREACH,
    Errno::ENETUNREACH,
    Errno::EHOSTDOWN,
    Errno::ENETDOWN,
];

/// Whatever is not known to be the task's doing (out of file descriptors, ports or memory, not
/// permitted) is ours.
pub(crate) fn outcome_of(error: &io::Error) -> Outcome {
    match errno(error) {
        Some(Errno::ETIMEDOUT) => Outcome::Fail(Evidence::Timeout),
        Some(theirs) if REFUSED.contains(&theirs) => Outcome::Fail(Evidence::Refused),
        Some(_) => Outcome::Inconclusive,
        None if error.kind() == io::ErrorKind::UnexpectedEof => Outcome::Fail(Evidence::Refused),
        None => Outcome::Fail(Evidence::Explicit),
    }
}

pub(crate) fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_the_tasks_only_where_that_is_known() {
        let outcome = |errno: Errno| outcome_of(&io::Error::from(errno));
        for errno in REFUSED {
            assert_eq!(outcome(errno), Outcome::Fail(Evidence::Refused), "{errno}");
        }
        assert_eq!(outcome(Errno::ETIMEDOUT), Outcome::Fail(Evidence::Timeout));
        for errno in [
            Errno::EMFILE,
            Errno::ENFILE,
            Errno::ENOBUFS,
            Errno::ENOMEM,
            Errno::EADDRNOTAVAIL,
            Errno::EPERM,
            Errno::EACCES,
            Errno::EAFNOSUPPORT,
            Errno::EINVAL,
        ] {
            assert_eq!(outcome(errno), Outcome::Inconclusive, "{errno}");
        }
    }
}
