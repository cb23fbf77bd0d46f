//! `warren service`.

use std::time::Duration;

use warren_core::spec::ServiceSpec;
use warren_proto::v1 as pb;

use super::{for_each, pause, scale, service_show, update, wait};
use crate::{
    cli::service::{CreateArgs, InspectArgs, LsArgs, ReleaseArgs, RmArgs, Verb},
    client::{Client, Host},
    console::Console,
    failure::Failure,
    output::{self, words},
    spec, values,
};

pub async fn run(verb: Verb, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    match verb {
        Verb::Create(args) => create(&args, host, console).await,
        Verb::Ls(args) => ls(&args, host, console).await,
        Verb::Inspect(args) => inspect(&args, host, console).await,
        Verb::Update(args) => update::run(&args, host, console).await,
        Verb::Scale(args) => Box::pin(scale::run(&args, host, console)).await,
        Verb::Release(args) => release(&args, host, console).await,
        Verb::Health(args) => pause::run(args.verb, host, console).await,
        Verb::Rm(args) => rm(&args, host, console).await,
    }
}

async fn create(args: &CreateArgs, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    let timeout = wait_timeout(&args.wait_timeout)?;
    let spec: ServiceSpec = spec::service_spec(args, &|name| std::env::var_os(name))?;
    let client = Client::connect(host).await?;
    let request = pb::CreateServiceRequest { spec: Some((&spec).into()) };
    let response = client.services().create(request).await?.into_inner();
    for warning in &response.warnings {
        console.note(&format!("warning: {}", words::plain(warning)));
    }
    console.line(spec.name.as_str())?;
    if args.wait {
        wait::until_ready(&client, spec.name.as_str(), timeout, console).await?;
    }
    Ok(())
}

fn wait_timeout(text: &str) -> Result<Duration, Failure> {
    values::span(text).map_err(|why| Failure::flag("--wait-timeout", why))
}

async fn ls(args: &LsArgs, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    let client = Client::connect(host).await?;
    let list = client.services().list(pb::ListServicesRequest {}).await?.into_inner();
    output::show(console, args.output.output, "ListServicesResponse", &list, |list, now| {
        output::table(
            ["NAME", "READY", "HEALTH", "IMAGE OR COMMAND", "AGE"],
            list.services.iter().map(|row| service_show::row(row, now)),
        )
    })
}

async fn inspect(
    args: &InspectArgs,
    host: &Host,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let client = Client::connect(host).await?;
    let request = pb::GetServiceRequest { service: args.service.clone() };
    let mut detail = client.services().get(request).await?.into_inner();
    let tasks = super::observe::ids(&detail.tasks);
    let live = super::observe::live(&client, tasks, console).await;
    live.merge_into(&mut detail.tasks);
    output::show(console, args.output.output, "ServiceDetail", &detail, |detail, now| {
        service_show::detail(detail, &live, now)
    })
}

async fn release(
    args: &ReleaseArgs,
    host: &Host,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let client = Client::connect(host).await?;
    for_each(&args.services, console, async |service, console| {
        let request = pb::ReleaseServiceRequest { service: service.to_owned() };
        let released = client.services().release(request).await?.into_inner().released;
        console.note(&format!("{service}: {released} of its tasks were held"));
        console.line(service)
    })
    .await
}

async fn rm(args: &RmArgs, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    let timeout = wait_timeout(&args.wait_timeout)?;
    let client = Client::connect(host).await?;
    for_each(&args.services, console, async |service, console| {
        // Seen before, since it may be gone at once.
        let before = if args.wait { Some(wait::detail(&client, service).await?) } else { None };
        let request = pb::DeleteServiceRequest { service: service.to_owned() };
        client.services().delete(request).await?;
        if let Some(before) = before {
            wait::until_gone(&client, service, before, timeout).await?;
        }
        console.line(service)
    })
    .await
}
