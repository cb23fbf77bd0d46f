//! Where a check goes: to a port of the task, or to a unix socket among its files. Never to
//! another host.

use std::{fmt, str::FromStr};

use super::{Check, CheckKind, Checks, Role};
use crate::{
    Invalid,
    bounds::Port,
    invalid::At,
    spec::{AbsolutePath, is_label},
};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    Port(PortRef),
    /// A unix socket.
    Socket(AbsolutePath),
}

/// A port, by its number or by the name that the service gave it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PortRef {
    Number(Port),
    /// One of [`TaskTemplate::ports`](crate::spec::TaskTemplate::ports). A task's own checks have
    /// the number in its place.
    Name(PortName),
}

/// A port of a task and what its service calls it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NamedPort {
    pub name: PortName,
    pub port: Port,
}

/// 1-63 characters of a-z, 0-9 and '-', beginning with a letter and not ending with '-'.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortName(String);

impl PortName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PortName {
    type Err = Invalid;

    fn from_str(name: &str) -> Result<Self, Invalid> {
        if is_label(name) {
            Ok(Self(name.to_owned()))
        } else {
            Err(Invalid::new(format!(
                "{name:?} is not a port's name: 1-63 characters of a-z, 0-9 and '-', beginning \
                 with a letter and not ending with '-'"
            )))
        }
    }
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for PortRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(port) => port.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl PortRef {
    /// Puts the number in the place of a name.
    fn bind(&mut self, ports: &[NamedPort]) -> Result<(), Invalid> {
        let Self::Name(name) = self else { return Ok(()) };
        let Some(named) = ports.iter().find(|named| named.name == *name) else {
            let names: Vec<_> = ports.iter().map(|named| named.name.as_str()).collect();
            let known = match names.as_slice() {
                [] => "the service names none".to_owned(),
                names => format!("there are {}", names.join(", ")),
            };
            return Err(Invalid::new(format!("no port is called {name}; {known}")).at("port_name"));
        };
        *self = Self::Number(named.port);
        Ok(())
    }
}

impl Checks {
    /// Puts the numbers of `ports` in the place of their names.
    pub fn bind_ports(&mut self, ports: &[NamedPort]) -> Result<(), Invalid> {
        for role in Role::ALL {
            if let Some(Check { kind, timing: _ }) = self.get_mut(role) {
                kind.bind_ports(ports).at(role.name())?;
            }
        }
        Ok(())
    }
}

impl CheckKind {
    fn bind_ports(&mut self, ports: &[NamedPort]) -> Result<(), Invalid> {
        let field = self.name();
        match self {
            Self::Http(http) => http.endpoint.bind(ports).at(field),
            Self::Grpc(grpc) => grpc.endpoint.bind(ports).at(field),
            Self::Tcp(tcp) => tcp.endpoint.bind(ports).at(field),
            Self::Exec(_) | Self::File(_) => Ok(()),
            Self::All(whole) | Self::Any(whole) => {
                for (index, part) in whole.as_mut_slice().iter_mut().enumerate() {
                    part.bind_ports(ports)
                        .map_err(|invalid| invalid.at_index(index).at("checks").at(field))?;
                }
                Ok(())
            }
        }
    }
}

impl Endpoint {
    fn bind(&mut self, ports: &[NamedPort]) -> Result<(), Invalid> {
        match self {
            Self::Port(port) => port.bind(ports),
            Self::Socket(_) => Ok(()),
        }
    }
}
