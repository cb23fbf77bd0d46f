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
