//! Paths, forms, and who sees what.

use std::time::Duration;

use http::{Method, Request, header};
use serde_json::json;
use tower::ServiceExt;
use vitals::{
    Component, Disclosure, Heartbeat, RegistrationError, Status, Vitals,
    testing::{FakeCheck, FakeClock},
};

use crate::support::{ask, ask_as, code, json, kind};

struct World {
    clock: FakeClock,
    database: FakeCheck,
    cache: FakeCheck,
    weather: FakeCheck,
    health: Vitals,
}

fn world() -> World {
    let clock = FakeClock::new();
    let [database, cache, weather] = [(); 3].map(|()| FakeCheck::passing());
    let health = Vitals::new("payments", "1.2.3")
        .clock(&clock)
        .instance("task-1")
        .critical("database", database.clone())
        .non_critical("cache", cache.clone())
        .informational("weather", weather.clone());
    World { clock, database, cache, weather, health }
}

#[tokio::test]
async fn the_detailed_form_has_all_that_is_known_in_a_stable_order() {
    let world = world();
    world.cache.fail("GET redis://u:pw@cache:6379 failed");
    world.clock.advance(Duration::from_secs(61));
    let response = ask(&world.health, "/health").await;
    assert_eq!((response.status().as_u16(), kind(&response)), (200, "application/json"));
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    let part = |name: &str, weight: &str, status: &str| {
        json!({
            "name": name, "status": status, "latency_ms": 0.0, "critical": weight == "critical",
            "message": null, "weight": weight, "last_run": "2026-01-01T00:01:01.000Z",
            "last_success": "2026-01-01T00:01:01.000Z", "consecutive_failures": 0, "stale": false,
        })
    };
    let mut cache = part("cache", "non_critical", "unhealthy");
    cache["message"] = json!("GET redis://***@cache:6379 failed");
    cache["consecutive_failures"] = json!(1);
    cache.as_object_mut().unwrap().remove("last_success");
    assert_eq!(
        json(&response),
        json!({
            "status": "degraded", "version": "1.2.3", "service": "payments", "instance": "task-1",
            "timestamp": "2026-01-01T00:01:01.000Z", "uptime_s": 61, "total_latency_ms": 0.0,
            "components": [
                part("database", "critical", "healthy"), cache,
                part("weather", "informational", "healthy"),
            ],
        })
    );
    let first = [
        r#"{"status":"degraded","version":"1.2.3","service":"payments","instance":"task-1","#,
        r#""timestamp":"2026-01-01T00:01:01.000Z","uptime_s":61,"total_latency_ms":0.0,"#,
        r#""components":[{"name":"database","status":"healthy","latency_ms":0.0,"critical":true,"#,
        r#""message":null,"weight":"critical","last_run":"2026-01-01T00:01:01.000Z","#,
        r#""last_success":"2026-01-01T00:01:01.000Z","consecutive_failures":0,"stale":false},"#,
    ];
    assert!(response.body().starts_with(&first.concat()), "{}", response.body());
    // No map without an order has a part in it.
    for _ in 0..10 {
        assert_eq!(ask(&world.health, "/health").await.body(), response.body());
    }
}

#[tokio::test]
async fn strangers_get_the_state_and_the_version() {
    let world = world();
    world.database.fail("down");
    let simple = json!({"status": "unhealthy", "version": "1.2.3"});
    for (peer, headers) in [
        (Some("10.1.2.3"), [("accept", "*/*")]),
        (None, [("accept", "*/*")]),
        (Some("127.0.0.1"), [("x-forwarded-for", "10.1.2.3")]),
    ] {
        let response = ask_as(&world.health, "/health?verbose", peer, &headers).await;
        assert_eq!(response.status(), 503);
        assert_eq!(json(&response), simple);
    }
    let as_text = [("accept", "text/plain")];
    let text = ask_as(&world.health, "/health", None, &as_text).await;
    assert_eq!(text.body(), "payments 1.2.3 is unhealthy\n");
    let as_draft = [("accept", "application/health+json")];
    let draft = ask_as(&world.health, "/health", None, &as_draft).await;
    let expected = json!({"status": "fail", "version": "1.2.3", "serviceId": "payments"});
    assert_eq!(json(&draft), expected);
}

#[tokio::test]
async fn the_policy_says_who_is_no_stranger() {
    let shows = async |health: &Vitals, peer: &str, headers: &[(&str, &str)]| {
        json(&ask_as(health, "/health", Some(peer), headers).await).get("components").is_some()
    };
    let (near, far, token) = ("127.0.0.1", "10.1.2.3", [("authorization", "Bearer t0k")]);
    let never = world().health.disclosure(Disclosure::Never);
    assert!(!shows(&never, near, &[]).await);
    let always = world().health.disclosure(Disclosure::Always);
    assert!(shows(&always, far, &[]).await);
    let with_token = world().health.disclosure(Disclosure::Token("t0k".to_owned()));
    assert!(shows(&with_token, far, &token).await);
    assert!(!shows(&with_token, near, &[]).await);
}

#[tokio::test]
async fn aliases_answer_like_what_they_stand_for() {
    let world = world();
    world.database.fail("down");
    for path in ["/health", "/healthz", "/health/", "/health/ready", "/ready", "/readyz"] {
        assert_eq!(code(&world.health, path).await, 503, "{path}");
    }
    for path in ["/liveness", "/livez", "/health/live", "/health/startup", "/startupz"] {
        assert_eq!(code(&world.health, path).await, 200, "{path}");
    }
    for path in ["/", "/health/nobody", "/healthy", "/livez/database"] {
        assert_eq!(code(&world.health, path).await, 404, "{path}");
    }
}

#[tokio::test]
async fn readiness_asks_the_critical_ones_alone() {
    let world = world();
    world.cache.fail("down");
    world.weather.fail("rain");
    assert_eq!(code(&world.health, "/health/ready").await, 200);
    assert_eq!((world.cache.runs(), world.weather.runs()), (0, 0));
    let verbose = json(&ask(&world.health, "/health/ready?verbose").await);
    assert_eq!(verbose["components"].as_array().unwrap().len(), 1);
    assert_eq!(verbose["status"], "healthy");
    let simple = ask(&world.health, "/health/ready").await;
    assert_eq!(json(&simple), json!({"status": "healthy", "version": "1.2.3"}));
}

#[tokio::test]
async fn one_component_can_be_asked_for() {
    let world = world();
    world.cache.fail("down");
    assert_eq!(code(&world.health, "/health/cache").await, 503);
    assert_eq!(code(&world.health, "/health/database").await, 200);
    assert_eq!(world.weather.runs(), 0);
    let body = json(&ask(&world.health, "/health/cache").await);
    assert_eq!(body["components"][0]["name"], "cache");
    assert_eq!(body["components"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_excluded_neither_runs_nor_counts() {
    let world = world();
    world.database.fail("down");
    world.cache.fail("down");
    assert_eq!(code(&world.health, "/health?exclude=cache").await, 503);
    let response = ask(&world.health, "/health?exclude=database&exclude=cache&exclude=typo").await;
    assert_eq!(response.status(), 200);
    assert_eq!(world.cache.runs(), 0);
    let body = json(&response);
    assert_eq!(body["status"], "healthy");
    assert_eq!(body["unknown_exclusions"], json!(["typo"]));
}

#[tokio::test]
async fn other_forms_are_spoken_when_asked_for() {
    let world = world();
    world.database.fail("no connection");
    world.cache.degrade("slow");
    let text =
        ask_as(&world.health, "/health?exclude=typo", Some("::1"), &[("accept", "text/plain")])
            .await;
    assert_eq!(kind(&text), "text/plain; charset=utf-8");
    let lines = [
        "[-]database failed: no connection",
        "[~]cache degraded: slow",
        "[+]weather ok",
        "warn: cannot exclude typo: no such component",
        "payments 1.2.3 is unhealthy",
    ];
    assert_eq!(text.body().lines().collect::<Vec<_>>(), lines);
    let accept = [("accept", "application/health+json, application/json;q=0.5")];
    let draft = ask_as(&world.health, "/health", Some("::1"), &accept).await;
    assert_eq!(kind(&draft), "application/health+json");
    let body = json(&draft);
    assert_eq!(body["status"], "fail");
    let check = |name: &str| body["checks"][format!("{name}:responseTime")][0].clone();
    assert_eq!(check("database")["output"], "no connection");
    let states = ["database", "cache", "weather"].map(|name| check(name)["status"].clone());
    assert_eq!(states, ["fail", "warn", "pass"]);
    assert_eq!(check("weather")["observedUnit"], "ms");
}

#[tokio::test]
async fn only_get_and_head_are_questions() {
    let world = world();
    let asked = async |method: Method| {
        let (parts, ()) =
            Request::builder().method(method).uri("/health").body(()).unwrap().into_parts();
        world.health.answer(&parts, None).await
    };
    let head = asked(Method::HEAD).await;
    assert_eq!((head.status().as_u16(), head.body().as_str()), (200, ""));
    let post = asked(Method::POST).await;
    assert_eq!(
        (post.status().as_u16(), &post.headers()[header::ALLOW]),
        (405, &"GET, HEAD".parse().unwrap())
    );
}

#[tokio::test]
async fn secrets_and_targets_are_shown_without_secrets() {
    let check = FakeCheck::passing();
    check.fail("role s3same may not log in");
    let component = Component::critical("database", check).target("postgres://app:pw@db/pay");
    let health = Vitals::new("payments", "1").secret("s3same").component(component);
    let body = json(&ask(&health, "/health/database").await);
    assert_eq!(body["components"][0]["message"], "role *** may not log in");
    assert_eq!(body["components"][0]["target"], "postgres://***@db/pay");
}

#[tokio::test]
async fn names_are_unique_and_fit_into_a_path() {
    let try_name = |name: &str| {
        let health = world().health.internal("loop", Heartbeat::new(Duration::from_secs(1)));
        health.try_component(Component::critical(name, FakeCheck::passing())).map(drop)
    };
    assert_eq!(try_name("Other_1.x-y"), Ok(()));
    for name in ["database", "loop"] {
        assert_eq!(try_name(name), Err(RegistrationError::Duplicate(name.to_owned())));
    }
    for name in ["ready", "live", "startup", "runtime", "drain"] {
        assert_eq!(try_name(name), Err(RegistrationError::Reserved(name.to_owned())));
    }
    for name in ["", "a b", "a/b", "ä", "a:b"] {
        assert_eq!(try_name(name), Err(RegistrationError::BadName(name.to_owned())));
    }
}

#[test]
#[should_panic(expected = "there already is a component \"x\"")]
fn a_second_component_of_a_name_is_a_mistake_in_the_program() {
    let _ = Vitals::new("a", "1")
        .critical("x", FakeCheck::passing())
        .critical("x", FakeCheck::passing());
}

#[tokio::test]
async fn the_routes_answer_within_a_service_of_their_own() {
    let world = world();
    let app = axum::Router::new()
        .route("/", axum::routing::get(async || "home"))
        .merge(world.health.routes());
    for (path, expected) in vitals::PATHS.iter().map(|path| (*path, 200)).chain([("/", 200)]) {
        let path = path.replace("{component}", "database");
        let request = Request::get(&path).body(axum::body::Body::empty()).unwrap();
        assert_eq!(app.clone().oneshot(request).await.unwrap().status(), expected, "{path}");
    }
    world.database.fail("down");
    world.clock.advance(Duration::from_secs(2));
    let request = Request::get("/ready").body(axum::body::Body::empty()).unwrap();
    assert_eq!(app.oneshot(request).await.unwrap().status(), 503);
    assert_eq!(world.health.last_report().status, Status::Unhealthy);
}
