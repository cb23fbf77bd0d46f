//! What all handles of one service's vitals share.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, Weak},
    time::Duration,
};

use tokio::{runtime::Handle, sync::watch, task::JoinSet};

use crate::{
    clock::{Clock, Moment},
    disclosure::Disclosure,
    heartbeat::Heartbeat,
    lifecycle::Lifecycle,
    live::{Live, Turned},
    redact::redact,
    report::{ComponentReport, Report, overall},
    settings::Mode,
    state::View,
    status::{Status, Weight},
};

/// The runtime's own component.
pub(crate) const RUNTIME: &str = "runtime";
/// Several beats fit into the bound, so that one that comes late means nothing.
const BEATS_PER_BOUND: u32 = 10;

pub(crate) struct Shared {
    pub service: String,
    pub version: String,
    config: RwLock<Config>,
    components: RwLock<Vec<Arc<Live>>>,
    internal: RwLock<Vec<(String, Heartbeat)>>,
    pub lifecycle: Lifecycle,
    changes: watch::Sender<Arc<Report>>,
    /// The runtime that runs the checks, from the first time that there is one.
    home: OnceLock<Handle>,
    /// End with the last handle.
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Clone)]
pub(crate) struct Config {
    pub clock: Clock,
    pub instance: Option<String>,
    pub disclosure: Disclosure,
    pub secrets: Vec<String>,
    pub runtime_bound: Duration,
}

/// Which question is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    Health,
    Ready,
    Live,
    Startup,
    Component(String),
}

impl Shared {
    pub fn new(service: String, version: String, config: Config) -> Arc<Self> {
        let changes = watch::Sender::new(Arc::new(empty(&service, &version, &config)));
        Arc::new(Self {
            service,
            version,
            config: RwLock::new(config),
            components: RwLock::default(),
            internal: RwLock::default(),
            lifecycle: Lifecycle::new(),
            changes,
            home: OnceLock::new(),
            tasks: Mutex::default(),
        })
    }

    pub fn config(&self) -> RwLockReadGuard<'_, Config> {
        self.config.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn configure(&self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config.write().unwrap_or_else(PoisonError::into_inner));
    }

    pub fn components(&self) -> Vec<Arc<Live>> {
        self.components.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn knows(&self, name: &str) -> bool {
        let internal = self.internal.read().unwrap_or_else(PoisonError::into_inner);
        internal.iter().any(|(known, _)| known == name)
            || self.components().iter().any(|known| known.name == name)
    }

    pub fn add(self: &Arc<Self>, component: Live) {
        let component = Arc::new(component);
        let mut components = self.components.write().unwrap_or_else(PoisonError::into_inner);
        components.push(Arc::clone(&component));
        drop(components);
        if let Some(home) = self.home.get() {
            self.keep_checking(component, home);
        }
        self.publish();
    }

    pub fn add_internal(&self, name: String, beat: Heartbeat) {
        self.internal.write().unwrap_or_else(PoisonError::into_inner).push((name, beat));
    }

    pub fn subscribe(&self) -> watch::Receiver<Arc<Report>> {
        self.changes.subscribe()
    }

    /// Starts what works in the background, once, on the runtime that calls this first. Where there
    /// is none, somebody else has to call it.
    pub fn start(self: &Arc<Self>) -> Option<&Handle> {
        let here = Handle::try_current().ok();
        if let Some(here) = here {
            let mut first = false;
            let home = self.home.get_or_init(|| {
                first = true;
                here
            });
            if first {
                self.watch_runtime(RUNTIME.to_owned(), home);
                for component in self.components() {
                    self.keep_checking(component, home);
                }
            }
        }
        self.home.get()
    }

    /// Has a task of its own beat there: it does for as long as others get their turn.
    pub fn watch_runtime(&self, name: String, runtime: &Handle) {
        let bound = self.config().runtime_bound;
        let beat = Heartbeat::new(bound);
        self.add_internal(name, beat.clone());
        let beating = async move {
            loop {
                beat.beat();
                tokio::time::sleep(bound / BEATS_PER_BOUND).await;
            }
        };
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn_on(beating, runtime);
    }

    /// Runs a periodic component's check until the last handle is gone.
    fn keep_checking(self: &Arc<Self>, component: Arc<Live>, home: &Handle) {
        let Mode::Periodic { interval, jitter } = component.settings.mode else { return };
        let (shared, clock, there) = (self.turned(), self.config().clock.clone(), home.clone());
        let noise = RandomState::new();
        let checking = async move {
            for turn in 0_u64.. {
                component.due(&clock, &there, &shared);
                #[expect(clippy::cast_precision_loss, reason = "any number in 0..1 will do")]
                let share = noise.hash_one(turn) as f64 / u64::MAX as f64;
                let pause = interval.mul_f64(1.0 + jitter * share);
                clock.sleep_until(clock.now() + pause).await;
            }
        };
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn_on(checking, home);
    }

    /// Tells changes to whoever listens; keeps nothing alive.
    fn turned(self: &Arc<Self>) -> Turned {
        let shared: Weak<Self> = Arc::downgrade(self);
        Arc::new(move |component: &Live| {
            if let Some(shared) = shared.upgrade() {
                let now = shared.config().clock.now();
                shared.tell(component, &component.view(now));
            }
        })
    }

    /// A change of a component's state is logged and published once, not with each run.
    fn tell(&self, component: &Live, view: &View) {
        if view.last_run.is_none() {
            return; // Nothing is known yet, and that is no change.
        }
        let Some(before) = component.news(view.status) else { return };
        let said = view.message.as_deref().map(|text| redact(text, &self.config().secrets));
        tracing::info!(
            component = component.name,
            from = before,
            to = view.status.word(),
            said,
            "component changed"
        );
        self.publish();
    }

    /// Tells listeners how all looks now.
    pub fn publish(&self) {
        let report = Arc::new(self.look(&Scope::Health, &[]));
        self.changes.send_if_modified(|last| {
            let states = |report: &Report| -> Vec<_> {
                report.components.iter().map(|part| (part.name.clone(), part.status)).collect()
            };
            let news = last.status != report.status || states(last) != states(&report);
            if news {
                *last = report;
            }
            news
        });
    }

    /// Runs what the question needs to be run, then looks.
    pub async fn report(self: &Arc<Self>, scope: &Scope, excluded: &[String]) -> Report {
        let clock = self.config().clock.clone();
        let since = clock.now();
        if let Some(home) = self.start() {
            let turned = self.turned();
            // All are launched before the first one is waited for.
            let asked: Vec<_> = self
                .components()
                .into_iter()
                .filter(|component| scope.runs(component) && !excluded.contains(&component.name))
                .filter_map(|c| c.ask(&clock, home, &turned).map(|flight| (c, flight)))
                .collect();
            for (component, flight) in asked {
                component.settled(flight, &clock, &turned).await;
            }
        }
        let total_latency = clock.now().saturating_sub(since);
        Report { total_latency, ..self.look(scope, excluded) }
    }

    /// What is known, without running anything.
    pub fn look(&self, scope: &Scope, excluded: &[String]) -> Report {
        let config = self.config().clone();
        let now = config.clock.now();
        let live = self.components().into_iter().filter(|component| scope.runs(component));
        let mut parts: Vec<_> = live.map(|c| part(&c, &c.view(now), &config)).collect();
        let internal = self.internal.read().unwrap_or_else(PoisonError::into_inner).clone();
        let internal = internal.into_iter().map(|(name, beat)| (name, beat.complaint()));
        parts.extend(
            internal
                .filter(|(name, complaint)| scope.shows(name, complaint.is_some()))
                .map(|(name, complaint)| ComponentReport::internal(name, complaint)),
        );
        parts.extend(self.lifecycle_parts(scope));
        let named = |name: &String| parts.iter().any(|part| part.name == *name);
        let unknown_exclusions = excluded.iter().filter(|name| !named(name)).cloned().collect();
        parts.retain(|part| !excluded.contains(&part.name));
        Report {
            status: scope.status(&parts),
            unknown_exclusions,
            components: parts,
            ..empty(&self.service, &self.version, &config)
        }
    }

    fn lifecycle_parts(&self, scope: &Scope) -> Vec<ComponentReport> {
        let mut parts = Vec::new();
        if matches!(scope, Scope::Health | Scope::Ready | Scope::Startup) {
            for gate in self.lifecycle.closed() {
                let complaint = Some("not started yet".to_owned());
                parts.push(ComponentReport::internal(format!("startup:{gate}"), complaint));
            }
        }
        if matches!(scope, Scope::Health | Scope::Ready) && self.lifecycle.is_draining() {
            let complaint = Some("draining: going to stop".to_owned());
            parts.push(ComponentReport::internal("drain", complaint));
        }
        parts
    }
}

impl Scope {
    fn runs(&self, component: &Live) -> bool {
        match self {
            Self::Health => true,
            Self::Ready => component.weight == Weight::Critical,
            Self::Live | Self::Startup => false,
            Self::Component(name) => component.name == *name,
        }
    }

    /// One component is asked for itself, whatever it means for the whole.
    fn status(&self, parts: &[ComponentReport]) -> Status {
        match self {
            Self::Health | Self::Ready | Self::Live | Self::Startup => overall(parts),
            Self::Component(_) => {
                parts.iter().map(|part| part.status).max().unwrap_or(Status::Healthy)
            }
        }
    }

    /// The runtime is nobody's component, so without a complaint only liveness names it.
    fn shows(&self, internal: &str, complains: bool) -> bool {
        match self {
            Self::Health => internal != RUNTIME || complains,
            Self::Live => true,
            Self::Ready | Self::Startup => false,
            Self::Component(wanted) => wanted == internal,
        }
    }
}

/// A report of nothing.
fn empty(service: &str, version: &str, config: &Config) -> Report {
    let now = config.clock.now();
    Report {
        status: Status::Healthy,
        service: service.to_owned(),
        version: version.to_owned(),
        instance: config.instance.clone(),
        timestamp: config.clock.date(now),
        uptime: now,
        total_latency: Duration::ZERO,
        components: Vec::new(),
        unknown_exclusions: Vec::new(),
    }
}

fn part(component: &Live, view: &View, config: &Config) -> ComponentReport {
    let View { status, latency, message, last_run, last_success, failures, stale } = view.clone();
    let date = |moment: Moment| config.clock.date(moment);
    ComponentReport {
        name: component.name.clone(),
        status,
        weight: component.weight,
        latency,
        message: message.map(|text| redact(&text, &config.secrets)),
        target: component.target.as_deref().map(|text| redact(text, &config.secrets)),
        last_run: last_run.map(date),
        last_success: last_success.map(date),
        consecutive_failures: failures,
        stale,
    }
}
