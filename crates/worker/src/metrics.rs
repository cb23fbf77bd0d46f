//! What the checking engine says of itself to whoever scrapes the process.
//!
//! No series names a task: their number grows with the services that have a task here, and those
//! of a service are gone with its last one. One attempt touches five series, of which nothing has
//! to be looked up.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
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
    spec::ServiceName,
};

/// From a healthy answer on the same machine to the end of a timeout that was stretched (C-98), and
/// of the longest that anybody is likely to ask for.
const DURATION_SECONDS: [f64; 16] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
/// Fine where a worker that is well is: a timer's tick, and ten.
const LAG_SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.007, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 10.0];
const QUEUE_WAIT_SECONDS: [f64; 10] = [0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 10.0];
/// From one attempt that was enough to an owner who wants ten minutes of failure.
const DETECTION_SECONDS: [f64; 12] =
    [0.01, 0.05, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0];

/// The engine's metrics. Cheap to clone: the clones count together.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    attempts: Family<AttemptLabels, Counter>,
    duration: Family<ProbeLabels, Histogram, Buckets>,
    shared: Shared,
    observer_score: Gauge,
    meters: Mutex<BTreeMap<ProbeLabels, Weak<Meter>>>,
}

/// What all checks count together.
#[derive(Debug, Clone)]
struct Shared {
    lag: Histogram,
    in_flight: Gauge,
    queue_wait: Histogram,
    detection: Histogram,
    stretched: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct ProbeLabels {
    service: String,
    /// The role: startup, liveness or readiness.
    probe: &'static str,
    /// The kind: http, tcp, exec, and so on.
    handler: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    service: String,
    probe: &'static str,
    handler: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, Copy)]
struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(DURATION_SECONDS)
    }
}

/// Counts the attempts of one kind of check in one role of one service. Its series end with it.
#[derive(Debug)]
pub(crate) struct Meter {
    labels: ProbeLabels,
    results: [Counter; RESULTS.len()],
    duration: Histogram,
    metrics: Metrics,
}

/// Counts one attempt as in flight while it lives.
#[derive(Debug)]
pub(crate) struct InFlight(Gauge);

const RESULTS: [&str; 5] = ["success", "failure", "refused", "timeout", "error"];

impl Metrics {
    /// As part of what `registry` shows.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let Inner { attempts, duration, shared, observer_score, meters: _ } = &*metrics.0;
        let Shared { lag, in_flight, queue_wait, detection, stretched } = shared;
        let probe = registry.sub_registry_with_prefix("warren_probe");
        probe.register(
            "attempts",
            "Attempts that ended; a check shared by two roles counts for the first",
            attempts.clone(),
        );
        probe.register_with_unit(
            "duration",
            "From an attempt's start to its answer or end, whatever its result",
            Unit::Seconds,
            duration.clone(),
        );
        probe.register_with_unit(
            "schedule_lag",
            "From the moment that an attempt was due to its start",
            Unit::Seconds,
            lag.clone(),
        );
        probe.register("inflight", "Attempts under way", in_flight.clone());
        probe.register_with_unit(
            "queue_wait",
            "How long commands waited for their turn",
            Unit::Seconds,
            queue_wait.clone(),
        );
        probe.register(
            "timeout_stretched",
            "Attempts that were given more than their timeout, for the worker's own lateness",
            stretched.clone(),
        );
        registry.register_with_unit(
            "warren_health_detection",
            "From the first failed attempt of a run to the verdict that a role fails",
            Unit::Seconds,
            detection.clone(),
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

    /// The one meter of this kind and role in this service. All its series are there until the
    /// last of its holders is gone.
    pub(crate) fn meter(
        &self,
        service: &ServiceName,
        handler: &'static str,
        role: Role,
    ) -> Arc<Meter> {
        let labels = ProbeLabels { service: service.to_string(), probe: role.name(), handler };
        let mut meters = self.meters();
        if let Some(known) = meters.get(&labels).and_then(Weak::upgrade) {
            return known;
        }
        let counter = |result| self.0.attempts.get_or_create_owned(&labels.with(result));
        let meter = Arc::new(Meter {
            results: RESULTS.map(counter),
            duration: self.0.duration.get_or_create_owned(&labels),
            labels: labels.clone(),
            metrics: self.clone(),
        });
        meters.insert(labels, Arc::downgrade(&meter));
        meter
    }

    /// Nothing panics while it is held.
    fn meters(&self) -> MutexGuard<'_, BTreeMap<ProbeLabels, Weak<Meter>>> {
        self.0.meters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProbeLabels {
    fn with(&self, result: &'static str) -> AttemptLabels {
        let Self { service, probe, handler } = self.clone();
        AttemptLabels { service, probe, handler, result }
    }
}

/// Shown nowhere.
impl Default for Metrics {
    fn default() -> Self {
        let shared = Shared {
            lag: Histogram::new(LAG_SECONDS),
            in_flight: Gauge::default(),
            queue_wait: Histogram::new(QUEUE_WAIT_SECONDS),
            detection: Histogram::new(DETECTION_SECONDS),
            stretched: Counter::default(),
        };
        Self(Arc::new(Inner {
            attempts: Family::default(),
            duration: Family::new_with_constructor(Buckets),
            shared,
            observer_score: Gauge::default(),
            meters: Mutex::default(),
        }))
    }
}

impl Meter {
    /// An attempt begins, so late.
    pub(crate) fn begin(&self, late: Duration) -> InFlight {
        let shared = &self.metrics.0.shared;
        shared.lag.observe(late.as_secs_f64());
        shared.in_flight.inc();
        InFlight(shared.in_flight.clone())
    }

    /// It has ended. `waited` is for a permit; none waits where none is needed.
    pub(crate) fn end(
        &self,
        outcome: Outcome,
        latency: Duration,
        waited: Option<Duration>,
        stretched: bool,
    ) {
        self.results[index(outcome)].inc();
        self.duration.observe(latency.as_secs_f64());
        if let Some(waited) = waited {
            self.metrics.0.shared.queue_wait.observe(waited.as_secs_f64());
        }
        if stretched {
            self.metrics.0.shared.stretched.inc();
        }
    }

    /// A role fails from now on; the first failure of the run ended so long ago.
    pub(crate) fn detected(&self, after: Duration) {
        self.metrics.0.shared.detection.observe(after.as_secs_f64());
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let inner = &self.metrics.0;
        let mut meters = self.metrics.meters();
        // Another one may have taken its place, and goes on with the same series.
        if meters.get(&self.labels).is_some_and(|known| known.strong_count() > 0) {
            return;
        }
        meters.remove(&self.labels);
        inner.duration.remove(&self.labels);
        for result in RESULTS {
            inner.attempts.remove(&self.labels.with(result));
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// In [`RESULTS`].
const fn index(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Pass => 0,
        // A process that is gone answers no, as far as anybody can ask it.
        Outcome::Fail(Evidence::Explicit | Evidence::Gone) => 1,
        Outcome::Fail(Evidence::Refused) => 2,
        Outcome::Fail(Evidence::Timeout) => 3,
        Outcome::Inconclusive => 4,
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

    fn web() -> ServiceName {
        "web".parse().unwrap()
    }

    #[test]
    fn an_attempt_is_in_flight_until_it_ends_or_is_dropped_and_then_counts_with_its_duration() {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        let meter = metrics.meter(&web(), "http", Role::Readiness);
        let flight = meter.begin(Duration::from_micros(700));
        let dropped = meter.begin(Duration::from_secs(3));
        metrics.set_observer_score(5);
        assert!(shown(&registry).contains("\nwarren_probe_inflight 2\n"));
        drop((flight, dropped));
        meter.end(Outcome::Fail(Evidence::Timeout), Duration::from_secs(4), None, true);
        meter.detected(Duration::from_secs(4));
        let text = shown(&registry);
        let labels = r#"service="web",probe="readiness",handler="http""#;
        for line in [
            "warren_probe_inflight 0".to_owned(),
            "warren_worker_observer_score 5".to_owned(),
            format!(r#"warren_probe_attempts_total{{{labels},result="timeout"}} 1"#),
            format!(r#"warren_probe_attempts_total{{{labels},result="success"}} 0"#),
            format!(r#"warren_probe_duration_seconds_bucket{{le="2.0",{labels}}} 0"#),
            format!(r#"warren_probe_duration_seconds_bucket{{le="5.0",{labels}}} 1"#),
            r#"warren_probe_schedule_lag_seconds_bucket{le="0.001"} 1"#.to_owned(),
            "warren_probe_schedule_lag_seconds_count 2".to_owned(),
            "warren_probe_queue_wait_seconds_count 0".to_owned(),
            r#"warren_health_detection_seconds_bucket{le="5.0"} 1"#.to_owned(),
            "warren_probe_timeout_stretched_total 1".to_owned(),
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "{line} is not in {text}");
        }
    }

    #[test]
    fn every_outcome_is_one_of_the_results() {
        for (outcome, result) in [
            (Outcome::Pass, "success"),
            (Outcome::Fail(Evidence::Explicit), "failure"),
            (Outcome::Fail(Evidence::Gone), "failure"),
            (Outcome::Fail(Evidence::Refused), "refused"),
            (Outcome::Fail(Evidence::Timeout), "timeout"),
            (Outcome::Inconclusive, "error"),
        ] {
            assert_eq!(RESULTS[index(outcome)], result, "{outcome:?}");
        }
    }

    #[test]
    fn tasks_of_a_service_count_together_and_its_series_end_with_the_last_of_them() {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        let first = metrics.meter(&web(), "tcp", Role::Liveness);
        let second = metrics.meter(&web(), "tcp", Role::Liveness);
        first.end(Outcome::Pass, Duration::ZERO, None, false);
        second.end(Outcome::Pass, Duration::ZERO, None, false);
        let labels = r#"service="web",probe="liveness",handler="tcp",result="success""#;
        let series = format!("warren_probe_attempts_total{{{labels}}}");
        assert!(shown(&registry).contains(&format!("\n{series} 2\n")));
        drop(first);
        assert!(shown(&registry).contains(&format!("\n{series} 2\n")));
        drop(second);
        assert!(!shown(&registry).contains("web"), "{}", shown(&registry));
        let again = metrics.meter(&web(), "tcp", Role::Liveness);
        assert!(shown(&registry).contains(&format!("\n{series} 0\n")));
        drop(again);
    }
}
