//! Each attempt names the clause of docs/checks.md that decided it.

use std::{net::TcpListener, time::Duration};

use warren_core::{check::CheckKind, clause::Clause};

use crate::server::{BlackHole, Server, Step, TIMEOUT, answer, look, send, tcp};

/// For what never ends.
const SHORT: Duration = Duration::from_millis(150);

#[tokio::test]
async fn an_http_attempt_names_the_clause_that_decided() {
    let elsewhere = "Location: http://elsewhere.example/\r\n";
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
    for (steps, clause) in [
        (answer(200, "", "fine"), 51),
        (answer(500, "", "broken"), 51),
        (vec![send(half), Step::Hang], 52),
        (vec![send(half)], 52),
        (answer(302, elsewhere, ""), 53),
        (vec![send("HTTP/1.1 200 OK\r\nX: "), Step::Hang], 6),
        (vec![send("SSH-2.0-OpenSSH_9.2\r\n")], 50),
        (vec![Step::Reset], 61),
    ] {
        let server = Server::start(move |_| steps.clone());
        let seen = server.look_within(server.check(), SHORT).await;
        assert_eq!(seen.clause, Clause::new(clause), "{seen:?}");
    }
    let server = Server::start(|head| {
        let path = head.split(' ').nth(1).unwrap();
        answer(302, &format!("Location: {path}x\r\n"), "")
    });
    assert_eq!(server.look(server.check()).await.clause.to_string(), "C-53");
}

#[tokio::test]
async fn a_tcp_attempt_names_the_clause_that_decided() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let hole = BlackHole::open().await;
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (address, timeout, clause) in [
        (listener.local_addr().unwrap(), TIMEOUT, 60),
        (nobody, TIMEOUT, 61),
        (hole.address, SHORT, 61),
    ] {
        let check: CheckKind = tcp(address);
        let seen = look(address.ip(), check, timeout).await;
        assert_eq!(seen.clause, Clause::new(clause), "{seen:?}");
    }
}
