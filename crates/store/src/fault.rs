//! What can go wrong with the database, and what a person can do about it.

use std::{io, path::PathBuf};

use thiserror::Error;
use warren_core::Invalid;

/// The database cannot be used. Nothing in it was changed.
#[derive(Debug, Error)]
pub enum OpenFault {
    #[error(
        "cannot make the data directory {}: make its parent writable for this user, or choose \
         another one with --data-dir",
        path.display()
    )]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "the database {} is in use by another process: end the manager that runs there, or choose \
         another directory with --data-dir",
        path.display()
    )]
    InUse { path: PathBuf },
    #[error(
        "cannot read the database {}: see that this user may read and write it; if it is damaged, \
         put back a copy, or move it away to begin with an empty cluster",
        path.display()
    )]
    Unreadable {
        path: PathBuf,
        #[source]
        source: Box<redb::Error>,
    },
    #[error(
        "the database {} is damaged inside: put back a copy, or move it away to begin with an \
         empty cluster",
        path.display()
    )]
    Damaged { path: PathBuf },
    #[error(
        "the database {} is an empty file, and a cluster may have been in it: put back a copy, or \
         remove it to begin with an empty cluster",
        path.display()
    )]
    Empty { path: PathBuf },
    #[error(
        "the database {} was not made by Warren: choose another directory with --data-dir",
        path.display()
    )]
    Foreign { path: PathBuf },
    #[error(
        "the database {} has schema {found}, and this version of Warren knows {known}: run the \
         newer version that wrote it",
        path.display()
    )]
    Newer { path: PathBuf, found: u32, known: u32 },
    #[error(
        "the database {} has a row that cannot be read, {key} in {table}: put back a copy, or \
         move it away to begin with an empty cluster",
        path.display()
    )]
    Row {
        path: PathBuf,
        table: &'static str,
        key: String,
        #[source]
        source: RowFault,
    },
    #[error("cannot start the thread that writes the database")]
    Thread(#[source] io::Error),
    #[error("cannot draw a random number for the new cluster's id")]
    Random(#[source] getrandom::Error),
}

/// Why the bytes of a row are no row.
#[derive(Debug, Error)]
pub enum RowFault {
    #[error("the bytes are not a message")]
    Decode(#[from] prost::DecodeError),
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// A batch may not be durable, and the store is of no more use.
#[derive(Debug, Error)]
pub enum CommitFault {
    #[error("the database did not take a change: see that its disk is well and has room")]
    Database(#[source] Box<redb::Error>),
    #[error(
        "the database broke down over a change, which damage inside does: put back a copy if it \
         does so again"
    )]
    Died,
    #[error("an earlier commit failed, so nothing more is written")]
    Ended,
}

impl<E: Into<redb::Error>> From<E> for CommitFault {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}
