//! The state as Prometheus metrics. A scrape reads what is known and never runs a check.

use std::{fmt, sync::Arc, time::SystemTime};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use crate::{
    live::Live,
    report::{ComponentReport, Report, overall},
    settings::Mode,
    shared::{Scope, Shared},
    state::Reason,
    status::Status,
    tally::Tally,
    vitals::Vitals,
};

impl Vitals {
    /// Adds the state to a registry of `prometheus-client`: `health_status{status}`,
    /// `health_component_up{component,critical}`, `health_check_duration_seconds{component}`,
    /// `health_check_failures_total{component,reason}`,
    /// `health_check_last_run_timestamp_seconds{component}`,
    /// `health_check_last_success_timestamp_seconds{component}` and `app_info{service,version}`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(Exporter(Arc::clone(self.shared()))));
    }

    /// Like [`listen`](Self::listen), with `/metrics` of this registry beside the health endpoints.
    #[cfg(feature = "listener")]
    pub fn listen_with_metrics(
        &self,
        address: impl std::net::ToSocketAddrs,
        registry: Arc<Registry>,
    ) -> std::io::Result<crate::Listener> {
        crate::Listener::bind(self, address, Some(Arc::new(move || page(&registry))))
    }
}

/// The registry as `OpenMetrics` text.
#[cfg(feature = "listener")]
fn page(registry: &Registry) -> http::Response<String> {
    use http::{HeaderValue, StatusCode, header};

    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let mut text = String::new();
    if let Err(error) = prometheus_client::encoding::text::encode(&mut text, registry) {
        return crate::answer::refusal(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string());
    }
    let mut response = http::Response::new(text);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS));
    response
}

struct Exporter(Arc<Shared>);

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exporter")
    }
}

type When = fn(&ComponentReport) -> Option<SystemTime>;

impl Collector for Exporter {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut report = self.0.look(&Scope::Health, &[]);
        let internal = self.0.look(&Scope::Live, &[]).components;
        let named = |name: &str| report.components.iter().any(|part| part.name == name);
        let missing: Vec<_> = internal.into_iter().filter(|part| !named(&part.name)).collect();
        report.components.extend(missing);
        let components = self.0.components();
        // Nobody has asked for them yet, so nothing is known.
        report.components.retain(|part| !is_unasked(part, &components));
        report.status = overall(&report.components);
        encode_info(&mut encoder, &report)?;
        encode_status(&mut encoder, &report)?;
        encode_up(&mut encoder, &report)?;
        encode_failures(&mut encoder, &components)?;
        encode_durations(&mut encoder, &components)?;
        let times: [(&str, &str, When); 2] = [
            ("health_check_last_run_timestamp", "When a check ran last", |part| part.last_run),
            ("health_check_last_success_timestamp", "When a check succeeded last", |part| {
                part.last_success
            }),
        ];
        for (name, help, when) in times {
            encode_times(&mut encoder, &report, name, help, when)?;
        }
        Ok(())
    }
}

fn encode_info(encoder: &mut DescriptorEncoder<'_>, report: &Report) -> fmt::Result {
    let labels = [("service", report.service.as_str()), ("version", report.version.as_str())];
    let mut metric =
        encoder.encode_descriptor("app_info", "The service", None, MetricType::Gauge)?;
    one(&mut metric, &labels, &ConstGauge::new(1_i64))
}

fn encode_status(encoder: &mut DescriptorEncoder<'_>, report: &Report) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(
        "health_status",
        "The service's state: 1 for the one that it is in",
        None,
        MetricType::Gauge,
    )?;
    for status in Status::ALL {
        let value = ConstGauge::new(i64::from(report.status == status));
        one(&mut metric, &[("status", status.word())], &value)?;
    }
    Ok(())
}

fn is_unasked(part: &ComponentReport, components: &[Arc<Live>]) -> bool {
    let live = components.iter().find(|live| live.name == part.name);
    let on_demand = |live: &Arc<Live>| matches!(live.settings.mode, Mode::OnDemand { .. });
    part.last_run.is_none() && live.is_some_and(on_demand)
}

/// A component that is checked on demand is as it was when somebody asked last; when that was is in
/// the timestamps.
fn encode_up(encoder: &mut DescriptorEncoder<'_>, report: &Report) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(
        "health_component_up",
        "Whether a component works: 1 when healthy or degraded; absent until it was asked for",
        None,
        MetricType::Gauge,
    )?;
    for part in &report.components {
        let critical = if part.is_critical() { "true" } else { "false" };
        let labels = [("component", part.name.as_str()), ("critical", critical)];
        let value = ConstGauge::new(i64::from(part.status != Status::Unhealthy));
        one(&mut metric, &labels, &value)?;
    }
    Ok(())
}

fn encode_failures(encoder: &mut DescriptorEncoder<'_>, components: &[Arc<Live>]) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(
        "health_check_failures",
        "Runs of a check that failed, by why",
        None,
        MetricType::Counter,
    )?;
    for component in components {
        let tally = component.state().tally.clone();
        for reason in Reason::ALL {
            let labels = [("component", component.name.as_str()), ("reason", reason.word())];
            one(&mut metric, &labels, &ConstCounter::new(tally.failures(reason)))?;
        }
    }
    Ok(())
}

fn encode_durations(encoder: &mut DescriptorEncoder<'_>, components: &[Arc<Live>]) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(
        "health_check_duration",
        "How long a check took, whatever its result",
        Some(&Unit::Seconds),
        MetricType::Histogram,
    )?;
    for component in components {
        let tally = component.state().tally.clone();
        one(&mut metric, &[("component", component.name.as_str())], &tally)?;
    }
    Ok(())
}

impl EncodeMetric for Tally {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let total = self.total().as_secs_f64();
        encoder.encode_histogram::<[(&str, &str); 0]>(total, self.runs(), &self.buckets(), None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

fn encode_times(
    encoder: &mut DescriptorEncoder<'_>,
    report: &Report,
    name: &str,
    help: &str,
    when: impl Fn(&ComponentReport) -> Option<SystemTime>,
) -> fmt::Result {
    let mut metric =
        encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
    for part in &report.components {
        let since = when(part).and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        let Some(since) = since else { continue };
        let value = ConstGauge::new(since.as_secs_f64());
        one(&mut metric, &[("component", part.name.as_str())], &value)?;
    }
    Ok(())
}

fn one<const N: usize>(
    metric: &mut MetricEncoder<'_>,
    labels: &[(&str, &str); N],
    value: &impl EncodeMetric,
) -> fmt::Result {
    value.encode(metric.encode_family(labels)?)
}
