//! The one place where a rejection becomes a gRPC status.

use tonic::{Code, Status};

use crate::rejection::Rejection;

impl From<Rejection> for Status {
    fn from(rejection: Rejection) -> Self {
        let code = match &rejection {
            Rejection::Invalid(_) => Code::InvalidArgument,
            Rejection::NotFound(_) => Code::NotFound,
            Rejection::Exists(_) => Code::AlreadyExists,
            Rejection::Moved(_) => Code::Aborted,
            Rejection::Forbidden(_) => Code::FailedPrecondition,
            Rejection::Unavailable(_) => Code::Unavailable,
            Rejection::Full(_) => Code::ResourceExhausted,
            Rejection::Late(_) => Code::DeadlineExceeded,
            Rejection::Worker { code, .. } => of_worker(Code::from_i32(*code)),
        };
        Self::new(code, rejection.to_string())
    }
}

/// A worker that fails a call without an error has not understood something.
fn of_worker(code: Code) -> Code {
    if code == Code::Ok { Code::Internal } else { code }
}
