//! Sentences for people: why a task's health is what it is.

use std::{fmt, time::Duration};

use warren_core::{
    check::Role,
    outcome::{Attempt, Evidence, Outcome},
};

/// A reason is one line in a list; the whole message stands with the attempt.
const QUOTE_MAX: usize = 200;

/// How a task's process ended. 128+n is signal n, unless the program chose that number itself.
pub fn exit(code: Option<i32>, oom_killed: bool) -> String {
    match code {
        _ if oom_killed => "process was killed: out of memory".to_owned(),
        Some(code @ 129..=192) => {
            format!("process exited with code {code} (signal {})", code - 128)
        }
        Some(code) => format!("process exited with code {code}"),
        None => "process exited, and how is not known".to_owned(),
    }
}

pub(crate) fn failed(role: Role, count: u32, over: Duration, last: &Attempt) -> String {
    sentence(role, "failed", count, over, last)
}

pub(crate) fn unseen(role: Role, count: u32, over: Duration, last: &Attempt) -> String {
    sentence(role, "could not be checked", count, over, last)
}

pub(crate) fn flaps(role: &str, failures: u32, of: u32, last: &Attempt) -> String {
    format!("{role} flaps, {failures} of its last {of} attempts failed: {}", quote(last))
}

pub(crate) fn not_yet(role: Role) -> String {
    format!("waiting for {} to pass for the first time", role.name())
}

fn sentence(role: Role, did: &str, count: u32, over: Duration, last: &Attempt) -> String {
    let (role, over, last) = (role.name(), Rough(over), quote(last));
    match count {
        0 | 1 => format!("{role} {did}: {last}"),
        _ if over.0.is_zero() => format!("{role} {did} {count} times in a row: {last}"),
        _ => format!("{role} {did} {count} times in a row over {over}: {last}"),
    }
}

/// The first line of the attempt's message that says something.
fn quote(attempt: &Attempt) -> &str {
    match attempt.message.lines().map(str::trim).find(|line| !line.is_empty()) {
        Some(line) => &line[..line.floor_char_boundary(QUOTE_MAX)],
        None => match attempt.outcome {
            Outcome::Pass => "it passed",
            Outcome::Fail(Evidence::Explicit) => "it answered no",
            Outcome::Fail(Evidence::Refused) => "connection refused",
            Outcome::Fail(Evidence::Timeout) => "no answer in time",
            Outcome::Fail(Evidence::Gone) => "process is gone",
            Outcome::Inconclusive => "the worker was at fault",
        },
    }
}

/// A duration as exact as a person wants it.
struct Rough(Duration);

impl fmt::Display for Rough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, tenths) = (self.0.as_secs(), self.0.subsec_millis() / 100);
        match seconds {
            0 => write!(f, "{}ms", self.0.as_millis()),
            1..=9 if tenths > 0 => write!(f, "{seconds}.{tenths}s"),
            1..=119 => write!(f, "{seconds}s"),
            120..=7_199 if seconds.is_multiple_of(60) => write!(f, "{}m", seconds / 60),
            120..=7_199 => write!(f, "{}m {}s", seconds / 60, seconds % 60),
            _ => write!(f, "{}h {}m", seconds / 3600, seconds / 60 % 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use warren_core::time::Timestamp;

    use super::*;

    fn attempt(outcome: Outcome, message: &str) -> Attempt {
        let (at, latency) = (Timestamp::EPOCH, Duration::ZERO);
        Attempt { at, latency, outcome, message: message.to_owned(), components: Box::default() }
    }

    // C-35
    #[test]
    fn a_sentence_says_which_role_how_often_how_long_and_what_was_seen() {
        let no = attempt(Outcome::Fail(Evidence::Explicit), "HTTP 500 from GET /health:8080");
        let twenty = Duration::from_secs(20);
        assert_eq!(
            failed(Role::Liveness, 3, twenty, &no),
            "liveness failed 3 times in a row over 20s: HTTP 500 from GET /health:8080"
        );
        assert_eq!(
            failed(Role::Startup, 1, Duration::ZERO, &no),
            "startup failed: HTTP 500 from GET /health:8080"
        );
        assert_eq!(
            unseen(Role::Readiness, 3, twenty, &attempt(Outcome::Inconclusive, "")),
            "readiness could not be checked 3 times in a row over 20s: the worker was at fault"
        );
    }

    // C-35
    #[test]
    fn only_the_first_telling_line_is_quoted_and_no_more_than_fits() {
        let fail = |message: &str| attempt(Outcome::Fail(Evidence::Explicit), message);
        assert_eq!(quote(&fail("\n  psql: no such user \nat line 1\n")), "psql: no such user");
        assert_eq!(quote(&fail(&"é".repeat(500))).len(), QUOTE_MAX);
        assert_eq!(quote(&fail(&format!("x{}", "é".repeat(500)))).len(), QUOTE_MAX - 1);
        assert_eq!(quote(&attempt(Outcome::Fail(Evidence::Refused), " ")), "connection refused");
    }

    #[test]
    fn an_exit_says_the_code_the_signal_and_the_lack_of_memory() {
        assert_eq!(exit(Some(1), false), "process exited with code 1");
        assert_eq!(exit(Some(137), false), "process exited with code 137 (signal 9)");
        assert_eq!(exit(Some(137), true), "process was killed: out of memory");
        assert_eq!(exit(None, false), "process exited, and how is not known");
    }

    #[test]
    fn durations_read_well() {
        for (millis, text) in [
            (250, "250ms"),
            (2_000, "2s"),
            (2_540, "2.5s"),
            (20_900, "20s"),
            (90_000, "90s"),
            (150_000, "2m 30s"),
            (300_000, "5m"),
            (7_500_000, "2h 5m"),
        ] {
            assert_eq!(Rough(Duration::from_millis(millis)).to_string(), text);
        }
    }
}
