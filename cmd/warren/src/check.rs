//! `warren check`: one attempt by the workers' own engine, from here and without a manager.

mod place;

use std::sync::Arc;

use anyhow::Context;
use warren_core::{
    bounds::Timeout,
    check::{Check, CheckKind, Checks, Command, ExecCheck, Role, Timing},
    id::TaskId,
    outcome::Outcome,
};
use warren_probe::{Prober, Target};
use warren_proto::v1 as pb;
use warren_runtime::{Reach, process::Here};

use self::place::Place;
use crate::{
    cli::check::{
        ExecArgs, FileArgs, GrpcArgs, HttpArgs, Kind, LookArgs, NetArgs, PresetArgs, TcpArgs,
    },
    console::Console,
    failure::Failure,
    health_flags::{self, FlagKind},
    output::{self, checks, trial, words},
    values,
};

pub async fn run(kind: &Kind, console: &mut Console<'_>) -> Result<(), Failure> {
    let seen = match kind {
        Kind::Http(args) => one(&http(args)?, console).await,
        Kind::Tcp(TcpArgs { check, net }) => {
            one(&at_port(FlagKind::Tcp, check, net)?, console).await
        }
        Kind::Grpc(GrpcArgs { check, net }) => {
            one(&at_port(FlagKind::Grpc, check, net)?, console).await
        }
        Kind::Exec(args) => one(&exec(args)?, console).await,
        Kind::File(FileArgs { check, look }) => {
            let check = spelled_check(FlagKind::File, check, "PATH", look)?;
            one(&Ask::new(check, Place::here(), look)?, console).await
        }
        Kind::Preset(args) => preset(args, console).await,
    };
    seen.map_err(Failure::while_looking)
}

/// What the words mean.
struct Ask<'a> {
    check: Check,
    place: Place,
    look: &'a LookArgs,
    /// The check in words.
    how: String,
}

impl<'a> Ask<'a> {
    fn new(check: Check, place: Place, look: &'a LookArgs) -> Result<Self, Failure> {
        // Before the host is put into it, which is in the words already.
        let how = checks::how_at(&check.kind, &place.shown());
        Ok(Self { check: place.named_in(check)?, place, look, how })
    }
}

fn http(HttpArgs { check, net }: &HttpArgs) -> Result<Ask<'_>, Failure> {
    let (place, spelled) = place::of_http(check, net.address.as_deref())?;
    let check = spelled_check(FlagKind::Http, &spelled, "CHECK", &net.look)?;
    Ask::new(check, place, &net.look)
}

fn at_port<'a>(kind: FlagKind, text: &str, net: &'a NetArgs) -> Result<Ask<'a>, Failure> {
    let (place, spelled) = place::of_port(text, net.address.as_deref())?;
    Ask::new(spelled_check(kind, &spelled, "CHECK", &net.look)?, place, &net.look)
}

fn exec(ExecArgs { check, stray, words: typed, look }: &ExecArgs) -> Result<Ask<'_>, Failure> {
    if let Some(text) = check {
        if !stray.is_empty() {
            let all: Vec<String> = [text].into_iter().chain(stray).cloned().collect();
            let all = words::command(&all);
            let why =
                format!("is one argument; quote the command, or say it after --, as in -- {all}");
            return Err(Failure::flag("CMD", why));
        }
        let check = spelled_check(FlagKind::Cmd, text, "CMD", look)?;
        return Ask::new(check, Place::here(), look);
    }
    let command = Command::literal(typed).map_err(|why| Failure::flag("WORD", why))?;
    let kind = CheckKind::Exec(ExecCheck::new(command));
    let timing = with_timeout(Timing::default_for(Role::Liveness), look)?;
    // As they were typed, and not as a check would have to spell them.
    let how = format!("run {}", words::command(typed));
    Ok(Ask { how, ..Ask::new(Check { kind, timing }, Place::here(), look)? })
}

fn spelled_check(
    kind: FlagKind,
    text: &str,
    argument: &str,
    look: &LookArgs,
) -> Result<Check, Failure> {
    let (check, keys) = health_flags::liveness_check(kind, text, argument)?;
    if look.timeout.is_some() && keys.iter().any(|key| key == "timeout") {
        return Err(Failure::flag("--timeout", format!("contradicts timeout= of {argument}")));
    }
    Ok(Check { timing: with_timeout(check.timing, look)?, ..check })
}

fn with_timeout(mut timing: Timing, look: &LookArgs) -> Result<Timing, Failure> {
    if let Some(text) = &look.timeout {
        let timeout = values::span(text).and_then(Timeout::new);
        timing.timeout = timeout.map_err(|why| Failure::flag("--timeout", why))?;
    }
    Ok(timing)
}

async fn one(ask: &Ask<'_>, console: &mut Console<'_>) -> Result<(), Failure> {
    let made = try_it(&ask.check, &ask.place, Vec::new(), console).await?;
    output::show(console, ask.look.output.output, "Trial", &made, |made, _| {
        trial::report(std::slice::from_ref(made), |_| ask.how.clone())
    })?;
    ended(trial::outcome_of(&[made]))
}

/// An attempt at each check of a preset.
async fn preset(args: &PresetArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let PresetArgs { check, net: NetArgs { address, look } } = args;
    let preset = health_flags::preset_by_name(check, "NAME")?;
    let checks = preset.checks(None).map_err(|why| Failure::flag("NAME", why))?;
    let place = Place::at(address.as_deref())?;
    let mut trials: Vec<pb::Trial> = Vec::new();
    for (roles, check) in apart(checks) {
        if address.is_some() && matches!(check.kind, CheckKind::Exec(_)) {
            let why = "is not for a preset that runs a command; that asks at $WARREN_TASK_IP";
            return Err(Failure::flag("--address", why));
        }
        let check = Check { timing: with_timeout(check.timing, look)?, ..check };
        trials.push(try_it(&check, &place, roles, console).await?);
    }
    let seen = pb::CheckTaskResponse { trials };
    output::show(console, look.output.output, "CheckTaskResponse", &seen, |seen, _| {
        trial::report(&seen.trials, |kind| checks::how_at(kind, &place.shown()))
    })?;
    ended(trial::outcome_of(&seen.trials))
}

/// Each thing that is asked, with the roles that ask it.
fn apart(checks: Checks) -> Vec<(Vec<Role>, Check)> {
    let Checks { startup, liveness, readiness } = checks;
    let mut apart: Vec<(Vec<Role>, Check)> = Vec::new();
    for (role, check) in Role::ALL.into_iter().zip([startup, liveness, readiness]) {
        let Some(check) = check else { continue };
        match apart.iter_mut().find(|(_, known)| known.kind == check.kind) {
            Some((roles, _)) => roles.push(role),
            None => apart.push((vec![role], check)),
        }
    }
    apart
}

async fn try_it(
    check: &Check,
    place: &Place,
    roles: Vec<Role>,
    console: &Console<'_>,
) -> Result<pb::Trial, Failure> {
    let (address, limit) = place.resolve(check.timing.timeout.get()).await?;
    let here = Here::new().context("cannot tell what a command would run with here")?;
    let reach = Reach { netns: None, address, root_of: None };
    // It is no task's; the number goes nowhere.
    let target = Target::new(TaskId::from_u64(0), reach, Arc::new(here));
    let prober = Prober::new().context("cannot make attempts here")?;
    let asked = console.now();
    let seen = prober.attempt(&target, &check.kind, limit).await;
    Ok(pb::Trial::from(&seen.trial(asked, roles, check.clone())))
}

fn ended(outcome: Outcome) -> Result<(), Failure> {
    match outcome {
        Outcome::Pass => Ok(()),
        Outcome::Fail(_) | Outcome::Inconclusive => Err(Failure::Seen(outcome)),
    }
}
