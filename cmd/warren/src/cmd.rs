//! What the client commands do: one call of the API each, or a few, and then words.

pub mod database;
mod event;
mod health;
mod image;
mod label;
mod logs;
mod names;
mod node;
mod observe;
mod pause;
mod scale;
mod service;
mod service_show;
mod task;
mod task_show;
mod update;
mod wait;

use crate::{cli::ClientCommand, client::Host, console::Console, failure::Failure};

/// Each command checks all that it can before it connects. Boxed, since they are large.
pub async fn run(
    command: ClientCommand,
    host: &Host,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    match command {
        ClientCommand::Service(args) => Box::pin(service::run(args.verb, host, console)).await,
        ClientCommand::Task(args) => Box::pin(task::run(args.verb, host, console)).await,
        ClientCommand::Node(args) => Box::pin(node::run(args.verb, host, console)).await,
        ClientCommand::Image(args) => Box::pin(image::run(args.verb, host, console)).await,
        ClientCommand::Health(args) => Box::pin(health::run(args.verb, host, console)).await,
        ClientCommand::Event(args) => Box::pin(event::run(args.verb, host, console)).await,
    }
}

/// Does the same to each of several, tells what went wrong with each, and fails as the first one
/// that did.
async fn for_each(
    items: &[String],
    console: &mut Console<'_>,
    mut act: impl AsyncFnMut(&str, &mut Console<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut failed: Option<Failure> = None;
    for item in items {
        if let Err(failure) = act(item, console).await {
            match &failed {
                None => failed = Some(failure),
                Some(_) => console.note(&format!("error: {failure}")),
            }
        }
    }
    failed.map_or(Ok(()), Err)
}
