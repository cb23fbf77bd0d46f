//! `--*-http`.

use std::borrow::Cow;

use warren_core::{
    Invalid,
    bounds::Port,
    check::{
        CheckKind, HttpCheck, HttpHeader, HttpMethod, HttpPath, HttpVersion, Payload, PortRef,
        Scheme, StatusSet, TextMatch, Tls,
    },
    invalid::At,
    spec::AbsolutePath,
};

use super::{
    keys::{by_commas, key_value, known, once, pieces, unescape},
    spelling::{Context, Spelling, TimingKeys, TlsKeys, endpoint, is_number, port_ref},
};

const HTTP_EXAMPLES: &str = "path=/,port=80, /health:8080, :8080/health or http://:8080/health";
const BY_HAND: &str = "http://HOST/, HOST:8080/health, :8080/health or path=/,port=80";

const HTTP_KEYS: [&str; 17] = [
    "path",
    "port",
    "socket",
    "scheme",
    "version",
    "tls",
    "server-name",
    "host",
    "header",
    "status",
    "method",
    "send",
    "body",
    "body-regex",
    "body-not",
    "body-not-regex",
    "keep-alive",
];

/// What was said about an HTTP check so far.
#[derive(Default)]
struct HttpFields {
    path: Option<HttpPath>,
    port: Option<PortRef>,
    socket: Option<AbsolutePath>,
    scheme: Option<Scheme>,
    version: Option<HttpVersion>,
    tls: TlsKeys,
    body: Option<TextMatch>,
    body_not: Option<TextMatch>,
    host: Option<HttpHeader>,
    headers: Vec<HttpHeader>,
    status: Vec<(u16, u16)>,
    method: Option<HttpMethod>,
    send: Option<Payload>,
    keep_alive: Option<bool>,
}

pub fn http(text: &str, timing: &[&str], context: &Context<'_>) -> Result<Spelling, Invalid> {
    let pieces = pieces(text);
    let mut rest = &pieces[..];
    let mut fields = HttpFields::default();
    let mut times = TimingKeys::default();
    if let Some((first, others)) = pieces.split_first()
        && key_value(first).is_none()
    {
        short_http(first, &mut fields, context)?;
        rest = others;
    }
    let keys: Vec<&str> = HTTP_KEYS.iter().chain(timing).copied().collect();
    let mut last = "";
    for piece in rest {
        if last == "status" && status(piece).is_ok() {
            let why = format!("several are joined by +, as in status=200+{piece}");
            return Err(Invalid::new(why).at("status"));
        }
        let (key, value) = known(piece, &keys)?;
        last = key;
        if timing.contains(&key) {
            times.add(key, value)?;
        } else {
            http_key(&mut fields, key, value, context)?;
        }
    }
    Ok(Spelling { kind: CheckKind::Http(fields.finish(context)?), timing: times.0 })
}

/// `/health:8080`, `/health`, `:8080/health`, `:8080`, `http://:8080/health`.
fn short_http(text: &str, fields: &mut HttpFields, context: &Context<'_>) -> Result<(), Invalid> {
    by_commas(text)?;
    if let Some((scheme, rest)) = url(text)? {
        fields.scheme = Some(scheme);
        let (port_text, path) = split_path(rest);
        let absent = match scheme {
            Scheme::Http => "80",
            Scheme::Https => "443",
        };
        let port_text = port_text.strip_prefix(':').unwrap_or(absent);
        fields.port = Some(port_ref(port_text, context).at("port")?);
        fields.path = Some(HttpPath::new(path).at("path")?);
        return Ok(());
    }
    if text.starts_with('/') {
        let (path, port_text) = trailing_port(text)?;
        fields.port = port_text.map(|text| port_ref(text, context)).transpose().at("port")?;
        fields.path = Some(HttpPath::new(path).at("path")?);
        return Ok(());
    }
    let (port_text, path) = split_path(text.strip_prefix(':').unwrap_or(text));
    if !is_number(port_text) {
        return Err(context.unlike(text, HTTP_EXAMPLES, BY_HAND));
    }
    fields.port = Some(port_ref(port_text, context).at("port")?);
    fields.path = Some(HttpPath::new(path).at("path")?);
    Ok(())
}

/// `/health:8080` is a path and a port. What follows the last colon and is no port may be of the
/// path, as in `/v1/users:list`, but not what looks like a number that was meant for one.
fn trailing_port(text: &str) -> Result<(&str, Option<&str>), Invalid> {
    match text.rsplit_once(':') {
        Some((path, port)) if is_number(port) => Ok((path, Some(port))),
        Some((_, port)) if port.is_empty() || port.starts_with(['-', '+']) => {
            Err(Invalid::new(format!("{port:?} is not a port; say path={text} for such a path")))
        }
        Some(_) | None => Ok((text, None)),
    }
}

/// The scheme of a URL, and what follows its host. The only host is the task itself.
fn url(text: &str) -> Result<Option<(Scheme, &str)>, Invalid> {
    let Some((scheme, rest)) = scheme(text)? else { return Ok(None) };
    let own = ["localhost", "127.0.0.1", "[::1]"];
    let rest = own.iter().find_map(|host| rest.strip_prefix(host)).unwrap_or(rest);
    if rest.is_empty() || rest.starts_with([':', '/', '?', '#']) {
        Ok(Some((scheme, rest)))
    } else {
        let why = format!(
            "{text:?} names a host, but a check always goes to the task itself; for a Host \
             header say path=/,port=80,host=NAME"
        );
        Err(Invalid::new(why))
    }
}

/// The scheme that a URL begins with, in capitals or not, and what follows it.
pub fn scheme(text: &str) -> Result<Option<(Scheme, &str)>, Invalid> {
    let Some((scheme, rest)) = text.split_once("://") else { return Ok(None) };
    let of_a_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    match scheme.to_ascii_lowercase().as_str() {
        "http" => Ok(Some((Scheme::Http, rest))),
        "https" => Ok(Some((Scheme::Https, rest))),
        // Such as `/away?to=ftp://`, where it is none.
        other if other.is_empty() || !other.chars().all(of_a_scheme) => Ok(None),
        other => Err(Invalid::new(format!("{other}:// is not http:// or https://"))),
    }
}

/// What comes before the path or the query, and the path from there on.
fn split_path(text: &str) -> (&str, Cow<'_, str>) {
    match text.find(['/', '?', '#']).map(|at| text.split_at(at)) {
        Some((before, path)) if path.starts_with('/') => (before, path.into()),
        Some((before, query)) => (before, format!("/{query}").into()),
        None => (text, "/".into()),
    }
}

fn http_key(
    fields: &mut HttpFields,
    key: &str,
    value: &str,
    context: &Context<'_>,
) -> Result<(), Invalid> {
    match key {
        "path" => once(&mut fields.path, key, HttpPath::new(value).at(key)?),
        "port" => once(&mut fields.port, key, port_ref(value, context).at(key)?),
        "socket" => once(&mut fields.socket, key, AbsolutePath::new(value).at(key)?),
        "version" => once(&mut fields.version, key, version(value).at(key)?),
        "body" => once(&mut fields.body, key, TextMatch::contains(value).at(key)?),
        "body-regex" => once(&mut fields.body, key, TextMatch::regex(value).at(key)?),
        "body-not" => once(&mut fields.body_not, key, TextMatch::contains(value).at(key)?),
        "body-not-regex" => once(&mut fields.body_not, key, TextMatch::regex(value).at(key)?),
        "tls" | "server-name" => fields.tls.add(key, value),
        "scheme" => {
            let scheme = match value {
                "http" => Scheme::Http,
                "https" => Scheme::Https,
                "h2c" => return by_prior_knowledge(fields),
                _ => {
                    let why = format!("{value:?} is not http, https or h2c");
                    return Err(Invalid::new(why).at(key));
                }
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
        "send" => once(&mut fields.send, key, Payload::new(unescape(value)?).at(key)?),
        "keep-alive" => once(&mut fields.keep_alive, key, yes_or_no(value).at(key)?),
        _ => Err(Invalid::new("is not a key of an HTTP check").at(key)),
    }
}

/// `scheme=h2c`, also after `http://`.
fn by_prior_knowledge(fields: &mut HttpFields) -> Result<(), Invalid> {
    if fields.scheme == Some(Scheme::Https) {
        let why = "h2c is HTTP/2 without TLS; with https say version=2";
        return Err(Invalid::new(why).at("scheme"));
    }
    fields.scheme = Some(Scheme::Http);
    once(&mut fields.version, "version", HttpVersion::Http2)
}

fn yes_or_no(text: &str) -> Result<bool, Invalid> {
    text.parse().map_err(|_| Invalid::new(format!("{text:?} is not true or false")))
}

fn version(text: &str) -> Result<HttpVersion, Invalid> {
    match text {
        "1" | "1.1" => Ok(HttpVersion::Http1),
        "2" => Ok(HttpVersion::Http2),
        _ => Err(Invalid::new(format!("{text:?} is not 1.1 or 2"))),
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
    fn finish(self, context: &Context<'_>) -> Result<HttpCheck, Invalid> {
        let Self { path, port, socket, scheme, version, tls, .. } = self;
        let Self { body, body_not, host, mut headers, status, method, send, keep_alive, .. } = self;
        let hosts = headers.iter().filter(|header| header.is("host"));
        match (hosts.count(), &host) {
            (0, _) | (1, None) => {}
            (1.., Some(_)) => {
                let why = "contradicts a header Host; leave one of them out";
                return Err(Invalid::new(why).at("host"));
            }
            (2.., None) => return Err(Invalid::new("Host is there twice").at("header")),
        }
        headers.extend(host);
        let tls = tls.finish();
        let mut check = HttpCheck::new(Port::new(80)?);
        check.path = path.unwrap_or(check.path);
        let path = check.path.as_str();
        let by_hand = format!(":8080{path} or http://HOST{path}");
        check.endpoint = endpoint(port, socket, context, &by_hand)?;
        check.headers = headers;
        check.body = body;
        check.body_not = body_not;
        check.version = version.unwrap_or(check.version);
        check.tls = match (scheme, tls) {
            (Some(Scheme::Http), Some(_)) => {
                return Err(Invalid::new("needs scheme=https").at("tls"));
            }
            (None | Some(Scheme::Http), None) => None,
            (Some(Scheme::Https), None) => Some(Tls::default()),
            (None | Some(Scheme::Https), Some(tls)) => Some(tls),
        };
        check.method = method.unwrap_or(check.method);
        check.send = send.unwrap_or_default();
        if !status.is_empty() {
            check.expect = StatusSet::new(status).at("status")?;
        }
        let checked = check.consistent();
        let kept =
            if keep_alive == Some(true) { checked.and_then(HttpCheck::kept) } else { checked };
        // The keys are the fields' names.
        kept.map_err(|invalid| Invalid::new(invalid.why()).at(invalid.path().replace('_', "-")))
    }
}
