//! `warren service health`.

use warren_core::bounds::Ttl;
use warren_proto::v1 as pb;

use crate::{
    cli::service::{HealthVerb, PauseArgs, ResumeArgs},
    client::{Client, Host},
    console::Console,
    failure::Failure,
    output::words,
    values,
};

pub async fn run(verb: HealthVerb, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    match verb {
        HealthVerb::Pause(args) => pause(args, host, console).await,
        HealthVerb::Resume(args) => resume(args, host, console).await,
    }
}

async fn pause(args: PauseArgs, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    let PauseArgs { service, span, by } = args;
    let span = values::span(&span).and_then(Ttl::new).map_err(|why| Failure::flag("--for", why))?;
    let by = by.or_else(user).unwrap_or_default();
    let client = Client::connect(host).await?;
    let request = pb::PauseChecksRequest { service: service.clone(), r#for: Some(span.into()), by };
    let paused = client.services().pause_checks(request).await?.into_inner();
    let until = paused.service.and_then(|service| service.checks_paused?.until);
    console.line(&format!("{service} is not checked until {}", words::utc(until.as_ref())))
}

/// Who is at the keyboard, as far as the environment says.
fn user() -> Option<String> {
    let named = |name| std::env::var(name).ok().filter(|user: &String| !user.is_empty());
    named("SUDO_USER").or_else(|| named("USER")).or_else(|| named("LOGNAME"))
}

async fn resume(args: ResumeArgs, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    let ResumeArgs { service } = args;
    let client = Client::connect(host).await?;
    let request = pb::ResumeChecksRequest { service: service.clone() };
    client.services().resume_checks(request).await?;
    console.line(&format!("{service} is checked again"))
}
