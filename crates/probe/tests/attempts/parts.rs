//! Checks of several parts.

use std::{
    net::TcpListener as StdListener,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use warren_core::{
    check::{CheckKind, Command, ExecCheck, Parts, TcpCheck},
    clause::Clause,
    id::TaskId,
    outcome::{Evidence, Outcome},
};
use warren_probe::{Prober, Seen, Target};
use warren_runtime::{ExecEnd, Output, Reach, RuntimeError};

use crate::{
    runtime::Fake,
    server::{EXPLICIT, LATE, LOCALHOST, REFUSED, Server, Step, TIMEOUT, answer, look, port},
};

fn all(parts: Vec<CheckKind>) -> CheckKind {
    CheckKind::All(Parts::new(parts).unwrap())
}

fn any(parts: Vec<CheckKind>) -> CheckKind {
    CheckKind::Any(Parts::new(parts).unwrap())
}

struct Scene {
    good: Server,
    bad: Server,
    silent: Server,
    nobody: std::net::SocketAddr,
}

impl Scene {
    fn set() -> Self {
        Self {
            good: Server::start(|_| answer(200, "", "")),
            bad: Server::start(|_| answer(500, "", "broken")),
            silent: Server::start(|_| vec![Step::Hang]),
            nobody: StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(),
        }
    }

    fn good(&self) -> CheckKind {
        CheckKind::Http(self.good.check())
    }

    fn bad(&self) -> CheckKind {
        CheckKind::Http(self.bad.check())
    }

    fn silent(&self) -> CheckKind {
        CheckKind::Http(self.silent.check())
    }

    fn nobody(&self) -> CheckKind {
        CheckKind::Tcp(TcpCheck::new(port(self.nobody)))
    }
}

fn exec(line: &str) -> CheckKind {
    CheckKind::Exec(ExecCheck::new(Command::shell(line).unwrap()))
}

/// Without a runtime that answers.
async fn lost(kind: CheckKind) -> Seen {
    let down = || {
        let reason = "no answer".to_owned();
        Err(RuntimeError::Unavailable { driver: warren_core::node::Driver::Process, reason })
    };
    attempt(Fake::ending(Duration::ZERO, down), kind, TIMEOUT).await.0
}

async fn attempt(runtime: Fake, kind: CheckKind, limit: Duration) -> (Seen, Arc<Fake>) {
    let runtime = Arc::new(runtime);
    let reach = Reach { netns: None, address: LOCALHOST, root_of: None };
    let target = Target::new(TaskId::from_u64(1), reach, Arc::<Fake>::clone(&runtime));
    (Prober::new().unwrap().attempt(&target, &kind, limit).await, runtime)
}

/// C-126.
#[tokio::test]
async fn all_pass_or_the_first_that_fails_decides() {
    let scene = Scene::set();
    let both = look(LOCALHOST, all(vec![scene.good(), scene.good()]), TIMEOUT).await;
    assert_eq!((both.outcome, both.clause), (Outcome::Pass, Clause::new(126)));
    assert!(both.message.starts_with("all 2 parts passed: (http) HTTP 200"), "{}", both.message);

    let begun = Instant::now();
    let one = look(LOCALHOST, all(vec![scene.silent(), scene.bad(), scene.good()]), TIMEOUT).await;
    assert_eq!((one.outcome, one.clause), (EXPLICIT, Clause::new(51)));
    assert!(one.message.starts_with("part 2 of 3 (http): HTTP 500 from GET /"), "{}", one.message);
    assert!(begun.elapsed() < TIMEOUT, "the silent one was not waited for");

    let gone = look(LOCALHOST, all(vec![scene.good(), scene.nobody()]), TIMEOUT).await;
    assert_eq!(gone.outcome, REFUSED);
    assert!(gone.message.starts_with("part 2 of 2 (tcp): connection refused"), "{gone:?}");
}

/// C-127.
#[tokio::test]
async fn the_first_that_passes_decides_or_none_does() {
    let scene = Scene::set();
    let parts = vec![scene.silent(), scene.bad(), scene.good()];
    let one = look(LOCALHOST, any(parts), TIMEOUT).await;
    assert_eq!((one.outcome, one.clause), (Outcome::Pass, Clause::new(51)));
    assert!(one.message.starts_with("part 3 of 3 (http): HTTP 200"), "{}", one.message);

    for (parts, evidence) in [
        (vec![scene.nobody(), scene.bad()], Evidence::Explicit),
        (vec![scene.nobody(), scene.nobody()], Evidence::Refused),
        (vec![scene.nobody(), scene.silent()], Evidence::Refused),
        (vec![scene.silent(), scene.silent()], Evidence::Timeout),
    ] {
        let none = look(LOCALHOST, any(parts), Duration::from_millis(250)).await;
        assert_eq!((none.outcome, none.clause), (Outcome::Fail(evidence), Clause::new(127)));
        assert!(none.message.starts_with("none of 2 parts passed: ("), "{}", none.message);
        assert!(none.message.contains("; ("), "{}", none.message);
    }
}

/// C-125: one deadline over all.
#[tokio::test]
async fn all_parts_share_one_deadline() {
    let scene = Scene::set();
    let begun = Instant::now();
    let limit = Duration::from_millis(300);
    let late =
        look(LOCALHOST, all(vec![scene.silent(), scene.silent(), scene.good()]), limit).await;
    assert_eq!(late.outcome, LATE, "{}", late.message);
    assert!(begun.elapsed() < limit * 2, "{:?}", begun.elapsed());
}

/// C-128: what could not be looked at decides nothing that another part does not.
#[tokio::test]
async fn an_inconclusive_part_makes_the_whole_so_unless_another_decides() {
    let scene = Scene::set();
    for (kind, outcome) in [
        (all(vec![exec("x"), scene.good()]), Outcome::Inconclusive),
        (all(vec![exec("x"), scene.bad()]), EXPLICIT),
        (any(vec![exec("x"), scene.good()]), Outcome::Pass),
        (any(vec![exec("x"), scene.bad()]), Outcome::Inconclusive),
    ] {
        let seen = lost(kind).await;
        assert_eq!(seen.outcome, outcome, "{}", seen.message);
        if outcome == Outcome::Inconclusive {
            assert!(
                seen.message.starts_with("part 1 of 2 (exec): the process runtime"),
                "{seen:?}"
            );
        }
    }
}

/// C-129.
#[tokio::test(start_paused = true)]
async fn commands_follow_each_other_under_the_one_deadline() {
    let second = Duration::from_secs(1);
    let kind = all(vec![exec("a"), exec("b"), exec("c")]);
    let (seen, runtime) = attempt(Fake::taking(second), kind.clone(), second * 5).await;
    assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
    assert_eq!((seen.latency, seen.waited), (second * 3, Duration::ZERO));
    assert_eq!(runtime.task_peak.load(Ordering::SeqCst), 1);
    assert_eq!(*runtime.timeouts.lock().unwrap(), [second * 5, second * 4, second * 3]);

    let failing =
        Fake::ending(second, || Ok(ExecEnd::Exited { code: 3, output: Output::from("no") }));
    let (seen, runtime) = attempt(failing, kind, second * 5).await;
    assert_eq!((seen.outcome, seen.latency), (EXPLICIT, second));
    assert_eq!(seen.message, "part 1 of 3 (exec): exit code 3: no");
    assert_eq!(runtime.timeouts.lock().unwrap().len(), 1, "the others never began");
}

/// C-129.
#[tokio::test(start_paused = true)]
async fn a_command_for_which_no_time_is_left_is_not_begun() {
    let second = Duration::from_secs(1);
    let hung = Fake::ending(second, || Ok(ExecEnd::TimedOut { output: Output::from("so far") }));
    let kind = any(vec![exec("a"), exec("b"), exec("c")]);
    let (seen, runtime) = attempt(hung, kind, second).await;
    assert_eq!((seen.outcome, seen.latency), (LATE, second));
    let late = "not begun: nothing was left of 1s";
    let said = format!(
        "none of 3 parts passed: (exec) killed after 1s: so far; (exec) {late}; (exec) {late}"
    );
    assert_eq!(seen.message, said);
    assert_eq!(*runtime.timeouts.lock().unwrap(), [second], "the others never began");
}
