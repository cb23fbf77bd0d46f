//! What one health flag's value means.

use std::fs;

use warren_core::{
    Invalid,
    bounds::Port,
    check::{Ca, CheckKind, Endpoint, NamedPort, PortRef, Role, ServerName, Tls, Trust},
    invalid::At,
    spec::AbsolutePath,
};

use super::{Kind, http, keys::once, kinds};
use crate::values;

/// Where a check is spelled, and what may be left to that.
pub enum Context<'a> {
    Service {
        /// The port of the tasks, where the service publishes exactly one.
        only_port: Option<Port>,
        /// What the service calls its ports.
        ports: &'a [NamedPort],
    },
    /// An attempt by hand, which may name a host.
    ByHand,
}

impl Context<'_> {
    /// That `text` is none of the spellings that there are here.
    pub fn unlike(&self, text: &str, of_service: &str, by_hand: &str) -> Invalid {
        let like = match self {
            Self::Service { .. } => of_service,
            Self::ByHand => by_hand,
        };
        Invalid::new(format!("{text:?} is not {like}"))
    }
}

/// The keys of a role's timing.
pub fn timing_keys(role: Role) -> Vec<&'static str> {
    let every =
        ["period", "timeout", "failures", "successes", "delay", "confirm", "start-interval"];
    let own: &[&str] = match role {
        Role::Startup => &["start-period", "min-failing", "stop-grace-period"],
        Role::Liveness => &["min-failing", "flapping", "stop-grace-period"],
        Role::Readiness => &["flapping"],
    };
    every.iter().chain(own).copied().collect()
}

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
    context: &Context<'_>,
) -> Result<Spelling, Invalid> {
    match kind {
        Kind::Http => http::http(text, timing, context),
        Kind::Tcp => kinds::tcp(text, timing, context),
        Kind::Grpc => kinds::grpc(text, timing, context),
        Kind::File => kinds::file(text, timing),
        Kind::Cmd => kinds::cmd(text, timing),
    }
}

/// The timing keys among all.
#[derive(Default)]
pub struct TimingKeys(pub Vec<(String, String)>);

impl TimingKeys {
    pub fn add(&mut self, key: &str, value: &str) -> Result<(), Invalid> {
        if self.0.iter().any(|(known, _)| known == key) {
            return Err(Invalid::new("is there twice").at(key));
        }
        self.0.push((key.to_owned(), value.to_owned()));
        Ok(())
    }
}

/// What was said about certificates so far.
#[derive(Default)]
pub struct TlsKeys {
    trust: Option<Trust>,
    server_name: Option<ServerName>,
}

impl TlsKeys {
    pub fn add(&mut self, key: &str, value: &str) -> Result<(), Invalid> {
        match key {
            "tls" => once(&mut self.trust, key, trust(value).at(key)?),
            _ => once(&mut self.server_name, key, ServerName::new(value).at(key)?),
        }
    }

    /// `None`: nothing was said.
    pub fn finish(self) -> Option<Tls> {
        let Self { trust, server_name } = self;
        match (trust, server_name) {
            (None, None) => None,
            (None, server_name) => Some(Tls { server_name, ..Tls::default() }),
            (Some(trust), server_name) => Some(Tls { trust, server_name }),
        }
    }
}

/// `any`, `node`, or the file of a CA, which is read here and kept in the spec.
fn trust(text: &str) -> Result<Trust, Invalid> {
    match text {
        "any" => return Ok(Trust::Anyone),
        "node" => return Ok(Trust::Node),
        text if text.contains(['/', '.']) => {}
        _ => {
            let why = format!("{text:?} is not any, node or a CA's file such as ./ca.pem");
            return Err(Invalid::new(why));
        }
    }
    let pem = fs::read_to_string(text)
        .map_err(|error| Invalid::new(format!("cannot read {text:?}: {error}")))?;
    Ca::new(pem).map(Trust::Ca).map_err(|invalid| Invalid::new(format!("{text:?} {invalid}")))
}

pub fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// A number, or one of the names that `--port` gave.
pub fn port_ref(text: &str, context: &Context<'_>) -> Result<PortRef, Invalid> {
    if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Port::new(values::count(text)?).map(PortRef::Number);
    }
    let ports = match context {
        Context::Service { ports, .. } => ports,
        Context::ByHand => {
            let why = format!("{text:?} is not a number, and only a service's ports have names");
            return Err(Invalid::new(why));
        }
    };
    if let Some(port) = ports.iter().find(|port| port.name.as_str() == text) {
        return Ok(PortRef::Name(port.name.clone()));
    }
    let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
    let known = match names.as_slice() {
        [] => format!("say --port {text}=NUMBER"),
        names => format!("there are {}", names.join(", ")),
    };
    Err(Invalid::new(format!("no port is called {text}; {known}")))
}

/// A port, a socket, or the one port that the service publishes. `by_hand` is what to say where
/// there is no service.
pub fn endpoint(
    port: Option<PortRef>,
    socket: Option<AbsolutePath>,
    context: &Context<'_>,
    by_hand: &str,
) -> Result<Endpoint, Invalid> {
    let required = |why: &str| Err(Invalid::new(format!("is required{why}")).at("port"));
    match (port, socket, context) {
        (Some(_), Some(_), _) => Err(Invalid::new("contradicts port").at("socket")),
        (None, Some(path), _) => Ok(Endpoint::Socket(path)),
        (Some(port), None, _) => Ok(Endpoint::Port(port)),
        (None, None, Context::Service { only_port: Some(port), .. }) => {
            Ok(Endpoint::Port(PortRef::Number(*port)))
        }
        (None, None, Context::Service { only_port: None, .. }) => {
            required(", since the service does not publish exactly one TCP port")
        }
        (None, None, Context::ByHand) => required(&format!("; say {by_hand}")),
    }
}
