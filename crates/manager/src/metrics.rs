//! What the manager says of the cluster and of itself to whoever scrapes the process. A scrape
//! reads the published snapshot, so it waits for nobody and the series of a service end with it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};
use warren_core::node::NodeState;
use warren_plan::summary::{Summary, summarize};

use crate::{
    counters::{Counters, ReportCounts},
    input::Handle,
    tally::{Tally, Transition},
};

/// Adds the manager's metrics to a registry.
pub fn register(registry: &mut Registry, handle: Handle, counters: Arc<Counters>) {
    registry.register_collector(Box::new(Metrics { handle, counters }));
}

struct Metrics {
    handle: Handle,
    counters: Arc<Counters>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.services(&mut encoder)?;
        self.nodes(&mut encoder)?;
        self.reports(&mut encoder)?;
        self.events(&mut encoder)?;
        self.guards(&mut encoder)?;
        self.tallies(&mut encoder)?;
        self.workers(&mut encoder)?;
        let revision = self.handle.published().cluster.revision;
        let help = "The last batch that is durable";
        let metric = counter(&mut encoder, "warren_store_revision", help)?;
        ConstCounter::new(revision).encode(metric)
    }
}

impl Metrics {
    fn services(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (published, now) = (self.handle.published(), self.handle.now());
        let cluster = &published.cluster;
        let summaries: Vec<_> = cluster
            .services()
            .map(|service| (service.spec.name.to_string(), summarize(cluster, service, now)))
            .collect();
        let mut metric = gauge(encoder, "warren_service_tasks", "Slots of a service by state")?;
        for (name, summary) in &summaries {
            let Summary {
                replicas: _,
                healthy,
                ready: _,
                unhealthy,
                starting,
                unknown,
                restarting,
                flapping,
                gave_up,
                held,
            } = *summary;
            for (state, count) in [
                ("healthy", healthy),
                ("unhealthy", unhealthy),
                ("starting", starting),
                ("unknown", unknown),
                ("restarting", restarting),
                ("flapping", flapping),
                ("gave_up", gave_up),
                ("held", held),
            ] {
                one(&mut metric, &[("service", name), ("state", state)], count)?;
            }
        }
        let help = "Slots of a service whose task takes traffic";
        let mut metric = gauge(encoder, "warren_service_ready_tasks", help)?;
        for (name, summary) in &summaries {
            one(&mut metric, &[("service", name)], summary.ready)?;
        }
        let help = "Slots that a service should have";
        let mut metric = gauge(encoder, "warren_service_desired_tasks", help)?;
        for (name, summary) in &summaries {
            one(&mut metric, &[("service", name)], summary.replicas)?;
        }
        Ok(())
    }

    fn nodes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let published = self.handle.published();
        let mut metric = gauge(encoder, "warren_nodes", "Nodes by state")?;
        for (state, word) in
            [(NodeState::Up, "up"), (NodeState::Suspect, "suspect"), (NodeState::Lost, "lost")]
        {
            let nodes = published.cluster.nodes().filter(|node| node.state == state);
            let count = u32::try_from(nodes.count()).unwrap_or(u32::MAX);
            one(&mut metric, &[("state", word)], count)?;
        }
        Ok(())
    }

    fn reports(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let ReportCounts { taken, unknown, foreign, stale, backward, invalid } =
            self.counters.reports();
        let help = "Reports of workers by what became of them";
        let mut metric = counter(encoder, "warren_reports", help)?;
        for (result, count) in [
            ("taken", taken),
            ("unknown", unknown),
            ("foreign", foreign),
            ("stale", stale),
            ("backward", backward),
            ("invalid", invalid),
        ] {
            ConstCounter::new(count).encode(metric.encode_family(&[("result", result)])?)?;
        }
        Ok(())
    }

    fn guards(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Replacements that a guard holds";
        let mut metric = gauge(encoder, "warren_replacements_held", help)?;
        for (rule, counts) in self.counters.guards() {
            let count = u32::try_from(counts.held).unwrap_or(u32::MAX);
            one(&mut metric, &[("guard", rule.name())], count)?;
        }
        Ok(())
    }

    /// Of the services that are there; the series of the others end with them.
    fn tallies(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let published = self.handle.published();
        let tallies: Vec<(String, Tally)> = self
            .counters
            .tallies()
            .services()
            .into_iter()
            .filter_map(|(id, tally)| Some((published.cluster.service(id)?, tally)))
            .map(|(service, tally)| (service.spec.name.to_string(), tally))
            .collect();
        let help = "Changes of tasks' health since the manager's start, by what was seen last";
        let mut metric = counter(encoder, "warren_task_health_transitions", help)?;
        for (service, tally) in &tallies {
            for (Transition { from, to, reason }, count) in &tally.transitions {
                let labels =
                    [("service", &**service), ("from", from), ("to", to), ("reason", reason)];
                ConstCounter::new(*count).encode(metric.encode_family(&labels)?)?;
            }
        }
        let help = "Successors of tasks since the manager's start, by the rule that made them";
        let mut metric = counter(encoder, "warren_task_replacements", help)?;
        for (service, tally) in &tallies {
            for (rule, count) in &tally.replacements {
                let labels = [("service", &**service), ("reason", rule.name())];
                ConstCounter::new(*count).encode(metric.encode_family(&labels)?)?;
            }
        }
        let help = "Replacements that a guard began to hold since the manager's start";
        let mut metric = counter(encoder, "warren_task_replacements_suppressed", help)?;
        for (service, tally) in &tallies {
            for (guard, count) in &tally.suppressed {
                let labels = [("service", &**service), ("guard", guard.name())];
                ConstCounter::new(*count).encode(metric.encode_family(&labels)?)?;
            }
        }
        let help = "From a change of a task's health, by its worker's clock, to its commit";
        let metric = encoder.encode_descriptor(
            "warren_health_propagation",
            help,
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        self.counters.tallies().propagation().encode(metric)?;
        let metric = encoder.encode_descriptor(
            "warren_store_commit",
            "How long a batch took to become durable",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        self.counters.tallies().commits().encode(metric)
    }

    /// Of the nodes that are there. Two of one name are one series: the later word counts.
    fn workers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (published, heard) = (self.handle.published(), self.counters.tallies().heard());
        let mut last = BTreeMap::new();
        for node in published.cluster.nodes() {
            if let Some(at) = heard.get(&node.id) {
                let known = last.entry(node.name.as_str()).or_insert(*at);
                *known = (*known).max(*at);
            }
        }
        let mut metric = encoder.encode_descriptor(
            "warren_worker_last_report_timestamp",
            "When anything came from a worker last, a heartbeat included",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        for (worker, at) in last {
            #[expect(clippy::cast_precision_loss, reason = "exact until the year 280000")]
            let seconds = at.as_millis() as f64 / 1000.0;
            ConstGauge::new(seconds).encode(metric.encode_family(&[("worker", worker)])?)?;
        }
        Ok(())
    }

    fn events(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Rows of the history that were written since the start";
        let mut metric = counter(encoder, "warren_events", help)?;
        for (kind, count) in self.counters.events() {
            ConstCounter::new(count).encode(metric.encode_family(&[("kind", kind)])?)?;
        }
        Ok(())
    }
}

fn counter<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Counter)
}

fn gauge<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)
}

fn one<const N: usize>(
    metric: &mut MetricEncoder<'_>,
    labels: &[(&str, &str); N],
    value: u32,
) -> fmt::Result {
    ConstGauge::new(i64::from(value)).encode(metric.encode_family(labels)?)
}
