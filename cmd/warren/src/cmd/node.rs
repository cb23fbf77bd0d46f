//! `warren node`.

use warren_core::time::Timestamp;
use warren_proto::v1 as pb;

use super::{for_each, label, wait};
use crate::{
    cli::node::{DrainArgs, InspectArgs, LsArgs, RmArgs, Verb},
    client::{Client, Host},
    console::Console,
    failure::Failure,
    output::{self, words},
    values,
};

pub async fn run(verb: Verb, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    match verb {
        Verb::Ls(args) => ls(&args, host, console).await,
        Verb::Inspect(args) => inspect(&args, host, console).await,
        Verb::Cordon(args) => {
            let kind = pb::AvailabilityKind::Cordoned;
            set(&args.nodes, kind, &args.reason, host, console).await
        }
        Verb::Drain(args) => drain(&args, host, console).await,
        Verb::Uncordon(args) => {
            set(&args.nodes, pb::AvailabilityKind::Active, "", host, console).await
        }
        Verb::Label(args) => label::run(args, host, console).await,
        Verb::Rm(args) => rm(&args, host, console).await,
    }
}

async fn ls(args: &LsArgs, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    let client = Client::connect(host).await?;
    let list = client.nodes().list(pb::ListNodesRequest {}).await?.into_inner();
    output::show(console, args.output.output, "ListNodesResponse", &list, |list, now| {
        let header = [
            "NAME", "ID", "STATE", "SINCE", "TAKES", "SCORE", "DRIVERS", "TASKS", "CPUS", "MEMORY",
            "VERSION",
        ];
        output::table(header, list.nodes.iter().map(|node| row(node, now)))
    })
}

fn row(row: &pb::NodeRow, now: Timestamp) -> [String; 11] {
    let node = row.node.clone().unwrap_or_default();
    [
        words::plain(&node.name),
        node.id.clone(),
        state(&node),
        words::ago(node.since.as_ref(), now),
        takes(&node),
        score(&node),
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

/// What it takes, and whether it is accused.
fn takes(node: &pb::Node) -> String {
    let kind = node.availability.as_ref().map(pb::Availability::kind).unwrap_or_default();
    let accused = if node.accused.is_some() { ", accused" } else { "" };
    format!("{}{accused}", availability(kind))
}

fn availability(kind: pb::AvailabilityKind) -> String {
    match kind {
        pb::AvailabilityKind::Unspecified | pb::AvailabilityKind::Active => "tasks".to_owned(),
        pb::AvailabilityKind::Cordoned | pb::AvailabilityKind::Drained => {
            words::word("AVAILABILITY_KIND_", kind.as_str_name())
        }
    }
}

/// Of its observer, where it is connected.
fn score(node: &pb::Node) -> String {
    node.observer_score.map_or_else(|| "-".to_owned(), |score| score.to_string())
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
        let mut text = format!(
            "Name: {}\nId: {}\nState: {}, since {}\nObserver score: {}\nRegistered: {}\n\
             Drivers: {}\nCPUs: {}\nMemory: {}\nVersion: {}\nStarts: {}\n",
            words::plain(&node.name),
            node.id,
            state(node),
            time(node.since.as_ref()),
            score(node),
            time(node.registered_at.as_ref()),
            drivers(node),
            node.cpus,
            words::bytes(node.memory_bytes),
            words::plain(&node.version),
            node.epoch,
        );
        text.push_str(&standing(node, time));
        text
    })
}

/// How it stands with placement. What there is nothing to say of is left out.
fn standing(node: &pb::Node, time: impl Fn(Option<&prost_types::Timestamp>) -> String) -> String {
    let mut lines = label::lines(node);
    if let Some(is) = &node.availability {
        let by = if is.automatic { " (by the manager)" } else { "" };
        let because = match is.reason.as_str() {
            "" => String::new(),
            reason => format!(": {}", words::plain(reason)),
        };
        let (word, since) = (availability(is.kind()), time(is.since.as_ref()));
        lines.push(format!("Takes: {word}{by}, since {since}{because}"));
    }
    if let Some(accused) = &node.accused {
        let since = time(accused.since.as_ref());
        lines.push(format!("Accused: since {since}: {}", words::plain(&accused.reason)));
    }
    if let Some(doubted) = &node.doubted {
        let since = time(doubted.since.as_ref());
        lines.push(format!("Doubted: since {since}, observer score {}", doubted.score));
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

async fn set(
    nodes: &[String],
    kind: pb::AvailabilityKind,
    reason: &str,
    host: &Host,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let client = Client::connect(host).await?;
    for_each(nodes, console, async |node, console| {
        client.nodes().set_availability(request(node, kind, reason)).await?;
        console.line(node)
    })
    .await
}

fn request(node: &str, kind: pb::AvailabilityKind, reason: &str) -> pb::SetAvailabilityRequest {
    let (node, reason) = (node.to_owned(), reason.to_owned());
    pb::SetAvailabilityRequest { node, kind: kind.into(), reason }
}

async fn drain(args: &DrainArgs, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    let patience =
        values::span(&args.wait_timeout).map_err(|why| Failure::flag("--wait-timeout", why))?;
    let client = Client::connect(host).await?;
    for_each(&args.nodes, console, async |node, console| {
        let drained = pb::AvailabilityKind::Drained;
        let row = client.nodes().set_availability(request(node, drained, &args.reason)).await?;
        if args.wait {
            wait::until_empty(&client, row.into_inner(), patience, console).await?;
        }
        console.line(node)
    })
    .await
}

async fn rm(args: &RmArgs, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    let client = Client::connect(host).await?;
    for_each(&args.nodes, console, async |node, console| {
        client.nodes().delete(pb::DeleteNodeRequest { node: node.to_owned() }).await?;
        console.line(node)
    })
    .await
}
