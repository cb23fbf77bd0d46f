//! grpc.health.v1, against a server that says what it is told to.

use std::time::{Duration, Instant};

use bytes::Bytes;
use warren_core::{
    check::{CheckKind, GrpcCheck, GrpcHost, GrpcService},
    clause::Clause,
    id::TaskId,
    outcome::Outcome,
};
use warren_probe::{Prober, Seen, Target};
use warren_runtime::Reach;

use crate::{
    h2_server::{H2Server, Reply},
    server::{EXPLICIT, LATE, LOCALHOST, REFUSED, TIMEOUT, look, port, target},
};

fn ok() -> Vec<(&'static str, String)> {
    vec![("content-type", "application/grpc".to_owned())]
}

/// A `HealthCheckResponse` with this status.
fn status(status: u8) -> Reply {
    let body = match status {
        0 => vec![0, 0, 0, 0, 0],
        status => vec![0, 0, 0, 0, 2, 8, status],
    };
    let trailers = Some(vec![("grpc-status", "0".to_owned())]);
    Reply::Answer { status: 200, headers: ok(), body: Bytes::from(body), trailers }
}

/// Trailers only, as of a call that was not made.
fn refused(code: u32, message: &str) -> Reply {
    let mut headers = ok();
    headers.push(("grpc-status", code.to_string()));
    headers.push(("grpc-message", message.to_owned()));
    Reply::Answer { status: 200, headers, body: Bytes::new(), trailers: None }
}

fn check(server: &H2Server) -> GrpcCheck {
    GrpcCheck::new(port(server.address))
}

async fn ask(server: &H2Server, check: GrpcCheck) -> Seen {
    look(server.address.ip(), CheckKind::Grpc(check), TIMEOUT).await
}

/// C-110.
#[tokio::test]
async fn serving_passes_and_every_other_status_is_an_explicit_failure() {
    for (number, outcome, word) in [
        (1, Outcome::Pass, "SERVING for the server"),
        (2, EXPLICIT, "NOT_SERVING for the server"),
        (0, EXPLICIT, "UNKNOWN for the server"),
        (3, EXPLICIT, "SERVICE_UNKNOWN for the server"),
        (9, EXPLICIT, "UNKNOWN for the server"),
    ] {
        let server = H2Server::start(move |_| status(number));
        let seen = ask(&server, check(&server)).await;
        assert_eq!((seen.outcome, seen.clause), (outcome, Clause::new(110)), "{}", seen.message);
        assert!(seen.message.starts_with(word), "{}", seen.message);
    }
}

/// C-110.
#[tokio::test]
async fn the_call_is_the_health_protocols_own() {
    let server = H2Server::start(|_| status(1));
    let service = GrpcService::new("shop.Cart").unwrap();
    let seen = ask(&server, GrpcCheck { service, ..check(&server) }).await;
    assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
    assert!(seen.message.starts_with("SERVING for service \"shop.Cart\" from "), "{seen:?}");
    assert!(seen.phases.connect.is_some() && seen.phases.first_byte.is_some(), "{seen:?}");
    server.log(|log| {
        let head = &log.heads[0];
        assert_eq!(head.method, "POST");
        let address = server.address;
        assert_eq!(head.uri, format!("http://{address}/grpc.health.v1.Health/Check").as_str());
        assert_eq!(head.headers["content-type"], "application/grpc");
        assert_eq!(head.headers["te"], "trailers");
        let left = head.headers["grpc-timeout"].to_str().unwrap();
        let left: u64 = left.strip_suffix('m').unwrap().parse().unwrap();
        assert!((1..=5000).contains(&left), "{left}");
        assert_eq!(log.bodies, [b"\0\0\0\0\x0b\x0a\x09shop.Cart"]);
    });
}

/// C-110: a router chooses by it among the services behind it. By TLS: tls.rs.
#[tokio::test]
async fn the_call_asks_for_the_host_that_its_owner_names() {
    let server = H2Server::start(|_| status(1));
    let host = Some(GrpcHost::new("cart.example:8080").unwrap());
    let seen = ask(&server, GrpcCheck { host, ..check(&server) }).await;
    assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
    server.log(|log| {
        assert_eq!(log.heads[0].uri.authority().unwrap(), "cart.example:8080");
    });
}

/// C-111.
#[tokio::test]
async fn a_server_that_cannot_be_asked_says_what_to_do() {
    for (reply, clause, words) in [
        (refused(12, "unknown service"), 111, "it does not serve grpc.health.v1.Health"),
        (refused(5, "unknown service"), 111, "its health service does not know the server"),
        (refused(14, "db%20is down"), 110, "UNAVAILABLE: db is down"),
        (refused(99, ""), 110, "status 99"),
    ] {
        let server = H2Server::start(move |_| reply.clone());
        let seen = ask(&server, check(&server)).await;
        assert_eq!((seen.outcome, seen.clause), (EXPLICIT, Clause::new(clause)), "{seen:?}");
        assert!(seen.message.ends_with(words), "{}", seen.message);
    }
}

/// C-110.
#[tokio::test]
async fn what_is_no_grpc_is_an_explicit_failure() {
    let answer = |status, kind: &str, body: &'static [u8], code: Option<&str>| Reply::Answer {
        status,
        headers: vec![("content-type", kind.to_owned())],
        body: Bytes::from_static(body),
        trailers: code.map(|code| vec![("grpc-status", code.to_owned())]),
    };
    for (reply, words) in [
        (answer(404, "text/html", b"", None), "HTTP 404 instead of gRPC"),
        (answer(200, "text/html", b"hello", None), "\"text/html\" instead of application/grpc"),
        (answer(200, "application/grpc", b"", None), "an answer without grpc-status"),
        (answer(200, "application/grpc", b"", Some("0")), "an answer without a message"),
        (answer(200, "application/grpc", b"\0\0\0\0\x09\x08\x01", Some("0")), "cut off"),
        (answer(200, "application/grpc", b"\x01\0\0\0\0", Some("0")), "a compressed message"),
        (
            answer(200, "application/grpc", b"\0\0\0\0\x02\xff\xff", Some("0")),
            "HealthCheckResponse",
        ),
    ] {
        let server = H2Server::start(move |_| reply.clone());
        let seen = ask(&server, check(&server)).await;
        assert_eq!(seen.outcome, EXPLICIT, "{}", seen.message);
        assert!(seen.message.contains(words), "{words}: {}", seen.message);
    }
}

/// C-112.
#[tokio::test]
async fn a_refused_port_answers_at_once() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let begun = Instant::now();
    let kind = CheckKind::Grpc(GrpcCheck::new(port(nobody)));
    let seen = look(nobody.ip(), kind, Duration::from_secs(30)).await;
    assert_eq!(seen.outcome, REFUSED, "{}", seen.message);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

/// C-6.
#[tokio::test]
async fn a_server_that_does_not_answer_is_late() {
    let server = H2Server::start(|_| Reply::Hang);
    let kind = CheckKind::Grpc(check(&server));
    let seen = look(server.address.ip(), kind, Duration::from_millis(200)).await;
    assert_eq!(seen.outcome, LATE, "{}", seen.message);
}

struct Regular {
    prober: Prober,
    target: Target,
    kind: CheckKind,
}

impl Regular {
    fn at(server: &H2Server) -> Self {
        let reach = Reach { netns: None, address: LOCALHOST, root_of: None };
        let kind = CheckKind::Grpc(check(server));
        Self { prober: Prober::new().unwrap(), target: target(reach), kind }
    }

    async fn look(&self) -> Seen {
        self.prober.attempt(&self.target, &self.kind, TIMEOUT).await
    }
}

/// C-112: ten attempts share a connection.
#[tokio::test]
async fn a_connection_is_kept_for_ten_attempts() {
    let server = H2Server::start(|_| status(1));
    let regular = Regular::at(&server);
    assert_eq!(regular.target.task(), TaskId::from_u64(1));
    for count in 1..=25 {
        let seen = regular.look().await;
        assert_eq!(seen.outcome, Outcome::Pass, "{count}: {}", seen.message);
        let fresh = count % 10 == 1;
        assert_eq!(seen.phases.connect.is_some(), fresh, "{count}");
    }
    server.log(|log| assert_eq!((log.connections, log.heads.len()), (3, 25)));
}

/// C-9: checks that pause or change leave no connection behind.
#[tokio::test]
async fn what_was_kept_is_closed_when_the_target_is_let_go() {
    let server = H2Server::start(|_| status(1));
    let regular = Regular::at(&server);
    regular.look().await;
    regular.target.let_go();
    let seen = regular.look().await;
    assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
    assert!(seen.phases.connect.is_some());
    server.log(|log| assert_eq!(log.connections, 2));
}

/// C-112: a failure is followed by a fresh connection.
#[tokio::test]
async fn a_failure_ends_the_connection() {
    let server = H2Server::start(|count| status(if count == 2 { 2 } else { 1 }));
    let regular = Regular::at(&server);
    let outcomes = [regular.look().await, regular.look().await, regular.look().await];
    assert_eq!(outcomes.map(|seen| seen.outcome), [Outcome::Pass, EXPLICIT, Outcome::Pass]);
    server.log(|log| assert_eq!(log.connections, 2));
}

/// C-112: a kept connection that breaks says nothing of the task.
#[tokio::test]
async fn a_kept_connection_that_the_server_ends_is_no_failure() {
    let server = H2Server::start(|count| if count == 2 { Reply::Close } else { status(1) });
    let regular = Regular::at(&server);
    for _ in 0..2 {
        let seen = regular.look().await;
        assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
    }
    server.log(|log| assert_eq!((log.connections, log.heads.len()), (2, 3)));
    // A fresh one that breaks does.
    let server = H2Server::start(|_| Reply::Close);
    let seen = Regular::at(&server).look().await;
    assert_eq!(seen.outcome, REFUSED, "{}", seen.message);
}
