//! Why a peer does not get what it asked for.

use thiserror::Error;
use warren_core::Invalid;

/// The peer was wrong, or asked at the wrong moment. Says what it can do about it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Rejection {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The reference leads nowhere.
    #[error("{0}")]
    NotFound(String),
    /// The name is taken.
    #[error("{0}")]
    Exists(String),
    /// The revision has moved on.
    #[error("{0}")]
    Moved(String),
    /// The state of things forbids it.
    #[error("{0}")]
    Forbidden(String),
    /// A node that cannot be asked now, or a manager that is ending.
    #[error("{0}")]
    Unavailable(String),
    /// A bound was reached.
    #[error("{0}")]
    Full(String),
    /// The peer took too long.
    #[error("{0}")]
    Late(String),
    /// What a worker answered, by the number of its gRPC code.
    #[error("{message}")]
    Worker { code: i32, message: String },
}

impl Rejection {
    /// Nobody is there to decide any more.
    pub fn ending() -> Self {
        Self::Unavailable("the manager is ending; ask again when it is back".to_owned())
    }
}
