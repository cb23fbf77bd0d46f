//! Checks in words: what was understood.

use warren_core::check::{Check, CheckKind, Checks, HttpCheck, Role, Scheme, StatusSet, Timing};
use warren_proto::v1 as pb;

use super::words;

/// A line for each role that has a check.
pub fn lines(checks: &pb::Checks) -> Vec<String> {
    match Checks::try_from(checks.clone()) {
        Ok(checks) => {
            let line = |role: Role| {
                checks
                    .get(role)
                    .as_ref()
                    .map(|check| format!("{}: {}", role.name(), sentence(check)))
            };
            Role::ALL.into_iter().filter_map(line).collect()
        }
        Err(invalid) => vec![format!("not understood: {invalid}")],
    }
}

/// Such as `GET http://:80/ every 10s, timeout 5s, fails after 3, recovers after 1`.
pub fn sentence(check: &Check) -> String {
    let Check { kind, timing } = check;
    let mut parts = vec![
        format!("{} every {}", how(kind), words::span(timing.period.get())),
        format!("timeout {}", words::span(timing.timeout.get())),
        format!("fails after {}", timing.failures.get()),
        format!("recovers after {}", timing.successes.get()),
    ];
    for (name, span) in [("start period", timing.start_period), ("delay", timing.delay)] {
        if !span.get().is_zero() {
            parts.push(format!("{name} {}", words::span(span.get())));
        }
    }
    if timing.confirm_interval != Timing::default_confirm(timing.period) {
        parts.push(format!("confirms every {}", words::span(timing.confirm_interval.get())));
    }
    parts.join(", ")
}

/// Such as `GET http://:80/`.
pub fn how(kind: &CheckKind) -> String {
    match kind {
        CheckKind::Http(http) => http_words(http),
        CheckKind::Tcp(tcp) => format!("TCP connect to :{}", tcp.port),
        CheckKind::Exec(exec) => format!("run {}", words::command(exec.argv())),
    }
}

fn http_words(check: &HttpCheck) -> String {
    let HttpCheck { scheme, port, path, method, headers, expect } = check;
    let scheme = match scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let mut parts = vec![format!("{} {scheme}://:{port}{}", method.as_str(), path.as_str())];
    for header in headers {
        parts.push(format!("with {}: {}", header.name(), words::plain(header.value())));
    }
    if *expect != StatusSet::default() {
        let range = |&(first, last): &(u16, u16)| {
            if first == last { first.to_string() } else { format!("{first}-{last}") }
        };
        let ranges: Vec<String> = expect.ranges().iter().map(range).collect();
        parts.push(format!("expecting {}", ranges.join("+")));
    }
    parts.join(" ")
}
