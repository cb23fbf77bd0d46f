//! The listener of our own, over real sockets.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use prometheus_client::registry::Registry;
use vitals::{Vitals, testing::FakeCheck};

/// One request on a connection of its own: the status and all that follows.
fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer[9..12].parse().unwrap(), answer)
}

/// Asks until the answer is the one that is wanted.
fn wait_for(address: SocketAddr, path: &str, status: u16) -> String {
    let started = Instant::now();
    loop {
        let (seen, answer) = get(address, path);
        if seen == status {
            return answer;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{path} is still {seen}: {answer}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_service_without_http_and_without_a_runtime_has_endpoints_all_the_same() {
    let check = FakeCheck::passing();
    let health = Vitals::new("mailer", "1.0.0").critical("queue", check.clone());
    let listener = health.listen("127.0.0.1:0").unwrap();
    let (status, answer) = get(listener.address(), "/health");
    assert_eq!(status, 200);
    assert!(answer.contains(r#""name":"queue","status":"healthy""#), "{answer}");
    assert_eq!(get(listener.address(), "/nothing").0, 404);
    assert_eq!(get(listener.address(), "/metrics").0, 404);
    check.fail("down");
    wait_for(listener.address(), "/health/ready", 503);
    let address = listener.address();
    drop(listener);
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn an_address_that_is_taken_is_an_error_at_once() {
    let health = Vitals::new("a", "1");
    let first = health.listen("127.0.0.1:0").unwrap();
    let error = health.listen(first.address()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

#[test]
fn liveness_sees_that_the_runtime_is_blocked_and_that_it_runs_again() {
    let bound = Duration::from_millis(300);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let health = Vitals::new("a", "1").runtime_bound(bound);
    let listener = runtime.block_on(async { health.listen("127.0.0.1:0") }).unwrap();
    let address = listener.address();
    wait_for(address, "/liveness", 200);
    let (release, held) = std::sync::mpsc::channel::<()>();
    let blocked = Instant::now();
    let blocking = runtime.spawn(async move { held.recv() });
    let answer = wait_for(address, "/liveness?verbose", 503);
    assert!(blocked.elapsed() >= bound / 2, "{:?}", blocked.elapsed());
    assert!(answer.contains("\"name\":\"runtime\",\"status\":\"unhealthy\""), "{answer}");
    assert!(answer.contains("0.3 s at most"), "{answer}");
    drop(release);
    wait_for(address, "/liveness", 200);
    runtime.block_on(blocking).unwrap().unwrap_err();
}

#[test]
fn a_second_runtime_is_watched_when_asked_for() {
    let one = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().unwrap()
    };
    let (home, other) = (one(), one());
    let health = Vitals::new("a", "1")
        .runtime_bound(Duration::from_millis(300))
        .runtime("engine", other.handle());
    let listener = home.block_on(async { health.listen("127.0.0.1:0") }).unwrap();
    wait_for(listener.address(), "/liveness", 200);
    let (release, held) = std::sync::mpsc::channel::<()>();
    let blocking = other.spawn(async move { held.recv() });
    let answer = wait_for(listener.address(), "/liveness?verbose", 503);
    assert!(answer.contains("\"name\":\"engine\",\"status\":\"unhealthy\""), "{answer}");
    assert!(answer.contains("\"name\":\"runtime\",\"status\":\"healthy\""), "{answer}");
    drop(release);
    wait_for(listener.address(), "/liveness", 200);
    other.block_on(blocking).unwrap().unwrap_err();
}

#[test]
fn metrics_are_served_beside_the_endpoints() {
    let health = Vitals::new("a", "1").critical("x", FakeCheck::passing());
    let mut registry = Registry::default();
    health.register(&mut registry);
    let listener = health.listen_with_metrics("127.0.0.1:0", Arc::new(registry)).unwrap();
    let (status, answer) = get(listener.address(), "/metrics");
    assert_eq!(status, 200);
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"));
    assert!(answer.ends_with("# EOF\n"), "{answer}");
}

#[test]
fn who_sends_nothing_does_not_keep_others_away() {
    let health = Vitals::new("a", "1");
    let listener = health.listen("127.0.0.1:0").unwrap();
    let idle: Vec<_> = (0..100).map(|_| TcpStream::connect(listener.address()).unwrap()).collect();
    assert_eq!(get(listener.address(), "/health").0, 200);
    drop(idle);
}
