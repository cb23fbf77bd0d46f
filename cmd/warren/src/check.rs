//! `warren check`: one attempt by the workers' own engine, from here and without a manager.

mod place;

use std::sync::Arc;

use anyhow::Context;
use warren_core::{
    bounds::Timeout,
    check::{Check, CheckKind, Command, ExecCheck, Role, Timing},
    id::TaskId,
    outcome::Outcome,
};
use warren_probe::{Prober, Target};
use warren_proto::v1 as pb;
use warren_runtime::{Reach, process::Here};

use self::place::Place;
use crate::{
    cli::check::{ExecArgs, GrpcArgs, HttpArgs, Kind, LookArgs, TcpArgs},
    console::Console,
    failure::Failure,
    health_flags::{self, FlagKind},
    output::{self, trial},
    values,
};

pub async fn run(kind: &Kind, console: &mut Console<'_>) -> Result<(), Failure> {
    let Ask { check, place, look } = asked(kind)?;
    try_it(check, &place, look, console).await.map_err(Failure::while_looking)
}

/// What the words mean.
struct Ask<'a> {
    check: Check,
    place: Place,
    look: &'a LookArgs,
}

fn asked(kind: &Kind) -> Result<Ask<'_>, Failure> {
    match kind {
        Kind::Http(HttpArgs { check, net }) => {
            let (place, spelled) = place::of_http(check, net.address.as_deref())?;
            let check = spelled_check(FlagKind::Http, &spelled, "CHECK", &net.look)?;
            Ok(Ask { check: place.named_in(check)?, place, look: &net.look })
        }
        Kind::Tcp(TcpArgs { check, net }) => {
            let (place, spelled) = place::of_port(check, net.address.as_deref())?;
            let check = spelled_check(FlagKind::Tcp, &spelled, "CHECK", &net.look)?;
            Ok(Ask { check, place, look: &net.look })
        }
        Kind::Grpc(GrpcArgs { check, net }) => {
            let (place, spelled) = place::of_port(check, net.address.as_deref())?;
            let check = spelled_check(FlagKind::Grpc, &spelled, "CHECK", &net.look)?;
            Ok(Ask { check: place.named_in(check)?, place, look: &net.look })
        }
        Kind::Exec(ExecArgs { check, words, look }) => {
            let check = if let Some(text) = check {
                spelled_check(FlagKind::Cmd, text, "CMD", look)?
            } else {
                let command = Command::literal(words);
                let command = command.map_err(|why| Failure::flag("WORD", why))?;
                let kind = CheckKind::Exec(ExecCheck::new(command));
                with_timeout(Check { kind, timing: Timing::default_for(Role::Liveness) }, look)?
            };
            Ok(Ask { check, place: Place::here(), look })
        }
    }
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
    with_timeout(check, look)
}

fn with_timeout(mut check: Check, look: &LookArgs) -> Result<Check, Failure> {
    if let Some(text) = &look.timeout {
        let timeout = values::span(text).and_then(Timeout::new);
        check.timing.timeout = timeout.map_err(|why| Failure::flag("--timeout", why))?;
    }
    Ok(check)
}

async fn try_it(
    check: Check,
    place: &Place,
    look: &LookArgs,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let (address, limit) = place.resolve(check.timing.timeout.get()).await?;
    let here = Here::new().context("cannot tell what a command would run with here")?;
    let reach = Reach { netns: None, address, root_of: None };
    // It is no task's; the number goes nowhere.
    let target = Target::new(TaskId::from_u64(0), reach, Arc::new(here));
    let prober = Prober::new().context("cannot make attempts here")?;
    let asked = console.now();
    let seen = prober.attempt(&target, &check.kind, limit).await;
    let made = seen.trial(asked, Vec::new(), check);
    let outcome = made.attempt.outcome;
    output::show(console, look.output.output, "Trial", &pb::Trial::from(&made), |made, _| {
        trial::report(std::slice::from_ref(made))
    })?;
    match outcome {
        Outcome::Pass => Ok(()),
        Outcome::Fail(_) | Outcome::Inconclusive => Err(Failure::Seen(outcome)),
    }
}
