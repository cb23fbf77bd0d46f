//! Words for values of the API.

use std::time::Duration;

use warren_core::time::Timestamp;
use warren_proto::v1 as pb;

/// A cell of a table wider than this pushes the others off the screen.
const CELL_MAX: usize = 80;

/// An enum's value as a word: `HEALTH_STATUS_HEALTHY` is `healthy`. What a newer manager sent
/// and nobody here knows is `?`, as is nothing at all.
pub fn word(prefix: &str, name: &str) -> String {
    match name.strip_prefix(prefix) {
        None | Some("UNSPECIFIED") => "?".to_owned(),
        Some(value) => value.to_ascii_lowercase().replace('_', " "),
    }
}

/// Such as `healthy`, or `healthy, flapping`.
pub fn health_status(health: &pb::Health) -> String {
    let status = word("HEALTH_STATUS_", health.status().as_str_name());
    if flapping_since(health).is_some() { format!("{status}, flapping") } else { status }
}

/// Since when one of its roles flaps.
pub fn flapping_since(health: &pb::Health) -> Option<prost_types::Timestamp> {
    let roles = [&health.startup, &health.liveness, &health.readiness].into_iter().flatten();
    roles.filter_map(|role| role.flapping_since).min_by_key(|at| (at.seconds, at.nanos))
}

pub fn verdict(verdict: pb::Verdict) -> String {
    word("VERDICT_", verdict.as_str_name())
}

pub fn role(role: pb::Role) -> String {
    word("ROLE_", role.as_str_name())
}

pub fn outcome(outcome: pb::Outcome) -> String {
    match outcome {
        pb::Outcome::FailExplicit => "fail".to_owned(),
        pb::Outcome::FailRefused => "refused".to_owned(),
        pb::Outcome::FailTimeout => "timeout".to_owned(),
        pb::Outcome::FailGone => "gone".to_owned(),
        pb::Outcome::Unspecified | pb::Outcome::Pass | pb::Outcome::Inconclusive => {
            word("OUTCOME_", outcome.as_str_name())
        }
    }
}

pub fn yes_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

/// A time in UTC to the second, such as `2026-01-31T23:59:59Z`.
pub fn utc(at: Option<&prost_types::Timestamp>) -> String {
    at.map(|at| prost_types::Timestamp { seconds: at.seconds, nanos: 0 }.to_string())
        .unwrap_or_default()
}

/// How long ago it was, such as `5m`; empty when there is no time. A time to come is `0s`.
pub fn age(at: Option<&prost_types::Timestamp>, now: Timestamp) -> String {
    at.and_then(|at| Timestamp::try_from(*at).ok())
        .map(|at| coarse(now.since(at)))
        .unwrap_or_default()
}

/// `5m ago`, or nothing.
pub fn ago(at: Option<&prost_types::Timestamp>, now: Timestamp) -> String {
    match age(at, now).as_str() {
        "" => String::new(),
        age => format!("{age} ago"),
    }
}

/// One unit, two digits at least where there are more: kubectl's way.
fn coarse(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3600),
        172_800.. => format!("{}d", seconds / 86_400),
    }
}

/// Exact to the millisecond, as the user would type it: `1m30s`, `500ms`.
pub fn span(span: Duration) -> String {
    let (seconds, millis) = (span.as_secs(), span.subsec_millis());
    let parts = [
        (seconds / 3600, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (millis.into(), "ms"),
    ];
    let told = parts.into_iter().filter(|(count, _)| *count > 0);
    let text: Vec<String> = told.map(|(count, unit)| format!("{count}{unit}")).collect();
    if text.is_empty() { "0s".to_owned() } else { text.concat() }
}

pub fn latency(span: Option<&prost_types::Duration>) -> String {
    let Some(span) = span.and_then(|span| Duration::try_from(*span).ok()) else {
        return String::new();
    };
    match span.as_millis() {
        0..10 if span.subsec_micros() % 1000 > 0 => format!("{:.1}ms", span.as_secs_f64() * 1000.0),
        0..10_000 => format!("{}ms", span.as_millis()),
        10_000.. => format!("{}s", span.as_secs()),
    }
}

/// Binary multiples, one decimal below ten.
pub fn bytes(count: u64) -> String {
    let mut unit = 1_u64;
    for name in ["B", "KiB", "MiB", "GiB", "TiB"] {
        let whole = count / unit;
        if whole < 1024 || name == "TiB" {
            let tenth = count % unit * 10 / unit;
            return if whole < 10 && unit > 1 && tenth > 0 {
                format!("{whole}.{tenth} {name}")
            } else {
                format!("{whole} {name}")
            };
        }
        unit *= 1024;
    }
    String::new()
}

/// The first line of a text from outside, cut to a cell and without control characters: what a
/// check printed must not steer the terminal.
pub fn cell(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    let plain = plain(line);
    if plain.chars().count() <= CELL_MAX {
        return plain;
    }
    let mut cut: String = plain.chars().take(CELL_MAX - 1).collect();
    cut.push('…');
    cut
}

/// All of a text from outside, in one line and without control characters.
pub fn plain(text: &str) -> String {
    let text = text.trim();
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// One line of a text from outside, with its indentation.
pub fn plain_end(line: &str) -> String {
    line.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A command line as a shell would take it.
pub fn command(words: &[String]) -> String {
    let quoted = shlex::try_join(words.iter().map(String::as_str));
    plain(&quoted.unwrap_or_else(|_| words.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enum_values_are_words() {
        let health = pb::Health { status: pb::HealthStatus::Healthy.into(), ..Default::default() };
        assert_eq!(health_status(&health), "healthy");
        assert_eq!(health_status(&pb::Health::default()), "?");
        assert_eq!(health_status(&pb::Health { status: 99, ..Default::default() }), "?");
    }

    #[test]
    fn ages_have_one_unit() {
        let at = prost_types::Timestamp { seconds: 1000, nanos: 0 };
        for (later, text) in [(0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (172_800, "2d")]
        {
            let now = Timestamp::from_millis((1000 + later) * 1000);
            assert_eq!(age(Some(&at), now), text);
        }
        assert_eq!(age(Some(&at), Timestamp::EPOCH), "0s");
        assert_eq!(ago(None, Timestamp::EPOCH), "");
    }

    #[test]
    fn spans_and_sizes_read_as_people_type_them() {
        assert_eq!(span(Duration::from_millis(90_500)), "1m30s500ms");
        assert_eq!(span(Duration::ZERO), "0s");
        assert_eq!(span(Duration::from_hours(24)), "24h");
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(64 << 20), "64 MiB");
        assert_eq!(bytes(3 << 29), "1.5 GiB");
        assert_eq!(latency(Some(&prost_types::Duration { seconds: 0, nanos: 1_234_567 })), "1.2ms");
        assert_eq!(latency(Some(&prost_types::Duration { seconds: 0, nanos: 4_000_000 })), "4ms");
        assert_eq!(latency(Some(&prost_types::Duration { seconds: 5, nanos: 0 })), "5000ms");
    }

    #[test]
    fn text_from_outside_is_one_line_and_steers_no_terminal() {
        assert_eq!(cell("  500\u{1b}[31m oops\nmore"), "500 [31m oops");
        assert_eq!(cell(&"x".repeat(100)).chars().count(), CELL_MAX);
    }
}
