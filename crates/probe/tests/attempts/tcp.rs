//! What a TCP check says, and what it listens for.

use std::{
    net::TcpListener as StdListener,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};
use warren_core::{
    bounds::Port,
    check::{CheckKind, Endpoint, Payload, PortRef, TcpCheck, TextMatch},
    clause::Clause,
    outcome::Outcome,
};
use warren_probe::Seen;

use crate::server::{EXPLICIT, LATE, LOCALHOST, REFUSED, TIMEOUT, look, port};

/// One that reads some bytes, then says its pieces one by one, and closes or not.
struct Talker {
    address: std::net::SocketAddr,
    heard: Arc<Mutex<Vec<u8>>>,
    _serving: JoinSet<()>,
}

impl Talker {
    fn start(reads: usize, pieces: &'static [&'static [u8]], closes: bool) -> Self {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&heard);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut words = vec![0; reads];
            stream.read_exact(&mut words).await.unwrap();
            *log.lock().unwrap() = words;
            for piece in pieces {
                let _gone = stream.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            if !closes {
                let _gone = stream.read_u8().await;
            }
        });
        Self { address, heard, _serving: serving }
    }

    async fn ask(&self, send: &[u8], expect: Option<TextMatch>, limit: Duration) -> Seen {
        let send = Payload::new(send).unwrap();
        let check = TcpCheck { send, expect, ..TcpCheck::new(port(self.address)) };
        look(self.address.ip(), CheckKind::Tcp(check), limit).await
    }
}

fn pong() -> TextMatch {
    TextMatch::contains("+PONG\r\n").unwrap()
}

/// C-105.
#[tokio::test]
async fn what_is_sent_is_answered_as_expected() {
    let server = Talker::start(6, &[b"+PO", b"NG\r\n"], false);
    let seen = server.ask(b"PING\r\n", Some(pong()), TIMEOUT).await;
    assert_eq!((seen.outcome, seen.clause), (Outcome::Pass, Clause::new(105)), "{}", seen.message);
    assert!(seen.message.ends_with(" answered as expected: +PONG"), "{}", seen.message);
    assert!(seen.phases.first_byte.is_some());
    assert_eq!(*server.heard.lock().unwrap(), b"PING\r\n");
    // One that speaks first.
    let greeter = Talker::start(0, &[b"220 mail ready\r\n"], false);
    let greeting = Some(TextMatch::regex("^220 ").unwrap());
    assert_eq!(greeter.ask(b"", greeting, TIMEOUT).await.outcome, Outcome::Pass);
    // Bytes that are no text.
    let binary = Talker::start(2, &[b"\0\xff\x01"], false);
    let bytes = Some(TextMatch::regex(r"(?-u)^\x00\xff").unwrap());
    assert_eq!(binary.ask(b"\0\x80", bytes, TIMEOUT).await.outcome, Outcome::Pass);
}

/// C-105.
#[tokio::test]
async fn a_wrong_answer_is_explicit_and_none_is_late() {
    let wrong = Talker::start(6, &[b"-LOADING data\r\n"], true);
    let seen = wrong.ask(b"PING\r\n", Some(pong()), TIMEOUT).await;
    assert_eq!((seen.outcome, seen.clause), (EXPLICIT, Clause::new(105)));
    assert!(seen.message.ends_with(r#"does not contain "+PONG\r\n": -LOADING data"#), "{seen:?}");
    let long: &'static [u8] = vec![b'x'; 10 * 1024].leak();
    let pieces: &'static [&'static [u8]] = vec![long, &b"+PONG\r\n"[..]].leak();
    let seen = Talker::start(6, pieces, false).ask(b"PING\r\n", Some(pong()), TIMEOUT).await;
    assert_eq!(seen.outcome, EXPLICIT, "{}", seen.message);
    assert!(seen.message.contains("the first 10 KiB from"), "{}", seen.message);
    let open = Talker::start(6, &[b"-LOADING data\r\n"], false);
    let seen = open.ask(b"PING\r\n", Some(pong()), Duration::from_millis(150)).await;
    assert_eq!(seen.outcome, LATE, "{}", seen.message);
    assert!(seen.message.starts_with("no answer that matches within 150ms"), "{}", seen.message);
    assert!(seen.message.ends_with("15 bytes came: -LOADING data"), "{}", seen.message);
    let closed = Talker::start(0, &[], true);
    let seen = closed.ask(b"", Some(pong()), TIMEOUT).await;
    assert_eq!(seen.outcome, EXPLICIT, "{}", seen.message);
}

/// C-60: sending alone asks for no answer.
#[tokio::test]
async fn what_is_sent_without_an_expectation_arrives() {
    let server = Talker::start(5, &[], false);
    let seen = server.ask(b"hello", None, TIMEOUT).await;
    assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
}

/// C-61.
#[tokio::test]
async fn nobody_there_is_refused_before_anything_is_said() {
    let nobody = StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let check = TcpCheck { expect: Some(pong()), ..TcpCheck::new(port(nobody)) };
    assert_eq!(look(nobody.ip(), CheckKind::Tcp(check), TIMEOUT).await.outcome, REFUSED);
}

/// C-102: a name that was never bound to a number is nobody's fault but ours.
#[tokio::test]
async fn a_port_without_a_number_is_inconclusive() {
    let endpoint = Endpoint::Port(PortRef::Name("admin".parse().unwrap()));
    let check = TcpCheck { endpoint, ..TcpCheck::new(Port::new(1).unwrap()) };
    let seen = look(LOCALHOST, CheckKind::Tcp(check), TIMEOUT).await;
    assert_eq!(seen.outcome, Outcome::Inconclusive);
    assert_eq!(seen.message, "no port of the task is called admin");
}
