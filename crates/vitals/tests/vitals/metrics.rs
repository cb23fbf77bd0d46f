//! The state as metrics.

use std::time::Duration;

use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::task::JoinSet;
use vitals::{
    Component, Vitals,
    testing::{FakeCheck, FakeClock},
};

fn scrape(registry: &Registry) -> String {
    let mut text = String::new();
    encode(&mut text, registry).unwrap();
    text
}

fn value(text: &str, series: &str) -> String {
    let line = text
        .lines()
        .find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).rsplit(' ').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_scrape_tells_what_is_known_and_runs_nothing() {
    let (clock, database, cache) = (FakeClock::new(), FakeCheck::passing(), FakeCheck::passing());
    let health = Vitals::new("payments", "1.2.3")
        .clock(&clock)
        .critical("database", database.clone())
        .non_critical("cache", cache.clone());
    let mut registry = Registry::default();
    health.register(&mut registry);

    let before = scrape(&registry);
    assert_eq!(value(&before, r#"app_info{service="payments",version="1.2.3"}"#), "1");
    assert!(!before.contains("health_component_up{"), "nobody asked yet:\n{before}");
    assert_eq!(value(&before, r#"health_status{status="healthy"}"#), "1", "nothing is known bad");
    assert_eq!((database.runs(), cache.runs()), (0, 0));

    cache.fail("down");
    health.report().await;
    clock.advance(Duration::from_mins(1));
    database.fail("down");
    health.report().await;
    let after = scrape(&registry);
    for (series, expected) in [
        (r#"health_status{status="healthy"}"#, "0"),
        (r#"health_status{status="degraded"}"#, "0"),
        (r#"health_status{status="unhealthy"}"#, "1"),
        (r#"health_component_up{component="database",critical="true"}"#, "0"),
        (r#"health_component_up{component="cache",critical="false"}"#, "0"),
        (r#"health_check_failures_total{component="database",reason="failed"}"#, "1"),
        (r#"health_check_failures_total{component="cache",reason="failed"}"#, "2"),
        (r#"health_check_failures_total{component="cache",reason="timeout"}"#, "0"),
        (r#"health_check_duration_seconds_count{component="cache"}"#, "2"),
        (r#"health_check_duration_seconds_bucket{le="0.001",component="cache"}"#, "2"),
        (r#"health_check_duration_seconds_bucket{le="+Inf",component="cache"}"#, "2"),
        (r#"health_check_last_run_timestamp_seconds{component="database"}"#, "1767225660.0"),
        (r#"health_check_last_success_timestamp_seconds{component="database"}"#, "1767225600.0"),
    ] {
        assert_eq!(value(&after, series), expected, "{series}");
    }
    assert!(!after.contains(r#"last_success_timestamp_seconds{component="cache"}"#));
    assert_eq!((database.runs(), cache.runs()), (2, 2));
}

#[tokio::test]
async fn a_timeout_is_measured_like_everything_else() {
    let (clock, check) = (FakeClock::new(), FakeCheck::passing());
    check.hang();
    let component = Component::critical("x", check).timeout(Duration::from_secs(2));
    let health = Vitals::new("a", "1").clock(&clock).component(component);
    let mut registry = Registry::default();
    health.register(&mut registry);
    let mut reporting = JoinSet::new();
    reporting.spawn(async move { health.report().await });
    while reporting.try_join_next().is_none() {
        clock.advance(Duration::from_millis(100));
        tokio::task::yield_now().await;
    }
    let text = scrape(&registry);
    let failures = r#"health_check_failures_total{component="x",reason="timeout"}"#;
    assert_eq!(value(&text, failures), "1");
    assert_eq!(
        value(&text, r#"health_check_duration_seconds_bucket{le="2.5",component="x"}"#),
        "1"
    );
    assert_eq!(
        value(&text, r#"health_check_duration_seconds_bucket{le="1.0",component="x"}"#),
        "0"
    );
}
