//! `warren health`.

use warren_core::time::Timestamp;
use warren_proto::v1::{self as pb, watch_health_response::Update};

use super::names::Names;
use crate::{
    cli::health::{LsArgs, Verb, WatchArgs},
    client::{Client, Host},
    console::Console,
    failure::Failure,
    interrupt,
    output::{self, words},
};

pub async fn run(verb: Verb, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    match verb {
        Verb::Ls(args) => ls(&args, host, console).await,
        Verb::Watch(args) => watch(&args, host, console).await,
    }
}

async fn ls(args: &LsArgs, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    let client = Client::connect(host).await?;
    let request = pb::ListHealthRequest { service: args.service.clone().unwrap_or_default() };
    let list = client.health().list_health(request).await?.into_inner();
    let nodes = Names::of_nodes(&client).await;
    output::show(console, args.output.output, "ListHealthResponse", &list, |list, now| {
        let header =
            ["SERVICE", "SLOT", "TASK", "NODE", "STATE", "HEALTH", "READY", "SINCE", "REASON"];
        output::table(header, list.entries.iter().map(|entry| row(entry, &nodes, now)))
    })
}

fn row(entry: &pb::HealthEntry, nodes: &Names, now: Timestamp) -> [String; 9] {
    let health = entry.health.clone().unwrap_or_default();
    [
        words::plain(&entry.service_name),
        entry.slot.to_string(),
        entry.task_id.clone(),
        nodes.get(&entry.node_id),
        words::word("TASK_STATE_", entry.state().as_str_name()),
        words::health_status(&health),
        words::yes_no(health.ready),
        words::ago(health.since.as_ref(), now),
        words::cell(&health.reason),
    ]
}

async fn watch(args: &WatchArgs, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    let client = Client::connect(host).await?;
    let request = pb::WatchHealthRequest {
        service: args.service.clone().unwrap_or_default(),
        from_revision: args.from,
    };
    let mut changes = client.health().watch_health(request).await?.into_inner();
    interrupt::until(async {
        while let Some(change) = changes.message().await? {
            let format = args.output.output;
            output::show_next(console, format, "WatchHealthResponse", &change, lines)?;
        }
        Err(Failure::Unreachable("the manager ended the watch".to_owned()))
    })
    .await
}

/// A line for each task that the update speaks of.
fn lines(response: &pb::WatchHealthResponse) -> String {
    let revision = response.revision;
    match &response.update {
        Some(Update::Snapshot(snapshot)) => {
            snapshot.entries.iter().map(|entry| line(revision, entry)).collect()
        }
        Some(Update::Changed(entry)) => line(revision, entry),
        Some(Update::RemovedTaskId(task)) => format!("{revision}  {task}  gone\n"),
        None => String::new(),
    }
}

/// `42  web.1  00000000000000a1  running  healthy  ready  why`
fn line(revision: u64, entry: &pb::HealthEntry) -> String {
    let health = entry.health.clone().unwrap_or_default();
    let columns = [
        revision.to_string(),
        format!("{}.{}", words::plain(&entry.service_name), entry.slot),
        entry.task_id.clone(),
        words::word("TASK_STATE_", entry.state().as_str_name()),
        words::health_status(&health),
        if health.ready { "ready" } else { "not ready" }.to_owned(),
        words::plain(&health.reason),
    ];
    columns.join("  ").trim_end().to_owned() + "\n"
}
