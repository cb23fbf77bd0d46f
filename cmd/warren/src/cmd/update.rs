//! `warren service update`.

use warren_core::{
    check::Role,
    spec::{ImageRef, Replicas, TaskTemplate},
};
use warren_proto::v1 as pb;

use super::scale;
use crate::{
    cli::service::UpdateArgs,
    client::{Client, Host},
    console::Console,
    failure::Failure,
    health_flags::Change,
    output::words,
    values,
};

pub async fn run(args: &UpdateArgs, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    let replicas = args.replicas.as_deref().map(|text| values::count(text).and_then(Replicas::new));
    let replicas = replicas.transpose().map_err(|why| Failure::flag("--replicas", why))?;
    let image = args.image.as_deref().map(str::parse::<ImageRef>);
    let image = image.transpose().map_err(|why| Failure::flag("--image", why))?;
    let gone: Vec<Role> = args.health_rm.iter().map(|role| Role::from(*role)).collect();
    let change = Change { flags: &args.health, gone: &gone };
    let looked_at = change.is_any();
    if replicas.is_none() && image.is_none() && args.init.is_none() && !looked_at {
        let why = "nothing to change: name --health-* or another flag of 'service update --help'";
        return Err(Failure::Usage(why.to_owned()));
    }
    let client = Client::connect(host).await?;
    let warnings = scale::change(&client, &args.service, |spec| {
        if let Some(replicas) = replicas {
            spec.replicas = replicas.get();
        }
        let template = spec.template.get_or_insert_default();
        if let Some(image) = &image {
            image.to_string().clone_into(&mut template.image);
        }
        if let Some(init) = args.init {
            template.init = init;
        }
        if looked_at {
            look_at(template, &change)?;
        }
        Ok(())
    });
    for warning in warnings.await? {
        console.note(&format!("warning: {}", words::plain(&warning)));
    }
    console.line(&args.service)
}

fn look_at(template: &mut pb::TaskTemplate, change: &Change<'_>) -> Result<(), Failure> {
    let known = TaskTemplate::try_from(template.clone())
        .map_err(|why| anyhow::anyhow!("the manager's spec cannot be understood: {why}"))?;
    let health = change.of(&known)?;
    template.health = Some((&health).into());
    Ok(())
}
