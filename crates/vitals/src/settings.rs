//! How one component is checked.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    check::{AnyCheck, Check},
    status::Weight,
};

const TIMEOUT: Duration = Duration::from_secs(2);
/// Long enough that a thousand requests a second cost one check, short enough to be the truth.
const TTL: Duration = Duration::from_secs(1);
/// A result that is this many intervals old belongs to checks that do not run any more.
const MAX_AGE_INTERVALS: u32 = 3;
/// A tenth of the interval spreads the checks of a fleet that was started at once.
const JITTER: f64 = 0.1;

/// A named check with its settings, for [`Vitals::component`](crate::Vitals::component).
///
/// ```
/// use std::time::Duration;
/// use vitals::{CheckError, Component, Vitals};
///
/// let health = Vitals::new("payments", "1.0.0").component(
///     Component::critical("ledger", || async { Ok::<_, CheckError>(()) })
///         .timeout(Duration::from_millis(500))
///         .periodic(Duration::from_secs(10))
///         .failure_threshold(3)
///         .min_duration(Duration::from_secs(20))
///         .degraded_above(Duration::from_millis(200)),
/// );
/// # drop(health);
/// ```
pub struct Component {
    pub(crate) name: String,
    pub(crate) weight: Weight,
    pub(crate) check: Arc<dyn AnyCheck>,
    pub(crate) target: Option<String>,
    pub(crate) settings: Settings,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub timeout: Duration,
    pub mode: Mode,
    pub max_age: Option<Duration>,
    pub thresholds: Thresholds,
    pub degraded_above: Option<Duration>,
}

/// When a check runs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mode {
    /// When somebody asks and the last result is older than this.
    OnDemand { ttl: Duration },
    /// In the background, whether somebody asks or not.
    Periodic { interval: Duration, jitter: f64 },
}

/// When results become a state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Thresholds {
    pub failures: u32,
    pub min_duration: Duration,
    pub successes: u32,
}

impl Component {
    /// Without it the service cannot work.
    pub fn critical(name: impl Into<String>, check: impl Check) -> Self {
        Self::new(name, Weight::Critical, check)
    }

    /// The service works without it, only worse.
    pub fn non_critical(name: impl Into<String>, check: impl Check) -> Self {
        Self::new(name, Weight::NonCritical, check)
    }

    /// It is shown and counts for nothing.
    pub fn informational(name: impl Into<String>, check: impl Check) -> Self {
        Self::new(name, Weight::Informational, check)
    }

    fn new(name: impl Into<String>, weight: Weight, check: impl Check) -> Self {
        let settings = Settings {
            timeout: TIMEOUT,
            mode: Mode::OnDemand { ttl: TTL },
            max_age: None,
            thresholds: Thresholds { failures: 1, min_duration: Duration::ZERO, successes: 1 },
            degraded_above: None,
        };
        let check: Arc<dyn AnyCheck> = Arc::new(check);
        let target = check.target();
        Self { name: name.into(), weight, check, target, settings }
    }

    /// How long a run may take, 2 s by default. Then it is aborted and counts as failed.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// Runs when somebody asks and the last result is older than `ttl`. This is the default, with
    /// 1 s. However many ask, there is one run.
    pub fn on_demand(mut self, ttl: Duration) -> Self {
        self.settings.mode = Mode::OnDemand { ttl };
        self
    }

    /// Runs every `interval` and up to a tenth later, whether somebody asks or not. Answers then
    /// cost nothing.
    pub fn periodic(mut self, interval: Duration) -> Self {
        self.settings.mode = Mode::Periodic { interval, jitter: JITTER };
        self
    }

    /// By how much of its interval a periodic run may be late, from 0 to 1.
    pub fn jitter(mut self, share: f64) -> Self {
        if let Mode::Periodic { jitter, .. } = &mut self.settings.mode {
            *jitter = share.clamp(0.0, 1.0);
        }
        self
    }

    /// How old a result may get before the component is unhealthy whatever it said: by default
    /// three intervals and the timeout of a periodic check. One that runs on demand is always
    /// fresh.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.settings.max_age = Some(max_age);
        self
    }

    /// How many failures in a row make a component that has worked unhealthy, 1 by default.
    pub fn failure_threshold(mut self, failures: u32) -> Self {
        self.settings.thresholds.failures = failures.max(1);
        self
    }

    /// How long it must fail without a break as well, 0 by default.
    pub fn min_duration(mut self, duration: Duration) -> Self {
        self.settings.thresholds.min_duration = duration;
        self
    }

    /// How many successes in a row make an unhealthy component healthy again, 1 by default.
    pub fn success_threshold(mut self, successes: u32) -> Self {
        self.settings.thresholds.successes = successes.max(1);
        self
    }

    /// A component that answers more slowly is degraded.
    pub fn degraded_above(mut self, latency: Duration) -> Self {
        self.settings.degraded_above = Some(latency);
        self
    }

    /// What it depends on, where the check does not know it itself.
    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.target = Some(target.into());
        self
    }
}

impl Settings {
    pub fn max_age(&self) -> Option<Duration> {
        self.max_age.or(match self.mode {
            Mode::OnDemand { .. } => None,
            Mode::Periodic { interval, .. } => Some(interval * MAX_AGE_INTERVALS + self.timeout),
        })
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, weight, check: _, target, settings } = self;
        f.debug_struct("Component")
            .field("name", name)
            .field("weight", weight)
            .field("target", target)
            .field("settings", settings)
            .finish_non_exhaustive()
    }
}
