//! What a worker calls: a [`Prober`] for the process, a [`Target`] for each task, and
//! [`Prober::attempt`].

use std::{
    fmt,
    future::poll_fn,
    hint::black_box,
    io,
    net::IpAddr,
    pin::{Pin, pin},
    sync::{Arc, MutexGuard},
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until},
};
use warren_core::{
    check::{Check, CheckKind, FileCheck, Role},
    clause::Clause,
    id::TaskId,
    outcome::{Attempt, Evidence, Outcome},
    time::Timestamp,
    trial::{Phases, Trial},
};
use warren_runtime::{Reach, Runtime};

use crate::{
    clause,
    connect::Peer,
    end::End,
    exec, file,
    files::Files,
    grpc::{self, Allowed, Call},
    http::{self, Visit},
    kept::{Idle, Kept},
    message,
    netns::{Home, Netns},
    observer::Observer,
    parts::{self, Rule},
    socket::comes_back,
    tcp, tls,
    trace::Trace,
};

/// What all attempts of a worker share.
#[derive(Debug)]
pub struct Prober {
    pub(crate) home: Home,
    pub(crate) tls: tls::Configs,
    /// So many commands run at once.
    pub(crate) exec_permits: Semaphore,
    /// None: it is taken to see well.
    observer: Option<Arc<Observer>>,
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
    pub(crate) files: Files,
    /// Connections that outlive an attempt.
    pub(crate) kept_http: Kept<http::Connection>,
    pub(crate) kept_grpc: Kept<grpc::Connection>,
}

/// See [`Target::peek`].
#[derive(Debug)]
pub struct Peeked<'a>(MutexGuard<'a, Idle<http::Connection>>);

/// What one attempt saw. The caller says when it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub outcome: Outcome,
    /// Of docs/checks.md, that decided.
    pub clause: Clause,
    /// For a person; at most [`Attempt::MESSAGE_MAX`](warren_core::outcome::Attempt::MESSAGE_MAX)
    /// bytes.
    pub message: String,
    /// That a failing answer names as broken.
    pub components: Box<[String]>,
    /// From the start to the answer or the end; without `waited`.
    pub latency: Duration,
    /// For a command's permit, before the deadline began to run.
    pub waited: Duration,
    /// It was given more than its deadline, for the observer's lateness.
    pub stretched: bool,
    /// Of the last connection, and what came before it.
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
            tls: tls::Configs::new().map_err(Fault::Tls)?,
            exec_permits: Semaphore::new(permits),
            observer: None,
        })
    }

    /// With deadlines that are stretched while this one is short of time.
    #[must_use]
    pub fn with_observer(self, observer: Arc<Observer>) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// What a deadline of `timeout` is now.
    pub(crate) fn given(&self, timeout: Duration) -> Given {
        let limit = self.observer.as_ref().map(|observer| observer.stretched(timeout));
        Given::of(timeout, limit.unwrap_or(timeout))
    }

    /// Looks once.
    pub async fn attempt(&self, target: &Target, kind: &CheckKind, timeout: Duration) -> Seen {
        // What is frequent is in one piece, of which a worker uses the memory again and again. What
        // is not is boxed: the others shall not carry the room for it.
        match kind {
            CheckKind::Exec(check) => Box::pin(exec::attempt(self, target, check, timeout)).await,
            CheckKind::All(whole) => {
                Box::pin(parts::attempt(self, target, Rule::All, whole, timeout)).await
            }
            CheckKind::Any(whole) => {
                Box::pin(parts::attempt(self, target, Rule::Any, whole, timeout)).await
            }
            CheckKind::Http(_) | CheckKind::Tcp(_) | CheckKind::Grpc(_) | CheckKind::File(_) => {
                self.look(target, kind, timeout).await
            }
        }
    }

    /// One look by ourselves, without a command.
    pub(crate) async fn look(&self, target: &Target, kind: &CheckKind, limit: Duration) -> Seen {
        let trace = Trace::start();
        let mut watch = Watch::new(&trace, limit, self.observer.as_deref());
        // Pinned here: an argument takes its room twice.
        let looked = match kind {
            CheckKind::Http(check) => match Peer::of(target, &check.endpoint) {
                Ok(peer) => {
                    let visit = Visit::new(self, target, check, peer, &trace);
                    watch.at(peer, pin!(visit.follow())).await
                }
                Err(end) => Err(end),
            },
            CheckKind::Tcp(check) => match Peer::of(target, &check.endpoint) {
                Ok(peer) => {
                    watch.at(peer, pin!(tcp::look(self, target, check, peer, &trace))).await
                }
                Err(end) => Err(end),
            },
            CheckKind::Grpc(check) => match Peer::of(target, &check.endpoint) {
                Ok(peer) => {
                    let longest = self.observer.as_ref().map(|_| Observer::longest(limit));
                    let allowed = Allowed { limit, longest: longest.unwrap_or(limit) };
                    let (prober, trace) = (self, &trace);
                    let call = Call { prober, target, check, peer, trace, allowed };
                    watch.at(peer, Box::pin(call.make()).as_mut()).await
                }
                Err(end) => Err(end),
            },
            CheckKind::File(check) => {
                watch.file(check, Box::pin(file::look(target, check)).as_mut()).await
            }
            CheckKind::Exec(_) | CheckKind::All(_) | CheckKind::Any(_) => {
                let message = format!("a check of kind {} is no single look", kind.name());
                Err(End::inconclusive(clause::OBSERVER, message))
            }
        };
        let seen = trace.seen(looked.unwrap_or_else(|end| end));
        if seen.outcome != Outcome::Pass {
            target.failed(kind);
        }
        Seen { stretched: watch.given.is_stretched(), ..seen }
    }
}

/// Holds a look to its deadline. An answer that is there counts, even where we come late to read
/// it.
#[derive(Debug)]
struct Watch<'a> {
    trace: &'a Trace,
    observer: Option<&'a Observer>,
    given: Given,
}

/// The time that an attempt was given, for what may take `timeout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) timeout: Duration,
    pub(crate) limit: Duration,
    /// It has had a second chance.
    pub(crate) anew: bool,
}

impl<'a> Watch<'a> {
    const fn new(trace: &'a Trace, timeout: Duration, observer: Option<&'a Observer>) -> Self {
        Self { trace, observer, given: Given::of(timeout, timeout) }
    }

    async fn at(
        &mut self,
        peer: Peer<'_>,
        look: Pin<&mut impl Future<Output = Result<End, End>>>,
    ) -> Result<End, End> {
        let trace = self.trace;
        let late = |given| (trace.late_clause(), trace.lateness(given, &peer));
        self.hold(look, late).await
    }

    async fn file(
        &mut self,
        check: &FileCheck,
        look: Pin<&mut impl Future<Output = Result<End, End>>>,
    ) -> Result<End, End> {
        let late = |given| {
            (clause::DEADLINE, format!("no look at {} within {given}", check.path.as_str()))
        };
        self.hold(look, late).await
    }

    /// Asks anew at each deadline: what starves us may have begun since the last one.
    async fn hold(
        &mut self,
        mut look: Pin<&mut impl Future<Output = Result<End, End>>>,
        late: impl FnOnce(Given) -> (Clause, String),
    ) -> Result<End, End> {
        loop {
            let deadline = self.trace.start + self.given.limit;
            if let Some(looked) = until(deadline, look.as_mut()).await {
                return looked;
            }
            let by = deadline.elapsed();
            let longer = |observer: &Observer| observer.longer(self.given, by);
            let Some(longer) = self.observer.and_then(longer) else {
                let (clause, message) = late(self.given);
                return Err(End::fail(clause, Evidence::Timeout, message));
            };
            self.given = longer;
        }
    }
}

/// A timer is set only once the look has to be waited for, which most have not: setting and
/// unsetting one costs as much as a read.
async fn until<T>(deadline: Instant, mut look: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    /// More than a look takes whose answer is there in time; a peer that floods it has no more.
    const UNTIMED: u8 = 4;
    let (mut timer, mut untimed) = (pin!(sleep_until(deadline)), 0);
    poll_fn(|cx| {
        let (looked, comes_back) = comes_back(|| look.as_mut().poll(cx));
        if let Poll::Ready(looked) = looked {
            return Poll::Ready(Some(looked));
        }
        if comes_back && untimed < UNTIMED {
            untimed += 1;
            return Poll::Pending;
        }
        timer.as_mut().poll(cx).map(|()| None)
    })
    .await
}

impl Given {
    pub(crate) const fn of(timeout: Duration, limit: Duration) -> Self {
        Self { timeout, limit, anew: false }
    }

    pub(crate) fn is_stretched(self) -> bool {
        self.limit > self.timeout
    }
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { timeout, limit, anew: _ } = self;
        if self.is_stretched() {
            write!(f, "{limit:?} (in place of {timeout:?}: this worker is short of time itself)")
        } else {
            write!(f, "{timeout:?}")
        }
    }
}

impl Target {
    /// Opens the task's network namespace. Where that fails, each attempt tries again.
    pub fn new(task: TaskId, reach: Reach, runtime: Arc<dyn Runtime>) -> Self {
        let Reach { netns, address, root_of } = reach;
        Self {
            task,
            address,
            netns: netns.map(Netns::open),
            runtime,
            exec_turn: Semaphore::new(1),
            files: Files::of(root_of),
            kept_http: Kept::default(),
            kept_grpc: Kept::default(),
        }
    }

    /// Ends the connections that attempts have left to the next ones, such as when there are other
    /// checks now.
    pub fn let_go(&self) {
        self.kept_http.let_go();
        self.kept_grpc.let_go();
    }

    /// A check, or a part of one, has not passed: what earlier attempts have left to it is closed.
    pub(crate) fn failed(&self, kind: &CheckKind) {
        match kind {
            CheckKind::Http(check) if check.keep_alive => self.kept_http.failed(check),
            CheckKind::Grpc(check) => self.kept_grpc.failed(check),
            CheckKind::Http(_) | CheckKind::Tcp(_) | CheckKind::Exec(_) | CheckKind::File(_) => {}
            CheckKind::All(parts) | CheckKind::Any(parts) => {
                for part in parts.as_slice() {
                    self.failed(part);
                }
            }
        }
    }

    /// Has its memory fetched, and does nothing else.
    pub fn glance(&self) {
        black_box(self.address);
        self.kept_http.glance();
    }

    /// What lies further away than [`glance`](Self::glance) looks, where nobody uses it.
    pub fn peek(&self) -> Option<Peeked<'_>> {
        self.kept_http.peek().map(Peeked)
    }

    pub fn task(&self) -> TaskId {
        self.task
    }
}

impl Peeked<'_> {
    /// Has its memory fetched, and does nothing else.
    pub fn glance(&self) {
        self.0.glance(http::glance);
    }
}

impl Seen {
    pub(crate) fn new(end: End, started: Instant) -> Self {
        let End { outcome, clause, message, components } = end;
        Self {
            outcome,
            clause,
            message: message::fit(message),
            components,
            latency: started.elapsed(),
            waited: Duration::ZERO,
            stretched: false,
            phases: Phases::default(),
        }
    }

    /// As it is told to whoever asked for it at that time.
    pub fn trial(self, asked: Timestamp, roles: Vec<Role>, check: Check) -> Trial {
        let Self { outcome, clause, message, components, latency, waited, stretched: _, phases } =
            self;
        // A wait for a free slot is ours, so the attempt began after it.
        let attempt = Attempt { at: asked.after(waited), latency, outcome, message, components };
        Trial { roles, check, attempt, phases, waited, clause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // C-74
    #[test]
    fn two_commands_run_at_once_for_each_core() {
        let cores = std::thread::available_parallelism().unwrap().get();
        assert_eq!(Prober::new().unwrap().exec_permits.available_permits(), 2 * cores);
    }
}
