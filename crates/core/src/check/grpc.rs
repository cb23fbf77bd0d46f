//! One call of `grpc.health.v1.Health/Check`.

use std::net::Ipv6Addr;

use super::{Endpoint, PortRef, ServerName, Tls};
use crate::{Invalid, bounds::Port};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GrpcCheck {
    pub endpoint: Endpoint,
    pub service: GrpcService,
    /// `None`: plain text.
    pub tls: Option<Tls>,
    /// `None`: the server name of `tls`, else the task's address.
    pub host: Option<GrpcHost>,
}

impl GrpcCheck {
    /// Asks the server as a whole, in plain text.
    pub fn new(port: Port) -> Self {
        Self {
            endpoint: Endpoint::Port(PortRef::Number(port)),
            service: GrpcService::default(),
            tls: None,
            host: None,
        }
    }
}

/// What to ask about: up to 1024 printable characters, or nothing for the server as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct GrpcService(String);

impl GrpcService {
    pub fn new(name: impl Into<String>) -> Result<Self, Invalid> {
        let name = name.into();
        if name.len() <= 1024 && !name.chars().any(char::is_control) {
            Ok(Self(name))
        } else {
            Err(Invalid::new("has control characters, or more than 1024 bytes"))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whom a call asks for, as `:authority` has it: a DNS name or an address, an IPv6 one in brackets,
/// and perhaps a port after it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GrpcHost(String);

impl GrpcHost {
    pub fn new(host: impl Into<String>) -> Result<Self, Invalid> {
        let host = host.into();
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
            Some(_) | None => (host.as_str(), None),
        };
        let is_port = |port: &str| {
            port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse().is_ok_and(|n: u16| n > 0)
        };
        let is_name = match name.strip_prefix('[') {
            Some(rest) => {
                rest.strip_suffix(']').is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok())
            }
            None => !name.contains(':') && ServerName::new(name).is_ok(),
        };
        if is_name && port.is_none_or(is_port) {
            Ok(Self(host))
        } else {
            let why = format!("{host:?} is not NAME or NAME:PORT, an IPv6 address in [brackets]");
            Err(Invalid::new(why))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C-110.
    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for host in
            ["cart.example", "cart", "cart_1.example:443", "10.0.0.7:80", "[::1]", "[::1]:80"]
        {
            assert_eq!(GrpcHost::new(host).unwrap().as_str(), host);
        }
        for wrong in
            ["", ":80", "a b", "a:0", "a:70000", "a:+1", "::1", "[a]:80", "http://a", "a/b"]
        {
            let why = format!("{wrong:?} is not NAME or NAME:PORT, an IPv6 address in [brackets]");
            assert_eq!(GrpcHost::new(wrong).unwrap_err().to_string(), why);
        }
    }
}
