//! The handle that a service holds.

use std::{fmt, io, sync::Arc, time::Duration};

use thiserror::Error;
use tokio::{
    runtime::Handle,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{
    answer::RESERVED,
    check::Check,
    clock::Clock,
    disclosure::Disclosure,
    heartbeat::Heartbeat,
    live::Live,
    report::Report,
    settings::Component,
    shared::{Config, RUNTIME, Scope, Shared},
};

/// As long as a blocked thread may be an accident.
const RUNTIME_BOUND: Duration = Duration::from_secs(10);
/// Set by Warren for its tasks, and by whoever runs containers.
const INSTANCE_VARIABLES: [&str; 2] = ["WARREN_TASK_ID", "HOSTNAME"];

/// The health of a service. Cheap to clone; all clones are the same service.
///
/// ```
/// use vitals::{CheckError, Vitals};
///
/// let health = Vitals::new("payments", env!("CARGO_PKG_VERSION"))
///     .critical("ledger", || async { Ok::<_, CheckError>(()) })
///     .non_critical("rates", || async { Err::<(), _>(CheckError::new("no rates today")) });
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let report = health.report().await;
/// assert_eq!(report.status, vitals::Status::Degraded);
/// assert_eq!(health.ready().await.status, vitals::Status::Healthy);
/// # });
/// ```
#[derive(Clone)]
pub struct Vitals(Arc<Shared>);

/// Why a component cannot be added.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// Another component has the name.
    #[error("there already is a component {0:?}: give each a name of its own")]
    Duplicate(String),
    /// The name means something else.
    #[error("{0:?} is a name of vitals' own: choose another one")]
    Reserved(String),
    /// The name cannot be a part of an address.
    #[error("{0:?} is no name: use letters, digits and ._-")]
    BadName(String),
}

impl Vitals {
    /// A service without components, which is healthy as long as it runs.
    pub fn new(service: impl Into<String>, version: impl Into<String>) -> Self {
        let instance = INSTANCE_VARIABLES.iter().find_map(|name| std::env::var(name).ok());
        let config = Config {
            clock: Clock::machine(),
            instance,
            disclosure: Disclosure::Loopback,
            secrets: Vec::new(),
            runtime_bound: RUNTIME_BOUND,
        };
        Self(Shared::new(service.into(), version.into(), config))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    /// Adds what the service cannot work without; see [`component`](Self::component).
    #[track_caller]
    pub fn critical(self, name: impl Into<String>, check: impl Check) -> Self {
        self.component(Component::critical(name, check))
    }

    /// Adds what the service works without, only worse; see [`component`](Self::component).
    #[track_caller]
    pub fn non_critical(self, name: impl Into<String>, check: impl Check) -> Self {
        self.component(Component::non_critical(name, check))
    }

    /// Adds what is shown and counts for nothing; see [`component`](Self::component).
    #[track_caller]
    pub fn informational(self, name: impl Into<String>, check: impl Check) -> Self {
        self.component(Component::informational(name, check))
    }

    /// Adds a component with settings of its own.
    ///
    /// # Panics
    ///
    /// When the name is taken or is no name: a mistake in the program that its first run shows. For
    /// names that come from elsewhere there is [`try_component`](Self::try_component).
    #[track_caller]
    pub fn component(self, component: Component) -> Self {
        match self.try_component(component) {
            Ok(vitals) => vitals,
            Err(error) => panic!("{error}"),
        }
    }

    /// Adds a component, unless its name is taken or is no name.
    pub fn try_component(self, component: Component) -> Result<Self, RegistrationError> {
        self.check_name(&component.name)?;
        self.0.add(Live::new(component));
        Ok(self)
    }

    /// Adds a loop of this process to what liveness looks at. It takes nothing but heartbeats:
    /// a liveness that could depend on a database would have the service replaced for the
    /// database's failure. So this does not compile:
    ///
    /// ```compile_fail,E0277
    /// use vitals::{CheckError, Vitals};
    ///
    /// let database = || async { Ok::<_, CheckError>(()) };
    /// let health = Vitals::new("payments", "1.0.0").internal("database", database);
    /// ```
    ///
    /// while the same check is welcome as a component:
    ///
    /// ```
    /// use vitals::{CheckError, Vitals};
    ///
    /// let database = || async { Ok::<_, CheckError>(()) };
    /// let health = Vitals::new("payments", "1.0.0").critical("database", database);
    /// # drop(health);
    /// ```
    ///
    /// # Panics
    ///
    /// When the name is taken or is no name.
    #[track_caller]
    pub fn internal(self, name: impl Into<String>, beat: impl Into<Heartbeat>) -> Self {
        self.0.add_internal(self.own_name(name.into()), beat.into());
        self
    }

    /// Has liveness watch another tokio runtime of this process as well, under this name. The one
    /// that runs the checks is watched in any case.
    ///
    /// # Panics
    ///
    /// When the name is taken or is no name.
    #[track_caller]
    pub fn runtime(self, name: impl Into<String>, runtime: &Handle) -> Self {
        self.0.watch_runtime(self.own_name(name.into()), runtime);
        self
    }

    #[track_caller]
    fn own_name(&self, name: String) -> String {
        match self.check_name(&name) {
            Ok(()) => name,
            Err(error) => panic!("{error}"),
        }
    }

    fn check_name(&self, name: &str) -> Result<(), RegistrationError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || !name.chars().all(fits) {
            return Err(RegistrationError::BadName(name.to_owned()));
        }
        if RESERVED.contains(&name) || name == RUNTIME || name == "drain" {
            return Err(RegistrationError::Reserved(name.to_owned()));
        }
        if self.0.knows(name) {
            return Err(RegistrationError::Duplicate(name.to_owned()));
        }
        Ok(())
    }

    /// Who sees components and messages; [`Disclosure::Loopback`] by default.
    pub fn disclosure(self, disclosure: Disclosure) -> Self {
        self.0.configure(|config| config.disclosure = disclosure);
        self
    }

    /// A text that no message may show. Passwords in addresses and values of `password=` and its
    /// like are taken out without being named.
    pub fn secret(self, secret: impl Into<String>) -> Self {
        self.0.configure(|config| config.secrets.push(secret.into()));
        self
    }

    /// Which instance of the service this is; `$WARREN_TASK_ID` or `$HOSTNAME` by default.
    pub fn instance(self, instance: impl Into<String>) -> Self {
        self.0.configure(|config| config.instance = Some(instance.into()));
        self
    }

    /// How long an async runtime may be blocked before liveness fails, 10 s by default. Of those
    /// that are watched from then on.
    pub fn runtime_bound(self, bound: Duration) -> Self {
        self.0.configure(|config| config.runtime_bound = bound);
        self
    }

    /// Another clock, before anything runs: for tests.
    pub fn clock(self, clock: impl Into<Clock>) -> Self {
        self.0.configure(|config| config.clock = clock.into());
        self
    }

    /// Closes a gate: the service is not ready, and its startup is not over, until it is opened.
    ///
    /// ```
    /// use vitals::{Status, Vitals};
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(async {
    /// let health = Vitals::new("payments", "1.0.0");
    /// let migrations = health.gate("migrations");
    /// assert_eq!(health.ready().await.status, Status::Unhealthy);
    /// migrations.open();
    /// assert_eq!(health.ready().await.status, Status::Healthy);
    /// # });
    /// ```
    pub fn gate(&self, name: impl Into<String>) -> Gate {
        let name = name.into();
        self.0.lifecycle.close(&name);
        self.0.publish();
        Gate { name, shared: Arc::clone(&self.0) }
    }

    /// Runs what is due and reports on everything: what `/health` answers.
    pub async fn report(&self) -> Report {
        self.0.report(&Scope::Health, &[]).await
    }

    /// Whether traffic is welcome: started, not draining, all critical components up. What
    /// `/health/ready` answers.
    pub async fn ready(&self) -> Report {
        self.0.report(&Scope::Ready, &[]).await
    }

    /// Whether this process works at all. Depends on nothing outside of it, and needs no runtime.
    /// What `/liveness` answers.
    pub fn alive(&self) -> Report {
        self.0.start();
        self.0.look(&Scope::Live, &[])
    }

    /// What is known now, without running anything.
    pub fn last_report(&self) -> Report {
        self.0.look(&Scope::Health, &[])
    }

    /// The report whenever a state in it changes. Components that are checked on demand change only
    /// when somebody asks; make them [`periodic`](Component::periodic) to be told.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Report>> {
        self.0.start();
        self.0.subscribe()
    }

    /// Begins what runs in the background, on the runtime of the caller. The adapters do it; it is
    /// for services that have none. Must be called within a tokio runtime to have an effect.
    pub fn start(&self) {
        self.0.start();
    }

    /// Not ready any more, from this moment on. It cannot be taken back.
    pub fn drain(&self) {
        if self.0.lifecycle.drain() {
            tracing::info!("draining");
            self.0.publish();
        }
    }

    /// Whether the end has begun.
    pub fn is_draining(&self) -> bool {
        self.0.lifecycle.is_draining()
    }

    /// Whoever sends traffic says that it has stopped: the drain need not wait any longer.
    pub fn acknowledge_drain(&self) {
        self.0.lifecycle.acknowledge();
    }

    /// Drains at SIGTERM or SIGINT, and is done `delay` later: by then everybody must have seen
    /// that this instance is not ready. A second signal or
    /// [`acknowledge_drain`](Self::acknowledge_drain) cuts it short. For a server's shutdown:
    ///
    /// ```no_run
    /// # async fn run(listener: tokio::net::TcpListener) -> std::io::Result<()> {
    /// # use std::time::Duration;
    /// # use vitals::Vitals;
    /// let health = Vitals::new("payments", "1.0.0");
    /// let app = axum::Router::new().merge(health.routes());
    /// axum::serve(listener, app)
    ///     .with_graceful_shutdown(health.drain_on_signal(Duration::from_secs(5))?)
    ///     .await
    /// # }
    /// ```
    pub fn drain_on_signal(
        &self,
        delay: Duration,
    ) -> io::Result<impl Future<Output = ()> + Send + use<>> {
        let (mut term, mut int) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let vitals = self.clone();
        Ok(async move {
            let mut signalled = async || {
                tokio::select! {
                    _ = term.recv() => {}
                    _ = int.recv() => {}
                }
            };
            signalled().await;
            vitals.drain();
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = vitals.0.lifecycle.acknowledged() => {}
                () = signalled() => {}
            }
        })
    }

    /// Work that must be finished before the end: hold what this returns for as long as it lasts.
    pub fn in_flight(&self) -> InFlight {
        self.0.lifecycle.enter();
        InFlight(Arc::clone(&self.0))
    }

    /// Waits until no work is in flight, `limit` at most; says how much still is.
    pub async fn idle(&self, limit: Duration) -> usize {
        self.0.lifecycle.idle(limit).await
    }
}

impl fmt::Debug for Vitals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { service, version, .. } = &*self.0;
        f.debug_struct("Vitals")
            .field("service", service)
            .field("version", version)
            .finish_non_exhaustive()
    }
}

/// Something that must be done before the service has started. Dropped unopened it stays closed.
#[must_use = "the service is not ready until the gate is opened"]
pub struct Gate {
    name: String,
    shared: Arc<Shared>,
}

impl Gate {
    /// It is done.
    pub fn open(self) {
        self.shared.lifecycle.open(&self.name);
        self.shared.publish();
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gate").field(&self.name).finish()
    }
}

/// Work that goes on; see [`Vitals::in_flight`].
#[must_use = "the work counts for as long as this lives"]
pub struct InFlight(Arc<Shared>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.lifecycle.leave();
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InFlight")
    }
}
