//! Whether somebody accepts connections.

use tokio::net::TcpStream;

use crate::check::{Check, CheckError, Context, Details};

/// Connects to `host:port` and leaves again. It proves that something listens, no more: prefer a
/// check that asks a question.
pub fn tcp(address: impl Into<String>) -> Tcp {
    Tcp { address: address.into() }
}

/// See [`tcp`].
#[derive(Debug, Clone)]
pub struct Tcp {
    address: String,
}

impl Check for Tcp {
    async fn check(&self, _: Context) -> Result<Details, CheckError> {
        TcpStream::connect(&self.address).await?;
        Ok(Details::healthy())
    }

    fn target(&self) -> Option<String> {
        Some(self.address.clone())
    }
}
