//! What one health flag's value means.

use warren_core::{
    Invalid,
    bounds::Port,
    check::{
        CheckKind, ExecCheck, HttpCheck, HttpHeader, HttpMethod, HttpPath, Role, Scheme, StatusSet,
        TcpCheck, Tls,
    },
    invalid::At,
};

use super::{
    Context, Kind, command,
    keys::{key_value, known, once, pieces},
    port,
};

/// The keys of a role's timing.
pub const fn timing_keys(role: Role) -> &'static [&'static str] {
    match role {
        Role::Startup => &[
            "period",
            "timeout",
            "failures",
            "successes",
            "delay",
            "confirm",
            "start-interval",
            "start-period",
            "min-failing",
        ],
        Role::Liveness => &[
            "period",
            "timeout",
            "failures",
            "successes",
            "delay",
            "confirm",
            "start-interval",
            "min-failing",
            "flapping",
        ],
        Role::Readiness => &[
            "period",
            "timeout",
            "failures",
            "successes",
            "delay",
            "confirm",
            "start-interval",
            "flapping",
        ],
    }
}

const HTTP_EXAMPLES: &str = "path=/,port=80, /health:8080, :8080/health or http://:8080/health";
const TCP_EXAMPLES: &str = "6379, :6379 or port=6379";

const HTTP_KEYS: [&str; 7] = ["path", "port", "scheme", "host", "header", "status", "method"];

/// How to look, and what was said about when.
#[derive(Debug)]
pub struct Spelling {
    pub kind: CheckKind,
    pub timing: Vec<(String, String)>,
}

/// Reads a value. `timing` are the keys for it that the flag has.
pub fn parse(
    kind: Kind,
    text: &str,
    timing: &[&str],
    context: &Context,
) -> Result<Spelling, Invalid> {
    match kind {
        Kind::Http => http(text, timing, context),
        Kind::Tcp => tcp(text, timing),
        Kind::Cmd => cmd(text, timing),
    }
}

/// The timing keys among all.
#[derive(Default)]
struct TimingKeys(Vec<(String, String)>);

impl TimingKeys {
    fn add(&mut self, key: &str, value: &str) -> Result<(), Invalid> {
        if self.0.iter().any(|(known, _)| known == key) {
            return Err(Invalid::new("is there twice").at(key));
        }
        self.0.push((key.to_owned(), value.to_owned()));
        Ok(())
    }
}

/// What was said about an HTTP check so far.
#[derive(Default)]
struct HttpFields {
    path: Option<HttpPath>,
    port: Option<Port>,
    scheme: Option<Scheme>,
    host: Option<HttpHeader>,
    headers: Vec<HttpHeader>,
    status: Vec<(u16, u16)>,
    method: Option<HttpMethod>,
}

fn http(text: &str, timing: &[&str], context: &Context) -> Result<Spelling, Invalid> {
    let pieces = pieces(text);
    let mut rest = &pieces[..];
    let mut fields = HttpFields::default();
    let mut times = TimingKeys::default();
    if let Some((first, others)) = pieces.split_first()
        && key_value(first).is_none()
    {
        short_http(first, &mut fields)?;
        rest = others;
    }
    let keys: Vec<&str> = HTTP_KEYS.iter().chain(timing).copied().collect();
    for piece in rest {
        let (key, value) = known(piece, &keys)?;
        if timing.contains(&key) {
            times.add(key, value)?;
        } else {
            http_key(&mut fields, key, value)?;
        }
    }
    Ok(Spelling { kind: CheckKind::Http(fields.finish(context)?), timing: times.0 })
}

/// `/health:8080`, `/health`, `:8080/health`, `:8080`, `http://:8080/health`.
fn short_http(text: &str, fields: &mut HttpFields) -> Result<(), Invalid> {
    if let Some((scheme, rest)) = url(text)? {
        fields.scheme = Some(scheme);
        let (port_text, path) = split_path(rest);
        let absent = match scheme {
            Scheme::Http => "80",
            Scheme::Https => "443",
        };
        let port_text = port_text.strip_prefix(':').unwrap_or(absent);
        fields.port = Some(port(port_text).at("port")?);
        fields.path = Some(HttpPath::new(path).at("path")?);
        return Ok(());
    }
    if text.starts_with('/') {
        let trailing = text.rsplit_once(':').filter(|(_, port)| is_number(port));
        let (path, port_text) = match trailing {
            Some((path, port_text)) => (path, Some(port_text)),
            None => (text, None),
        };
        fields.port = port_text.map(port).transpose().at("port")?;
        fields.path = Some(HttpPath::new(path).at("path")?);
        return Ok(());
    }
    let (port_text, path) = split_path(text.strip_prefix(':').unwrap_or(text));
    if !is_number(port_text) {
        return Err(Invalid::new(format!("{text:?} is not {HTTP_EXAMPLES}")));
    }
    fields.port = Some(port(port_text).at("port")?);
    fields.path = Some(HttpPath::new(path).at("path")?);
    Ok(())
}

/// The scheme of a URL, and what follows its host. The only host is the task itself.
fn url(text: &str) -> Result<Option<(Scheme, &str)>, Invalid> {
    let (scheme, rest) = match text.split_once("://") {
        Some(("http", rest)) => (Scheme::Http, rest),
        Some(("https", rest)) => (Scheme::Https, rest),
        Some(_) | None => return Ok(None),
    };
    let own = ["localhost", "127.0.0.1", "[::1]"];
    let rest = own.iter().find_map(|host| rest.strip_prefix(host)).unwrap_or(rest);
    if rest.is_empty() || rest.starts_with([':', '/']) {
        Ok(Some((scheme, rest)))
    } else {
        let why = format!(
            "{text:?} names a host, but a check always goes to the task itself; for a Host \
             header say path=/,port=80,host=NAME"
        );
        Err(Invalid::new(why))
    }
}

/// What comes before the first `/`, and the path from there on.
fn split_path(text: &str) -> (&str, &str) {
    match text.find('/') {
        Some(at) => text.split_at(at),
        None => (text, "/"),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn http_key(fields: &mut HttpFields, key: &str, value: &str) -> Result<(), Invalid> {
    match key {
        "path" => once(&mut fields.path, key, HttpPath::new(value).at(key)?),
        "port" => once(&mut fields.port, key, port(value).at(key)?),
        "scheme" => {
            let scheme = match value {
                "http" => Scheme::Http,
                "https" => Scheme::Https,
                _ => return Err(Invalid::new(format!("{value:?} is not http or https")).at(key)),
            };
            once(&mut fields.scheme, key, scheme)
        }
        "host" => once(&mut fields.host, key, HttpHeader::new("Host", value).at(key)?),
        "header" => {
            fields.headers.push(header(value).at(key)?);
            Ok(())
        }
        "status" => {
            for range in value.split('+') {
                fields.status.push(status(range).at(key)?);
            }
            Ok(())
        }
        "method" => once(&mut fields.method, key, HttpMethod::new(value).at(key)?),
        _ => Err(Invalid::new("is not a key of an HTTP check").at(key)),
    }
}

fn header(text: &str) -> Result<HttpHeader, Invalid> {
    let (name, value) =
        text.split_once(':').ok_or_else(|| Invalid::new(format!("{text:?} is not NAME:VALUE")))?;
    HttpHeader::new(name, value.trim())
}

/// `204` or `200-299`.
fn status(text: &str) -> Result<(u16, u16), Invalid> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse::<u16>().ok().filter(|_| is_number(text));
    let (Some(first), Some(last)) = (number(first), number(last)) else {
        let why = format!("{text:?} is not a status such as 204, 200-299 or 200+204");
        return Err(Invalid::new(why));
    };
    let range = StatusSet::new(vec![(first, last)]);
    range.map(|_| (first, last)).map_err(|invalid| Invalid::new(invalid.why()))
}

impl HttpFields {
    fn finish(self, context: &Context) -> Result<HttpCheck, Invalid> {
        let Self { path, port, scheme, host, mut headers, status, method } = self;
        let Some(port) = port.or(context.only_port) else {
            let why = "is required, since the service does not publish exactly one TCP port";
            return Err(Invalid::new(why).at("port"));
        };
        headers.extend(host);
        let mut check = HttpCheck::new(port);
        check.headers = headers;
        check.path = path.unwrap_or(check.path);
        check.tls = match scheme {
            None | Some(Scheme::Http) => None,
            Some(Scheme::Https) => Some(Tls::default()),
        };
        check.method = method.unwrap_or(check.method);
        if !status.is_empty() {
            check.expect = StatusSet::new(status).at("status")?;
        }
        Ok(check)
    }
}

fn tcp(text: &str, timing: &[&str]) -> Result<Spelling, Invalid> {
    let pieces = pieces(text);
    let mut times = TimingKeys::default();
    let mut number = None;
    let keys: Vec<&str> = ["port"].iter().chain(timing).copied().collect();
    for (index, piece) in pieces.iter().enumerate() {
        if index == 0 && key_value(piece).is_none() {
            let digits = piece.strip_prefix(':').unwrap_or(piece);
            let negative = digits.strip_prefix('-').is_some_and(is_number);
            if !is_number(digits) && !negative {
                let why = format!("{piece:?} is not {TCP_EXAMPLES}");
                return Err(Invalid::new(why));
            }
            number = Some(port(digits).at("port")?);
            continue;
        }
        let (key, value) = known(piece, &keys)?;
        if timing.contains(&key) {
            times.add(key, value)?;
        } else {
            once(&mut number, key, port(value).at(key)?)?;
        }
    }
    let port = number.ok_or_else(|| Invalid::missing("port"))?;
    Ok(Spelling { kind: CheckKind::Tcp(TcpCheck::new(port)), timing: times.0 })
}

/// The command, or `period=5s,cmd=COMMAND` where the command is all the rest.
fn cmd(text: &str, timing: &[&str]) -> Result<Spelling, Invalid> {
    let mut times = TimingKeys::default();
    let mut rest = text;
    let keyed =
        |text: &str| key_value(text).is_some_and(|(key, _)| key == "cmd" || timing.contains(&key));
    while !timing.is_empty() && keyed(rest) {
        if let Some(command) = rest.strip_prefix("cmd=") {
            return Ok(Spelling { kind: exec(command)?, timing: times.0 });
        }
        let (piece, after) = rest.split_once(',').unwrap_or((rest, ""));
        let (key, value) = known(piece, timing)?;
        times.add(key, value)?;
        rest = after;
    }
    if times.0.is_empty() {
        return Ok(Spelling { kind: exec(text)?, timing: times.0 });
    }
    let why = "is required after the other keys, as in period=5s,cmd=test -f /ready";
    Err(Invalid::new(why).at("cmd"))
}

fn exec(text: &str) -> Result<CheckKind, Invalid> {
    command::command(text).map(|command| CheckKind::Exec(ExecCheck::new(command)))
}
