//! `--*-tcp`, `--*-grpc`, `--*-file` and `--*-cmd`.

use warren_core::{
    Invalid,
    bounds::Age,
    check::{
        CheckKind, ExecCheck, ExitCodes, FileCheck, GrpcCheck, GrpcHost, GrpcService, Payload,
        PortRef, TcpCheck, TextMatch,
    },
    invalid::At,
    spec::{AbsolutePath, User},
};

use super::{
    command,
    keys::{by_commas, key_value, known, once, pieces, unescape},
    span,
    spelling::{Context, Spelling, TimingKeys, TlsKeys, endpoint, is_number, port_ref},
};
use crate::values;

/// Of a service, and by hand.
const TCP_EXAMPLES: [&str; 2] = ["6379, :6379 or port=6379", "HOST:6379, :6379, 6379 or port=6379"];
const GRPC_EXAMPLES: [&str; 2] = [
    "50051, :50051 or port=50051,service=NAME",
    "HOST:50051, :50051, 50051 or port=50051,service=NAME",
];

const TCP_KEYS: [&str; 7] =
    ["port", "socket", "send", "expect", "expect-regex", "tls", "server-name"];
const GRPC_KEYS: [&str; 6] = ["port", "socket", "service", "host", "tls", "server-name"];
const FILE_KEYS: [&str; 2] = ["path", "max-age"];
const CMD_KEYS: [&str; 5] = ["user", "pass", "inconclusive", "expect", "expect-regex"];

pub fn tcp(text: &str, timing: &[&str], context: &Context<'_>) -> Result<Spelling, Invalid> {
    let (mut number, mut socket, mut send, mut expect) = (None, None, None, None);
    let mut tls = TlsKeys::default();
    let timing = each(text, &TCP_KEYS, timing, |key, value| match key {
        None => once(&mut number, "port", bare_port(value, TCP_EXAMPLES, context)?),
        Some("port") => once(&mut number, "port", port_ref(value, context).at("port")?),
        Some("socket") => once(&mut socket, "socket", AbsolutePath::new(value).at("socket")?),
        Some("send") => once(&mut send, "send", Payload::new(unescape(value)?).at("send")?),
        Some(key @ ("tls" | "server-name")) => tls.add(key, value),
        Some(key) => once(&mut expect, key, text_match(key, value)?),
    })?;
    let endpoint = endpoint(number, socket, context, ":6379 or HOST:6379")?;
    let send = send.unwrap_or_default();
    let check = TcpCheck { endpoint, tls: tls.finish(), send, expect };
    Ok(Spelling { kind: CheckKind::Tcp(check), timing })
}

pub fn grpc(text: &str, timing: &[&str], context: &Context<'_>) -> Result<Spelling, Invalid> {
    let (mut number, mut socket, mut service, mut host) = (None, None, None, None);
    let mut tls = TlsKeys::default();
    let timing = each(text, &GRPC_KEYS, timing, |key, value| match key {
        None => once(&mut number, "port", bare_port(value, GRPC_EXAMPLES, context)?),
        Some("port") => once(&mut number, "port", port_ref(value, context).at("port")?),
        Some("socket") => once(&mut socket, "socket", AbsolutePath::new(value).at("socket")?),
        Some("service") => once(&mut service, "service", GrpcService::new(value).at("service")?),
        Some("host") => once(&mut host, "host", GrpcHost::new(value).at("host")?),
        Some(key) => tls.add(key, value),
    })?;
    let endpoint = endpoint(number, socket, context, ":50051 or HOST:50051")?;
    let service = service.unwrap_or_default();
    let check = GrpcCheck { endpoint, service, tls: tls.finish(), host };
    Ok(Spelling { kind: CheckKind::Grpc(check), timing })
}

pub fn file(text: &str, timing: &[&str]) -> Result<Spelling, Invalid> {
    let (mut path, mut max_age) = (None, None);
    let timing = each(text, &FILE_KEYS, timing, |key, value| match key {
        Some("max-age") => once(&mut max_age, "max-age", span(value, Age::new).at("max-age")?),
        None | Some(_) => once(&mut path, "path", AbsolutePath::new(value).at("path")?),
    })?;
    let path = path.ok_or_else(|| Invalid::missing("path"))?;
    Ok(Spelling { kind: CheckKind::File(FileCheck { path, max_age }), timing })
}

/// Hands over each piece that is no timing; one without a key may be the first only.
fn each(
    text: &str,
    own: &[&str],
    timing: &[&str],
    mut take: impl FnMut(Option<&str>, &str) -> Result<(), Invalid>,
) -> Result<Vec<(String, String)>, Invalid> {
    let keys: Vec<&str> = own.iter().chain(timing).copied().collect();
    let mut times = TimingKeys::default();
    for (index, piece) in pieces(text).iter().enumerate() {
        if index == 0 && key_value(piece).is_none() {
            take(None, piece)?;
            continue;
        }
        let (key, value) = known(piece, &keys)?;
        if timing.contains(&key) {
            times.add(key, value)?;
        } else {
            take(Some(key), value)?;
        }
    }
    Ok(times.0)
}

fn bare_port(
    text: &str,
    [of_service, by_hand]: [&str; 2],
    context: &Context<'_>,
) -> Result<PortRef, Invalid> {
    by_commas(text)?;
    let digits = text.strip_prefix(':').unwrap_or(text);
    let negative = digits.strip_prefix('-').is_some_and(is_number);
    if is_number(digits) || negative {
        port_ref(digits, context).at("port")
    } else {
        Err(context.unlike(text, of_service, by_hand))
    }
}

/// Of a key that ends in `-regex`, or of one that does not.
fn text_match(key: &str, value: &str) -> Result<TextMatch, Invalid> {
    if key.ends_with("-regex") {
        TextMatch::regex(value).at(key)
    } else {
        TextMatch::contains(value).at(key)
    }
}

/// What was said about a command before it.
#[derive(Default)]
struct CmdFields {
    user: Option<User>,
    pass: Vec<u32>,
    inconclusive: Vec<u32>,
    expect: Option<TextMatch>,
}

/// The command, or `period=5s,cmd=COMMAND` where the command is all the rest.
pub fn cmd(text: &str, timing: &[&str]) -> Result<Spelling, Invalid> {
    let mut times = TimingKeys::default();
    let mut fields = CmdFields::default();
    let mut rest = text;
    let is_key = |key: &str| CMD_KEYS.contains(&key) || timing.contains(&key);
    // Where a role has no keys of its own, `user=x psql` is a line for the shell.
    let has_keys = !timing.is_empty() || text.contains(",cmd=");
    let keyed = |text: &str| key_value(text).is_some_and(|(key, _)| key == "cmd" || is_key(key));
    let mut said = false;
    while has_keys && keyed(rest) {
        if let Some(command) = rest.strip_prefix("cmd=").filter(|_| said || !timing.is_empty()) {
            return Ok(Spelling { kind: fields.finish(command)?, timing: times.0 });
        }
        let (piece, after) = first_piece(rest);
        let (key, value) = key_value(&piece).unwrap_or((&piece, ""));
        if timing.contains(&key) {
            times.add(key, value)?;
        } else {
            fields.add(key, value)?;
        }
        said = true;
        rest = after;
    }
    if !said {
        return Ok(Spelling { kind: fields.finish(text)?, timing: times.0 });
    }
    let why = "is required after the other keys, as in period=5s,cmd=test -f /ready";
    Err(Invalid::new(why).at("cmd"))
}

/// Up to a comma that is none of the value, and what follows it.
fn first_piece(text: &str) -> (String, &str) {
    let mut from = 0;
    while let Some(at) = text[from..].find(',') {
        let at = from + at;
        if text[..at].ends_with('\\') {
            from = at + 1;
        } else {
            return (text[..at].replace("\\,", ","), &text[at + 1..]);
        }
    }
    (text.replace("\\,", ","), "")
}

impl CmdFields {
    fn add(&mut self, key: &str, value: &str) -> Result<(), Invalid> {
        match key {
            "user" => once(&mut self.user, key, User::new(value).at(key)?),
            "pass" => codes(&mut self.pass, value).at(key),
            "inconclusive" => codes(&mut self.inconclusive, value).at(key),
            _ => once(&mut self.expect, key, text_match(key, value)?),
        }
    }

    fn finish(self, command: &str) -> Result<CheckKind, Invalid> {
        let Self { user, pass, inconclusive, expect } = self;
        let command = command::command(command)?;
        let exits = ExitCodes::new(&pass, &inconclusive)?;
        Ok(CheckKind::Exec(ExecCheck { command, user, exits, expect }))
    }
}

/// `0+1`.
fn codes(codes: &mut Vec<u32>, text: &str) -> Result<(), Invalid> {
    for code in text.split('+') {
        codes.push(values::count(code)?);
    }
    Ok(())
}
