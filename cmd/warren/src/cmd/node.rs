//! `warren node`.

use warren_core::time::Timestamp;
use warren_proto::v1 as pb;

use super::for_each;
use crate::{
    cli::node::{InspectArgs, LsArgs, RmArgs, Verb},
    client::{Client, Host},
    console::Console,
    failure::Failure,
    output::{self, words},
};

pub async fn run(verb: Verb, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    match verb {
        Verb::Ls(args) => ls(&args, host, console).await,
        Verb::Inspect(args) => inspect(&args, host, console).await,
        Verb::Rm(args) => rm(&args, host, console).await,
    }
}

async fn ls(args: &LsArgs, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    let client = Client::connect(host).await?;
    let list = client.nodes().list(pb::ListNodesRequest {}).await?.into_inner();
    output::show(console, args.output.output, "ListNodesResponse", &list, |list, now| {
        let header =
            ["NAME", "ID", "STATE", "SINCE", "DRIVERS", "TASKS", "CPUS", "MEMORY", "VERSION"];
        output::table(header, list.nodes.iter().map(|node| row(node, now)))
    })
}

fn row(row: &pb::NodeRow, now: Timestamp) -> [String; 9] {
    let node = row.node.clone().unwrap_or_default();
    [
        words::plain(&node.name),
        node.id.clone(),
        state(&node),
        words::ago(node.since.as_ref(), now),
        drivers(&node),
        row.tasks.to_string(),
        node.cpus.to_string(),
        words::bytes(node.memory_bytes),
        words::plain(&node.version),
    ]
}

fn state(node: &pb::Node) -> String {
    words::word("NODE_STATE_", node.state().as_str_name())
}

fn drivers(node: &pb::Node) -> String {
    let word = |driver: pb::Driver| words::word("DRIVER_", driver.as_str_name());
    node.drivers().map(word).collect::<Vec<_>>().join(",")
}

async fn inspect(
    args: &InspectArgs,
    host: &Host,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let client = Client::connect(host).await?;
    let request = pb::GetNodeRequest { node: args.node.clone() };
    let node = client.nodes().get(request).await?.into_inner();
    output::show(console, args.output.output, "Node", &node, |node, now| {
        let time = |at: Option<&prost_types::Timestamp>| {
            format!("{} ({})", words::utc(at), words::ago(at, now))
        };
        format!(
            "Name: {}\nId: {}\nState: {}, since {}\nRegistered: {}\nDrivers: {}\nCPUs: {}\n\
             Memory: {}\nVersion: {}\nStarts: {}\n",
            words::plain(&node.name),
            node.id,
            state(node),
            time(node.since.as_ref()),
            time(node.registered_at.as_ref()),
            drivers(node),
            node.cpus,
            words::bytes(node.memory_bytes),
            words::plain(&node.version),
            node.epoch,
        )
    })
}

async fn rm(args: &RmArgs, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    let client = Client::connect(host).await?;
    for_each(&args.nodes, console, async |node, console| {
        client.nodes().delete(pb::DeleteNodeRequest { node: node.to_owned() }).await?;
        console.line(node)
    })
    .await
}
