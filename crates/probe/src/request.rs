//! The request that an HTTP check sends.

use std::net::SocketAddr;

use http::{
    HeaderName, HeaderValue, Method, Request, Uri,
    header::{ACCEPT, CONNECTION, CONTENT_LENGTH, HOST, USER_AGENT},
    uri::PathAndQuery,
};
use warren_core::check::{HttpCheck, HttpHeader, Scheme};

use crate::{clause, connect::Peer, end::End};

pub(crate) const AGENT: &str = concat!("warren-check/", env!("CARGO_PKG_VERSION"));

/// The `Host` header: the check's own, else the task's address as an authority, or `localhost` over
/// a unix socket. `None` where the check removes it.
pub(crate) fn host(check: &HttpCheck, peer: Peer<'_>) -> Option<String> {
    let mut own = check.headers.iter().filter(|header| is(header, &HOST)).peekable();
    if own.peek().is_some() {
        return own.map(HttpHeader::value).find(|value| !value.is_empty()).map(str::to_owned);
    }
    let Peer::Tcp(address) = peer else { return Some("localhost".to_owned()) };
    Some(authority(address, address.port() != default_port(check.scheme())))
}

/// For each attempt anew, so by a quicker way than `Display` where that is usual.
fn authority(address: SocketAddr, with_port: bool) -> String {
    let mut text = match address {
        SocketAddr::V4(address) => {
            let (mut text, mut digits) = (String::with_capacity(21), itoa::Buffer::new());
            for (octet, mark) in address.ip().octets().into_iter().zip(["", ".", ".", "."]) {
                text.push_str(mark);
                text.push_str(digits.format(octet));
            }
            text
        }
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    };
    if with_port {
        text.push(':');
        text.push_str(itoa::Buffer::new().format(address.port()));
    }
    text
}

pub(crate) fn default_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}

/// A request for `path` with the same headers, for HTTP/2.
pub(crate) fn build(
    check: &HttpCheck,
    method: &Method,
    path: &PathAndQuery,
    host: Option<&str>,
) -> Result<Request<()>, End> {
    let mut request = Request::new(());
    *request.method_mut() = method.clone();
    *request.uri_mut() = Uri::from(path.clone());
    let length = length(check, method);
    for (name, text) in headers(check, length.as_deref(), host) {
        let name = HeaderName::from_bytes(name.as_bytes());
        let name = name.map_err(|error| unsendable(text, &error))?;
        request.headers_mut().append(name, value(text)?);
    }
    Ok(request)
}

/// A request for `path` as HTTP/1.1 writes it, with the default headers and the check's own in
/// their place.
pub(crate) fn render(
    check: &HttpCheck,
    method: &Method,
    path: &PathAndQuery,
    host: Option<&str>,
) -> Vec<u8> {
    let (body, length) = (body(check, method), length(check, method));
    let mut request = Vec::with_capacity(256 + body.len());
    for part in [method.as_str(), " ", path.as_str(), " HTTP/1.1\r\n"] {
        request.extend_from_slice(part.as_bytes());
    }
    for (name, value) in headers(check, length.as_deref(), host) {
        capitalize(name, &mut request);
        request.extend_from_slice(b": ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(body);
    request
}

/// What is sent after the headers. A redirect that makes a GET of it leaves it out.
pub(crate) fn body<'a>(check: &'a HttpCheck, method: &Method) -> &'a [u8] {
    if matches!(*method, Method::GET | Method::HEAD) { &[] } else { check.send.as_slice() }
}

/// A server may wait for the body of a method that has one by custom.
fn length(check: &HttpCheck, method: &Method) -> Option<String> {
    let bodiless = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE);
    let length = body(check, method).len();
    (length > 0 || !bodiless).then(|| length.to_string())
}

/// What is left of a request of which so much was sent: mostly nothing, and then its memory is free
/// for the next one.
pub(crate) fn rest(mut request: Vec<u8>, sent: usize) -> Vec<u8> {
    if sent == request.len() {
        return Vec::new();
    }
    request.drain(..sent);
    request
}

/// In the order in which they are sent. A name may come more than once.
fn headers<'a>(
    check: &'a HttpCheck,
    length: Option<&'a str>,
    host: Option<&'a str>,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let has = |name: &HeaderName| check.headers.iter().any(|header| is(header, name));
    let defaults = [
        (USER_AGENT, "User-Agent", Some(AGENT)),
        (ACCEPT, "Accept", Some("*/*")),
        (CONNECTION, "Connection", (!check.keep_alive).then_some("close")),
        (CONTENT_LENGTH, "Content-Length", length),
    ];
    let defaults = defaults
        .map(|(header, name, value)| value.filter(|_| !has(&header)).map(|value| (name, value)));
    let own = check.headers.iter().filter(|own| !own.value().is_empty() && !is(own, &HOST));
    let own = own.map(|own| (own.name(), own.value()));
    host.map(|host| ("Host", host)).into_iter().chain(defaults.into_iter().flatten()).chain(own)
}

/// Some home-made servers know `Host` and not `host`.
fn capitalize(name: &str, into: &mut Vec<u8>) {
    let mut begins = true;
    for byte in name.bytes() {
        into.push(if begins { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() });
        begins = byte == b'-';
    }
}

/// A request target. What may not stand in one as it is, is percent-encoded, as browsers do.
pub(crate) fn target(path: &[u8]) -> Result<PathAndQuery, End> {
    if let Ok(target) = PathAndQuery::try_from(path) {
        return Ok(target);
    }
    let mut encoded = String::with_capacity(path.len() + 8);
    for &byte in path {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let digit = |nibble: u8| char::from(b"0123456789ABCDEF"[usize::from(nibble)]);
            encoded.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    PathAndQuery::try_from(encoded.as_str()).map_err(|error| unsendable(&encoded, &error))
}

fn is(header: &HttpHeader, name: &HeaderName) -> bool {
    header.is(name.as_str())
}

fn value(text: &str) -> Result<HeaderValue, End> {
    HeaderValue::from_str(text).map_err(|error| unsendable(text, &error))
}

/// The task was not asked, so nothing is known of it.
pub(crate) fn unsendable(what: &str, error: &dyn std::error::Error) -> End {
    End::inconclusive(clause::OBSERVER, format!("cannot send {what:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use warren_core::{bounds::Port, check::Tls};

    use super::*;

    fn check(port: u32, scheme: Scheme) -> HttpCheck {
        let tls = (scheme == Scheme::Https).then(Tls::default);
        HttpCheck { tls, ..HttpCheck::new(Port::new(port).unwrap()) }
    }

    #[test]
    fn the_default_host_is_an_authority_without_the_schemes_own_port() {
        let host = |peer: &str, scheme| {
            let peer: SocketAddr = peer.parse().unwrap();
            host(&check(u32::from(peer.port()), scheme), Peer::Tcp(peer)).unwrap()
        };
        assert_eq!(host("127.0.0.5:8080", Scheme::Http), "127.0.0.5:8080");
        assert_eq!(host("127.0.0.5:80", Scheme::Http), "127.0.0.5");
        assert_eq!(host("127.0.0.5:443", Scheme::Http), "127.0.0.5:443");
        assert_eq!(host("127.0.0.5:443", Scheme::Https), "127.0.0.5");
        assert_eq!(host("[::1]:8080", Scheme::Http), "[::1]:8080");
        assert_eq!(host("[::1]:80", Scheme::Http), "[::1]");
    }

    #[test]
    fn every_path_that_core_takes_can_be_sent() {
        for byte in (b'!'..=b'~').filter(|byte| *byte != b'#') {
            let path = format!("/a{0}b?c{0}d", char::from(byte));
            let sent = target(path.as_bytes()).unwrap_or_else(|end| panic!("{path}: {end:?}"));
            assert!(sent.as_str().starts_with("/a"), "{path} became {sent}");
        }
        assert_eq!(target(b"//twice").unwrap().as_str(), "//twice");
    }
}
