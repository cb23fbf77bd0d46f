//! One call of `grpc.health.v1.Health/Check`.

use super::{Endpoint, PortRef, Tls};
use crate::{Invalid, bounds::Port};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GrpcCheck {
    pub endpoint: Endpoint,
    pub service: GrpcService,
    /// `None`: plain text.
    pub tls: Option<Tls>,
}

impl GrpcCheck {
    /// Asks the server as a whole, in plain text.
    pub fn new(port: Port) -> Self {
        Self {
            endpoint: Endpoint::Port(PortRef::Number(port)),
            service: GrpcService::default(),
            tls: None,
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
