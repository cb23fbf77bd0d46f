//! TCP checks, and connecting as such.

use std::{
    net::{Ipv6Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use warren_core::{
    check::{CheckKind, HttpCheck},
    id::TaskId,
    outcome::Outcome,
};
use warren_probe::{Prober, Target};
use warren_runtime::Reach;

use crate::{
    runtime::Fake,
    server::{BlackHole, LATE, REFUSED, TIMEOUT, look, port, tcp},
};

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_listener_passes_though_it_never_accepts() {
    for ip in ["127.0.0.1", "127.0.0.9", "::1"] {
        let Ok(listener) = TcpListener::bind((ip, 0)) else {
            println!("SKIPPED: this machine has no {ip}");
            continue;
        };
        let address = listener.local_addr().unwrap();
        let seen = look(address.ip(), tcp(address), TIMEOUT).await;
        assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
        assert_eq!(seen.message, format!("connected to {address}"));
        assert!(seen.phases.connect.is_some());
    }
}

#[tokio::test]
async fn where_nobody_listens_it_is_refused_at_once() {
    let address = nobody();
    for kind in [tcp(address), CheckKind::Http(HttpCheck::new(port(address)))] {
        let seen = look(address.ip(), kind, TIMEOUT).await;
        assert_eq!(seen.outcome, REFUSED);
        assert_eq!(seen.message, format!("connection refused by {address}"));
        assert!(seen.latency < TIMEOUT);
    }
}

#[tokio::test]
async fn a_connect_that_gets_no_answer_is_late() {
    let hole = BlackHole::open().await;
    let timeout = Duration::from_millis(150);
    for kind in [tcp(hole.address), CheckKind::Http(HttpCheck::new(port(hole.address)))] {
        let seen = look(hole.address.ip(), kind, timeout).await;
        assert_eq!(seen.outcome, LATE, "{}", seen.message);
        assert_eq!(seen.message, format!("no connection to {} within 150ms", hole.address));
        assert!(seen.latency >= timeout);
    }
}

#[tokio::test]
async fn an_address_that_this_machine_cannot_have_says_nothing_of_the_task() {
    // Unspecified with a scope that does not exist: the kernel refuses on our side.
    let address = SocketAddr::from((Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), 80));
    let seen = look(address.ip(), tcp(address), TIMEOUT).await;
    assert_eq!(seen.outcome, Outcome::Inconclusive, "{}", seen.message);
}

/// A worker's threads pass attempts to each other.
fn must_be_send<T: Send>(_: &T) {}

#[tokio::test]
async fn an_attempt_under_way_is_small() {
    let prober = Prober::new().unwrap();
    let reach = Reach { netns: None, address: nobody().ip(), root_of: None };
    let target = Target::new(TaskId::from_u64(1), reach, Arc::new(Fake::default()));
    let kind = tcp(nobody());
    let attempt = prober.attempt(&target, &kind, TIMEOUT);
    must_be_send(&attempt);
    let size = size_of_val(&attempt);
    assert!(size <= 2048, "each attempt under way takes {size} bytes");
    assert_eq!(attempt.await.outcome, REFUSED);
}
