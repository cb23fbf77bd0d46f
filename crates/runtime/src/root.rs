//! Opens files of a task, from outside of it, and of nothing but the task.
//!
//! A container writes its own symbolic links, and `/proc/PID/root/etc/x` follows them from the
//! node's root. So the kernel resolves each path as if the task's root were its own, and no magic
//! link of a `/proc` in it leads out either. Blocking: a file system may hang.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2},
    sys::stat::Mode,
};

use crate::process::proc::started;

/// A task's root directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// The node's own, for a task without a container.
    Node,
    /// That of a process, by its number and when it started: the number may later be another's.
    Of { pid: u32, started: Option<u64> },
}

/// Why a file of a task could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    #[error("the task's process is gone")]
    Gone,
    /// Looked for by this process, which may not see the task.
    #[error("cannot look into the task's files: {0}")]
    Unseen(#[source] io::Error),
    /// What the task's own files answer.
    #[error("{0}")]
    File(#[source] io::Error),
}

impl Root {
    /// Of a process that runs now. `None`: the node's own.
    pub fn of(pid: Option<u32>) -> Self {
        pid.map_or(Self::Node, |pid| Self::Of { pid, started: started(pid) })
    }

    /// Opens `path`, which a relative part of cannot leave.
    pub fn open(&self, path: &str, flags: OFlag) -> Result<OwnedFd, RootError> {
        let root = self.directory()?;
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(root, path, how).map_err(|errno| RootError::File(errno.into()))
    }

    /// The beginning of a file, as text. A file that is not there is empty.
    pub fn read(&self, path: &str, max: u64) -> Result<String, RootError> {
        // A FIFO in its place would wait for a writer.
        let file = match self.open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK) {
            Err(RootError::File(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(String::new());
            }
            file => File::from(file?),
        };
        let mut bytes = Vec::new();
        file.take(max).read_to_end(&mut bytes).map_err(RootError::File)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn directory(&self) -> Result<OwnedFd, RootError> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let unseen = |errno: Errno| {
            if matches!(errno, Errno::ENOENT | Errno::ESRCH) {
                RootError::Gone
            } else {
                RootError::Unseen(errno.into())
            }
        };
        let (pid, known) = match *self {
            Self::Node => return open("/", flags, Mode::empty()).map_err(unseen),
            Self::Of { pid, started } => (pid, started),
        };
        // This directory belongs to one process for ever, so it is the right one if the process
        // that has the number after it was opened is.
        let process = Path::new("/proc").join(pid.to_string());
        let process = open(&process, flags, Mode::empty()).map_err(unseen)?;
        if known.is_none() || started(pid) != known {
            return Err(RootError::Gone);
        }
        openat(process, "root", flags, Mode::empty()).map_err(unseen)
    }
}
