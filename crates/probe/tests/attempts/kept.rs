//! Connections that serve several attempts, which a check has where its owner asks for it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    sync::{Notify, oneshot},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, rustls::version::TLS13};
use warren_core::{
    check::{CheckKind, HttpCheck, HttpPath, Parts, TcpCheck, Tls},
    outcome::Outcome,
};
use warren_probe::{Prober, Seen, Target};
use warren_runtime::Reach;

use crate::server::{EXPLICIT, LATE, REFUSED, TIMEOUT, look_at, port, read_head, target};

const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";
/// Of that, all but the body.
const HALF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
const BAD: &str = "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n";

/// A server that answers every request, and leaves it to its clients when to close.
struct Keeping {
    address: SocketAddr,
    /// Nothing: it hangs.
    answer: Arc<Mutex<String>>,
    /// By which an idle connection is closed, with these words.
    connections: Arc<Mutex<Vec<oneshot::Sender<&'static str>>>>,
    heads: Arc<Mutex<Vec<String>>>,
    /// Has a connection that waits for it say the rest of [`FINE`].
    finish: Arc<Notify>,
    _accepting: JoinSet<()>,
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

impl Keeping {
    async fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new(FINE.to_owned()));
        let (connections, heads, finish) =
            (Arc::default(), Arc::default(), Arc::new(Notify::new()));
        let finishing = Arc::clone(&finish);
        let (said, known, log) =
            (Arc::clone(&answer), Arc::clone(&connections), Arc::clone(&heads));
        let known: Arc<Mutex<Vec<_>>> = known;
        let log: Arc<Mutex<Vec<_>>> = log;
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut serving = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (close, mut closed) = oneshot::channel::<&str>();
                known.lock().unwrap().push(close);
                let (said, log, tls) = (Arc::clone(&said), Arc::clone(&log), tls.clone());
                let finish = Arc::clone(&finishing);
                serving.spawn(async move {
                    let mut stream: Box<dyn Duplex> = match tls {
                        None => Box::new(stream),
                        Some(tls) => Box::new(tls.accept(stream).await.unwrap()),
                    };
                    loop {
                        let head = tokio::select! {
                            head = read_head(&mut stream) => head,
                            Ok(words) = &mut closed => {
                                return stream.write_all(words.as_bytes()).await.unwrap();
                            }
                        };
                        if !head.ends_with("\r\n\r\n") {
                            return;
                        }
                        log.lock().unwrap().push(head);
                        let answer = said.lock().unwrap().clone();
                        stream.write_all(answer.as_bytes()).await.unwrap();
                        stream.flush().await.unwrap();
                        if answer == HALF {
                            finish.notified().await;
                            stream.write_all(b"fine").await.unwrap();
                            stream.flush().await.unwrap();
                        }
                    }
                });
            }
        });
        Self { address, answer, connections, heads, finish, _accepting: accepting }
    }

    fn check(&self) -> HttpCheck {
        HttpCheck::new(port(self.address)).kept().unwrap()
    }

    fn target(&self) -> Target {
        target(Reach { netns: None, address: self.address.ip(), root_of: None })
    }

    /// From now on.
    fn answer(&self, answer: &str) {
        answer.clone_into(&mut self.answer.lock().unwrap());
    }

    /// So many have been made.
    fn connections(&self) -> usize {
        self.connections.lock().unwrap().len()
    }

    /// Ends those that are idle, and waits until they have ended.
    async fn close_all(&self, words: &'static str) {
        for close in std::mem::take(&mut *self.connections.lock().unwrap()) {
            // One that its client has closed is gone.
            let _ = close.send(words);
        }
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn look(target: &Target, check: &HttpCheck) -> Seen {
    look_at(target, CheckKind::Http(check.clone()), TIMEOUT).await
}

async fn passes(target: &Target, check: &HttpCheck) {
    let seen = look(target, check).await;
    assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
}

/// C-130.
#[tokio::test]
async fn ten_attempts_share_a_connection_where_the_owner_asks_for_it() {
    let server = Keeping::start(None).await;
    let target = server.target();
    for attempt in 0..10 {
        let seen = look(&target, &server.check()).await;
        assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
        assert_eq!(seen.phases.connect.is_some(), attempt == 0, "{seen:?}");
        assert_eq!(seen.phases.earlier, None, "{seen:?}");
    }
    assert_eq!(server.connections(), 1);
    passes(&target, &server.check()).await;
    assert_eq!(server.connections(), 2, "the eleventh has a fresh one");
    let heads = server.heads.lock().unwrap();
    assert!(heads.iter().all(|head| !head.contains("Connection:")), "{heads:?}");
}

/// C-56.
#[tokio::test]
async fn nobody_else_keeps_one() {
    let server = Keeping::start(None).await;
    let (target, check) = (server.target(), HttpCheck::new(port(server.address)));
    for _ in 0..3 {
        passes(&target, &check).await;
    }
    assert_eq!(server.connections(), 3);
    let heads = server.heads.lock().unwrap();
    assert!(heads.iter().all(|head| head.contains("Connection: close\r\n")), "{heads:?}");
}

/// C-130.
#[tokio::test]
async fn a_failure_is_followed_by_a_fresh_connection() {
    let server = Keeping::start(None).await;
    let (target, check) = (server.target(), server.check());
    passes(&target, &check).await;
    server.answer(BAD);
    assert_eq!(look(&target, &check).await.outcome, EXPLICIT);
    assert_eq!(server.connections(), 1);
    server.answer(FINE);
    passes(&target, &check).await;
    assert_eq!(server.connections(), 2);
    server.answer("");
    let short = Duration::from_millis(200);
    let seen = look_at(&target, CheckKind::Http(check.clone()), short).await;
    assert_eq!(seen.outcome, LATE, "{}", seen.message);
    assert!(seen.message.contains("on a kept connection"), "{}", seen.message);
    assert_eq!(server.connections(), 2);
    server.answer(FINE);
    passes(&target, &check).await;
    assert_eq!(server.connections(), 3);
}

/// C-130: a server that ends an idle connection has said nothing about itself, even where it takes
/// its leave in words.
#[tokio::test]
async fn a_kept_connection_that_has_ended_is_replaced_within_the_attempt() {
    let server = Keeping::start(None).await;
    let (target, check) = (server.target(), server.check());
    for words in ["", "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n"] {
        passes(&target, &check).await;
        server.close_all(words).await;
        passes(&target, &check).await;
        assert_eq!(server.connections(), 1, "{words:?}");
        server.close_all("").await;
    }
}

/// C-130.
#[tokio::test]
async fn a_server_that_wants_none_kept_gets_its_way() {
    for unkept in [
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: foo, Close\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        // What belongs to no answer would be taken for the next one.
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 500 X\r\n\r\n",
    ] {
        let server = Keeping::start(None).await;
        server.answer(unkept);
        let (target, check) = (server.target(), server.check());
        passes(&target, &check).await;
        passes(&target, &check).await;
        assert_eq!(server.connections(), 2, "{unkept:?}");
    }
}

/// C-130.
#[tokio::test]
async fn each_check_has_a_connection_of_its_own() {
    let server = Keeping::start(None).await;
    let target = server.target();
    let path = HttpPath::new("/other").unwrap();
    for check in [server.check(), HttpCheck { path, ..server.check() }, server.check()] {
        passes(&target, &check).await;
    }
    assert_eq!(server.connections(), 2);
    target.let_go();
    passes(&target, &server.check()).await;
    assert_eq!(server.connections(), 3);
}

/// C-130: the handshake is spared as well.
#[tokio::test]
async fn a_connection_with_tls_is_kept() {
    let own = rcgen::generate_simple_self_signed(vec!["other.example".to_owned()]).unwrap();
    let key = own.signing_key.serialize_der();
    let acceptor = crate::tls::acceptor(&TLS13, own.cert.der().clone(), key);
    let server = Keeping::start(Some(acceptor)).await;
    let check = HttpCheck { tls: Some(Tls::default()), ..server.check() };
    let target = server.target();
    for _ in 0..10 {
        passes(&target, &check).await;
    }
    assert_eq!(server.connections(), 1);
    server.close_all("").await;
    passes(&target, &check).await;
    assert_eq!(server.connections(), 1);
}

/// C-130: a part that passed keeps nothing where the whole does not pass.
#[tokio::test]
async fn a_failure_of_several_parts_is_followed_by_fresh_connections() {
    let server = Keeping::start(None).await;
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let parts = [
        CheckKind::Http(server.check()),
        CheckKind::Tcp(TcpCheck::new(port(other.local_addr().unwrap()))),
    ];
    let kind = CheckKind::All(Parts::new(parts.to_vec()).unwrap());
    let target = server.target();
    for _ in 0..3 {
        assert_eq!(look_at(&target, kind.clone(), TIMEOUT).await.outcome, Outcome::Pass);
    }
    assert_eq!(server.connections(), 1);
    drop(other);
    assert_eq!(look_at(&target, kind, TIMEOUT).await.outcome, REFUSED);
    passes(&target, &server.check()).await;
    assert_eq!(server.connections(), 2);
}

/// C-9: an attempt by hand goes on where the check's own is cancelled, and leaves nothing to it.
#[tokio::test]
async fn an_attempt_that_was_under_way_when_all_was_let_go_keeps_nothing() {
    let server = Keeping::start(None).await;
    let (target, check) = (server.target(), server.check());
    let prober = Prober::new().unwrap();
    server.answer(HALF);
    let kind = CheckKind::Http(check.clone());
    let mut by_hand = std::pin::pin!(prober.attempt(&target, &kind, TIMEOUT));
    let asked = async {
        while server.heads.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        seen = &mut by_hand => panic!("it has no body yet: {seen:?}"),
        () = asked => {}
    }
    target.let_go();
    server.finish.notify_one();
    let seen = by_hand.await;
    assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
    server.answer(FINE);
    passes(&target, &check).await;
    assert_eq!(server.connections(), 2);
}
