//! What an image says of its own checks and stop signal: docker's HEALTHCHECK and STOPSIGNAL.

use std::time::Duration;

use warren_core::{
    bounds::{Delay, Period, Span, Threshold, Timeout},
    check::{CheckKind, Checks, Command, ExecCheck, Flapping, Timing},
};
use warren_runtime::ImageFacts;

use crate::manifest::{Healthcheck, RunConfig};

/// docker's defaults.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const RETRIES: i64 = 3;

/// Values out of our bounds become the nearest within: the image was built for docker, and its
/// user cannot change it.
pub fn facts(config: &RunConfig) -> ImageFacts {
    let shell = config.shell.as_deref().unwrap_or_default();
    ImageFacts {
        checks: config.healthcheck.as_ref().and_then(|check| checks(check, shell)),
        stop_signal: config.stop_signal.as_ref().and_then(|signal| signal.parse().ok()),
    }
}

fn checks(check: &Healthcheck, shell: &[String]) -> Option<Checks> {
    let (form, words) = check.test.as_deref()?.split_first()?;
    let command = match form.as_str() {
        "CMD" => Command::literal(words),
        "CMD-SHELL" if shell.is_empty() => Command::shell(words.first()?),
        "CMD-SHELL" => Command::literal(&[shell, &words[..1.min(words.len())]].concat()),
        // NONE, or a form that docker does not know either.
        _ => return None,
    };
    let exec = ExecCheck::new(command.ok()?);
    Some(Checks::one(CheckKind::Exec(exec), timing(check)))
}

fn timing(check: &Healthcheck) -> Timing {
    let period: Period = within(or_default(check.interval, INTERVAL));
    let timeout: Timeout = within(or_default(check.timeout, TIMEOUT));
    let start_period: Delay = within(or_default(check.start_period, Duration::ZERO));
    let start_interval = match check.start_interval {
        None | Some(0) => Timing::quick(period),
        Some(_) => within(or_default(check.start_interval, Duration::ZERO)),
    };
    let retries = check.retries.filter(|retries| *retries > 0).unwrap_or(RETRIES);
    let failures = u32::try_from(retries).unwrap_or(u32::MAX).clamp(1, 1000);
    Timing {
        period,
        timeout,
        delay: Delay::MIN,
        start_period,
        start_interval,
        confirm_interval: Timing::quick(period),
        failures: Threshold::new(failures).unwrap_or(Threshold::ONE),
        successes: Threshold::ONE,
        min_failing: Delay::MIN,
        flapping: Some(Flapping::DEFAULT),
        stop_grace_period: None,
    }
}

fn or_default(nanos: Option<i64>, default: Duration) -> Duration {
    match nanos.and_then(|nanos| u64::try_from(nanos).ok()) {
        None | Some(0) => default,
        Some(nanos) => Duration::from_nanos(nanos),
    }
}

/// The nearest value within the bounds; parts of a millisecond round up.
fn within<const MIN: u64, const MAX: u64>(span: Duration) -> Span<MIN, MAX> {
    let millis = span.as_nanos().div_ceil(1_000_000);
    let millis = u64::try_from(millis).unwrap_or(u64::MAX).clamp(MIN, MAX);
    Span::new(Duration::from_millis(millis)).unwrap_or(Span::MIN)
}

#[cfg(test)]
mod tests {
    use warren_core::spec::StopSignal;

    use super::*;

    fn of(json: &str) -> ImageFacts {
        facts(&serde_json::from_str(json).unwrap())
    }

    fn argv(facts: &ImageFacts) -> Vec<String> {
        let kind = &facts.checks.as_ref().unwrap().liveness.as_ref().unwrap().kind;
        let CheckKind::Exec(exec) = kind else { panic!("not an exec check: {kind:?}") };
        exec.command.words().to_vec()
    }

    #[test]
    fn both_forms_of_the_test_are_commands() {
        let words = of(r#"{"Healthcheck":{"Test":["CMD","a","b c"]}}"#);
        assert_eq!(argv(&words), ["a", "b c"]);
        let shell = of(r#"{"Healthcheck":{"Test":["CMD-SHELL","a || exit 1"]}}"#);
        assert_eq!(argv(&shell), ["/bin/sh", "-c", "a || exit 1"]);
        let own = of(r#"{"Shell":["/bin/bash","-ec"],"Healthcheck":{"Test":["CMD-SHELL","a"]}}"#);
        assert_eq!(argv(&own), ["/bin/bash", "-ec", "a"]);
    }

    #[test]
    fn no_test_is_no_check() {
        for json in [
            "{}",
            r#"{"Healthcheck":null}"#,
            r#"{"Healthcheck":{"Test":null}}"#,
            r#"{"Healthcheck":{"Test":[]}}"#,
            r#"{"Healthcheck":{"Test":["NONE"]}}"#,
            r#"{"Healthcheck":{"Test":["CMD"]}}"#,
        ] {
            assert_eq!(of(json), ImageFacts::default(), "{json}");
        }
    }

    #[test]
    fn absent_and_zero_timings_are_dockers_defaults() {
        for json in [
            r#"{"Healthcheck":{"Test":["CMD","a"]}}"#,
            r#"{"Healthcheck":{"Test":["CMD","a"],"Interval":0,"Timeout":0,"Retries":0}}"#,
        ] {
            let checks = of(json).checks.unwrap();
            let timing = checks.liveness.unwrap().timing;
            assert_eq!(timing.period.get(), Duration::from_secs(30));
            assert_eq!(timing.timeout.get(), Duration::from_secs(30));
            assert_eq!(timing.failures.get(), 3);
            assert_eq!(checks.startup, None);
        }
    }

    #[test]
    fn timings_are_taken_and_brought_within_bounds() {
        let facts =
            of(r#"{"StopSignal":"SIGQUIT","Healthcheck":{"Test":["CMD","a"],"Interval":1500000001,
                "Timeout":1,"Retries":5000,"StartPeriod":30000000000,
                "StartInterval":2000000000}}"#);
        let checks = facts.checks.unwrap();
        let timing = checks.liveness.unwrap().timing;
        assert_eq!(timing.period.get(), Duration::from_millis(1501));
        assert_eq!(timing.timeout.get(), Duration::from_millis(1));
        assert_eq!(timing.failures.get(), 1000);
        let startup = checks.startup.unwrap().timing;
        assert_eq!(startup.start_period.get(), Duration::from_secs(30));
        assert_eq!(startup.start_interval.get(), Duration::from_secs(2));
        assert_eq!(facts.stop_signal.map(StopSignal::number), Some(3));
    }
}
