//! What the process says of its own health: the endpoints, the metrics, and word to systemd.

use std::{
    fs::File,
    io::Write,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result};
use prometheus_client::{
    metrics::gauge::Gauge,
    registry::{Registry, Unit},
};
use tokio::sync::watch;
use vitals::{
    Check, CheckError, Component, Context, Details, Disclosure, Heartbeat, Listener, Status, Vitals,
};
use warren_containerd::Containerd;
use warren_manager::{Manager, Pulse};
use warren_runtime::Runtime;
use warren_worker::SessionState;

use super::settings::Home;
use crate::{cli::process::HealthArgs, failure::Failure, tls::Own};

/// A write costs the disk a turn, so it is tried now and then.
const STORE_EVERY: Duration = Duration::from_secs(10);
const WRITTEN: usize = 16 << 10;
/// A disk may be busy for that long and still be one.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than a disk that is well is ever busy with one batch.
const COMMIT_MAX: Duration = Duration::from_secs(2);
/// As long as the loop may take for what it does itself. It plans in milliseconds.
const LOOP_BOUND: Duration = Duration::from_secs(10);
/// All checks run whether somebody asks or not, so that the metrics are always those of now. What
/// is at hand is looked at each second; asking containerd or a disk more often tells nothing new.
const OFTEN: Duration = Duration::from_secs(1);
const SELDOM: Duration = Duration::from_secs(5);
/// Tables of nodes and of history have times of this clock: who compares them should know.
const STEP_MAX: Duration = Duration::from_secs(1);
const STEP_REMEMBERED: Duration = Duration::from_mins(5);
/// 2026. A clock that was never set stands long before.
const CLOCK_MIN: Duration = Duration::from_hours(490_896);

/// The process's health while it is put together.
pub struct Health {
    address: Option<SocketAddr>,
    vitals: Vitals,
    registry: Registry,
}

/// While this lives the endpoints are served.
pub struct Served {
    pub vitals: Vitals,
    _listener: Option<Listener>,
}

impl Health {
    pub fn checked(args: &HealthArgs, service: &str) -> Result<Self, Failure> {
        let address = args.health_listen.as_deref().filter(|text| *text != "none");
        let address = address.map(super::listen::address).transpose();
        let address = address.map_err(|why| Failure::flag("--health-listen", why))?;
        let vitals = Vitals::new(service, env!("CARGO_PKG_VERSION"))
            .disclosure(Disclosure::Loopback)
            .component(Component::non_critical("clock", Clock::new()).periodic(SELDOM));
        Ok(Self { address, vitals, registry: Registry::default() })
    }

    /// For the parts that count for themselves.
    pub fn registry(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// Whatever part of Warren this is, it keeps things there.
    pub fn of_home(&mut self, home: &Home) {
        let disk = vitals::disk(home.data_dir());
        self.add(Component::non_critical("disk", disk).periodic(SELDOM));
    }

    /// The process's own, which it has read at its start: when that ends is known, and not asked
    /// for by a scrape.
    pub fn of_certificate(&mut self, own: Option<&Own>) {
        let Some(own) = own else { return };
        let certificate = vitals::certificate(&own.file).in_use(own.certificate.as_slice());
        if let Ok(until) = certificate.valid_until() {
            let until = until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let expiry = Gauge::<f64, AtomicU64>::default();
            expiry.set(until.as_secs_f64());
            self.registry.register_with_unit(
                "warren_certificate_expiry_timestamp",
                "When the process's own certificate ends",
                Unit::Seconds,
                expiry,
            );
        }
        self.add(Component::critical("certificate", certificate).periodic(SELDOM));
    }

    pub fn of_manager(&mut self, manager: &Manager, home: &Home) {
        let store = Store { writing: writable(home.data_dir()), pulse: manager.pulse() };
        let store = Component::critical("store", store);
        self.add(store.periodic(STORE_EVERY).timeout(STORE_TIMEOUT));
        let turning = Heartbeat::new(LOOP_BOUND);
        self.vitals = self.vitals.clone().internal("control", &turning);
        let turns = ControlLoop { pulse: manager.pulse(), turning };
        self.add(Component::critical("control-loop", turns).periodic(OFTEN));
        manager.register(&mut self.registry);
    }

    pub fn of_worker(
        &mut self,
        config: &warren_worker::Config,
        home: &Home,
        containerd: Option<Containerd>,
    ) {
        self.vitals = self.vitals.clone().runtime("engine", config.engine.handle());
        let session = Session(config.session.subscribe());
        self.add(Component::critical("session", session).periodic(OFTEN));
        let state = Component::critical("worker-state", writable(&home.worker_dir()));
        self.add(state.periodic(STORE_EVERY).timeout(STORE_TIMEOUT));
        if let Some(containerd) = containerd {
            let answers = Component::critical("containerd", Answers(containerd));
            self.add(answers.periodic(SELDOM));
        }
    }

    fn add(&mut self, component: Component) {
        self.vitals = self.vitals.clone().component(component);
    }

    /// An address that cannot be bound ends the start.
    pub fn serve(self) -> Result<Served> {
        let Self { address, vitals, mut registry } = self;
        vitals.register(&mut registry);
        vitals.start();
        let Some(address) = address else { return Ok(Served { vitals, _listener: None }) };
        let listener = vitals.listen_with_metrics(address, Arc::new(registry)).with_context(|| {
            format!(
                "cannot serve health on {address}: choose another address with --health-listen, \
                 or stop what uses it"
            )
        })?;
        tracing::info!(address = %listener.address(), "health endpoints are served");
        Ok(Served { vitals, _listener: Some(listener) })
    }
}

/// What systemd wants to hear, where it has started the process: that it is ready, then that it
/// lives, for as long as it does. Never returns.
pub async fn tell_systemd(vitals: &Vitals) {
    notify(&[sd_notify::NotifyState::Ready]);
    let Some(limit) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    loop {
        if vitals.alive().status != Status::Unhealthy {
            notify(&[sd_notify::NotifyState::Watchdog]);
        }
        tokio::time::sleep(limit / 2).await;
    }
}

pub fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}

/// Whether files beside those that matter can be written.
fn writable(dir: &Path) -> impl Check + use<> {
    let file = dir.join("health.probe");
    vitals::blocking(move || write(&file))
}

/// What a database needs: room for a few pages more, and a disk that says that it has them. The
/// last such file stays until the new one is there: its own room proves nothing.
fn write(path: &Path) -> Result<(), CheckError> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(&[b'.'; WRITTEN])?;
    file.sync_all()?;
    Ok(std::fs::rename(new, path)?)
}

/// A commit is not tried for its own sake: one that fails ends the manager.
struct Store<W> {
    writing: W,
    pulse: Pulse,
}

impl<W: Check> Check for Store<W> {
    async fn check(&self, context: Context) -> Result<Details, CheckError> {
        match self.pulse.committing_for() {
            Some(waited) if waited > COMMIT_MAX => {
                let seconds = waited.as_secs_f64();
                Err(CheckError::new(format!("a commit has waited {seconds:.1} s for the disk")))
            }
            Some(_) | None => self.writing.check(context).await,
        }
    }
}

/// Readiness has it that the loop turns; liveness, that if it does not, it waits for the disk.
struct ControlLoop {
    pulse: Pulse,
    turning: Heartbeat,
}

impl Check for ControlLoop {
    async fn check(&self, _: Context) -> Result<Details, CheckError> {
        if self.pulse.committing_for().is_some() {
            self.turning.beat();
        }
        self.pulse.beat().await?;
        self.turning.beat();
        Ok(Details::healthy())
    }
}

struct Session(watch::Receiver<SessionState>);

impl Check for Session {
    async fn check(&self, _: Context) -> Result<Details, CheckError> {
        match *self.0.borrow() {
            SessionState::Up => Ok(Details::healthy()),
            SessionState::Down => Err(CheckError::new("no session with the manager")),
        }
    }
}

struct Answers(Containerd);

impl Check for Answers {
    async fn check(&self, _: Context) -> Result<Details, CheckError> {
        let version = self.0.ping().await?;
        Ok(Details::healthy().message(format!("version {version}")))
    }
}

/// Whether the date is one, and does not jump.
struct Clock(Mutex<Seen>);

#[derive(Clone, Copy)]
struct Seen {
    at: Instant,
    date: SystemTime,
    stepped: Option<(Instant, Duration)>,
}

impl Clock {
    fn new() -> Self {
        let (at, date) = (Instant::now(), SystemTime::now());
        Self(Mutex::new(Seen { at, date, stepped: None }))
    }
}

impl Check for Clock {
    async fn check(&self, _: Context) -> Result<Details, CheckError> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = seen.next(Instant::now(), SystemTime::now());
        seen.judge()
    }
}

impl Seen {
    fn next(self, at: Instant, date: SystemTime) -> Self {
        let expected = self.date + at.duration_since(self.at);
        let off = date.duration_since(expected).unwrap_or_else(|backwards| backwards.duration());
        let stepped = if off > STEP_MAX { Some((at, off)) } else { self.stepped };
        let fresh = |(when, _): &(Instant, _)| at.duration_since(*when) < STEP_REMEMBERED;
        Self { at, date, stepped: stepped.filter(fresh) }
    }

    fn judge(self) -> Result<Details, CheckError> {
        let since = self.date.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if since < CLOCK_MIN {
            return Err(CheckError::new("the clock was never set"));
        }
        Ok(match self.stepped {
            None => Details::healthy(),
            Some((_, off)) => {
                let seconds = off.as_secs_f64();
                Details::degraded(format!("the clock has jumped by {seconds:.1} s lately"))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_is_remembered_for_a_while() {
        let second = Duration::from_secs(1);
        let date = SystemTime::UNIX_EPOCH + CLOCK_MIN + 1000 * second;
        let start = Instant::now();
        let seen = Seen { at: start, date, stepped: None };
        let steady = seen.next(start + second, date + second);
        assert_eq!(steady.judge().unwrap(), Details::healthy());
        for jumped in [date + 12 * second, date - 8 * second] {
            let after = steady.next(start + 2 * second, jumped);
            let said = Details::degraded("the clock has jumped by 10.0 s lately");
            assert_eq!(after.judge().unwrap(), said);
            let calm = after.next(after.at + STEP_REMEMBERED, after.date + STEP_REMEMBERED);
            assert_eq!(calm.judge().unwrap(), Details::healthy());
        }
        let unset = seen.next(start, SystemTime::UNIX_EPOCH);
        assert_eq!(unset.judge().unwrap_err().message(), "the clock was never set");
    }

    #[test]
    fn what_cannot_be_written_is_told() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write(&dir.path().join("health.probe")).is_ok());
        let error = write(Path::new("/proc/health.probe")).unwrap_err();
        assert!(!error.message().is_empty());
    }
}
