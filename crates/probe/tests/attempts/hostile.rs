//! Servers that mean ill. Each is a failure, within the one deadline (C-6), and costs little.

use std::{net::TcpListener as StdListener, time::Duration};

use proptest::{collection::vec, prelude::*};
use warren_core::{
    check::{CheckKind, GrpcCheck, HttpCheck, HttpVersion, TcpCheck, TextMatch, Tls},
    outcome::{Evidence, Outcome},
};
use warren_probe::Seen;

use crate::server::{EXPLICIT, LATE, Server, Step, When, answer, look, port, send};

const SHORT: Duration = Duration::from_millis(300);
/// Well within [`SHORT`], so that it never looks idle.
const DRIP: Duration = Duration::from_millis(20);
const AT_ONCE: Duration = Duration::ZERO;

fn drip(bytes: &[u8], pause: Duration) -> Step {
    Step::Repeat(bytes.to_vec(), pause)
}

/// Says nothing, whatever it hears.
fn silence() -> Step {
    drip(b"", DRIP)
}

async fn against(steps: Vec<Step>) -> Seen {
    let server = Server::start(move |_| steps.clone());
    server.look_within(server.check(), SHORT).await
}

async fn at_once(steps: Vec<Step>, check: impl Fn(&Server) -> CheckKind) -> Seen {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let server = Server::on(listener, When::Connected, move |_| steps.clone());
    look(server.address.ip(), check(&server), SHORT).await
}

/// C-6.
#[tokio::test]
async fn headers_that_drip_are_late() {
    for head in ["HTTP/1.1 200 OK\r\nX-Slow: ", "HTTP/1.1 200 OK\r\n", ""] {
        let seen = against(vec![send(head), drip(b"y", DRIP)]).await;
        // Without a status line the drip is no HTTP either.
        let fails = matches!(seen.outcome, Outcome::Fail(Evidence::Timeout | Evidence::Explicit));
        assert!(fails, "{}", seen.message);
    }
    let seen = against(vec![send("HTTP/1.1 200 OK\r\n"), drip(b"A: b\r\n", DRIP)]).await;
    assert_eq!(seen.outcome, LATE, "{}", seen.message);
    assert!(seen.message.contains("headers unfinished after"), "{}", seen.message);
}

/// C-52.
#[tokio::test]
async fn a_body_that_stalls_after_a_good_status_line_is_late() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "HTTP/1.1 200 OK\r\n\r\n",
    ] {
        let seen = against(vec![send(head), Step::Hang]).await;
        assert_eq!(seen.outcome, LATE, "{}", seen.message);
        assert!(seen.message.contains("HTTP 200, body unfinished"), "{}", seen.message);
    }
}

/// C-52: slow or fast, a body without an end is no answer.
#[tokio::test]
async fn a_body_that_never_ends_is_a_failure() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let until_close = "HTTP/1.1 200 OK\r\n\r\n";
    let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400));
    for (head, piece) in [(chunked, "5\r\nhello\r\n"), (chunked, &chunk), (until_close, "hello")] {
        let slow = against(vec![send(head), drip(piece.as_bytes(), DRIP)]).await;
        assert_eq!(slow.outcome, LATE, "{}", slow.message);
    }
    for (head, piece) in [(chunked, chunk.repeat(16)), (until_close, "hello".repeat(999))] {
        let server = Server::start(move |_| vec![send(head), drip(piece.as_bytes(), AT_ONCE)]);
        let fast = server.look_within(server.check(), Duration::from_secs(5)).await;
        assert_eq!(fast.outcome, EXPLICIT, "{}", fast.message);
        assert!(fast.message.contains("does not end within 1 MiB"), "{}", fast.message);
    }
}

/// C-52: a page that was made as it was sent, longer than what is looked at, has its end.
#[tokio::test]
async fn a_long_chunked_body_that_ends_passes() {
    let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400)).repeat(100);
    let page = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n");
    let seen = against(vec![send(page)]).await;
    assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
}

/// C-6.
#[tokio::test]
async fn tls_that_never_finishes_is_late_or_no_tls() {
    let https = |server: &Server| {
        CheckKind::Http(HttpCheck { tls: Some(Tls::default()), ..server.check() })
    };
    let seen = at_once(vec![silence()], https).await;
    assert_eq!(seen.outcome, LATE, "{}", seen.message);
    assert!(seen.message.contains("TLS handshake unfinished"), "{}", seen.message);
    // The head of a record of 16 KiB that comes byte by byte.
    let seen = at_once(vec![send([22, 3, 3, 0x40, 0]), drip(b"\0", DRIP)], https).await;
    assert_eq!(seen.outcome, LATE, "{}", seen.message);
    // A message of 16 MiB, by records that are in order.
    let record = [&[22, 3, 3, 0x10, 0][..], &[2, 0xff, 0xff, 0xff], &[0; 0x1000 - 4]].concat();
    let seen = at_once(vec![drip(&record, AT_ONCE)], https).await;
    assert!(matches!(seen.outcome, Outcome::Fail(_)), "{seen:?}");
}

/// C-50.
#[tokio::test]
async fn junk_instead_of_http_is_a_failure() {
    for junk in
        [&b"\x16\x03\x01\0\x05junk"[..], &[0; 5000], b"\r\n\r\n\r\n\r\nHTP", b"200 OK\r\n\r\n"]
    {
        let seen = against(vec![send(junk), Step::Hang]).await;
        assert_eq!(seen.outcome, EXPLICIT, "{junk:?}: {}", seen.message);
    }
    let seen = against(vec![drip(b"\r\n", AT_ONCE)]).await;
    assert!(matches!(seen.outcome, Outcome::Fail(_)), "{seen:?}");
}

/// C-50: 64 KiB or 100 lines.
#[tokio::test]
async fn a_huge_header_block_is_a_failure_before_the_deadline() {
    let line = format!("X-Big: {}\r\n", "x".repeat(4000));
    for piece in [line.as_bytes(), b"x", b"A: b\r\n"] {
        let steps = vec![send("HTTP/1.1 200 OK\r\nX: "), drip(&piece.repeat(100), AT_ONCE)];
        let server = Server::start(move |_| steps.clone());
        let seen = server.look_within(server.check(), Duration::from_secs(5)).await;
        assert_eq!(seen.outcome, EXPLICIT, "{}", seen.message);
        assert!(seen.latency < Duration::from_secs(2), "{:?}", seen.latency);
    }
}

/// C-6: interim answers are skipped, and stop no clock.
#[tokio::test]
async fn storms_of_1xx_are_late() {
    for interim in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Hints\r\nLink: </x>\r\n\r\n"] {
        for pause in [AT_ONCE, DRIP] {
            let seen = against(vec![drip(&interim.as_bytes().repeat(50), pause)]).await;
            assert_eq!(seen.outcome, LATE, "{}", seen.message);
        }
    }
}

/// C-6 and C-105, C-110: the other kinds that read an answer.
#[tokio::test]
async fn floods_and_drips_are_failures_of_tcp_and_grpc_too() {
    let expect = |server: &Server| {
        let expect = Some(TextMatch::contains("never").unwrap());
        CheckKind::Tcp(TcpCheck { expect, ..TcpCheck::new(port(server.address)) })
    };
    assert_eq!(at_once(vec![drip(b"x", DRIP)], expect).await.outcome, LATE);
    assert_eq!(at_once(vec![drip(&[b'x'; 999], AT_ONCE)], expect).await.outcome, EXPLICIT);
    let grpc = |server: &Server| CheckKind::Grpc(GrpcCheck::new(port(server.address)));
    assert_eq!(at_once(vec![silence()], grpc).await.outcome, LATE);
    assert_eq!(at_once(answer(200, "", "hello"), grpc).await.outcome, EXPLICIT);
    // SETTINGS, for ever.
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0].repeat(100);
    let seen = at_once(vec![drip(&settings, AT_ONCE)], grpc).await;
    assert!(matches!(seen.outcome, Outcome::Fail(_)), "{seen:?}");
}

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let seeds = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: //[::1/..?#\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 500 X\r\nContent-Length: 99999999999999999999\r\n\r\n",
    ];
    let seed = proptest::sample::select(seeds.to_vec());
    let edit = (any::<prop::sample::Index>(), prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()]);
    (seed, vec(edit, 0..6), any::<prop::sample::Index>()).prop_map(|(seed, edits, cut)| {
        let mut bytes = seed.as_bytes().to_vec();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// C-50: whatever comes, an attempt ends, in time and without a panic, and is never the
    /// observer's fault.
    #[test]
    fn whatever_bytes_come_an_attempt_ends_with_a_verdict(
        bytes in prop_oneof![mutated(), vec(any::<u8>(), 0..300)],
        second in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::start(move |_| vec![send(bytes.clone())]);
            let version = if second { HttpVersion::Http2 } else { HttpVersion::Http1 };
            let check = HttpCheck { version, ..server.check() };
            let seen = server.look_within(check, SHORT).await;
            assert_ne!(seen.outcome, Outcome::Inconclusive, "{}", seen.message);
        });
    }
}

/// C-131: what means nothing in a chunked body is bounded, fast or slow.
#[tokio::test]
async fn chunks_that_say_nothing_for_ever_are_a_failure() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (begin, piece) in [
        ("", "0".repeat(1000)),
        ("5", " ".repeat(1000)),
        ("5;", "x".repeat(1000)),
        ("0\r\n", "Trailer: x\r\n".repeat(100)),
    ] {
        let start = send(format!("{head}{begin}"));
        let repeated = drip(piece.as_bytes(), AT_ONCE);
        let seen = against(vec![start.clone(), repeated]).await;
        assert_eq!(seen.outcome, EXPLICIT, "{}", seen.message);
        assert!(seen.message.contains("a chunk of the body has no size"), "{}", seen.message);
        let seen = against(vec![start, drip(&piece.as_bytes()[..1], DRIP)]).await;
        assert_eq!(seen.outcome, LATE, "{}", seen.message);
    }
    let all = b"4\r\nbody\r\n0\r\nTrailer: x\r\n\r\n".map(|byte| send([byte]));
    let seen = against([vec![send(head)], all.to_vec()].concat()).await;
    assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
}
