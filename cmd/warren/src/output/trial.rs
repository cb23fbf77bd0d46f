//! An attempt by hand in words.

use std::time::Duration;

use warren_core::{
    check::CheckKind,
    outcome::{Evidence, Outcome},
    trial::{Phases, Trial},
};
use warren_proto::v1 as pb;

use super::{clause, words};

/// A section for each, with an empty line between them. `how` says in words how it was looked.
pub fn report(trials: &[pb::Trial], how: impl Fn(&CheckKind) -> String) -> String {
    let sections = trials.iter().map(|trial| match Trial::try_from(trial.clone()) {
        Ok(trial) => section(&trial, &how(&trial.check.kind)),
        Err(invalid) => format!("not understood: {invalid}\n"),
    });
    sections.collect::<Vec<_>>().join("\n")
}

fn section(trial: &Trial, how: &str) -> String {
    let Trial { roles, check, attempt, phases, waited, clause } = trial;
    let mut lines = Vec::new();
    let mut tell = |label: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("{label}: {value}"));
        }
    };
    tell("Role", roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(", "));
    let within = words::span(check.timing.timeout.get());
    tell("Check", format!("{how}, timeout {within}"));
    tell("Outcome", outcome(attempt.outcome).to_owned());
    tell("Seen", indented(&attempt.message));
    tell("Latency", latency(phases, attempt.latency));
    if !waited.is_zero() {
        tell("Waited", format!("{} for a permit, not counted", precise(*waited)));
    }
    let said = clause::text(*clause).map(|text| format!(": {text}")).unwrap_or_default();
    tell("Clause", format!("{clause}{said}"));
    lines.join("\n") + "\n"
}

const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "pass",
        Outcome::Fail(Evidence::Explicit) => "fail (explicit)",
        Outcome::Fail(Evidence::Refused) => "fail (refused)",
        Outcome::Fail(Evidence::Timeout) => "fail (timeout)",
        Outcome::Fail(Evidence::Gone) => "fail (gone)",
        Outcome::Inconclusive => "inconclusive",
    }
}

/// Each phase by itself: `connect 0.2ms, TLS 3.1ms, first byte 0.8ms, total 4.4ms`.
fn latency(phases: &Phases, total: Duration) -> String {
    let Phases { earlier, connect, tls, first_byte } = *phases;
    let mut before = Duration::ZERO;
    let mut parts = Vec::new();
    for (name, over) in [
        ("earlier connections", earlier),
        ("connect", connect),
        ("TLS", tls),
        ("first byte", first_byte),
    ] {
        let Some(over) = over else { continue };
        parts.push(format!("{name} {}", precise(over.saturating_sub(before))));
        before = over;
    }
    parts.push(format!("total {}", precise(total)));
    parts.join(", ")
}

fn precise(span: Duration) -> String {
    match span.as_micros() {
        micros @ 0..1_000 => format!("{micros}µs"),
        1_000..100_000 => format!("{:.1}ms", span.as_secs_f64() * 1e3),
        100_000..10_000_000 => format!("{}ms", span.as_millis()),
        _ => format!("{:.1}s", span.as_secs_f64()),
    }
}

/// Further lines stand under the first one.
fn indented(message: &str) -> String {
    let lines: Vec<_> = message.trim_end().lines().map(words::plain_end).collect();
    lines.join("\n      ")
}

/// What all of them add up to: a failure before what could not be seen, and that before a pass.
pub fn outcome_of(trials: &[pb::Trial]) -> Outcome {
    let outcomes = trials.iter().map(|trial| {
        let outcome = trial.attempt.as_ref().map(pb::Attempt::outcome);
        outcome.map_or(Outcome::Inconclusive, |wire| {
            // What a newer worker saw and nobody here knows is not known.
            Outcome::try_from(wire).unwrap_or(Outcome::Inconclusive)
        })
    });
    let severity = |outcome: &Outcome| match outcome {
        Outcome::Pass => 0,
        Outcome::Inconclusive => 1,
        Outcome::Fail(_) => 2,
    };
    outcomes.max_by_key(severity).unwrap_or(Outcome::Inconclusive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_is_told_by_itself_and_the_total_last() {
        let [connect, tls, first_byte] =
            [200, 3_300, 4_100].map(|micros| Some(Duration::from_micros(micros)));
        let phases = Phases { earlier: None, connect, tls, first_byte };
        assert_eq!(
            latency(&phases, Duration::from_micros(4_400)),
            "connect 200µs, TLS 3.1ms, first byte 800µs, total 4.4ms"
        );
        let [earlier, connect, first_byte] =
            [1_000_000, 1_000_200, 1_001_000].map(|micros| Some(Duration::from_micros(micros)));
        let redirected = Phases { earlier, connect, tls: None, first_byte };
        assert_eq!(
            latency(&redirected, Duration::from_micros(1_001_100)),
            "earlier connections 1000ms, connect 200µs, first byte 800µs, total 1001ms"
        );
        assert_eq!(latency(&Phases::default(), Duration::from_secs(5)), "total 5000ms");
    }

    #[test]
    fn a_failure_outweighs_what_could_not_be_seen_and_that_a_pass() {
        use pb::Outcome::{FailTimeout, Inconclusive, Pass, Unspecified};

        let trial = |outcome: pb::Outcome| pb::Trial {
            attempt: Some(pb::Attempt { outcome: outcome.into(), ..pb::Attempt::default() }),
            ..pb::Trial::default()
        };
        for (seen, outcome) in [
            (&[Pass, Pass][..], Outcome::Pass),
            (&[Pass, Inconclusive], Outcome::Inconclusive),
            (&[FailTimeout, Inconclusive, Pass], Outcome::Fail(Evidence::Timeout)),
            (&[Unspecified], Outcome::Inconclusive),
            (&[], Outcome::Inconclusive),
        ] {
            let trials: Vec<_> = seen.iter().copied().map(trial).collect();
            assert_eq!(outcome_of(&trials), outcome, "{seen:?}");
        }
    }
}
