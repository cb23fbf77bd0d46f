//! Where an attempt from the shell goes. A service's check never names a host; here the user may.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use warren_core::{
    Invalid,
    check::{
        Check, CheckKind, Endpoint, GrpcCheck, GrpcHost, HttpHeader, PortRef, Scheme, ServerName,
        TcpCheck, Tls,
    },
};

use crate::{failure::Failure, health_flags, output::words};

/// A host that was named, or loopback.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    host: Option<String>,
    /// As the URL has it, with its port: for the `Host` header.
    authority: Option<String>,
}

impl Place {
    pub const fn here() -> Self {
        Self { host: None, authority: None }
    }

    /// At the given address, else on loopback.
    pub fn at(address: Option<&str>) -> Result<Self, Failure> {
        Ok(Self { host: given(address)?, authority: None })
    }

    /// As a URL has it.
    pub fn shown(&self) -> String {
        match self.host.as_deref() {
            None => Ipv4Addr::LOCALHOST.to_string(),
            Some(host) if host.contains(':') => format!("[{host}]"),
            Some(host) => host.to_owned(),
        }
    }

    /// A name's first IPv4 address, else its first one, and what is then left of the time that
    /// there is for the whole attempt.
    pub async fn resolve(&self, limit: Duration) -> Result<(IpAddr, Duration), Failure> {
        let Some(host) = self.host.as_deref() else {
            return Ok((Ipv4Addr::LOCALHOST.into(), limit));
        };
        if let Ok(address) = host.parse() {
            return Ok((address, limit));
        }
        // Its IPv6 address comes first on many machines, and few servers listen there alone.
        if host.eq_ignore_ascii_case("localhost") {
            return Ok((Ipv4Addr::LOCALHOST.into(), limit));
        }
        let unseen = |why: String| Failure::Unseen(format!("cannot resolve {host:?}: {why}"));
        let late = || unseen(format!("no answer within {}", words::span(limit)));
        let begun = Instant::now();
        let found = tokio::time::timeout(limit, tokio::net::lookup_host((host, 0))).await;
        let found = found.map_err(|_| late())?.map_err(|why| unseen(why.to_string()))?;
        let found: Vec<_> = found.collect();
        let v4 = found.iter().find(|address| address.is_ipv4());
        let first = v4.or_else(|| found.first()).map(std::net::SocketAddr::ip);
        let address = first.ok_or_else(|| unseen("it has no address".to_owned()))?;
        // Whole milliseconds, as timeouts are.
        match limit.saturating_sub(begun.elapsed()).as_millis() {
            0 => Err(late()),
            left => Ok((address, Duration::from_millis(u64::try_from(left).unwrap_or(u64::MAX)))),
        }
    }

    /// Puts a named host where the check would say whom it asks, unless it says so itself: into
    /// the `Host` header of HTTP, for gRPC into `:authority`, and for gRPC and TCP into the name
    /// that a certificate is held to.
    pub fn named_in(&self, mut check: Check) -> Result<Check, Failure> {
        let named = self.host.as_deref().filter(|host| host.parse::<IpAddr>().is_err());
        match &mut check.kind {
            CheckKind::Http(http) => {
                let says = |header: &HttpHeader| header.is("host");
                if let Some(authority) = &self.authority
                    && !http.headers.iter().any(says)
                {
                    let header = HttpHeader::new("Host", authority);
                    http.headers.push(header.map_err(|why| Failure::flag("URL", why))?);
                }
            }
            CheckKind::Grpc(grpc) => {
                if let Some(host) = named {
                    ask_for(host, grpc).map_err(|why| Failure::flag("CHECK", why))?;
                }
            }
            CheckKind::Tcp(TcpCheck {
                tls: Some(Tls { server_name: server_name @ None, .. }),
                ..
            }) => {
                if let Some(host) = named {
                    let name = ServerName::new(host);
                    *server_name = Some(name.map_err(|why| Failure::flag("CHECK", why))?);
                }
            }
            CheckKind::Tcp(_)
            | CheckKind::Exec(_)
            | CheckKind::File(_)
            | CheckKind::All(_)
            | CheckKind::Any(_) => {}
        }
        Ok(check)
    }
}

/// A server name or a host of its own says whom it asks for already.
fn ask_for(name: &str, check: &mut GrpcCheck) -> Result<(), Invalid> {
    let GrpcCheck { endpoint, service: _, tls, host } = check;
    if host.is_some() || tls.as_ref().is_some_and(|tls| tls.server_name.is_some()) {
        return Ok(());
    }
    let absent = if tls.is_some() { 443 } else { 80 };
    let whole = match endpoint {
        Endpoint::Port(PortRef::Number(port)) if port.get() != absent => format!("{name}:{port}"),
        Endpoint::Port(_) | Endpoint::Socket(_) => name.to_owned(),
    };
    *host = Some(GrpcHost::new(whole)?);
    if let Some(tls) = tls {
        tls.server_name = Some(ServerName::new(name)?);
    }
    Ok(())
}

/// The place, and what is left for the flag's own spelling.
pub fn of_http(text: &str, address: Option<&str>) -> Result<(Place, String), Failure> {
    let url = health_flags::scheme(text).map_err(|why| Failure::flag("URL", why))?;
    let rest = url.map_or(text, |(_, rest)| rest);
    let end = rest.find(['/', '?', '#', ',']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    if url.is_none() && !names_host(authority) {
        return Ok((Place::at(address)?, text.to_owned()));
    }
    if authority.is_empty() {
        let why = format!("{text:?} names no host; say http://HOST/, or :80/ for this machine");
        return Err(Failure::flag("URL", why));
    }
    if authority.contains('@') {
        let why = "has a user in it; say header=Authorization:VALUE";
        return Err(Failure::flag("URL", why));
    }
    let (host, port) = split(authority)?;
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let scheme = match url {
        Some((Scheme::Http, _)) => "http://",
        Some((Scheme::Https, _)) => "https://",
        None => "",
    };
    let spelled = format!("{scheme}{port}{after}");
    if host.is_empty() {
        return Ok((Place::at(address)?, spelled));
    }
    refuse_second(address)?;
    let host = checked(host, "URL")?;
    let named = host.parse::<IpAddr>().is_err();
    let authority = named.then(|| authority.to_owned());
    Ok((Place { host: Some(host), authority }, spelled))
}

/// Of `HOST:PORT`, or of a check that names no host.
pub fn of_port(text: &str, address: Option<&str>) -> Result<(Place, String), Failure> {
    let end = text.find(',').unwrap_or(text.len());
    let (first, after) = text.split_at(end);
    if !names_host(first) {
        return Ok((Place::at(address)?, text.to_owned()));
    }
    refuse_second(address)?;
    let (host, port) = split(first)?;
    let port = port.ok_or_else(|| Failure::flag("CHECK", format!("{text:?} has no port")))?;
    let host = Some(checked(host, "CHECK")?);
    Ok((Place { host, authority: None }, format!("{port}{after}")))
}

/// `example.org:80`, `[::1]:80`; neither `:80`, `80` nor `port=80`.
fn names_host(text: &str) -> bool {
    let host = text.rsplit_once(':').map_or("", |(host, _)| host);
    !host.is_empty() && !text.contains('=')
}

/// The host without brackets, and the port.
fn split(authority: &str) -> Result<(String, Option<&str>), Failure> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        Some(_) | None => (authority, None),
    };
    match host.strip_prefix('[').map(|inner| inner.strip_suffix(']').unwrap_or_default()) {
        Some(inner) if inner.parse::<Ipv6Addr>().is_ok() => Ok((inner.to_owned(), port)),
        None if !host.contains([':', ']']) => Ok((host.to_owned(), port)),
        Some(_) | None => {
            let why = format!("{authority:?} is not HOST:PORT; an IPv6 address is in [brackets]");
            Err(Failure::flag("CHECK", why))
        }
    }
}

/// A name that could be looked up, or an address.
fn checked(host: String, argument: &str) -> Result<String, Failure> {
    let of_a_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if host.parse::<IpAddr>().is_ok() || !host.is_empty() && host.chars().all(of_a_name) {
        Ok(host)
    } else {
        Err(Failure::flag(argument, format!("{host:?} is not a host's name or address")))
    }
}

fn given(address: Option<&str>) -> Result<Option<String>, Failure> {
    let Some(host) = address else { return Ok(None) };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let inner = inner.filter(|inner| inner.parse::<Ipv6Addr>().is_ok());
    checked(inner.unwrap_or(host).to_owned(), "--address").map(Some)
}

fn refuse_second(address: Option<&str>) -> Result<(), Failure> {
    match address {
        Some(_) => Err(Failure::flag("--address", "contradicts the host that the check names")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use warren_core::{
        bounds::Port,
        check::{Role, Timing},
    };

    use super::*;

    fn place(host: Option<&str>, authority: Option<&str>) -> Place {
        Place { host: host.map(str::to_owned), authority: authority.map(str::to_owned) }
    }

    #[test]
    fn a_url_may_name_a_host_and_the_rest_is_the_flags_own_spelling() {
        for (text, host, authority, spelled) in [
            ("http://web.example/", Some("web.example"), Some("web.example"), "http:///"),
            (
                "https://web.example:8443/a?b=c,status=200",
                Some("web.example"),
                Some("web.example:8443"),
                "https://:8443/a?b=c,status=200",
            ),
            ("http://10.0.0.7:80", Some("10.0.0.7"), None, "http://:80"),
            ("http://[::1]:80/x", Some("::1"), None, "http://:80/x"),
            ("web.example:80/x", Some("web.example"), Some("web.example:80"), ":80/x"),
            ("http://:80/x", None, None, "http://:80/x"),
            ("HTTP://Web.example?x=1", Some("Web.example"), Some("Web.example"), "http://?x=1"),
            ("a:80?to=ftp://b", Some("a"), Some("a:80"), ":80?to=ftp://b"),
            (":80/?to=ftp://b", None, None, ":80/?to=ftp://b"),
            ("/health:8080", None, None, "/health:8080"),
            (":8080/health", None, None, ":8080/health"),
            ("8080", None, None, "8080"),
            ("path=/,port=80,host=a", None, None, "path=/,port=80,host=a"),
        ] {
            let read = of_http(text, None).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(read, (place(host, authority), spelled.to_owned()), "{text}");
        }
        let elsewhere = of_http("/x:80", Some("web.example")).unwrap().0;
        assert_eq!(elsewhere, place(Some("web.example"), None));
        assert_eq!(of_http("/x:80", Some("[::1]")).unwrap().0, place(Some("::1"), None));
    }

    #[test]
    fn a_port_may_have_a_host_before_it() {
        for (text, host, spelled) in [
            ("6379", None, "6379"),
            (":6379", None, ":6379"),
            ("port=6379,timeout=1s", None, "port=6379,timeout=1s"),
            ("db.example:5432,timeout=1s", Some("db.example"), "5432,timeout=1s"),
            ("[::1]:5432", Some("::1"), "5432"),
        ] {
            let read = of_port(text, None).unwrap();
            assert_eq!(read, (place(host, None), spelled.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_named_host_is_whom_a_grpc_check_asks_for() {
        let named = |host: &str, port: u32, tls: Option<Tls>| {
            let kind =
                CheckKind::Grpc(GrpcCheck { tls, ..GrpcCheck::new(Port::new(port).unwrap()) });
            let check = Check { kind, timing: Timing::default_for(Role::Liveness) };
            let CheckKind::Grpc(grpc) = place(Some(host), None).named_in(check).unwrap().kind
            else {
                panic!("it was gRPC")
            };
            let server_name = grpc.tls.and_then(|tls| tls.server_name);
            let text = |text: &str| text.to_owned();
            (server_name.map(|name| text(name.as_str())), grpc.host.map(|host| text(host.as_str())))
        };
        let own =
            Tls { server_name: Some(ServerName::new("own.example").unwrap()), ..Tls::default() };
        for (host, port, tls, server_name, asked) in [
            ("cart.example", 443, Some(Tls::default()), Some("cart.example"), Some("cart.example")),
            ("cart.example", 50_051, None, None, Some("cart.example:50051")),
            ("cart.example", 443, Some(own), Some("own.example"), None),
            ("10.0.0.7", 443, Some(Tls::default()), None, None),
        ] {
            let named = named(host, port, tls);
            assert_eq!((named.0.as_deref(), named.1.as_deref()), (server_name, asked), "{host}");
        }
    }

    #[test]
    fn a_named_host_is_whom_a_certificate_of_tcp_is_held_to() {
        for (tls, expected) in [(Some(Tls::default()), Some("db.example")), (None, None)] {
            let kind = CheckKind::Tcp(TcpCheck { tls, ..TcpCheck::new(Port::new(443).unwrap()) });
            let check = Check { kind, timing: Timing::default_for(Role::Liveness) };
            let named = place(Some("db.example"), None).named_in(check).unwrap().kind;
            let CheckKind::Tcp(TcpCheck { tls, .. }) = named else { panic!("it was TCP") };
            let name = tls.and_then(|tls| tls.server_name);
            assert_eq!(name.as_ref().map(ServerName::as_str), expected);
        }
    }

    #[test]
    fn what_cannot_be_a_place_is_wrong_usage() {
        for (text, address) in [
            ("http://a:b@web.example/", None),
            ("http://web.example/", Some("10.0.0.1")),
            ("http://::1/", None),
            ("http://[x]:80/", None),
            ("/x:80", Some("")),
            ("/x:80", Some("local host")),
            ("/x:80", Some("[::1")),
            ("/x:80", Some("web.example:80")),
            ("http://local host/", None),
            ("http://", None),
            ("http:///x", None),
            ("ftp://web.example/", None),
        ] {
            assert_eq!(of_http(text, address).unwrap_err().exit_code(), 2, "{text}");
        }
        assert_eq!(of_port("a:1", Some("b")).unwrap_err().exit_code(), 2);
    }
}
