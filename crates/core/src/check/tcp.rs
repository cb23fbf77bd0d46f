//! A connection, and perhaps a few words over it.

use super::{Endpoint, PortRef, TextMatch, Tls};
use crate::{Invalid, bounds::Port};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TcpCheck {
    pub endpoint: Endpoint,
    /// `None`: no TLS.
    pub tls: Option<Tls>,
    /// Sent once connected.
    pub send: Payload,
    /// What comes back, within its first 10 KiB, must match. `None`: the connection is enough.
    pub expect: Option<TextMatch>,
}

impl TcpCheck {
    /// A connection to `port`, and nothing more.
    pub fn new(port: Port) -> Self {
        let endpoint = Endpoint::Port(PortRef::Number(port));
        Self { endpoint, tls: None, send: Payload::default(), expect: None }
    }
}

/// At most 4 KiB, which every socket takes at once; perhaps nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Payload(Vec<u8>);

impl Payload {
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, Invalid> {
        let bytes = bytes.into();
        if bytes.len() <= 4096 {
            Ok(Self(bytes))
        } else {
            Err(Invalid::new("is longer than 4 KiB"))
        }
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}
