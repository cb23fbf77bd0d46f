//! Waiting for a service to become healthy and ready, or to be gone, and for a node to be empty.

use std::time::Duration;

use tokio::time::{Instant, interval, sleep_until, timeout};
use warren_proto::v1 as pb;

use crate::{
    client::Client,
    console::Console,
    failure::Failure,
    output::{task::View, words},
};

/// Tasks take seconds to stop: asking this often is cheap and adds nothing that a person would
/// notice.
const POLL: Duration = Duration::from_millis(200);

/// Follows the service's health until all its replicas are healthy and take traffic, and tells each
/// step.
pub async fn until_ready(
    client: &Client,
    service: &str,
    patience: Duration,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let deadline = Instant::now() + patience;
    let request = pb::WatchHealthRequest { service: service.to_owned(), from_revision: None };
    let mut changes = client.health().watch_health(request).await?.into_inner();
    let mut told = String::new();
    loop {
        let detail = detail(client, service).await?;
        let summary = detail.summary.clone().unwrap_or_default();
        let step = words::plain(&step(&summary));
        if step != told {
            console.note(&format!("{service}: {step}"));
            told = step;
        }
        if summary.healthy.min(summary.ready) >= summary.replicas {
            return Ok(());
        }
        let change = tokio::select! {
            biased;
            () = sleep_until(deadline) => return Err(in_vain(service, patience, &detail, console)),
            change = changes.message() => change?,
        };
        if change.is_none() {
            let why = "the manager ended the watch; see whether it still runs";
            return Err(Failure::Unreachable(why.to_owned()));
        }
    }
}

/// The summary, and how many are healthy and do not take traffic yet.
fn step(summary: &pb::ServiceSummary) -> String {
    let pb::ServiceSummary { replicas, healthy, ready, text, .. } = summary;
    match healthy.saturating_sub(*ready) {
        0 => text.clone(),
        waiting => format!("{text}, {waiting}/{replicas} not ready"),
    }
}

/// How far it came, and what is known of the tasks that it still waits for.
fn in_vain(
    service: &str,
    patience: Duration,
    detail: &pb::ServiceDetail,
    console: &mut Console<'_>,
) -> Failure {
    let now = console.now();
    for task in &detail.tasks {
        let view = View { detail: task, live: None };
        let reason = view.reason(now);
        if view.is_awaited() && !reason.is_empty() {
            console.note(&format!("{service}.{}: {}: {reason}", view.slot(), view.state()));
        }
    }
    let summary = detail.summary.clone().unwrap_or_default();
    let lacks = if summary.healthy < summary.replicas { "healthy" } else { "ready" };
    Failure::Refused(format!(
        "{service} is not {lacks} after {}: {}; see 'warren service inspect {service}'",
        words::span(patience),
        words::plain(&step(&summary)),
    ))
}

pub async fn detail(client: &Client, service: &str) -> Result<pb::ServiceDetail, Failure> {
    let request = pb::GetServiceRequest { service: service.to_owned() };
    Ok(client.services().get(request).await?.into_inner())
}

/// Asks until the manager does not know the service any more. Fails when tasks of it may still run.
pub async fn until_gone(
    client: &Client,
    service: &str,
    mut last: pb::ServiceDetail,
    patience: Duration,
) -> Result<(), Failure> {
    let gone = async || match detail(client, service).await {
        Ok(detail) => {
            last = detail;
            Ok(false)
        }
        Err(Failure::NotFound(_)) => Ok(true),
        Err(failure) => Err(failure),
    };
    ask_until(patience, gone, |patience| format!("{service} is still there after {patience}"))
        .await?;
    let left = out_of_reach(client, service, &last).await?;
    if left.is_empty() {
        return Ok(());
    }
    Err(Failure::Refused(format!(
        "{service} is removed, but what it had on nodes that are down may still run there until \
         they are back: {}",
        left.join(", ")
    )))
}

/// The service's tasks that had not ended when last seen, and whose node is down.
async fn out_of_reach(
    client: &Client,
    service: &str,
    last: &pb::ServiceDetail,
) -> Result<Vec<String>, Failure> {
    let nodes = client.nodes().list(pb::ListNodesRequest {}).await?.into_inner().nodes;
    let down: Vec<pb::Node> = nodes
        .into_iter()
        .filter_map(|row| row.node)
        .filter(|node| node.state() == pb::NodeState::Lost)
        .collect();
    let live = last.tasks.iter().filter_map(|detail| detail.task.as_ref()).filter(|task| {
        task.status.as_ref().is_none_or(|status| status.state() != pb::TaskState::Ended)
    });
    let left = live.filter_map(|task| {
        let node = down.iter().find(|node| node.id == task.node_id)?;
        Some(format!("{service}.{} (task {}) on {}", task.slot, task.id, words::plain(&node.name)))
    });
    Ok(left.collect())
}

/// Asks until no task is left on the node, and tells each step.
pub async fn until_empty(
    client: &Client,
    first: pb::NodeRow,
    patience: Duration,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let id = first.node.unwrap_or_default().id;
    let mut told = None;
    let empty = async || {
        let list = client.nodes().list(pb::ListNodesRequest {}).await?.into_inner();
        let row = list.nodes.into_iter().find(|row| row.node.as_ref().is_some_and(|n| n.id == id));
        let left = row.map_or(0, |row| row.tasks);
        if told != Some(left) {
            console.note(&format!("{left} tasks are left"));
            told = Some(left);
        }
        Ok(left == 0)
    };
    ask_until(patience, empty, |patience| {
        format!("tasks are left on the node after {patience}; 'warren task ls' shows where they go")
    })
    .await
}

/// Asks until the answer is yes. `in_vain` says that it was not, within so long.
async fn ask_until(
    patience: Duration,
    mut is_so: impl AsyncFnMut() -> Result<bool, Failure>,
    in_vain: impl FnOnce(&str) -> String,
) -> Result<(), Failure> {
    let mut ticks = interval(POLL);
    let asked = async {
        loop {
            ticks.tick().await;
            if is_so().await? {
                return Ok(());
            }
        }
    };
    timeout(patience, asked)
        .await
        .unwrap_or_else(|_| Err(Failure::Refused(in_vain(&words::span(patience)))))
}
