//! `warren event`.

use warren_proto::v1 as pb;

use super::names::Names;
use crate::{
    cli::{
        Format,
        event::{LsArgs, Verb},
    },
    client::{Client, Host},
    console::Console,
    failure::Failure,
    interrupt,
    output::{self, words},
};

pub async fn run(verb: Verb, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    match verb {
        Verb::Ls(args) => ls(&args, host, console).await,
    }
}

async fn ls(args: &LsArgs, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    let client = Client::connect(host).await?;
    let service = args.service.clone().unwrap_or_default();
    let request = pb::ListEventsRequest { service, limit: args.limit };
    let list = client.events().list(request).await?.into_inner();
    let nodes = Names::of_nodes(&client).await;
    if args.follow {
        return follow(args, &client, list, &nodes, console).await;
    }
    output::show(console, args.output.output, "ListEventsResponse", &list, |list, _| {
        let header = ["TIME", "EVENT", "SERVICE", "TASK", "NODE", "MESSAGE"];
        output::table(header, list.events.iter().map(|event| columns(event, &nodes)))
    })
}

/// One event a line, the past first. Every format prints one message at a time.
async fn follow(
    args: &LsArgs,
    client: &Client,
    past: pb::ListEventsResponse,
    nodes: &Names,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let mut print = |event: &pb::Event| {
        let format: Format = args.output.output;
        output::show_next(console, format, "Event", event, |event| line(event, nodes))
    };
    past.events.iter().try_for_each(&mut print)?;
    let request = pb::WatchEventsRequest {
        service: args.service.clone().unwrap_or_default(),
        from_sequence: Some(past.last_sequence),
    };
    let mut events = client.events().watch(request).await?.into_inner();
    interrupt::until(async {
        while let Some(event) = events.message().await? {
            print(&event)?;
        }
        Err(Failure::Unreachable("the manager ended the watch".to_owned()))
    })
    .await
}

fn columns(event: &pb::Event, nodes: &Names) -> [String; 6] {
    let name = match event.service_name.as_str() {
        "" => &event.service_id,
        name => name,
    };
    let service = match event.slot {
        0 => words::plain(name),
        slot => format!("{}.{slot}", words::plain(name)),
    };
    [
        words::utc(event.at.as_ref()),
        words::word("EVENT_KIND_", event.kind().as_str_name()),
        service,
        event.task_id.clone(),
        nodes.get(&event.node_id),
        words::plain(&event.message),
    ]
}

fn line(event: &pb::Event, nodes: &Names) -> String {
    let filled = columns(event, nodes).into_iter().filter(|column| !column.is_empty());
    filled.collect::<Vec<_>>().join("  ") + "\n"
}
