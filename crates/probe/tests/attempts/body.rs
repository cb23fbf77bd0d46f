//! What a body must hold, and what it must not; and the request's own.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};
use warren_core::{
    check::{CheckKind, HttpCheck, HttpMethod, Payload, TextMatch},
    clause::Clause,
    outcome::Outcome,
};

use crate::server::{EXPLICIT, Server, TIMEOUT, answer, look, port, read_head};

fn text(text: &str) -> TextMatch {
    TextMatch::contains(text).unwrap()
}

fn regex(regex: &str) -> TextMatch {
    TextMatch::regex(regex).unwrap()
}

/// C-59.
#[tokio::test]
async fn a_body_must_match_and_must_not_match() {
    let server = Server::start(|_| answer(200, "", "status: OK\ndb: up 17\n"));
    for (body, body_not, why) in [
        (Some(text("OK")), None, None),
        (Some(regex(r"(?m)^db: up \d+$")), Some(text("down")), None),
        (
            Some(text("ok")),
            None,
            Some(r#"but its body does not contain "ok": status: OK db: up 17"#),
        ),
        (Some(regex("^db")), None, Some("but its body does not match /^db/: status: OK db: up 17")),
        (Some(text("OK")), Some(regex("up [0-9]")), Some("but its body does match /up [0-9]/")),
        (None, Some(text("status")), Some(r#"but its body does contain "status""#)),
    ] {
        let seen = server.look(HttpCheck { body, body_not, ..server.check() }).await;
        match why {
            None => assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message),
            Some(why) => {
                assert_eq!(seen.outcome, EXPLICIT, "{}", seen.message);
                assert!(seen.message.contains(why), "{}", seen.message);
            }
        }
        assert_eq!(seen.clause, Clause::new(59));
    }
}

/// C-59: within 10 KiB.
#[tokio::test]
async fn only_the_first_ten_kibibytes_are_looked_at() {
    for (before, outcome) in [(10_240 - 4, Outcome::Pass), (10_240 - 3, EXPLICIT)] {
        let body = format!("{}word{}", "x".repeat(before), "y".repeat(5000));
        let server = Server::start(move |_| answer(200, "", &body));
        let seen = server.look(HttpCheck { body: Some(text("word")), ..server.check() }).await;
        assert_eq!(seen.outcome, outcome, "{before}: {}", seen.message);
        let seen = server.look(HttpCheck { body_not: Some(text("word")), ..server.check() }).await;
        assert_eq!(seen.outcome == Outcome::Pass, outcome == EXPLICIT, "{}", seen.message);
    }
}

/// C-132
#[tokio::test]
async fn a_failing_answer_names_its_components_and_a_passing_one_none() {
    let note = "x".repeat(2_000);
    let body = format!(
        r#"{{"status":"unhealthy","note":"{note}","components":[
            {{"name":"postgres","status":"unhealthy","critical":true}}]}}"#
    );
    let cut = body.replace('\n', &"\n".repeat(9_000));
    for (status, body, names, told) in [
        (
            503,
            &body,
            &["postgres"][..],
            "HTTP 503 from GET / on port {}, postgres fails: {\"status",
        ),
        (503, &cut, &[], "HTTP 503 from GET / on port {}: {\"status"),
        (200, &body, &[], "HTTP 200 from GET / on port {}"),
    ] {
        let body = body.clone();
        let server = Server::start(move |_| answer(status, "", &body));
        let seen = server.look(server.check()).await;
        assert_eq!(*seen.components, *names, "{status}");
        let told = told.replacen("{}", &server.address.port().to_string(), 1);
        assert!(seen.message.starts_with(&told), "{}", seen.message);
        assert!(seen.message.len() < 300, "{}", seen.message);
    }
    let server = Server::start(move |_| answer(200, "", &body));
    let check = HttpCheck { body_not: Some(text("unhealthy")), ..server.check() };
    assert_eq!(*server.look(check).await.components, ["postgres"]);
}

/// C-51 comes before C-59: a bad status fails whatever the body says.
#[tokio::test]
async fn a_bad_status_with_the_right_body_is_a_bad_status() {
    let server = Server::start(|_| answer(500, "", "OK"));
    let seen = server.look(HttpCheck { body: Some(text("OK")), ..server.check() }).await;
    assert_eq!((seen.outcome, seen.clause), (EXPLICIT, Clause::new(51)));
}

/// Gives one answer to each request, and then the requests with what they had for a body.
async fn listening(answers: Vec<String>) -> (SocketAddr, JoinSet<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = read_head(&mut stream).await;
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            stream.read_exact(&mut body).await.unwrap();
            let first = head.lines().next().unwrap();
            requests.push(format!("{first} {}", String::from_utf8(body).unwrap()));
            stream.write_all(answer.as_bytes()).await.unwrap();
            // Until it has been read: a close before that would be a reset.
            assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0, "more than it said");
        }
        requests
    });
    (address, serving)
}

/// C-50, C-53.
#[tokio::test]
async fn a_request_has_the_body_that_its_owner_gave_it_until_a_redirect_makes_a_get_of_it() {
    let redirected =
        |status: u16| format!("HTTP/1.1 {status} X\r\nLocation: /end\r\nContent-Length: 0\r\n\r\n");
    let fine = || "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned();
    let long = "x".repeat(4096);
    for (send, answers, requests) in [
        ("{}", vec![fine()], vec!["POST / HTTP/1.1 {}".to_owned()]),
        (&long, vec![fine()], vec![format!("POST / HTTP/1.1 {long}")]),
        (
            "{}",
            vec![redirected(307), fine()],
            vec!["POST / HTTP/1.1 {}".to_owned(), "POST /end HTTP/1.1 {}".to_owned()],
        ),
        (
            "{}",
            vec![redirected(303), fine()],
            vec!["POST / HTTP/1.1 {}".to_owned(), "GET /end HTTP/1.1 ".to_owned()],
        ),
    ] {
        let (address, mut serving) = listening(answers).await;
        let check = HttpCheck {
            method: HttpMethod::new("POST").unwrap(),
            send: Payload::new(send).unwrap(),
            ..HttpCheck::new(port(address))
        };
        let seen = look(address.ip(), CheckKind::Http(check), TIMEOUT).await;
        assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
        assert_eq!(serving.join_next().await.unwrap().unwrap(), requests);
    }
}
