//! The request that an HTTP check sends.

use std::net::SocketAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri,
    header::{ACCEPT, CONNECTION, CONTENT_LENGTH, HOST, USER_AGENT},
    uri::PathAndQuery,
};
use http_body_util::Empty;
use warren_core::check::{HttpCheck, HttpHeader, Scheme};

use crate::{clause, connect::Peer, end::End};

/// Nothing is ever sent as a body.
pub(crate) type Nothing = Empty<&'static [u8]>;

pub(crate) const AGENT: &str = concat!("warren-check/", env!("CARGO_PKG_VERSION"));

/// The `Host` header: the check's own, else the task's address as an authority, or `localhost` over
/// a unix socket. `None` where the
/// check removes it.
pub(crate) fn host(check: &HttpCheck, peer: Peer<'_>) -> Option<String> {
    let mut own = check.headers.iter().filter(|header| is(header, &HOST)).peekable();
    if own.peek().is_some() {
        return own.map(HttpHeader::value).find(|value| !value.is_empty()).map(str::to_owned);
    }
    let Peer::Tcp(address) = peer else { return Some("localhost".to_owned()) };
    if address.port() != default_port(check.scheme()) {
        return Some(address.to_string());
    }
    Some(match address {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    })
}

pub(crate) fn default_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}

/// A request for `path`, with the default headers and the check's own in their place.
pub(crate) fn build(
    check: &HttpCheck,
    method: &Method,
    path: &PathAndQuery,
    host: Option<&str>,
) -> Result<Request<Nothing>, End> {
    let mut headers = HeaderMap::with_capacity(4 + check.headers.len());
    if let Some(host) = host {
        headers.insert(HOST, value(host)?);
    }
    for (name, default) in [(USER_AGENT, AGENT), (ACCEPT, "*/*"), (CONNECTION, "close")] {
        if !check.headers.iter().any(|header| is(header, &name)) {
            headers.insert(name, HeaderValue::from_static(default));
        }
    }
    // A server may wait for the body of a method that has one by custom.
    let bodiless = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE);
    if !bodiless && !check.headers.iter().any(|header| is(header, &CONTENT_LENGTH)) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    for header in check.headers.iter().filter(|own| !own.value().is_empty() && !is(own, &HOST)) {
        let name = HeaderName::from_bytes(header.name().as_bytes());
        let name = name.map_err(|error| unsendable(header.name(), &error))?;
        headers.append(name, value(header.value())?);
    }
    let mut request = Request::new(Nothing::new());
    *request.method_mut() = method.clone();
    *request.uri_mut() = Uri::from(path.clone());
    *request.headers_mut() = headers;
    Ok(request)
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
    header.name().eq_ignore_ascii_case(name.as_str())
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
