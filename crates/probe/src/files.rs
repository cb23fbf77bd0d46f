//! A task's files, seen from outside of it.

use std::{io, os::fd::OwnedFd, sync::Arc};

use nix::{errno::Errno, fcntl::OFlag};
use tokio::sync::Semaphore;
use warren_core::{outcome::Evidence, spec::AbsolutePath};
use warren_runtime::{Root, RootError};

use crate::{clause, end::End};

#[derive(Debug)]
pub(crate) struct Files {
    root: Root,
    /// One look at a time: a file system that hangs holds one thread of the worker and not all.
    turn: Arc<Semaphore>,
}

/// That a path leads nowhere, as the task's own files have it.
const NOWHERE: [Errno; 4] = [Errno::ENOENT, Errno::ENOTDIR, Errno::ELOOP, Errno::ENAMETOOLONG];
/// That the task's file system, such as a share that it mounted, is broken.
const BROKEN: [Errno; 4] = [Errno::EIO, Errno::ESTALE, Errno::ENOTCONN, Errno::EUCLEAN];

impl Files {
    pub(crate) fn of(process: Option<u32>) -> Self {
        Self { root: Root::of(process), turn: Arc::new(Semaphore::new(1)) }
    }

    /// The file at `path`, to look at and not to read. `None`: there is none.
    pub(crate) async fn find(&self, path: &AbsolutePath) -> Result<Option<OwnedFd>, End> {
        let lost = |why: String| End::inconclusive(clause::OBSERVER, why);
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        let turn = turn.map_err(|error| lost(error.to_string()))?;
        let (root, name) = (self.root, path.as_str().to_owned());
        let look = move || {
            let found = root.open(&name, OFlag::O_PATH);
            drop(turn);
            found
        };
        let found = tokio::task::spawn_blocking(look).await;
        match found.map_err(|error| lost(format!("a look was lost: {error}")))? {
            Ok(file) => Ok(Some(file)),
            Err(RootError::File(error)) if is(&error, &NOWHERE) => Ok(None),
            Err(RootError::File(error)) if is(&error, &BROKEN) => {
                let message = format!("cannot look at {}: {error}", path.as_str());
                Err(End::fail(clause::FILE, Evidence::Explicit, message))
            }
            Err(error @ (RootError::File(_) | RootError::Gone | RootError::Unseen(_))) => {
                Err(lost(format!("cannot look at {}: {error}", path.as_str())))
            }
        }
    }
}

fn is(error: &io::Error, known: &[Errno]) -> bool {
    error.raw_os_error().is_some_and(|raw| known.contains(&Errno::from_raw(raw)))
}
