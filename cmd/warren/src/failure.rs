//! Why a command failed, and the exit code that says so to scripts.

use tonic::{Code, Status};
use warren_core::outcome::Outcome;

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The words make no sense, here or to the manager.
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Unreachable(String),
    #[error("{0}")]
    NotFound(String),
    /// A taken name, a revision that has moved on, a state that forbids it.
    #[error("{0}")]
    Conflict(String),
    /// Any other answer of the manager, or a wait that ended in vain.
    #[error("{0}")]
    Refused(String),
    /// What an attempt by hand saw has been printed; its exit code says it to scripts.
    #[error("the check did not pass")]
    Seen(Outcome),
    /// Nobody could look, so nothing is known of the task.
    #[error("{0}")]
    Unseen(String),
    /// Nobody reads stdout any more, as in `warren task ls | head -1`.
    #[error("stdout is closed")]
    OutputClosed,
    #[error(transparent)]
    Fault(#[from] anyhow::Error),
}

impl Failure {
    /// Of a value that a flag or argument has.
    pub fn flag(flag: &str, why: impl std::fmt::Display) -> Self {
        Self::Usage(format!("{flag}: {why}"))
    }

    /// The sentence, and of a fault all that led to it.
    pub fn chain(&self) -> String {
        match self {
            Self::Fault(error) => format!("{error:#}"),
            Self::Usage(text)
            | Self::Unreachable(text)
            | Self::NotFound(text)
            | Self::Conflict(text)
            | Self::Refused(text)
            | Self::Unseen(text) => text.clone(),
            Self::OutputClosed | Self::Seen(_) => self.to_string(),
        }
    }

    /// Of a command whose exit code 1 says that a check failed: whatever kept it from looking
    /// must not be taken for that.
    pub fn while_looking(self) -> Self {
        match self {
            Self::Refused(_) | Self::Fault(_) => Self::Unseen(self.chain()),
            Self::Usage(_)
            | Self::Unreachable(_)
            | Self::NotFound(_)
            | Self::Conflict(_)
            | Self::Seen(_)
            | Self::Unseen(_)
            | Self::OutputClosed => self,
        }
    }

    /// Whether all is said already.
    pub const fn is_told(&self) -> bool {
        matches!(self, Self::OutputClosed | Self::Seen(_))
    }

    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::OutputClosed | Self::Seen(Outcome::Pass) => 0,
            Self::Refused(_) | Self::Fault(_) | Self::Seen(Outcome::Fail(_)) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
            Self::NotFound(_) => 4,
            Self::Conflict(_) => 5,
            Self::Unseen(_) | Self::Seen(Outcome::Inconclusive) => 125,
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let message = match status.message() {
            "" => status.code().to_string(),
            message => message.to_owned(),
        };
        // A status that was made here, because the connection broke, has a source.
        if std::error::Error::source(&status).is_some() {
            return Self::Unreachable(format!("the manager does not answer any more: {message}"));
        }
        match status.code() {
            Code::InvalidArgument | Code::OutOfRange => Self::Usage(message),
            Code::NotFound => Self::NotFound(message),
            Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => {
                Self::Conflict(message)
            }
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
            | Code::Unauthenticated => Self::Refused(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_managers_answers_have_the_documented_exit_codes() {
        for (code, exit) in [
            (Code::InvalidArgument, 2),
            (Code::NotFound, 4),
            (Code::AlreadyExists, 5),
            (Code::Aborted, 5),
            (Code::FailedPrecondition, 5),
            (Code::Unavailable, 1),
            (Code::ResourceExhausted, 1),
            (Code::Internal, 1),
        ] {
            assert_eq!(Failure::from(Status::new(code, "x")).exit_code(), exit, "{code:?}");
        }
    }

    #[test]
    fn a_broken_connection_is_an_unreachable_manager() {
        let broken: Box<dyn std::error::Error + Send + Sync> = "connection reset".into();
        let failure = Failure::from(Status::from_error(broken));
        assert_eq!(failure.exit_code(), 3);
    }

    #[test]
    fn a_status_without_words_is_told_by_its_code() {
        let failure = Failure::from(Status::new(Code::Internal, ""));
        assert_eq!(failure.to_string(), "Internal error");
    }
}
