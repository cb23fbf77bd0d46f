//! Where a redirect leads. Only one that stays with the task is followed.

use std::net::IpAddr;

use http::{
    Method, StatusCode,
    uri::{Authority, PathAndQuery},
};
use warren_core::check::Scheme;

use crate::{connect::Peer, request};

/// What was asked: by this scheme, under this name, at this address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) scheme: Scheme,
    /// The `Host` header.
    pub(crate) host: Option<&'a str>,
    pub(crate) peer: Peer<'a>,
}

/// The statuses that send a client elsewhere.
pub(crate) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// How to ask there: as browsers do, a see-other makes a GET of everything but HEAD, and the old
/// redirects make one of POST.
pub(crate) fn method(status: StatusCode, asked: Method) -> Method {
    match status.as_u16() {
        303 if asked != Method::HEAD => Method::GET,
        301 | 302 if asked == Method::POST => Method::GET,
        _ => asked,
    }
}

/// The path to ask next. `None` where the redirect leaves the task or cannot be understood.
pub(crate) fn resolve(
    location: &[u8],
    here: &PathAndQuery,
    site: &Site<'_>,
) -> Option<PathAndQuery> {
    let location = location.trim_ascii();
    let location = location.split(|&byte| byte == b'#').next().unwrap_or_default();
    let rest = match split_scheme(location) {
        Some((scheme, rest)) => {
            let own = match site.scheme {
                Scheme::Http => "http",
                Scheme::Https => "https",
            };
            if !scheme.eq_ignore_ascii_case(own.as_bytes()) || !rest.starts_with(b"//") {
                return None;
            }
            rest
        }
        None => location,
    };
    let path = match rest.strip_prefix(b"//") {
        Some(rest) => {
            let end = rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            if !site.is_at(&Authority::try_from(authority).ok()?) {
                return None;
            }
            if path.starts_with(b"/") { path.to_vec() } else { [b"/", path].concat() }
        }
        None => beside(rest, here),
    };
    request::target(&without_dots(&path)).ok()
}

/// `scheme`, `rest` of `scheme:rest`.
fn split_scheme(location: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = location.iter().position(|byte| b":/?".contains(byte))?;
    let scheme = &location[..end];
    let well_formed = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
    (well_formed && location[end] == b':').then(|| (scheme, &location[end + 1..]))
}

/// A reference without scheme and authority, seen from `here`.
fn beside(reference: &[u8], here: &PathAndQuery) -> Vec<u8> {
    let base = here.path().as_bytes();
    match reference.first() {
        None => here.as_str().as_bytes().to_vec(),
        Some(b'/') => reference.to_vec(),
        Some(b'?') => [base, reference].concat(),
        Some(_) => {
            let folder = base.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
            [&base[..folder], reference].concat()
        }
    }
}

/// Takes `.` and `..` out of the path, as RFC 3986 has it.
fn without_dots(target: &[u8]) -> Vec<u8> {
    let end = target.iter().position(|&byte| byte == b'?').unwrap_or(target.len());
    let (path, query) = target.split_at(end);
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut segments = path.split(|&byte| byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"." => {}
            b".." => {
                kept.pop();
            }
            _ => {
                kept.push(segment);
                continue;
            }
        }
        if last {
            kept.push(b"");
        }
    }
    let path = kept.join(&b'/');
    [b"/", path.as_slice(), query].concat()
}

impl Site<'_> {
    /// Whether the authority is the task: under its address or the name that was asked for, at
    /// the check's port or at the one that the name was asked for with.
    fn is_at(&self, authority: &Authority) -> bool {
        let port = port_of(authority, self.scheme);
        let asked = self.host.and_then(|host| Authority::try_from(host).ok());
        let here = match self.peer {
            Peer::Tcp(address) => Some(address),
            Peer::Unix(_) => None,
        };
        let by_address = here.is_some_and(|here| address_of(authority) == Some(here.ip()));
        let by_name =
            asked.as_ref().is_some_and(|asked| asked.host().eq_ignore_ascii_case(authority.host()));
        let asked_port = asked.as_ref().map(|asked| port_of(asked, self.scheme));
        here.is_some_and(|here| port == Some(here.port())) && (by_address || by_name)
            || by_name && asked_port == Some(port)
    }
}

/// `None` where the port is not a number.
fn port_of(authority: &Authority, scheme: Scheme) -> Option<u16> {
    match authority.port() {
        Some(port) => Some(port.as_u16()),
        None if authority.as_str().ends_with(authority.host()) => {
            Some(request::default_port(scheme))
        }
        None => None,
    }
}

fn address_of(authority: &Authority) -> Option<IpAddr> {
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn from(location: &str, host: Option<&str>) -> Option<String> {
        let site = Site {
            scheme: Scheme::Http,
            host,
            peer: Peer::Tcp(SocketAddr::from(([127, 0, 0, 5], 8080))),
        };
        let here = PathAndQuery::from_static("/a/b?c=d");
        resolve(location.as_bytes(), &here, &site).map(|path| path.to_string())
    }

    #[test]
    fn references_are_resolved_as_browsers_do() {
        for (location, path) in [
            ("/x", "/x"),
            ("x", "/a/x"),
            ("./x?y", "/a/x?y"),
            ("../x", "/x"),
            ("../../../x", "/x"),
            (".", "/a/"),
            ("..", "/"),
            ("?e", "/a/b?e"),
            ("", "/a/b?c=d"),
            ("#f", "/a/b?c=d"),
            ("/x/./y/../z#f", "/x/z"),
            ("/x?../y", "/x?../y"),
            ("/x:y", "/x:y"),
            ("/a//b", "/a//b"),
            (" /x ", "/x"),
            ("/é x", "/%C3%A9%20x"),
        ] {
            assert_eq!(from(location, None).as_deref(), Some(path), "{location:?}");
        }
    }

    #[test]
    fn an_absolute_location_stays_when_it_names_what_was_asked() {
        for (location, host) in [
            ("http://127.0.0.5:8080/x", None),
            ("HTTP://127.0.0.5:8080/x", None),
            ("//127.0.0.5:8080/x", Some("web.example")),
            ("http://web.example/x", Some("web.example")),
            ("http://WEB.example:8080/x", Some("web.example")),
            ("http://web.example:80/x", Some("web.example")),
            ("http://web.example:81/x", Some("web.example:81")),
        ] {
            assert_eq!(from(location, host).as_deref(), Some("/x"), "{location} {host:?}");
        }
        assert_eq!(from("http://127.0.0.5:8080", None).as_deref(), Some("/"));
        assert_eq!(from("http://127.0.0.5:8080?x", None).as_deref(), Some("/?x"));
    }

    #[test]
    fn any_other_location_leaves_the_task() {
        for (location, host) in [
            ("http://127.0.0.6:8080/x", None),
            ("http://127.0.0.5/x", None),
            ("http://127.0.0.5:8081/x", None),
            ("https://127.0.0.5:8080/x", None),
            ("https:/x", None),
            ("//other.example/x", Some("web.example")),
            ("http://web.example:82/x", Some("web.example:81")),
            ("http://web.example.evil:8080/x", Some("web.example")),
            ("http://web.example:99999/x", Some("web.example")),
            ("http://user@other:8080/x", Some("user")),
            ("mailto:root@localhost", None),
            ("http://[::1/x", None),
        ] {
            assert_eq!(from(location, host), None, "{location} {host:?}");
        }
    }

    #[test]
    fn the_method_changes_as_browsers_do() {
        let after = |status, asked| method(StatusCode::from_u16(status).unwrap(), asked);
        assert_eq!(after(303, Method::PUT), Method::GET);
        assert_eq!(after(303, Method::HEAD), Method::HEAD);
        assert_eq!(after(302, Method::POST), Method::GET);
        assert_eq!(after(302, Method::PUT), Method::PUT);
        assert_eq!(after(308, Method::POST), Method::POST);
    }
}
