//! NATS: a message to ourselves and back.

use async_nats::{Client, connection::State};
use futures_util::StreamExt;

use crate::check::{Check, CheckError, Context, Details};

/// Sends a message to an inbox of its own and waits for it: a client's flush returns as soon as the
/// kernel has the bytes, also towards a server that has stopped.
///
/// ```no_run
/// # async fn build() -> Result<(), async_nats::ConnectError> {
/// # use vitals::Vitals;
/// let client = async_nats::connect("nats://queue").await?;
/// let health = Vitals::new("payments", "1.0.0").critical("nats", vitals::nats(client.clone()));
/// # drop(health);
/// # Ok(())
/// # }
/// ```
pub fn nats(client: Client) -> Nats {
    Nats { client }
}

/// See [`nats`].
#[derive(Debug, Clone)]
pub struct Nats {
    client: Client,
}

impl Check for Nats {
    async fn check(&self, _: Context) -> Result<Details, CheckError> {
        // Without a connection the client keeps messages until it has one.
        match self.client.connection_state() {
            State::Connected => {}
            State::Pending => return Err(CheckError::new("not connected yet")),
            State::Disconnected => return Err(CheckError::new("disconnected")),
        }
        let inbox = self.client.new_inbox();
        let mut received = self.client.subscribe(inbox.clone()).await?;
        self.client.publish(inbox, Vec::new().into()).await?;
        match received.next().await {
            Some(_) => Ok(Details::healthy()),
            None => Err(CheckError::new("disconnected before the message came back")),
        }
    }

    fn target(&self) -> Option<String> {
        let server = self.client.server_info();
        (!server.host.is_empty()).then(|| format!("{}:{}", server.host, server.port))
    }
}
