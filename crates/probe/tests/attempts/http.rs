//! What an HTTP check sends, and what it makes of every kind of answer.

use std::{net::TcpListener, time::Duration};

use warren_core::{
    check::{CheckKind, HttpCheck, HttpMethod, StatusSet},
    outcome::Outcome,
};
use warren_probe::Prober;
use warren_runtime::Reach;

use crate::server::{
    EXPLICIT, LATE, REFUSED, Server, Step, TIMEOUT, When, answer, header, send, target,
};

/// For what never ends.
const SHORT: Duration = Duration::from_millis(200);

async fn against(steps: Vec<Step>) -> warren_probe::Seen {
    let server = Server::start(move |_| steps.clone());
    server.look(server.check()).await
}

async fn in_vain(steps: Vec<Step>) -> warren_probe::Seen {
    let server = Server::start(move |_| steps.clone());
    server.look_within(server.check(), SHORT).await
}

#[tokio::test]
async fn statuses_from_200_to_399_pass_by_default() {
    for (status, outcome) in [
        (200, Outcome::Pass),
        (204, Outcome::Pass),
        (299, Outcome::Pass),
        (304, Outcome::Pass),
        (399, Outcome::Pass),
        (400, EXPLICIT),
        (404, EXPLICIT),
        (500, EXPLICIT),
        (503, EXPLICIT),
        (599, EXPLICIT),
    ] {
        let body = if status == 204 || status == 304 { "" } else { "body" };
        let seen = against(answer(status, "", body)).await;
        assert_eq!(seen.outcome, outcome, "{status}: {}", seen.message);
    }
}

#[tokio::test]
async fn only_the_statuses_that_the_owner_names_pass() {
    let server = Server::start(|_| answer(503, "", ""));
    let expect = |ranges: &[(u16, u16)]| HttpCheck {
        expect: StatusSet::new(ranges.to_vec()).unwrap(),
        ..server.check()
    };
    assert_eq!(server.look(expect(&[(200, 200), (503, 503)])).await.outcome, Outcome::Pass);
    assert_eq!(server.look(expect(&[(200, 502), (504, 599)])).await.outcome, EXPLICIT);
}

#[tokio::test]
async fn the_request_has_the_default_headers() {
    let server = Server::start(|_| answer(200, "", ""));
    let seen = server.get("/health?deep=1").await;
    assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
    let expected = format!(
        "GET /health?deep=1 HTTP/1.1\r\nHost: {}\r\nUser-Agent: warren-check/{}\r\n\
         Accept: */*\r\nConnection: close\r\n\r\n",
        server.address,
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(server.heads(), [expected]);
}

#[tokio::test]
async fn headers_replace_defaults_and_an_empty_value_removes_one() {
    let server = Server::start(|_| answer(200, "", ""));
    let check = HttpCheck {
        headers: vec![
            header("host", "web.example"),
            header("user-agent", ""),
            header("ACCEPT", "text/plain"),
            header("X-Twice", "a"),
            header("X-Twice", "b"),
            header("X-Empty", ""),
        ],
        ..server.check()
    };
    assert_eq!(server.look(check).await.outcome, Outcome::Pass);
    let expected = "GET / HTTP/1.1\r\nHost: web.example\r\nConnection: close\r\n\
                    Accept: text/plain\r\nX-Twice: a\r\nX-Twice: b\r\n\r\n";
    assert_eq!(server.heads(), [expected]);
}

#[tokio::test]
async fn host_can_be_removed() {
    let server = Server::start(|_| answer(200, "", ""));
    server.look(HttpCheck { headers: vec![header("Host", "")], ..server.check() }).await;
    assert!(!server.heads()[0].to_lowercase().contains("host:"), "{:?}", server.heads());
}

#[tokio::test]
async fn the_method_is_the_owners() {
    for (method, length) in [("HEAD", false), ("POST", true), ("PURGE", true)] {
        let server = Server::start(|_| answer(200, "", ""));
        let method_value = HttpMethod::new(method).unwrap();
        let seen = server.look(HttpCheck { method: method_value, ..server.check() }).await;
        assert_eq!(seen.outcome, Outcome::Pass, "{method}: {}", seen.message);
        let head = &server.heads()[0];
        assert!(head.starts_with(&format!("{method} / HTTP/1.1\r\n")), "{head}");
        assert_eq!(head.contains("Content-Length: 0\r\n"), length, "{head}");
    }
}

#[tokio::test]
async fn the_answer_to_head_has_no_body_to_wait_for() {
    let server = Server::start(|_| {
        vec![send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"), Step::Hang]
    });
    let method = HttpMethod::new("HEAD").unwrap();
    let seen = server.look(HttpCheck { method, ..server.check() }).await;
    assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
}

#[tokio::test]
async fn a_bad_status_is_told_with_the_beginning_of_its_body() {
    let server = Server::start(|_| answer(500, "", "db:\n\tdown\x1b[31m\r\n"));
    let seen = server.get("/health").await;
    let port = server.address.port();
    assert_eq!(seen.message, format!("HTTP 500 from GET /health on port {port}: db: down [31m"));
}

#[tokio::test]
async fn a_bad_status_does_not_wait_for_its_body() {
    let steps = vec![send("HTTP/1.1 500 X\r\nContent-Length: 1000\r\n\r\nso far"), Step::Hang];
    let server = Server::start(move |_| steps.clone());
    let seen = server.look_within(server.check(), Duration::from_mins(1)).await;
    assert_eq!(seen.outcome, EXPLICIT);
    assert!(seen.message.ends_with(": so far"), "{}", seen.message);
    assert!(seen.latency < Duration::from_secs(5), "{:?}", seen.latency);
}

#[tokio::test]
async fn ten_kibibytes_of_an_announced_body_are_enough() {
    let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{}", "x".repeat(10_240));
    let seen = against(vec![send(long), Step::Hang]).await;
    assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
}

#[tokio::test]
async fn a_body_that_stalls_is_late() {
    let short = format!("HTTP/1.1 200 OK\r\nContent-Length: 10240\r\n\r\n{}", "x".repeat(10_239));
    let seen = in_vain(vec![send(short), Step::Hang]).await;
    assert_eq!(seen.outcome, LATE);
    assert!(seen.message.contains("HTTP 200, body unfinished after 10239 bytes"), "{seen:?}");

    let unbounded = "HTTP/1.1 200 OK\r\n\r\nsome";
    assert_eq!(in_vain(vec![send(unbounded), Step::Hang]).await.outcome, LATE);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_failure() {
    let short = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
    let closed = against(vec![send(short)]).await;
    assert_eq!(closed.outcome, REFUSED);
    assert!(closed.message.ends_with("closed the connection after HTTP 200 and 4 bytes of body"));
    assert_eq!(against(vec![send(short), Step::Reset]).await.outcome, REFUSED);
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    assert_eq!(against(vec![send(chunked)]).await.outcome, REFUSED);
    let broken = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhalf\r\n";
    assert_eq!(against(vec![send(broken)]).await.outcome, EXPLICIT);
}

#[tokio::test]
async fn a_body_may_end_with_the_connection() {
    let seen = against(vec![send("HTTP/1.0 200 OK\r\n\r\nall of it")]).await;
    assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
}

#[tokio::test]
async fn a_reset_after_a_complete_answer_is_still_a_pass() {
    for _ in 0..50 {
        let mut steps = answer(200, "", "fine");
        steps.push(Step::Reset);
        let seen = against(steps).await;
        assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
    }
}

#[tokio::test]
async fn a_server_that_answers_without_reading_has_answered() {
    for reset in [false, true] {
        for _ in 0..50 {
            let mut steps = answer(200, "", "fine");
            if reset {
                steps.push(Step::Reset);
            }
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let server = Server::on(listener, When::Connected, move |_| steps.clone());
            let seen = server.look(server.check()).await;
            assert_eq!(seen.outcome, Outcome::Pass, "reset {reset}: {}", seen.message);
        }
    }
}

#[tokio::test]
async fn a_connection_that_ends_before_the_answer_is_refused() {
    let closed = against(vec![]).await;
    assert_eq!(closed.outcome, REFUSED);
    assert!(closed.message.ends_with("closed the connection before an answer"), "{closed:?}");
    let reset = against(vec![Step::Reset]).await;
    assert_eq!(reset.outcome, REFUSED);
    assert!(reset.message.contains("connection reset by 127.0.0.1:"), "{reset:?}");
    let half = send("HTTP/1.1 200 OK\r\nContent-");
    assert_eq!(against(vec![half.clone()]).await.outcome, REFUSED);
    let half = against(vec![half, Step::Reset]).await;
    assert_eq!(half.outcome, REFUSED);
    assert!(half.message.contains("after 25 bytes of headers"), "{half:?}");
}

#[tokio::test]
async fn what_is_not_http_is_a_failure() {
    for junk in
        ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/2 200\r\n\r\n", "\0\0\x12\x04\0\0\0\0\0", "+OK\r\n"]
    {
        let seen = against(vec![send(junk)]).await;
        assert_eq!(seen.outcome, EXPLICIT, "{junk:?}: {}", seen.message);
        assert!(seen.message.contains("not HTTP/1"), "{junk:?}: {}", seen.message);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server::on(listener, When::Connected, move |_| vec![send(junk), Step::Hang]);
        let seen = server.look(server.check()).await;
        assert_eq!(seen.outcome, EXPLICIT, "{junk:?} at once: {}", seen.message);
    }
}

#[tokio::test]
async fn headers_have_a_bound() {
    let long = format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "x".repeat(70_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-Many: x\r\n".repeat(101));
    let endless =
        vec![send("HTTP/1.1 200 OK\r\n"), Step::Repeat(b"X: y\r\n".repeat(99), SHORT / 9)];
    for steps in [vec![send(long)], vec![send(many)], endless] {
        let seen = against(steps).await;
        assert_eq!(seen.outcome, EXPLICIT, "{}", seen.message);
        assert!(seen.message.contains("64 KiB or 100 lines"), "{}", seen.message);
    }
    let fits = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{}\r\n", "X: y\r\n".repeat(99));
    assert_eq!(against(vec![send(fits)]).await.outcome, Outcome::Pass);
}

#[tokio::test]
async fn informational_answers_are_skipped_but_do_not_stop_the_clock() {
    let early = send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
    let mut steps = vec![early.clone()];
    steps.extend(answer(200, "", ""));
    assert_eq!(against(steps).await.outcome, Outcome::Pass);

    let storm = b"HTTP/1.1 102 Processing\r\n\r\n".repeat(100);
    let seen = in_vain(vec![early, Step::Repeat(storm, Duration::ZERO)]).await;
    assert_eq!(seen.outcome, LATE, "{}", seen.message);
}

#[tokio::test]
async fn the_one_deadline_says_which_phase_it_struck_in() {
    let silent = in_vain(vec![Step::Hang]).await;
    assert_eq!(silent.outcome, LATE);
    assert!(silent.message.starts_with("no answer within 200ms: connected after "), "{silent:?}");
    assert!(silent.message.ends_with(", nothing came"), "{silent:?}");
    assert!(silent.phases.connect.is_some() && silent.phases.first_byte.is_none());
    assert!(silent.latency >= SHORT);

    let drip = Step::Repeat(b"X: y\r\n".to_vec(), Duration::from_millis(20));
    let drip = in_vain(vec![send("HTTP/1.1 200 OK\r\n"), drip]).await;
    assert_eq!(drip.outcome, LATE);
    assert!(drip.message.contains("headers unfinished after "), "{drip:?}");
    assert!(drip.phases.first_byte.is_some());

    let body = Step::Repeat(b"1\r\nx\r\n".to_vec(), Duration::from_millis(20));
    let head = send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    let body = in_vain(vec![head, body]).await;
    assert_eq!(body.outcome, LATE);
    assert!(body.message.contains("HTTP 200, body unfinished after "), "{body:?}");
}

#[tokio::test]
async fn a_pass_tells_its_phases_in_order() {
    let seen = against(answer(200, "", "fine")).await;
    let (connect, first) = (seen.phases.connect.unwrap(), seen.phases.first_byte.unwrap());
    assert!(connect <= first && first <= seen.latency && seen.latency < TIMEOUT, "{seen:?}");
    assert_eq!(seen.phases.tls, None);
    assert_eq!(seen.waited, Duration::ZERO);
}

#[tokio::test]
async fn dropping_an_attempt_closes_its_connection() {
    let server = Server::start(|_| vec![Step::Hang]);
    let (sender, gone) = tokio::sync::oneshot::channel();
    let sender = std::sync::Mutex::new(Some(sender));
    let watcher = TcpListener::bind("127.0.0.1:0").unwrap();
    watcher.set_nonblocking(true).unwrap();
    let watcher = tokio::net::TcpListener::from_std(watcher).unwrap();
    let address = watcher.local_addr().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let (mut stream, _) = watcher.accept().await.unwrap();
        crate::server::read_head(&mut stream).await;
        let mut rest = [0];
        let end = tokio::io::AsyncReadExt::read(&mut stream, &mut rest).await;
        sender.lock().unwrap().take().unwrap().send(end.is_err()).unwrap();
    });
    let check = HttpCheck::new(crate::server::port(address));
    let attempt = server.look(check);
    assert!(tokio::time::timeout(SHORT, attempt).await.is_err());
    let reset = tokio::time::timeout(TIMEOUT, gone).await.unwrap().unwrap();
    assert!(reset, "the connection ended, but not by RST");
}

/// C-57.
#[tokio::test]
async fn no_attempt_and_no_redirect_brings_back_a_cookie() {
    let server = Server::start(|head| {
        let cookie = "Set-Cookie: seen=before; Path=/\r\n";
        if head.starts_with("GET /end ") {
            answer(200, cookie, "")
        } else {
            answer(302, &format!("{cookie}Location: /end\r\n"), "")
        }
    });
    let target = target(Reach { netns: None, address: server.address.ip(), root_of: None });
    let (prober, kind) = (Prober::new().unwrap(), CheckKind::Http(server.check()));
    for _ in 0..2 {
        let seen = prober.attempt(&target, &kind, TIMEOUT).await;
        assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
    }
    let heads = server.heads();
    assert_eq!((heads.len(), &heads[..2]), (4, &heads[2..]));
    assert!(heads.iter().all(|head| !head.to_lowercase().contains("cookie")), "{heads:?}");
}
