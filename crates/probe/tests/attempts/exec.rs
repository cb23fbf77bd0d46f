//! Exec checks: what each ending means, and who may run when. The clock is paused: it jumps to
//! the next timer when nothing else is left to do.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::future::join_all;
use warren_core::{
    check::{CheckKind, Command, ExecCheck, ExitCodes, TextMatch},
    clause::Clause,
    id::TaskId,
    node::Driver,
    outcome::{Attempt, Outcome},
};
use warren_probe::{Prober, Seen, Target};
use warren_runtime::{ExecEnd, HeadTail, Output, Reach, RuntimeError};

use crate::{
    runtime::Fake,
    server::{EXPLICIT, LATE},
};

const SECOND: Duration = Duration::from_secs(1);

fn command() -> CheckKind {
    CheckKind::Exec(ExecCheck::new(Command::shell("true").unwrap()))
}

fn target(number: u64, runtime: &Arc<Fake>) -> Target {
    let reach = Reach { netns: None, address: IpAddr::V4(Ipv4Addr::LOCALHOST), root_of: None };
    Target::new(TaskId::from_u64(number), reach, Arc::<Fake>::clone(runtime))
}

async fn ended(ends: impl Fn() -> Result<ExecEnd, RuntimeError> + Send + Sync + 'static) -> Seen {
    let runtime = Arc::new(Fake::ending(Duration::ZERO, ends));
    let prober = Prober::new().unwrap();
    prober.attempt(&target(1, &runtime), &command(), SECOND).await
}

fn output(text: &str) -> Output {
    Output::from(text)
}

/// C-70 to C-72.
#[tokio::test(start_paused = true)]
async fn every_ending_has_its_meaning() {
    let seen = ended(|| Ok(ExecEnd::Exited { code: 0, output: output("fine\n") })).await;
    assert_eq!((seen.outcome, seen.message.as_str()), (Outcome::Pass, "fine"));
    assert_eq!(seen.clause, Clause::new(70));

    let seen = ended(|| Ok(ExecEnd::Exited { code: 2, output: output("no\nanswer\n") })).await;
    assert_eq!((seen.outcome, seen.message.as_str()), (EXPLICIT, "exit code 2: no\nanswer"));

    let seen = ended(|| Ok(ExecEnd::Exited { code: 137, output: output("") })).await;
    assert_eq!((seen.outcome, seen.message.as_str()), (EXPLICIT, "exit code 137"));
    assert_eq!(seen.clause, Clause::new(70));

    let seen = ended(|| Ok(ExecEnd::TimedOut { output: output("so far") })).await;
    assert_eq!((seen.outcome, seen.message.as_str()), (LATE, "killed after 1s: so far"));
    assert_eq!(seen.clause, Clause::new(72));

    let seen = ended(|| Ok(ExecEnd::NotRun { reason: "no such file".to_owned() })).await;
    assert_eq!(seen.outcome, EXPLICIT);
    assert_eq!(seen.message, "the command cannot run: no such file");
    assert_eq!(seen.clause, Clause::new(71));
}

#[tokio::test(start_paused = true)]
async fn what_the_runtime_could_not_do_says_nothing_of_the_task() {
    let unavailable = || {
        let reason = "connection refused".to_owned();
        Err(RuntimeError::Unavailable { driver: Driver::Containerd, reason })
    };
    let seen = ended(unavailable).await;
    assert_eq!(seen.outcome, Outcome::Inconclusive);
    assert!(seen.message.contains("runtime does not answer: connection refused"), "{seen:?}");
    assert_eq!(seen.clause, Clause::new(75));

    let seen = ended(|| Err(RuntimeError::NoSuchTask(TaskId::from_u64(1)))).await;
    assert_eq!(seen.outcome, Outcome::Inconclusive);

    let seen = ended(|| Err(RuntimeError::Refused("no such user".to_owned()))).await;
    assert_eq!((seen.outcome, seen.message.as_str()), (Outcome::Inconclusive, "no such user"));
}

/// C-73.
#[tokio::test(start_paused = true)]
async fn long_output_keeps_its_head_and_its_tail() {
    let long = format!("first {} last", "x".repeat(Output::MAX - 11));
    let seen = ended(move || Ok(ExecEnd::Exited { code: 1, output: output(&long) })).await;
    assert!(seen.message.len() <= Attempt::MESSAGE_MAX);
    assert!(seen.message.starts_with("exit code 1: first"), "{}", seen.message);
    assert!(seen.message.ends_with(" last"), "{}", seen.message);
}

#[tokio::test(start_paused = true)]
async fn permits_bound_how_many_commands_run_at_once() {
    let runtime = Arc::new(Fake::taking(SECOND));
    let prober = Prober::with_exec_permits(3).unwrap();
    let targets: Vec<_> = (0..12).map(|number| target(number, &runtime)).collect();
    let kind = command();
    let limit = 2 * SECOND;
    let all = join_all(targets.iter().map(|target| prober.attempt(target, &kind, limit))).await;
    assert_eq!(runtime.peak.load(Ordering::SeqCst), 3);
    assert!(all.iter().all(|seen| seen.outcome == Outcome::Pass), "{all:?}");
    let longest = all.iter().map(|seen| seen.waited).max().unwrap();
    assert!(longest >= 3 * SECOND, "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_task_runs_one_command_at_a_time_and_holds_up_nobody_else() {
    let runtime = Arc::new(Fake::taking(SECOND));
    let prober = Prober::with_exec_permits(2).unwrap();
    let (busy, other) = (target(1, &runtime), target(2, &runtime));
    let kind = command();
    let busy = join_all((0..4).map(|_| prober.attempt(&busy, &kind, SECOND)));
    let (busy, other) = tokio::join!(busy, prober.attempt(&other, &kind, SECOND));
    assert_eq!(runtime.task_peak.load(Ordering::SeqCst), 1);
    assert_eq!(other.waited, Duration::ZERO);
    assert!(busy.iter().all(|seen| seen.outcome == Outcome::Pass), "{busy:?}");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_starts_with_the_permit() {
    let runtime = Arc::new(Fake::taking(SECOND));
    let prober = Prober::with_exec_permits(1).unwrap();
    let targets = [target(1, &runtime), target(2, &runtime)];
    let kind = command();
    let limit = SECOND + Duration::from_millis(1);
    let all = join_all(targets.iter().map(|target| prober.attempt(target, &kind, limit))).await;
    assert_eq!(*runtime.timeouts.lock().unwrap(), [limit, limit]);
    for seen in &all {
        assert_eq!(seen.outcome, Outcome::Pass);
        assert!(seen.latency < limit, "{seen:?}");
    }
    assert!(all[1].waited >= SECOND, "{all:?}");
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_permit_has_a_bound() {
    let hour = 3600 * SECOND;
    for (limit, bound) in
        [(Duration::from_millis(10), SECOND), (2 * SECOND, 20 * SECOND), (30 * SECOND, 60 * SECOND)]
    {
        let runtime = Arc::new(Fake::taking(hour));
        let prober = Prober::with_exec_permits(1).unwrap();
        let (busy, other) = (target(1, &runtime), target(2, &runtime));
        let kind = command();
        let (_, seen) =
            tokio::join!(prober.attempt(&busy, &kind, hour), prober.attempt(&other, &kind, limit),);
        assert_eq!(seen.outcome, Outcome::Inconclusive);
        assert!(seen.message.ends_with("for a free exec permit"), "{}", seen.message);
        assert_eq!(seen.clause, Clause::new(74));
        assert!((bound..bound + SECOND).contains(&seen.waited), "{limit:?}: {seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_never_returns_is_left_and_blamed() {
    let runtime = Arc::new(Fake::taking(3600 * SECOND));
    let prober = Prober::new().unwrap();
    let seen = prober.attempt(&target(1, &runtime), &command(), SECOND).await;
    assert_eq!(seen.outcome, Outcome::Inconclusive);
    assert!(seen.message.starts_with("the process runtime did not end the command"), "{seen:?}");
    assert_eq!(seen.clause, Clause::new(75));
    assert_eq!(runtime.running.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn dropping_an_attempt_ends_the_command_and_frees_its_permit() {
    let runtime = Arc::new(Fake::taking(3600 * SECOND));
    let prober = Prober::with_exec_permits(1).unwrap();
    let task = target(1, &runtime);
    let kind = command();
    let attempt = prober.attempt(&task, &kind, 7200 * SECOND);
    assert!(tokio::time::timeout(SECOND, attempt).await.is_err());
    assert_eq!(runtime.running.load(Ordering::SeqCst), 0);
    let again = prober.attempt(&task, &kind, SECOND).await;
    assert_eq!(again.waited, Duration::ZERO);
    assert!(again.message.contains("did not end the command"), "{again:?}");
}

/// Said at once, as a driver keeps it.
async fn ended_for(check: ExecCheck, code: i32, said: &str) -> Seen {
    let mut kept = HeadTail::new();
    kept.push(said.as_bytes());
    let output = kept.finish();
    let ends = move || Ok(ExecEnd::Exited { code, output: output.clone() });
    let runtime = Arc::new(Fake::ending(Duration::ZERO, ends));
    let kind = CheckKind::Exec(check);
    Prober::new().unwrap().attempt(&target(1, &runtime), &kind, SECOND).await
}

fn check(pass: &[u32], inconclusive: &[u32], expect: Option<&str>) -> ExecCheck {
    ExecCheck {
        exits: ExitCodes::new(pass, inconclusive).unwrap(),
        expect: expect.map(|text| TextMatch::contains(text).unwrap()),
        ..ExecCheck::new(Command::shell("x").unwrap())
    }
}

/// C-115.
#[tokio::test(start_paused = true)]
async fn exit_codes_mean_what_the_owner_says() {
    for (code, outcome, message) in [
        (0, Outcome::Pass, "said"),
        (1, Outcome::Pass, "exit code 1: said"),
        (2, EXPLICIT, "exit code 2: said"),
        (75, Outcome::Inconclusive, "the command could not look: exit code 75: said"),
        (137, EXPLICIT, "exit code 137: said"),
        (300, EXPLICIT, "exit code 300: said"),
    ] {
        let seen = ended_for(check(&[0, 1], &[75], None), code, "said").await;
        assert_eq!((seen.outcome, seen.message.as_str()), (outcome, message));
        assert_eq!(seen.clause, Clause::new(115), "{code}");
    }
    // The command that succeeds by failing.
    let seen = ended_for(check(&[1], &[], None), 0, "").await;
    assert_eq!((seen.outcome, seen.clause), (EXPLICIT, Clause::new(115)));
}

/// C-116.
#[tokio::test(start_paused = true)]
async fn the_output_of_a_command_that_passes_must_match() {
    let pong = || check(&[], &[], Some("PONG"));
    let seen = ended_for(pong(), 0, "PONG\n").await;
    assert_eq!((seen.outcome, seen.clause), (Outcome::Pass, Clause::new(116)));
    let seen = ended_for(pong(), 0, "NOAUTH Authentication required.\n").await;
    assert_eq!((seen.outcome, seen.clause), (EXPLICIT, Clause::new(116)));
    let why =
        r#"exit code 0, but its output does not contain "PONG": NOAUTH Authentication required."#;
    assert_eq!(seen.message, why);
    let seen = ended_for(pong(), 1, "PONG\n").await;
    assert_eq!((seen.outcome, seen.clause), (EXPLICIT, Clause::new(70)));
}

/// C-116: what `seq 1 3000` writes, in which 10 KiB end amid of 2268.
#[tokio::test(start_paused = true)]
async fn the_first_10_kib_of_an_output_are_searched_and_nothing_that_warren_wrote() {
    let long = (1..=3000).map(|number| number.to_string()).collect::<Vec<_>>().join("\n");
    for (expect, outcome) in [
        ("1500", Outcome::Pass),
        ("\n2265\n", Outcome::Pass),
        ("\n2300\n", EXPLICIT),
        ("\n3000", EXPLICIT),
        ("bytes left out", EXPLICIT),
    ] {
        let seen = ended_for(check(&[], &[], Some(expect)), 0, &long).await;
        assert_eq!((seen.outcome, seen.clause), (outcome, Clause::new(116)), "{expect:?}");
    }
}
