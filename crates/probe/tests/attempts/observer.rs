//! What an observer that is short of time gives a task, and what it does not.

use std::{
    net::TcpListener as StdListener,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{io::AsyncWriteExt, net::TcpListener, task::JoinSet};
use warren_core::{
    check::{CheckKind, Command, ExecCheck, GrpcCheck, Parts, TcpCheck, TextMatch},
    clause::Clause,
    id::TaskId,
    outcome::Outcome,
};
use warren_probe::{Beat, Observer, Prober, STRETCHED_MAX, Seen, Target};
use warren_runtime::{ExecEnd, Output, Reach};

use crate::{
    h2_server::{H2Server, Reply},
    runtime::Fake,
    server::{EXPLICIT, LATE, LOCALHOST, REFUSED, Server, Step, answer, port, tcp},
};

const TIMEOUT: Duration = Duration::from_millis(200);

/// One whose score is this.
fn prober(score: u32) -> Prober {
    let observer = Arc::new(Observer::default());
    if score > 0 {
        observer.note(Beat { lag: Duration::MAX, echo: Duration::ZERO, count: score });
    }
    Prober::new().unwrap().with_observer(observer)
}

fn target(runtime: &Arc<Fake>) -> Target {
    let reach = Reach { netns: None, address: LOCALHOST, root_of: None };
    Target::new(TaskId::from_u64(1), reach, Arc::<Fake>::clone(runtime))
}

async fn look(score: u32, kind: &CheckKind) -> Seen {
    prober(score).attempt(&target(&Arc::default()), kind, TIMEOUT).await
}

/// Greets so long after it was connected to.
fn greeter(after: Duration) -> (CheckKind, JoinSet<()>) {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let expect = Some(TextMatch::contains("hello").unwrap());
    let check = TcpCheck { expect, ..TcpCheck::new(port(listener.local_addr().unwrap())) };
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::time::sleep(after).await;
        let _gone = stream.write_all(b"hello").await;
    });
    (CheckKind::Tcp(check), serving)
}

fn command() -> CheckKind {
    CheckKind::Exec(ExecCheck::new(Command::shell("true").unwrap()))
}

// C-98
#[tokio::test]
async fn an_answer_after_the_deadline_counts_where_the_observer_was_late_itself() {
    let (late, _serving) = greeter(TIMEOUT * 2);
    let seen = look(8, &late).await;
    assert_eq!((seen.outcome, seen.stretched), (Outcome::Pass, true), "{}", seen.message);
    assert!(seen.latency >= TIMEOUT * 2);
    let (prompt, _serving) = greeter(Duration::ZERO);
    let seen = look(8, &prompt).await;
    assert_eq!((seen.outcome, seen.stretched), (Outcome::Pass, false), "{}", seen.message);
}

// C-98
#[tokio::test]
async fn what_hangs_is_late_all_the_same_and_the_message_says_what_it_was_given() {
    let server = Server::start(|_| vec![Step::Hang]);
    let http = CheckKind::Http(server.check());
    let rpc_server = H2Server::start(|_| Reply::Hang);
    let grpc = CheckKind::Grpc(GrpcCheck::new(port(rpc_server.address)));
    for kind in [&http, &grpc] {
        let calm = look(0, kind).await;
        assert_eq!(calm.outcome, LATE);
        let seen = look(2, kind).await;
        assert_eq!((seen.outcome, seen.stretched), (LATE, true), "{}", seen.message);
        assert!(seen.latency >= 3 * TIMEOUT, "{:?}", seen.latency);
    }
    let seen = look(2, &http).await;
    let given = "no answer within 600ms (in place of 200ms: this worker is short of time itself)";
    assert!(seen.message.starts_with(given), "{}", seen.message);
}

// C-98
#[tokio::test]
async fn a_grpc_server_is_given_the_latest_deadline_that_there_may_be() {
    let ended = |code: u32| Reply::Answer {
        status: 200,
        headers: vec![
            ("content-type", "application/grpc".to_owned()),
            ("grpc-status", code.to_string()),
        ],
        body: Bytes::new(),
        trailers: None,
    };
    let asked = async |score, timeout, reply: Reply| {
        let server = H2Server::start(move |_| reply.clone());
        let kind = CheckKind::Grpc(GrpcCheck::new(port(server.address)));
        let seen = prober(score).attempt(&target(&Arc::default()), &kind, timeout).await;
        let told = server.log(|log| log.heads[0].headers["grpc-timeout"].clone());
        let told = told.to_str().unwrap().strip_suffix('m').unwrap().parse::<u64>().unwrap();
        (seen.outcome, seen.clause, Duration::from_millis(told))
    };
    // The score may grow while it lasts, and the server must not end it before us.
    let patient = Duration::from_secs(10);
    let (outcome, clause, told) = asked(0, patient, ended(1)).await;
    assert_eq!((outcome, clause), (EXPLICIT, Clause::new(110)), "an answer in time");
    assert!(told > 2 * patient && told <= STRETCHED_MAX, "{told:?}");
    // tonic says CANCELLED where others say DEADLINE_EXCEEDED.
    for code in [1, 4] {
        let late = Reply::After(TIMEOUT, Box::new(ended(code)));
        let (outcome, clause, _) = asked(8, TIMEOUT, late).await;
        assert_eq!((outcome, clause), (LATE, Clause::new(6)), "{code}");
    }
}

// C-98
#[tokio::test]
async fn a_no_is_taken_at_once_whatever_the_score() {
    let server = Server::start(|_| answer(500, "", "broken"));
    let nobody = StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (kind, outcome) in [(CheckKind::Http(server.check()), EXPLICIT), (tcp(nobody), REFUSED)] {
        let begun = Instant::now();
        let seen = look(8, &kind).await;
        assert_eq!((seen.outcome, seen.stretched), (outcome, false), "{}", seen.message);
        assert!(begun.elapsed() < 9 * TIMEOUT);
    }
}

// C-98
#[tokio::test(start_paused = true)]
async fn a_command_is_given_its_time_by_the_score_when_it_begins() {
    let runtime = Arc::new(Fake::taking(TIMEOUT * 2));
    let (target, kind) = (target(&runtime), command());
    let seen = prober(3).attempt(&target, &kind, TIMEOUT).await;
    assert_eq!((seen.outcome, seen.stretched), (Outcome::Pass, true));
    let parts = Parts::new(vec![command(), command()]).unwrap();
    let seen = prober(8).attempt(&target, &CheckKind::All(parts), TIMEOUT).await;
    assert_eq!((seen.outcome, seen.stretched), (Outcome::Pass, true));
    let seen = prober(0).attempt(&target, &kind, TIMEOUT).await;
    assert!(!seen.stretched);
    let given = runtime.timeouts.lock().unwrap().clone();
    assert_eq!(given, [4, 9, 7, 1].map(|times| times * TIMEOUT));
}

// C-98
#[tokio::test(start_paused = true)]
async fn a_command_that_is_killed_says_what_it_was_given() {
    let runtime = Fake::ending(4 * TIMEOUT, || Ok(ExecEnd::TimedOut { output: Output::default() }));
    let seen = prober(3).attempt(&target(&Arc::new(runtime)), &command(), TIMEOUT).await;
    assert_eq!((seen.outcome, seen.stretched), (LATE, true));
    let given = "killed after 800ms (in place of 200ms: this worker is short of time itself)";
    assert_eq!(seen.message, given);
}
