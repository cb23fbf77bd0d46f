//! HTTP/2, by prior knowledge and by ALPN.

use std::time::Duration;

use bytes::Bytes;
use warren_core::{
    check::{CheckKind, HttpCheck, HttpMethod, HttpPath, HttpVersion, Payload, TextMatch},
    clause::Clause,
    outcome::Outcome,
};
use warren_probe::Seen;

use crate::{
    h2_server::{H2Server, Reply},
    server::{EXPLICIT, LATE, REFUSED, Server, Step, TIMEOUT, answer, header, look, port, send},
};

fn check(server: &H2Server) -> HttpCheck {
    HttpCheck { version: HttpVersion::Http2, ..HttpCheck::new(port(server.address)) }
}

async fn visit(server: &H2Server, check: HttpCheck, limit: Duration) -> Seen {
    look(server.address.ip(), CheckKind::Http(check), limit).await
}

fn with(status: u16, body: &'static str) -> Reply {
    let body = Bytes::from_static(body.as_bytes());
    Reply::Answer { status, headers: Vec::new(), body, trailers: None }
}

/// C-58.
#[tokio::test]
async fn an_exchange_by_prior_knowledge_passes_and_sends_what_the_owner_said() {
    let server = H2Server::start(|_| with(200, "ready"));
    let asked = HttpCheck {
        path: HttpPath::new("/health?deep=1").unwrap(),
        method: HttpMethod::new("POST").unwrap(),
        headers: vec![header("Host", "web.example"), header("X-Own", "yes")],
        send: Payload::new(*b"{}").unwrap(),
        body: Some(TextMatch::contains("ready").unwrap()),
        ..check(&server)
    };
    let seen = visit(&server, asked, TIMEOUT).await;
    assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
    server.log(|log| {
        assert_eq!(log.bodies, [b"{}"]);
        assert_eq!(log.heads[0].headers["content-length"], "2");
        let head = &log.heads[0];
        assert_eq!(head.uri.to_string(), "http://web.example/health?deep=1");
        assert_eq!(head.method, "POST");
        assert_eq!(head.headers["x-own"], "yes");
        let agent = format!("warren-check/{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(head.headers["user-agent"], agent.as_str());
        assert!(!head.headers.contains_key("host") && !head.headers.contains_key("connection"));
    });
}

/// C-54 and C-58: without a Host header there is no authority.
#[tokio::test]
async fn host_can_be_removed() {
    let server = H2Server::start(|_| with(200, ""));
    let bare = HttpCheck { headers: vec![header("Host", "")], ..check(&server) };
    let seen = visit(&server, bare, TIMEOUT).await;
    assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
    server.log(|log| assert_eq!(log.heads[0].uri.authority(), None));
}

/// C-58.
#[tokio::test]
async fn statuses_bodies_and_redirects_mean_what_they_mean_by_http_1() {
    let server = H2Server::start(|_| with(503, "db down"));
    let seen = visit(&server, check(&server), TIMEOUT).await;
    assert_eq!((seen.outcome, seen.clause), (EXPLICIT, Clause::new(51)));
    assert!(seen.message.ends_with(": db down"), "{}", seen.message);

    let server = H2Server::start(|count| {
        let (status, to) = if count == 1 { (302, "/there") } else { (200, "") };
        let headers = vec![("location", to.to_owned())];
        Reply::Answer { status, headers, body: Bytes::new(), trailers: None }
    });
    let seen = visit(&server, check(&server), TIMEOUT).await;
    assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
    server.log(|log| assert_eq!(log.heads[1].uri.path(), "/there"));

    let server = H2Server::start(|_| Reply::Endless);
    let seen = visit(&server, check(&server), TIMEOUT).await;
    assert_eq!((seen.outcome, seen.clause), (EXPLICIT, Clause::new(52)), "{}", seen.message);
}

/// C-58.
#[tokio::test]
async fn what_is_not_http_2_is_a_failure_within_the_deadline() {
    let short = Duration::from_millis(200);
    for (steps, outcome) in [
        (answer(400, "", "HTTP/1 only"), EXPLICIT),
        (vec![send(vec![0xff; 4096]), Step::Hang], EXPLICIT),
        (vec![], REFUSED),
        (vec![Step::Reset], REFUSED),
        (vec![Step::Repeat(Vec::new(), short / 9)], LATE),
    ] {
        let server = Server::start(move |_| steps.clone());
        let check = HttpCheck { version: HttpVersion::Http2, ..server.check() };
        let seen = server.look_within(check, short).await;
        assert_eq!(seen.outcome, outcome, "{}", seen.message);
    }
    for reply in [Reply::Hang, Reply::Close] {
        let hung = matches!(reply, Reply::Hang);
        let server = H2Server::start(move |_| reply.clone());
        let seen = visit(&server, check(&server), short).await;
        let expected = if hung { LATE } else { REFUSED };
        assert_eq!(seen.outcome, expected, "{}", seen.message);
    }
}

/// C-58: an h2 peer that sends interim answers, or ever more headers, comes to an end.
#[tokio::test]
async fn frames_without_end_are_a_failure() {
    // A HEADERS frame of stream 1 with `:status: 103`, END_HEADERS; and a lone SETTINGS before.
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let early = [0, 0, 5, 1, 4, 0, 0, 0, 1, 0x48, 3, b'1', b'0', b'3'];
    let server = Server::start(move |_| {
        vec![send(settings), Step::Repeat(early.repeat(50), Duration::ZERO)]
    });
    let check = HttpCheck { version: HttpVersion::Http2, ..server.check() };
    let seen = server.look_within(check, Duration::from_secs(2)).await;
    assert_eq!(seen.outcome, EXPLICIT, "{}", seen.message);
    assert!(seen.message.contains("interim answers"), "{}", seen.message);
}
