//! Checks in words: what was understood.

use std::collections::BTreeSet;

use warren_core::check::{
    Check, CheckKind, Checks, Endpoint, ExecCheck, FileCheck, Flapping, GrpcCheck, HttpCheck,
    HttpVersion, Parts, Payload, Role, Scheme, StatusSet, TcpCheck, Timing, Tls, Trust,
};
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
                    .map(|check| format!("{}: {}", role.name(), sentence(role, check)))
            };
            Role::ALL.into_iter().filter_map(line).collect()
        }
        Err(invalid) => vec![format!("not understood: {invalid}")],
    }
}

/// Such as `GET http://:80/ every 10s, timeout 5s, fails after 3, recovers after 1`.
pub fn sentence(role: Role, check: &Check) -> String {
    let Check { kind, timing } = check;
    let mut parts = vec![
        format!("{} every {}", how(kind), words::span(timing.period.get())),
        format!("timeout {}", words::span(timing.timeout.get())),
        format!("fails after {}", timing.failures.get()),
        format!("recovers after {}", timing.successes.get()),
    ];
    for (name, span) in [
        ("start period", timing.start_period),
        ("delay", timing.delay),
        ("at least failing for", timing.min_failing),
    ] {
        if !span.get().is_zero() {
            parts.push(format!("{name} {}", words::span(span.get())));
        }
    }
    if let Some(grace) = timing.stop_grace_period {
        parts.push(format!("SIGKILL after {}", words::span(grace.get())));
    }
    if timing.start_interval != Timing::quick(timing.period) {
        parts.push(format!("starts every {}", words::span(timing.start_interval.get())));
    }
    match (role, timing.flapping) {
        (Role::Startup, _) | (_, Some(Flapping::DEFAULT)) => {}
        (Role::Liveness | Role::Readiness, None) => parts.push("never flaps".to_owned()),
        (Role::Liveness | Role::Readiness, Some(marks)) => {
            parts.push(format!("flaps at {} of {}", marks.failures(), marks.window()));
        }
    }
    if timing.confirm_interval != Timing::quick(timing.period) {
        parts.push(format!("confirms every {}", words::span(timing.confirm_interval.get())));
    }
    parts.join(", ")
}

/// Such as `GET http://:80/`, of a task.
pub fn how(kind: &CheckKind) -> String {
    how_at(kind, "")
}

/// Such as `GET http://localhost:80/`.
pub fn how_at(kind: &CheckKind, host: &str) -> String {
    match kind {
        CheckKind::Http(http) => http_words(http, host),
        CheckKind::Tcp(tcp) => tcp_words(tcp, host),
        CheckKind::Exec(exec) => exec_words(exec),
        CheckKind::Grpc(grpc) => grpc_words(grpc, host),
        CheckKind::File(FileCheck { path, max_age: None }) => format!("file {}", path.as_str()),
        CheckKind::File(FileCheck { path, max_age: Some(age) }) => {
            format!("file {} at most {} old", path.as_str(), words::span(age.get()))
        }
        CheckKind::All(parts) => parts_words("all of", parts, host),
        CheckKind::Any(parts) => parts_words("any of", parts, host),
    }
}

fn parts_words(of: &str, parts: &Parts, host: &str) -> String {
    let parts: Vec<String> = parts.as_slice().iter().map(|part| how_at(part, host)).collect();
    format!("{of} ({})", parts.join("; "))
}

fn http_words(check: &HttpCheck, host: &str) -> String {
    let HttpCheck { tls, endpoint, version, path, method, headers, expect, .. } = check;
    let HttpCheck { send, body, body_not, keep_alive, .. } = check;
    let scheme = match check.scheme() {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let at = match endpoint {
        Endpoint::Port(port) => format!("{scheme}://{host}:{port}{}", path.as_str()),
        Endpoint::Socket(socket) => {
            format!("{scheme}:{} over {}", path.as_str(), socket.as_str())
        }
    };
    let mut parts = vec![format!("{} {at}", method.as_str())];
    match version {
        HttpVersion::Http1 => {}
        HttpVersion::Http2 => parts.push("by HTTP/2".to_owned()),
    }
    parts.extend(tls.as_ref().map(tls_words).filter(|words| !words.is_empty()));
    for header in headers {
        parts.push(match header.value() {
            "" => format!("without {}", header.name()),
            value => format!("with {}: {}", header.name(), words::plain(value)),
        });
    }
    parts.extend(sending(send));
    if *expect != StatusSet::default() {
        let range = |&(first, last): &(u16, u16)| {
            if first == last { first.to_string() } else { format!("{first}-{last}") }
        };
        let ranges: Vec<String> = expect.ranges().iter().map(range).collect();
        parts.push(format!("expecting {}", ranges.join("+")));
    }
    parts.extend(body.as_ref().map(|text| format!("whose body must {text}")));
    parts.extend(body_not.as_ref().map(|text| format!("whose body must not {text}")));
    if *keep_alive {
        parts.push("over kept connections".to_owned());
    }
    parts.join(" ")
}

/// Nothing where any certificate is taken.
fn tls_words(tls: &Tls) -> String {
    let Tls { trust, server_name } = tls;
    let whose = match trust {
        Trust::Anyone => None,
        Trust::Node => Some("verified by the node's authorities"),
        Trust::Ca(_) => Some("verified by its own CA"),
    };
    let name = server_name.as_ref().map(|name| format!("as {}", name.as_str()));
    let words: Vec<&str> = whose.into_iter().chain(name.as_deref()).collect();
    words.join(" ")
}

/// Where it is no scheme's word already.
fn by_tls(tls: Option<&Tls>) -> Option<String> {
    tls.map(|tls| format!("by TLS {}", tls_words(tls)).trim_end().to_owned())
}

fn sending(send: &Payload) -> Option<String> {
    let bytes = send.as_slice();
    (!bytes.is_empty()).then(|| format!("sending \"{}\"", bytes.escape_ascii()))
}

fn tcp_words(check: &TcpCheck, host: &str) -> String {
    let TcpCheck { endpoint, tls, send, expect } = check;
    let mut parts = vec![match endpoint {
        Endpoint::Port(port) => format!("TCP connect to {host}:{port}"),
        Endpoint::Socket(socket) => format!("connect over {}", socket.as_str()),
    }];
    parts.extend(by_tls(tls.as_ref()));
    parts.extend(sending(send));
    parts.extend(expect.as_ref().map(|text| format!("whose answer must {text}")));
    parts.join(" ")
}

fn grpc_words(check: &GrpcCheck, host: &str) -> String {
    let GrpcCheck { endpoint, service, tls, host: asked } = check;
    let mut parts = vec![match endpoint {
        Endpoint::Port(port) => format!("gRPC health of {host}:{port}"),
        Endpoint::Socket(socket) => format!("gRPC health over {}", socket.as_str()),
    }];
    if !service.as_str().is_empty() {
        parts.push(format!("for {}", words::plain(service.as_str())));
    }
    parts.extend(asked.as_ref().map(|host| format!("at {}", host.as_str())));
    parts.extend(by_tls(tls.as_ref()));
    parts.join(" ")
}

fn exec_words(check: &ExecCheck) -> String {
    let ExecCheck { command, user, exits, expect } = check;
    let mut parts = vec![format!("run {}", words::command(command.words()))];
    parts.extend(user.as_ref().map(|user| format!("as {}", user.as_str())));
    let codes =
        |codes: &BTreeSet<u8>| codes.iter().map(ToString::to_string).collect::<Vec<_>>().join("+");
    if *exits.pass() != BTreeSet::from([0]) {
        parts.push(format!("passing with {}", codes(exits.pass())));
    }
    if !exits.inconclusive().is_empty() {
        parts.push(format!("inconclusive with {}", codes(exits.inconclusive())));
    }
    parts.extend(expect.as_ref().map(|text| format!("whose output must {text}")));
    parts.join(" ")
}
