//! One exec attempt, through the runtime port, with a permit.
//!
//! Commands are dear: through containerd one costs 10 to 25 ms of CPU, and more than two for each
//! core only wait for each other. So they queue here, where the wait is known and is not taken for
//! the task's lateness.

use std::{collections::BTreeSet, time::Duration};

use tokio::{
    sync::SemaphorePermit,
    time::{Instant, timeout},
};
use warren_core::{
    check::{ExecCheck, ExitCodes},
    outcome::Evidence,
};
use warren_runtime::{ExecEnd, Output, RuntimeError};

use crate::{Prober, Seen, Target, clause, end::End, message, prober::Given};

/// A wait of ten deadlines is a worker with far too much to do, and the owner should hear of it
/// while the checks still mean something: at the latest after a minute. Below a second the wait
/// says nothing yet.
const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_mins(1);
const WAIT_TIMEOUTS: u32 = 10;

/// The runtime keeps the deadline itself. Killing and draining takes containerd up to 2 s; one
/// that has not returned after 5 s has lost the command.
const OVERRUN: Duration = Duration::from_secs(5);

/// A permit of the worker's and the task's turn.
#[derive(Debug)]
pub(crate) struct Permits<'a> {
    /// For them.
    pub(crate) waited: Duration,
    _turn: SemaphorePermit<'a>,
    _permit: SemaphorePermit<'a>,
}

pub(crate) async fn attempt(
    prober: &Prober,
    target: &Target,
    check: &ExecCheck,
    limit: Duration,
) -> Seen {
    let permits = match permits(prober, target, limit).await {
        Ok(permits) => permits,
        Err(seen) => return seen,
    };
    let started = Instant::now();
    // The driver keeps this deadline, so it is stretched by what is known when it begins.
    let given = prober.given(limit);
    let end = run(target, check, given).await;
    let seen = Seen::new(end, started);
    let stretched = given.is_stretched() && seen.latency > limit;
    Seen { waited: permits.waited, stretched, ..seen }
}

/// Waits until a command may run: the task's turn first, so that whoever waits for it holds no one
/// else up.
pub(crate) async fn permits<'a>(
    prober: &'a Prober,
    target: &'a Target,
    limit: Duration,
) -> Result<Permits<'a>, Seen> {
    let queued = Instant::now();
    let patience = limit.saturating_mul(WAIT_TIMEOUTS).clamp(WAIT_MIN, WAIT_MAX);
    let wait = async {
        let turn = target.exec_turn.acquire().await.ok()?;
        let permit = prober.exec_permits.acquire().await.ok()?;
        Some((turn, permit))
    };
    let got = timeout(patience, wait).await;
    let waited = queued.elapsed();
    // Nobody closes a semaphore.
    let Ok(Some((turn, permit))) = got else {
        let message = format!("waited {waited:.1?} for a free exec permit");
        let end = End::inconclusive(clause::PERMIT, message);
        return Err(Seen { waited, ..Seen::new(end, Instant::now()) });
    };
    Ok(Permits { waited, _turn: turn, _permit: permit })
}

/// Runs the command, with the permits that it needs in hand.
pub(crate) async fn run(target: &Target, check: &ExecCheck, given: Given) -> End {
    let limit = given.limit;
    let command = target.runtime.exec(target.task, &check.command, check.user.as_ref(), limit);
    if let Ok(end) = timeout(limit.saturating_add(OVERRUN), command).await {
        return judge(end, check, given);
    }
    let driver = target.runtime.driver().name();
    let message = format!(
        "the {driver} runtime did not end the command {OVERRUN:?} after its deadline of {given}"
    );
    End::inconclusive(clause::NO_RUNTIME, message)
}

fn judge(end: Result<ExecEnd, RuntimeError>, check: &ExecCheck, given: Given) -> End {
    match end {
        Ok(ExecEnd::Exited { code, output }) => exited(code, &output, check),
        Ok(ExecEnd::TimedOut { output }) => {
            let message = with(format!("killed after {given}"), &output);
            End::fail(clause::KILLED, Evidence::Timeout, message)
        }
        // A check that can never run must not pass for a healthy task, nor be forgotten.
        Ok(ExecEnd::NotRun { reason }) => {
            let message = format!("the command cannot run: {reason}");
            End::fail(clause::NOT_RUN, Evidence::Explicit, message)
        }
        // The end of the task itself is noticed where its process is watched. And what a driver
        // refuses to do says nothing of the task: it becomes unknown, with these words.
        Err(
            error @ (RuntimeError::Unavailable { .. }
            | RuntimeError::NoSuchTask(_)
            | RuntimeError::Refused(_)),
        ) => End::inconclusive(clause::NO_RUNTIME, error.to_string()),
    }
}

/// What the code means, and then what was written.
fn exited(code: i32, output: &Output, check: &ExecCheck) -> End {
    let ExecCheck { command: _, user: _, exits, expect } = check;
    let said = || with(format!("exit code {code}"), output);
    let known = u8::try_from(code).ok();
    let among = |codes: &BTreeSet<u8>| known.is_some_and(|code| codes.contains(&code));
    let of_code =
        if *exits == ExitCodes::default() { clause::EXIT_CODE } else { clause::EXIT_CODES };
    if among(exits.inconclusive()) {
        let message = format!("the command could not look: {}", said());
        return End::inconclusive(clause::EXIT_CODES, message);
    }
    if !among(exits.pass()) {
        return End::fail(of_code, Evidence::Explicit, said());
    }
    if let Some(expect) = expect.as_ref().filter(|expect| !expect.is_match(&output.first)) {
        let why = format!("exit code {code}, but its output does not {expect}");
        return End::fail(clause::OUTPUT, Evidence::Explicit, with(why, output));
    }
    let clause = if expect.is_some() { clause::OUTPUT } else { of_code };
    End::pass(clause, if code == 0 { message::lines(&output.shown) } else { said() })
}

fn with(mut what: String, output: &Output) -> String {
    let lines = message::lines(&output.shown);
    if !lines.is_empty() {
        what.push_str(": ");
        what.push_str(&lines);
    }
    what
}
