//! Sockets inside a task's network namespace.
//!
//! A socket belongs for ever to the namespace that its maker was in. So only `socket()` has to
//! happen inside: the thread enters, makes it and comes back, with no await in between, and all
//! else is done from outside.

use std::{fs::File, io, path::PathBuf, sync::OnceLock};

use nix::{
    errno::Errno,
    sched::{CloneFlags, setns},
};
use socket2::{Domain, Socket, Type};

use crate::{
    clause,
    end::{End, outcome_of},
};

/// A task's network namespace.
#[derive(Debug)]
pub(crate) struct Netns {
    path: PathBuf,
    /// Opened once: it saves 4 µs for each attempt, and the name of a process that has ended may
    /// later be another one's.
    handle: OnceLock<File>,
}

/// The namespace that this process lives in.
#[derive(Debug)]
pub(crate) struct Home {
    handle: File,
    /// Whether it may be entered, which is what coming back is. Where it may not, no thread ever
    /// leaves.
    may_return: Result<(), Errno>,
}

/// While it lives, the thread is in a task's namespace.
struct Away<'a>(&'a Home);

impl Netns {
    pub(crate) fn open(path: PathBuf) -> Self {
        let handle = match File::open(&path) {
            Ok(file) => OnceLock::from(file),
            // The attempts will say so.
            Err(_) => OnceLock::new(),
        };
        Self { path, handle }
    }

    fn handle(&self) -> Result<&File, End> {
        if let Some(file) = self.handle.get() {
            return Ok(file);
        }
        let file = File::open(&self.path).map_err(|error| {
            let path = self.path.display();
            let message = format!("cannot open the task's network namespace {path}: {error}");
            End::inconclusive(clause::OBSERVER, message)
        })?;
        Ok(self.handle.get_or_init(|| file))
    }
}

impl Home {
    /// The namespace of the calling thread, which all threads of a worker share.
    pub(crate) fn open() -> io::Result<Self> {
        let handle = File::open("/proc/thread-self/ns/net")?;
        let may_return = setns(&handle, CloneFlags::CLONE_NEWNET);
        Ok(Self { handle, may_return })
    }

    /// A non-blocking TCP socket in the task's namespace, or in ours where it has none.
    pub(crate) fn socket(&self, netns: Option<&Netns>, domain: Domain) -> Result<Socket, End> {
        let away = netns.map(|netns| self.enter(netns.handle()?)).transpose()?;
        let socket = Socket::new(domain, Type::STREAM.nonblocking(), None);
        drop(away);
        socket.map_err(|error| {
            let outcome = outcome_of(&error);
            let message = format!("cannot make a socket: {error}");
            End {
                outcome,
                clause: clause::of_connection(outcome),
                message,
                components: Box::default(),
            }
        })
    }

    fn enter(&self, netns: &File) -> Result<Away<'_>, End> {
        self.may_return
            .and_then(|()| setns(netns, CloneFlags::CLONE_NEWNET))
            .map(|()| Away(self))
            .map_err(|errno| {
                let why = errno.desc();
                let message = format!("cannot enter the task's network namespace: {why}");
                End::inconclusive(clause::OBSERVER, message)
            })
    }
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        if let Err(errno) = setns(&self.0.handle, CloneFlags::CLONE_NEWNET) {
            // The thread is stranded among the task's sockets. Whatever runs on it next, such as
            // another task's check or the session with the manager, would use the wrong network
            // and report falsehoods. Tasks outlive the worker; a wrong worker is worse than none.
            tracing::error!(error = errno.desc(), "cannot leave a task's network namespace");
            std::process::abort();
        }
    }
}
