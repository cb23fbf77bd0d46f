//! `--health-preset`, and what the timing flags change of it.

use warren_core::check::{Preset, PresetCheck};

use super::{super::*, read, refused};

fn preset(words: &[&str]) -> PresetCheck {
    match read(words).unwrap() {
        HealthConfig::Preset(check) => check,
        other @ (HealthConfig::Auto | HealthConfig::Checks(_) | HealthConfig::Disabled) => {
            panic!("{words:?} give {other:?}")
        }
    }
}

#[test]
fn a_preset_goes_by_its_name_and_the_timing_flags_change_it() {
    let own = PresetCheck { preset: Some(Preset::Redis), ..PresetCheck::default() };
    assert_eq!(preset(&["--health-preset", "redis"]), own);
    assert_eq!(preset(&["--health-preset", "auto"]), PresetCheck::default());
    let changed = preset(&[
        "--health-preset",
        "redis,port=6380",
        "--health-interval",
        "5s",
        "--health-timeout",
        "2s",
        "--health-retries",
        "4",
        "--health-start-period",
        "1m",
    ]);
    let seconds = |seconds| std::time::Duration::from_secs(seconds);
    let expected = PresetCheck {
        port: Some(Port::new(6380).unwrap()),
        period: Some(Period::new(seconds(5)).unwrap()),
        timeout: Some(Timeout::new(seconds(2)).unwrap()),
        failures: Some(Threshold::new(4).unwrap()),
        start_period: Some(Delay::new(seconds(60)).unwrap()),
        ..own
    };
    assert_eq!(changed, expected);
}

#[test]
fn a_preset_beside_another_check_names_both_flags() {
    for (other, value) in
        [("--health-cmd", "true"), ("--health-tcp", "1"), ("--readiness-tcp", "1")]
    {
        let why = format!("{other} contradicts --health-preset: a role has one check");
        refused(&["--health-preset", "redis", other, value], &why);
    }
    refused(
        &["--health-preset", "redis", "--no-healthcheck"],
        "--no-healthcheck contradicts --health-preset: a role has one check",
    );
    refused(
        &["--health-preset", "reddis"],
        "--health-preset: \"reddis\" is not a preset; there are auto, postgres, redis, mysql, \
         mongodb, rabbitmq, nats, kafka, memcached, etcd, nginx",
    );
    refused(&["--health-preset", "redis,port=0"], "--health-preset: port: 0 is not in 1..=65535");
}

/// `{ ping: 1, $db: "admin" }` as `OP_MSG`.
const MONGODB_PING: &str = concat!(
    r"3\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xdd\x07\x00\x00\x00\x00\x00\x00\x00",
    r"\x1e\x00\x00\x00\x10ping\x00\x01\x00\x00\x00\x02$db\x00\x06\x00\x00\x00",
    r"admin\x00\x00",
);

/// C-160: what each preset asks, in each role. A preset that asks something else is another one.
#[test]
fn every_preset_asks_what_the_document_says() {
    let address = "\"${WARREN_TASK_IP:-127.0.0.1}\"";
    let tcp = |port: u16, send: &str, expect: &str| {
        let send = if send.is_empty() { String::new() } else { format!(" sending \"{send}\"") };
        format!("TCP connect to :{port}{send} whose answer must match /{expect}/")
    };
    let both = |words: String| (words.clone(), words);
    for (preset, (alive, ready)) in [
        (Preset::Postgres, both(format!("run /bin/sh -c 'exec pg_isready -h {address} -p 5432'"))),
        (Preset::Redis, both(tcp(6379, "PING\\r\\n", r"^\+PONG\r\n"))),
        (
            Preset::Mysql,
            both(format!(
                "run /bin/sh -c 'exec \"$(command -v mariadb-admin || echo mysqladmin)\" ping \
                 --protocol=tcp -h {address} -P 3306 --connect-timeout=4'"
            )),
        ),
        (
            Preset::Mongodb,
            both(tcp(27017, MONGODB_PING, r"(?s-u)\x01ok\x00\x00\x00\x00\x00\x00\x00\xf0\x3f")),
        ),
        (
            Preset::Rabbitmq,
            both(tcp(5672, r"AMQP\x00\x00\t\x01", r"(?s-u)^\x01\x00\x00....\x00\x0a\x00\x0a")),
        ),
        (Preset::Nats, both(tcp(4222, "", r"^INFO \{"))),
        (
            Preset::Kafka,
            both(tcp(
                9092,
                r"\x00\x00\x00\x16\x00\x12\x00\x00WRRN\x00\x0cwarren-check",
                r"(?s-u)^....WRRN\x00\x00",
            )),
        ),
        (Preset::Memcached, both(tcp(11211, "version\\r\\n", "^VERSION "))),
        (
            Preset::Etcd,
            (
                "GET http://:2379/version".to_owned(),
                r#"GET http://:2379/health whose body must contain "\"health\":\"true\"""#
                    .to_owned(),
            ),
        ),
        (
            Preset::Nginx,
            (
                "GET http://:80/ expecting 200-599".to_owned(),
                "GET http://:80/ expecting 200-499".to_owned(),
            ),
        ),
    ] {
        let own = PresetCheck { preset: Some(preset), ..PresetCheck::default() };
        let checks = own.checks(None).unwrap();
        let asks = |check: Option<Check>| crate::output::checks::how(&check.unwrap().kind);
        assert_eq!(asks(checks.startup), alive);
        assert_eq!(asks(checks.liveness), alive);
        assert_eq!(asks(checks.readiness), ready);
    }
}

/// The table of docs/checks.md is what the presets are.
#[test]
fn the_documents_table_of_presets_is_true() {
    let document = include_str!("../../../../../docs/checks.md");
    for preset in Preset::ALL {
        let start = crate::output::words::span(preset.start_period().get());
        let images = preset.images().join(", ");
        let row = format!("| `{}` | {} | {} | {start} |", preset.name(), images, preset.port());
        assert!(document.contains(&row), "no row begins with {row}");
    }
}
