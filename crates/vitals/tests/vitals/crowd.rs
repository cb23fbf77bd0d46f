//! A thousand who ask at once, each over a connection of its own.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::Router;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use vitals::{Component, Vitals, testing::FakeCheck};

const CROWD: usize = 1_000;
/// Both ends of each connection are in this process.
const DESCRIPTORS: u64 = 4_096;
/// For one thing to come true on a loaded machine.
const PATIENCE: Duration = Duration::from_mins(1);

struct Crowd {
    health: Vitals,
    slow: FakeCheck,
    quick: FakeCheck,
}

impl Crowd {
    fn new() -> Self {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, soft.max(DESCRIPTORS).min(hard), hard).unwrap();
        let (slow, quick) = (FakeCheck::passing(), FakeCheck::passing());
        slow.hang();
        let patient = |name, check| {
            Component::critical(name, check).on_demand(2 * PATIENCE).timeout(2 * PATIENCE)
        };
        let health = Vitals::new("a", "1")
            .component(patient("slow", slow.clone()))
            .component(patient("quick", quick.clone()));
        Self { health, slow, quick }
    }

    /// The slow check is held until as many have asked as the server lets in, so that they all ask
    /// at once. Everybody is answered, by one run of each check.
    async fn asks(&self, address: SocketAddr, let_in: usize) {
        let asked = Arc::new(AtomicUsize::new(0));
        let mut requests = JoinSet::new();
        for _ in 0..CROWD {
            requests.spawn(ask(address, Arc::clone(&asked)));
        }
        let started = Instant::now();
        loop {
            let seen = (asked.load(Ordering::SeqCst), self.slow.runs());
            if seen.0 >= let_in && seen.1 > 0 {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "(asked, runs): {seen:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.slow.pass();
        let answers = tokio::time::timeout(PATIENCE, requests.join_all()).await.unwrap();
        assert_eq!(answers, vec!["HTTP/1.1 200 OK"; CROWD]);
        assert_eq!((self.slow.runs(), self.quick.runs()), (1, 1));
    }
}

/// The first line of the answer.
async fn ask(address: SocketAddr, asked: Arc<AtomicUsize>) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    asked.fetch_add(1, Ordering::SeqCst);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

/// The listener converses with 128 at a time, and as many wait to be accepted; the others connect
/// when those have their answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_to_the_listener_run_each_check_once() {
    let crowd = Crowd::new();
    let listener = crowd.health.listen("127.0.0.1:0").unwrap();
    crowd.asks(listener.address(), 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_to_axum_run_each_check_once() {
    let crowd = Crowd::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app: Router = Router::new().merge(crowd.health.routes());
    let mut serving = JoinSet::new();
    serving.spawn(async { axum::serve(listener, app).await });
    crowd.asks(address, CROWD).await;
}
