//! `warren task`.

use warren_core::{check::Role, outcome::Outcome};
use warren_proto::v1 as pb;

use super::{for_each, logs, observe, task_show};
use crate::{
    cli::task::{CheckArgs, InspectArgs, LsArgs, RmArgs, Verb, WhyArgs},
    client::{Client, Host},
    console::Console,
    failure::Failure,
    output::{self, checks, trial},
};

pub async fn run(verb: Verb, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    match verb {
        Verb::Ls(args) => ls(&args, host, console).await,
        Verb::Inspect(args) => inspect(&args, host, console).await,
        Verb::Check(args) => check(&args, host, console).await.map_err(Failure::while_looking),
        Verb::Why(args) => why(&args, host, console).await,
        Verb::Logs(args) => logs::run(&args, host, console).await,
        Verb::Rm(args) => rm(&args, host, console).await,
    }
}

async fn ls(args: &LsArgs, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    let client = Client::connect(host).await?;
    let request =
        pb::ListTasksRequest { service: args.service.clone().unwrap_or_default(), all: args.all };
    let list = client.tasks().list(request).await?.into_inner();
    output::show(console, args.output.output, "ListTasksResponse", &list, |list, now| {
        task_show::rows(&list.tasks, now)
    })
}

async fn inspect(
    args: &InspectArgs,
    host: &Host,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let client = Client::connect(host).await?;
    let request = pb::GetTaskRequest { task: args.task.clone() };
    let mut detail = [client.tasks().get(request).await?.into_inner()];
    let live = observe::live(&client, observe::ids(&detail), console).await;
    live.merge_into(&mut detail);
    let [detail] = detail;
    output::show(console, args.output.output, "TaskDetail", &detail, |detail, now| {
        task_show::detail(live.view(detail), now)
    })
}

async fn check(args: &CheckArgs, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    let client = Client::connect(host).await?;
    let role = args.role.map_or(pb::Role::Unspecified, |role| Role::from(role).into());
    let request = pb::CheckTaskRequest { task: args.task.clone(), role: role.into() };
    let seen = client.tasks().check(request).await?.into_inner();
    output::show(console, args.output.output, "CheckTaskResponse", &seen, |seen, _| {
        trial::report(&seen.trials, checks::how)
    })?;
    console.note("note: this counts in no verdict of the task");
    match trial::outcome_of(&seen.trials) {
        Outcome::Pass => Ok(()),
        other @ (Outcome::Fail(_) | Outcome::Inconclusive) => Err(Failure::Seen(other)),
    }
}

async fn why(args: &WhyArgs, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    let client = Client::connect(host).await?;
    let request = pb::WhyTaskRequest { task: args.task.clone() };
    let why = client.tasks().why(request).await?.into_inner();
    output::show(console, args.output.output, "WhyTaskResponse", &why, task_show::why)
}

async fn rm(args: &RmArgs, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    let client = Client::connect(host).await?;
    for_each(&args.tasks, console, async |task, console| {
        client.tasks().delete(pb::DeleteTaskRequest { task: task.to_owned() }).await?;
        console.line(task)
    })
    .await
}
