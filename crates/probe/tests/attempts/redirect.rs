//! Redirects are followed where they stay with the task, and only there.

use std::time::Duration;

use warren_core::{
    check::{HttpCheck, HttpMethod, HttpPath, StatusSet},
    clause::Clause,
    outcome::Outcome,
};

use crate::server::{EXPLICIT, LATE, Server, Step, answer, header};

/// Sends `/start` to `location` with `status`, and answers anything else with `last`.
fn redirecting(status: u16, location: &str, last: u16) -> Server {
    let location = format!("Location: {location}\r\n");
    Server::start(move |head| {
        if head.split(' ').nth(1) == Some("/start") {
            answer(status, &location, "")
        } else {
            answer(last, "", "there")
        }
    })
}

fn start(server: &Server) -> HttpCheck {
    HttpCheck { path: HttpPath::new("/start").unwrap(), ..server.check() }
}

fn paths(server: &Server) -> Vec<String> {
    server.heads().iter().map(|head| head.split(' ').nth(1).unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_redirect_within_the_task_is_followed_and_its_end_counts() {
    for status in [301, 302, 303, 307, 308] {
        let server = redirecting(status, "/end?x", 200);
        let seen = server.look(start(&server)).await;
        assert_eq!(seen.outcome, Outcome::Pass, "{status}: {}", seen.message);
        assert_eq!(paths(&server), ["/start", "/end?x"]);

        let server = redirecting(status, "end", 500);
        let seen = server.look(start(&server)).await;
        assert_eq!(seen.outcome, EXPLICIT);
        assert!(seen.message.contains("HTTP 500 from GET /end on port"), "{}", seen.message);
        assert!(seen.message.ends_with(": there"), "{}", seen.message);
    }
}

#[tokio::test]
async fn an_absolute_redirect_to_the_tasks_own_address_is_followed() {
    let server = Server::start(|head| {
        let host = head.lines().find_map(|line| line.strip_prefix("Host: ")).unwrap();
        if head.starts_with("GET /start ") {
            answer(302, &format!("Location: http://{host}/end\r\n"), "")
        } else {
            answer(200, "", "")
        }
    });
    assert_eq!(server.look(start(&server)).await.outcome, Outcome::Pass);
    let named = HttpCheck { headers: vec![header("Host", "web.example")], ..start(&server) };
    assert_eq!(server.look(named).await.outcome, Outcome::Pass);
    assert_eq!(paths(&server), ["/start", "/end", "/start", "/end"]);
    assert!(server.heads()[3].contains("Host: web.example\r\n"));
}

/// C-53 and C-81.
#[tokio::test]
async fn a_redirect_that_leaves_the_task_is_a_failure_and_goes_nowhere() {
    let elsewhere = Server::start(|_| answer(200, "", ""));
    let port = elsewhere.address.port();
    for location in [
        format!("http://127.0.0.1:{port}/end"),
        format!("//localhost:{port}/end"),
        "http://web.example/end".to_owned(),
        "https://127.0.0.1/end".to_owned(),
    ] {
        let server = redirecting(302, &location, 200);
        let seen = server.look(start(&server)).await;
        assert_eq!(seen.outcome, EXPLICIT, "{location}: {}", seen.message);
        assert!(seen.message.contains("HTTP 302 from GET /start on port"), "{}", seen.message);
        assert!(seen.message.ends_with(&format!("redirected to {location}")), "{}", seen.message);
        assert_eq!(paths(&server), ["/start"]);
    }
    assert_eq!(elsewhere.heads().len(), 0);
}

/// C-53: the default names none, and stays the default where the owner says it.
#[tokio::test]
async fn a_redirect_passes_unfollowed_where_the_owner_expects_its_status() {
    let server = redirecting(302, "http://web.example/end", 500);
    let expect = |first, last| HttpCheck {
        expect: StatusSet::new(vec![(first, last)]).unwrap(),
        ..start(&server)
    };
    for (first, last, outcome) in [
        (302, 302, Outcome::Pass),
        (300, 399, Outcome::Pass),
        (301, 301, EXPLICIT),
        (200, 399, EXPLICIT),
    ] {
        let seen = server.look(expect(first, last)).await;
        assert_eq!((seen.outcome, seen.clause), (outcome, Clause::new(53)), "{first}-{last}");
        let unnamed = "that status was not named as expected: redirected to http://web.example/end";
        assert_eq!(seen.message.ends_with(unnamed), outcome == EXPLICIT, "{}", seen.message);
    }

    let server = redirecting(302, "/end", 200);
    let expect = HttpCheck { expect: StatusSet::new(vec![(200, 200)]).unwrap(), ..start(&server) };
    assert_eq!(server.look(expect).await.outcome, Outcome::Pass);
    assert_eq!(paths(&server), ["/start", "/end"]);
}

#[tokio::test]
async fn a_redirect_without_a_location_is_a_status_like_any_other() {
    let server = Server::start(|_| answer(302, "", ""));
    assert_eq!(server.look(server.check()).await.outcome, Outcome::Pass);
}

#[tokio::test]
async fn a_loop_ends_after_ten_redirects() {
    let server = redirecting(302, "/start", 200);
    let seen = server.look(start(&server)).await;
    assert_eq!(seen.outcome, EXPLICIT);
    assert_eq!(seen.message, "more than 10 redirects, the last to /start");
    assert_eq!(server.heads().len(), 11);
}

#[tokio::test]
async fn all_redirects_share_one_deadline() {
    let server = Server::start(|head| {
        if head.starts_with("GET /start ") {
            answer(302, "Location: /end\r\n", "")
        } else {
            vec![Step::Hang]
        }
    });
    let seen = server.look_within(start(&server), Duration::from_millis(200)).await;
    assert_eq!(seen.outcome, LATE);
    assert!(seen.message.contains("after a redirect, connected after "), "{}", seen.message);
}

#[tokio::test]
async fn a_post_becomes_a_get_where_browsers_do_that() {
    let server = redirecting(303, "/end", 200);
    let method = HttpMethod::new("POST").unwrap();
    let seen = server.look(HttpCheck { method, ..start(&server) }).await;
    assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
    assert!(server.heads()[1].starts_with("GET /end "), "{:?}", server.heads());
}
