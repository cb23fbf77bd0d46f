//! What the checking engine says of itself to whoever scrapes the process.
//!
//! No series names a task: their number does not grow with the cluster. One attempt touches five
//! series, of which nothing has to be looked up.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::Histogram,
    },
    registry::{Registry, Unit},
};
use warren_core::{
    check::Role,
    outcome::{Evidence, Outcome},
};

/// From a healthy answer on the same machine to the slowest that most people still wait for.
const LATENCY_SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
/// Fine where a worker that is well is: a timer's tick, and ten.
const LATENESS_SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.007, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 10.0];
const PERMIT_WAIT_SECONDS: [f64; 10] = [0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 10.0];

/// The engine's metrics. Cheap to clone: the clones count together.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    attempts: Family<AttemptLabels, Counter>,
    latency: Family<CheckLabels, Histogram, Buckets>,
    shared: Shared,
    observer_score: Gauge,
    meters: Mutex<BTreeMap<(&'static str, Role), Arc<Meter>>>,
}

/// What all checks count together.
#[derive(Debug, Clone)]
struct Shared {
    lateness: Histogram,
    in_flight: Gauge,
    permit_wait: Histogram,
    stretched: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    kind: &'static str,
    role: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    kind: &'static str,
    role: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, Copy)]
struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(LATENCY_SECONDS)
    }
}

/// Counts the attempts of one kind of check in one role.
#[derive(Debug)]
pub(crate) struct Meter {
    outcomes: [Counter; OUTCOMES.len()],
    latency: Histogram,
    shared: Shared,
}

/// Counts one attempt as in flight while it lives.
#[derive(Debug)]
pub(crate) struct InFlight(Gauge);

const OUTCOMES: [Outcome; 6] = [
    Outcome::Pass,
    Outcome::Fail(Evidence::Explicit),
    Outcome::Fail(Evidence::Refused),
    Outcome::Fail(Evidence::Timeout),
    Outcome::Fail(Evidence::Gone),
    Outcome::Inconclusive,
];

impl Metrics {
    /// As part of what `registry` shows.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let Inner { attempts, latency, shared, observer_score, meters: _ } = &*metrics.0;
        let Shared { lateness, in_flight, permit_wait, stretched } = shared;
        let checks = registry.sub_registry_with_prefix("warren_check");
        checks.register(
            "attempts",
            "Attempts that ended; a check shared by two roles counts for the first",
            attempts.clone(),
        );
        checks.register_with_unit(
            "latency",
            "From an attempt's start to its answer or end, of every outcome",
            Unit::Seconds,
            latency.clone(),
        );
        checks.register_with_unit(
            "lateness",
            "From the moment that an attempt was due to its start",
            Unit::Seconds,
            lateness.clone(),
        );
        checks.register("in_flight", "Attempts under way", in_flight.clone());
        checks.register_with_unit(
            "permit_wait",
            "How long commands waited for their turn",
            Unit::Seconds,
            permit_wait.clone(),
        );
        checks.register(
            "timeout_stretched",
            "Attempts that were given more than their timeout, for the worker's own lateness",
            stretched.clone(),
        );
        registry.register(
            "warren_worker_observer_score",
            "How starved the worker is, 0 to 8; timeouts are stretched by it",
            observer_score.clone(),
        );
        metrics
    }

    /// 0 is well.
    pub fn set_observer_score(&self, score: u32) {
        self.0.observer_score.set(score.into());
    }

    /// The one meter of this kind and role. All its series are there from then on.
    pub(crate) fn meter(&self, kind: &'static str, role: Role) -> Arc<Meter> {
        // Nothing panics while it is held.
        let mut meters = self.0.meters.lock().unwrap_or_else(PoisonError::into_inner);
        let meter = meters.entry((kind, role)).or_insert_with(|| {
            let role = role.name();
            let counter = |outcome: Outcome| {
                let labels = AttemptLabels { kind, role, outcome: name(outcome) };
                self.0.attempts.get_or_create_owned(&labels)
            };
            Arc::new(Meter {
                outcomes: OUTCOMES.map(counter),
                latency: self.0.latency.get_or_create_owned(&CheckLabels { kind, role }),
                shared: self.0.shared.clone(),
            })
        });
        Arc::clone(meter)
    }
}

/// Shown nowhere.
impl Default for Metrics {
    fn default() -> Self {
        let shared = Shared {
            lateness: Histogram::new(LATENESS_SECONDS),
            in_flight: Gauge::default(),
            permit_wait: Histogram::new(PERMIT_WAIT_SECONDS),
            stretched: Counter::default(),
        };
        Self(Arc::new(Inner {
            attempts: Family::default(),
            latency: Family::new_with_constructor(Buckets),
            shared,
            observer_score: Gauge::default(),
            meters: Mutex::default(),
        }))
    }
}

impl Meter {
    /// An attempt begins, so late.
    pub(crate) fn begin(&self, late: Duration) -> InFlight {
        self.shared.lateness.observe(late.as_secs_f64());
        self.shared.in_flight.inc();
        InFlight(self.shared.in_flight.clone())
    }

    /// It has ended. `waited` is for a permit; none waits where none is needed.
    pub(crate) fn end(
        &self,
        outcome: Outcome,
        latency: Duration,
        waited: Option<Duration>,
        stretched: bool,
    ) {
        self.outcomes[index(outcome)].inc();
        self.latency.observe(latency.as_secs_f64());
        if let Some(waited) = waited {
            self.shared.permit_wait.observe(waited.as_secs_f64());
        }
        if stretched {
            self.shared.stretched.inc();
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// In [`OUTCOMES`].
const fn index(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Pass => 0,
        Outcome::Fail(Evidence::Explicit) => 1,
        Outcome::Fail(Evidence::Refused) => 2,
        Outcome::Fail(Evidence::Timeout) => 3,
        Outcome::Fail(Evidence::Gone) => 4,
        Outcome::Inconclusive => 5,
    }
}

const fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "pass",
        Outcome::Fail(Evidence::Explicit) => "explicit",
        Outcome::Fail(Evidence::Refused) => "refused",
        Outcome::Fail(Evidence::Timeout) => "timeout",
        Outcome::Fail(Evidence::Gone) => "gone",
        Outcome::Inconclusive => "inconclusive",
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn shown(registry: &Registry) -> String {
        let mut text = String::new();
        encode(&mut text, registry).unwrap();
        text
    }

    #[test]
    fn every_outcome_has_its_own_place() {
        for (at, outcome) in OUTCOMES.into_iter().enumerate() {
            assert_eq!(index(outcome), at, "{}", name(outcome));
        }
    }

    #[test]
    fn an_attempt_is_in_flight_until_it_ends_or_is_dropped_and_then_counts_with_its_latency() {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        let meter = metrics.meter("http", Role::Readiness);
        let flight = meter.begin(Duration::from_micros(700));
        let dropped = meter.begin(Duration::from_secs(3));
        metrics.set_observer_score(5);
        assert!(shown(&registry).contains("\nwarren_check_in_flight 2\n"));
        drop((flight, dropped));
        meter.end(Outcome::Fail(Evidence::Timeout), Duration::from_secs(4), None, true);
        let text = shown(&registry);
        for line in [
            "warren_check_in_flight 0",
            "warren_worker_observer_score 5",
            r#"warren_check_attempts_total{kind="http",role="readiness",outcome="timeout"} 1"#,
            r#"warren_check_attempts_total{kind="http",role="readiness",outcome="pass"} 0"#,
            r#"warren_check_latency_seconds_bucket{le="2.0",kind="http",role="readiness"} 0"#,
            r#"warren_check_latency_seconds_bucket{le="5.0",kind="http",role="readiness"} 1"#,
            r#"warren_check_lateness_seconds_bucket{le="0.001"} 1"#,
            "warren_check_lateness_seconds_count 2",
            "warren_check_permit_wait_seconds_count 0",
            "warren_check_timeout_stretched_total 1",
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "{line} is not in {text}");
        }
    }
}
