//! Gates, liveness, drain.

use std::time::Duration;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::task::JoinSet;
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};
use vitals::{Heartbeat, Vitals, testing::FakeCheck, testing::FakeClock};

use crate::support::{ask, code, json};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_service_has_started_when_all_its_gates_are_open() {
    let health = Vitals::new("a", "1").critical("x", FakeCheck::passing());
    let (cache, migrations) = (health.gate("cache"), health.gate("migrations"));
    for path in ["/health/startup", "/health/ready", "/health"] {
        assert_eq!(code(&health, path).await, 503, "{path}");
    }
    assert_eq!(code(&health, "/liveness").await, 200);
    cache.open();
    let body = json(&ask(&health, "/startupz?verbose").await);
    assert_eq!(body["components"][0]["name"], "startup:migrations");
    assert_eq!(body["components"][0]["message"], "not started yet");
    assert_eq!(code(&health, "/startupz").await, 503);
    migrations.open();
    for path in ["/health/startup", "/health/ready", "/health"] {
        assert_eq!(code(&health, path).await, 200, "{path}");
    }
}

#[tokio::test]
async fn a_gate_that_is_dropped_stays_closed() {
    let health = Vitals::new("a", "1");
    drop(health.gate("migrations"));
    assert_eq!(code(&health, "/health/ready").await, 503);
}

#[tokio::test]
async fn liveness_sees_a_loop_that_stands_and_no_dependency() {
    let (clock, database) = (FakeClock::new(), FakeCheck::passing());
    let beat = Heartbeat::with_clock(30 * SECOND, &clock);
    let health = Vitals::new("a", "1")
        .clock(&clock)
        .internal("consumer", &beat)
        .critical("database", database.clone());
    database.fail("down");
    clock.advance(30 * SECOND);
    assert_eq!(code(&health, "/liveness").await, 200);
    clock.advance(SECOND);
    assert_eq!(code(&health, "/liveness").await, 503);
    let body = json(&ask(&health, "/livez?verbose").await);
    assert_eq!(body["components"][0]["message"], "no turn for 31 s, 30 s at most");
    assert_eq!(database.runs(), 0);
    beat.beat();
    assert_eq!(code(&health, "/liveness").await, 200);
    assert_eq!(code(&health, "/health").await, 503, "the database is still down");
}

#[tokio::test]
async fn a_heartbeat_is_a_check_as_well() {
    let clock = FakeClock::new();
    let beat = Heartbeat::with_clock(SECOND, &clock);
    let health = Vitals::new("a", "1").clock(&clock).critical("loop", beat.clone());
    assert_eq!(code(&health, "/health/ready").await, 200);
    clock.advance(2 * SECOND);
    assert_eq!(code(&health, "/health/ready").await, 503);
    assert_eq!(code(&health, "/liveness").await, 200);
}

#[tokio::test]
async fn a_draining_service_is_not_ready_at_once_but_lives() {
    let health = Vitals::new("a", "1");
    let mut changes = health.subscribe();
    assert_eq!(code(&health, "/health/ready").await, 200);
    health.drain();
    assert!(health.is_draining());
    for path in ["/health/ready", "/health"] {
        assert_eq!(code(&health, path).await, 503, "{path}");
    }
    for path in ["/liveness", "/health/startup"] {
        assert_eq!(code(&health, path).await, 200, "{path}");
    }
    assert!(changes.has_changed().unwrap());
    let report = changes.borrow_and_update().clone();
    assert!(report.components.iter().any(|part| part.name == "drain"));
}

type Watched = tonic::Streaming<HealthCheckResponse>;

async fn watch(health: &Vitals) -> Watched {
    let mut client = HealthClient::new(tonic::service::Routes::new(health.grpc([""; 0])).prepare());
    client.watch(HealthCheckRequest::default()).await.unwrap().into_inner()
}

async fn next(watched: &mut Watched) -> ServingStatus {
    watched.message().await.unwrap().unwrap().status()
}

/// One test for both, since a signal reaches everybody in the process.
#[tokio::test]
async fn sigterm_drains_and_the_end_comes_later() {
    let health = Vitals::new("a", "1");
    let end = health.drain_on_signal(3600 * SECOND).unwrap();
    let mut ending = JoinSet::new();
    ending.spawn(end);
    assert_eq!(code(&health, "/health/ready").await, 200);
    let mut watched = watch(&health).await;
    assert_eq!(next(&mut watched).await, ServingStatus::Serving);
    kill(Pid::this(), Signal::SIGTERM).unwrap();
    while code(&health, "/health/ready").await == 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(next(&mut watched).await, ServingStatus::NotServing);
    assert!(ending.try_join_next().is_none());
    health.acknowledge_drain();
    ending.join_all().await;

    let impatient = Vitals::new("b", "1");
    let mut ending = JoinSet::new();
    ending.spawn(impatient.drain_on_signal(Duration::ZERO).unwrap());
    kill(Pid::this(), Signal::SIGTERM).unwrap();
    ending.join_all().await;
    assert!(impatient.is_draining());
}

#[tokio::test]
async fn the_end_waits_for_work_in_flight_but_not_for_ever() {
    let health = Vitals::new("a", "1");
    let (first, second) = (health.in_flight(), health.in_flight());
    drop(first);
    assert_eq!(health.idle(Duration::from_millis(1)).await, 1);
    drop(second);
    assert_eq!(health.idle(3600 * SECOND).await, 0);
}
