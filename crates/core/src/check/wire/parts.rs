//! What several kinds of check have in common, as messages.

use warren_proto::v1 as pb;

use super::super::{Ca, Endpoint, NamedPort, Pattern, PortRef, ServerName, TextMatch, Tls, Trust};
use crate::{Invalid, bounds::Port, invalid::At, spec::AbsolutePath, wire::parsed};

/// The endpoint of a kind: each has a message of its own for it.
macro_rules! endpoint {
    ($check:ident) => {
        impl From<&Endpoint> for pb::$check::Endpoint {
            fn from(endpoint: &Endpoint) -> Self {
                match endpoint {
                    Endpoint::Port(PortRef::Number(port)) => Self::Port(port.get().into()),
                    Endpoint::Port(PortRef::Name(name)) => Self::PortName(name.to_string()),
                    Endpoint::Socket(path) => Self::Socket(path.as_str().to_owned()),
                }
            }
        }

        impl TryFrom<pb::$check::Endpoint> for Endpoint {
            type Error = Invalid;

            fn try_from(wire: pb::$check::Endpoint) -> Result<Self, Invalid> {
                use pb::$check::Endpoint as Wire;

                Ok(match wire {
                    Wire::Port(number) => Self::Port(port_number(number)?),
                    Wire::PortName(name) => Self::Port(port_name(&name)?),
                    Wire::Socket(path) => Self::Socket(AbsolutePath::new(path).at("socket")?),
                })
            }
        }
    };
}

endpoint!(http_check);
endpoint!(tcp_check);
endpoint!(grpc_check);

fn port_number(number: u32) -> Result<PortRef, Invalid> {
    Port::new(number).at("port").map(PortRef::Number)
}

fn port_name(name: &str) -> Result<PortRef, Invalid> {
    parsed("port_name", name).map(PortRef::Name)
}

impl From<&NamedPort> for pb::NamedPort {
    fn from(named: &NamedPort) -> Self {
        let NamedPort { name, port } = named;
        Self { name: name.to_string(), port: port.get().into() }
    }
}

impl TryFrom<pb::NamedPort> for NamedPort {
    type Error = Invalid;

    fn try_from(wire: pb::NamedPort) -> Result<Self, Invalid> {
        let pb::NamedPort { name, port } = wire;
        Ok(Self { name: parsed("name", &name)?, port: Port::new(port).at("port")? })
    }
}

impl From<&TextMatch> for pb::TextMatch {
    fn from(text: &TextMatch) -> Self {
        use pb::text_match::Pattern as Wire;

        let source = |pattern: &Pattern| pattern.as_str().to_owned();
        let pattern = match text {
            TextMatch::Contains(pattern) => Wire::Contains(source(pattern)),
            TextMatch::Regex(pattern) => Wire::Regex(source(pattern)),
        };
        Self { pattern: Some(pattern) }
    }
}

impl TryFrom<pb::TextMatch> for TextMatch {
    type Error = Invalid;

    fn try_from(wire: pb::TextMatch) -> Result<Self, Invalid> {
        use pb::text_match::Pattern as Wire;

        let pb::TextMatch { pattern } = wire;
        match pattern.ok_or_else(|| Invalid::missing("pattern"))? {
            Wire::Contains(text) => Self::contains(text).at("contains"),
            Wire::Regex(regex) => Self::regex(regex).at("regex"),
        }
    }
}

impl From<&Tls> for pb::Tls {
    fn from(tls: &Tls) -> Self {
        use pb::tls::{NodeRoots, Trust as Wire};

        let Tls { trust, server_name } = tls;
        let trust = match trust {
            Trust::Anyone => None,
            Trust::Node => Some(Wire::Node(NodeRoots {})),
            Trust::Ca(ca) => Some(Wire::Ca(ca.pem().to_owned())),
        };
        let name = server_name.as_ref().map(|name| name.as_str().to_owned());
        Self { trust, server_name: name.unwrap_or_default() }
    }
}

impl TryFrom<pb::Tls> for Tls {
    type Error = Invalid;

    fn try_from(wire: pb::Tls) -> Result<Self, Invalid> {
        use pb::tls::{NodeRoots, Trust as Wire};

        let pb::Tls { trust, server_name } = wire;
        let trust = match trust {
            None => Trust::Anyone,
            Some(Wire::Node(NodeRoots {})) => Trust::Node,
            Some(Wire::Ca(pem)) => Trust::Ca(Ca::new(pem).at("ca")?),
        };
        let server_name = match server_name.as_str() {
            "" => None,
            _ => Some(ServerName::new(server_name).at("server_name")?),
        };
        Ok(Self { trust, server_name })
    }
}
