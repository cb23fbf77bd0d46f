//! What a worker calls: a [`Prober`] for the process, a [`Target`] for each task, and
//! [`Prober::attempt`].

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use rustls::ClientConfig;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use warren_core::{
    bounds::Port,
    check::{Check, CheckKind, Endpoint, HttpCheck, PortRef, Role, TcpCheck},
    clause::Clause,
    id::TaskId,
    outcome::{Attempt, Evidence, Outcome},
    time::Timestamp,
    trial::{Phases, Trial},
};
use warren_runtime::{Reach, Runtime};

use crate::{
    clause, connect,
    end::End,
    exec,
    http::Visit,
    message,
    netns::{Home, Netns},
    tls,
    trace::Trace,
};

/// What all attempts of a worker share.
#[derive(Debug)]
pub struct Prober {
    pub(crate) home: Home,
    pub(crate) tls: Arc<ClientConfig>,
    /// So many commands run at once.
    pub(crate) exec_permits: Semaphore,
}

/// What all attempts at a task share. Keep it as long as the task runs, and no longer: it holds
/// the task's network namespace open.
#[derive(Debug)]
pub struct Target {
    pub(crate) task: TaskId,
    pub(crate) address: IpAddr,
    pub(crate) netns: Option<Netns>,
    pub(crate) runtime: Arc<dyn Runtime>,
    /// One command at a time: a shim gains nothing from more.
    pub(crate) exec_turn: Semaphore,
}

/// What one attempt saw. The caller says when it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub outcome: Outcome,
    /// Of docs/checks.md, that decided.
    pub clause: Clause,
    /// For a person; at most [`Attempt::MESSAGE_MAX`](warren_core::outcome::Attempt::MESSAGE_MAX)
    /// bytes.
    pub message: String,
    /// From the start to the answer or the end; without `waited`.
    pub latency: Duration,
    /// For a command's permit, before the deadline began to run.
    pub waited: Duration,
    /// After redirects, of the last connection.
    pub phases: Phases,
}

/// Why this process cannot make attempts at all.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("cannot open /proc/thread-self/ns/net; is /proc mounted?")]
    OwnNamespace(#[source] io::Error),
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
}

impl Prober {
    /// Lets two commands run for each core: what runc can use, and a little to fill the gaps.
    pub fn new() -> Result<Self, Fault> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        Self::with_exec_permits(2 * cores)
    }

    /// Lets so many commands run at once.
    pub fn with_exec_permits(permits: usize) -> Result<Self, Fault> {
        Ok(Self {
            home: Home::open().map_err(Fault::OwnNamespace)?,
            tls: tls::unverified().map_err(Fault::Tls)?,
            exec_permits: Semaphore::new(permits),
        })
    }

    /// Looks once.
    pub async fn attempt(&self, target: &Target, kind: &CheckKind, timeout: Duration) -> Seen {
        // Boxed, since a worker keeps a future like this one for each check, and most of them
        // sleep most of the time.
        match kind {
            CheckKind::Http(
                check @ HttpCheck { endpoint: Endpoint::Port(PortRef::Number(port)), .. },
            ) => Box::pin(self.http(target, check, *port, timeout)).await,
            CheckKind::Tcp(TcpCheck { port: PortRef::Number(port), send, expect: None })
                if send.as_slice().is_empty() =>
            {
                Box::pin(self.tcp(target, *port, timeout)).await
            }
            CheckKind::Http(_)
            | CheckKind::Tcp(_)
            | CheckKind::Grpc(_)
            | CheckKind::File(_)
            | CheckKind::All(_)
            | CheckKind::Any(_) => Seen::new(
                End::inconclusive(clause::OBSERVER, "this worker cannot make such a check"),
                Instant::now(),
            ),
            CheckKind::Exec(check) => Box::pin(exec::attempt(self, target, check, timeout)).await,
        }
    }

    async fn http(
        &self,
        target: &Target,
        check: &HttpCheck,
        port: Port,
        timeout: Duration,
    ) -> Seen {
        let trace = Trace::start();
        let visit = Visit::new(self, target, check, port, &trace);
        let end = within(&trace, timeout, visit.run()).await;
        trace.seen(end.unwrap_or_else(|| late(&trace, timeout, &visit.peer)))
    }

    async fn tcp(&self, target: &Target, port: Port, timeout: Duration) -> Seen {
        let trace = Trace::start();
        let peer = connect::peer(target, port);
        let end = within(&trace, timeout, async {
            match connect::connect(&self.home, target, peer, &trace).await {
                Ok(_stream) => End::pass(clause::CONNECTED, format!("connected to {peer}")),
                Err(end) => end,
            }
        });
        let end = end.await;
        trace.seen(end.unwrap_or_else(|| late(&trace, timeout, &peer)))
    }
}

/// `None` at the deadline. An answer that is there counts, even where we come late to read it.
async fn within(trace: &Trace, timeout: Duration, look: impl Future<Output = End>) -> Option<End> {
    timeout_at(trace.start + timeout, look).await.ok()
}

fn late(trace: &Trace, timeout: Duration, peer: &impl std::fmt::Display) -> End {
    End::fail(trace.late_clause(), Evidence::Timeout, trace.lateness(timeout, peer))
}

impl Target {
    /// Opens the task's network namespace. Where that fails, each attempt tries again.
    pub fn new(task: TaskId, reach: Reach, runtime: Arc<dyn Runtime>) -> Self {
        let Reach { netns, address, root_of: _ } = reach;
        let netns = netns.map(Netns::open);
        Self { task, address, netns, runtime, exec_turn: Semaphore::new(1) }
    }

    pub fn task(&self) -> TaskId {
        self.task
    }
}

impl Seen {
    pub(crate) fn new(end: End, started: Instant) -> Self {
        let End { outcome, clause, message } = end;
        Self {
            outcome,
            clause,
            message: message::fit(message),
            latency: started.elapsed(),
            waited: Duration::ZERO,
            phases: Phases::default(),
        }
    }

    /// As it is told to whoever asked for it at that time.
    pub fn trial(self, asked: Timestamp, roles: Vec<Role>, check: Check) -> Trial {
        let Self { outcome, clause, message, latency, waited, phases } = self;
        // A wait for a free slot is ours, so the attempt began after it.
        let attempt = Attempt { at: asked.after(waited), latency, outcome, message };
        Trial { roles, check, attempt, phases, waited, clause }
    }
}
