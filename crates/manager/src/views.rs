//! The cluster as the API shows it.

use std::{collections::BTreeMap, sync::Arc};

use warren_core::{
    cluster::Cluster,
    node::Node,
    rule::{Hold, Rule},
    service::Service,
    task::Task,
    time::Timestamp,
};
use warren_plan::{effective_health, summary::summarize};
use warren_proto::v1 as pb;

use crate::{calls::Calls, lookup::newest, publish::Entry};

pub fn service_detail(cluster: &Cluster, service: &Service, now: Timestamp) -> pb::ServiceDetail {
    let mut tasks: Vec<&Arc<Task>> = cluster.tasks_of(service.id).collect();
    tasks.sort_by(|a, b| a.slot.cmp(&b.slot).then_with(|| newest(b).cmp(&newest(a))));
    pb::ServiceDetail {
        service: Some(service.into()),
        summary: Some(summary(cluster, service, now)),
        tasks: tasks.into_iter().map(|task| task_detail(cluster, task, now)).collect(),
        held: held(cluster, service),
    }
}

/// What holds replacements, by rule, with the reason that has held longest.
fn held(cluster: &Cluster, service: &Service) -> Vec<pb::HeldTasks> {
    let mut by_rule: BTreeMap<Rule, (&Hold, Vec<u32>)> = BTreeMap::new();
    for task in cluster.tasks_of(service.id) {
        if let Some(hold) = &task.held {
            let (longest, slots) = by_rule.entry(hold.rule).or_insert((hold, Vec::new()));
            if hold.since < longest.since {
                *longest = hold;
            }
            slots.push(task.slot);
        }
    }
    let shown = |(rule, (hold, slots)): (Rule, (&Hold, Vec<u32>))| pb::HeldTasks {
        rule: pb::Rule::from(rule).into(),
        since: Some(hold.since.into()),
        reason: hold.reason.clone(),
        slots,
    };
    by_rule.into_iter().map(shown).collect()
}

/// With what only its session knows.
pub fn node(node: &Node, calls: &Calls) -> pb::Node {
    pb::Node { observer_score: calls.score(node.id), ..node.into() }
}

pub fn node_row(cluster: &Cluster, node: &Node, calls: &Calls) -> pb::NodeRow {
    let living = cluster.tasks_on(node.id).filter(|task| !task.has_ended()).count();
    let tasks = u32::try_from(living).unwrap_or(u32::MAX);
    pb::NodeRow { node: Some(self::node(node, calls)), tasks }
}

pub fn service_row(cluster: &Cluster, service: &Service, now: Timestamp) -> pb::ServiceRow {
    pb::ServiceRow { service: Some(service.into()), summary: Some(summary(cluster, service, now)) }
}

fn summary(cluster: &Cluster, service: &Service, now: Timestamp) -> pb::ServiceSummary {
    let summary = summarize(cluster, service, now);
    pb::ServiceSummary {
        replicas: summary.replicas,
        healthy: summary.healthy,
        ready: summary.ready,
        unhealthy: summary.unhealthy,
        starting: summary.starting,
        unknown: summary.unknown,
        restarting: summary.restarting,
        flapping: summary.flapping,
        held: summary.held,
        gave_up: summary.gave_up,
        text: summary.text(),
    }
}

pub fn task_detail(cluster: &Cluster, task: &Task, now: Timestamp) -> pb::TaskDetail {
    let service = cluster.service(task.service);
    let node = task.node().and_then(|id| cluster.node(id));
    let template = service.and_then(|service| service.template(task.revision));
    pb::TaskDetail {
        task: Some(task.into()),
        service_name: service.map(|service| service.spec.name.to_string()).unwrap_or_default(),
        node_name: node.map(|node| node.name.clone()).unwrap_or_default(),
        health: cluster.health(task.id).map(|health| (&**health).into()),
        effective: Some((&effective_health(cluster, task, now)).into()),
        template: template.map(|template| (&**template).into()),
        restarts: task.attempt,
    }
}

pub fn health_entry(entry: &Entry) -> pb::HealthEntry {
    let wire: pb::Task = (&*entry.task).into();
    let state = wire.status.map(|status| status.state).unwrap_or_default();
    pb::HealthEntry {
        task_id: wire.id,
        service_id: wire.service_id,
        service_name: entry.service_name().map(ToString::to_string).unwrap_or_default(),
        slot: wire.slot,
        node_id: wire.node_id,
        state,
        health: Some((&entry.health()).into()),
    }
}

/// The tasks that have not ended, of one service or of all.
pub fn living<'a>(
    cluster: &'a Cluster,
    service: Option<&Service>,
) -> Box<dyn Iterator<Item = &'a Arc<Task>> + Send + 'a> {
    match service {
        Some(service) => Box::new(cluster.tasks_of(service.id).filter(|task| !task.has_ended())),
        None => Box::new(cluster.tasks().filter(|task| !task.has_ended())),
    }
}
