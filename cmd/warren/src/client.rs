//! The connection to a manager.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use tonic::transport::{Channel, Endpoint};
use warren_proto::v1::{
    database_client::DatabaseClient, events_client::EventsClient,
    health_api_client::HealthApiClient, images_client::ImagesClient, nodes_client::NodesClient,
    services_client::ServicesClient, tasks_client::TasksClient,
};

use crate::{failure::Failure, paths};

/// Who does not take a connection within this time is as good as gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// HTTP/2 pings find a peer that went away without a word, within the sum of the two.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// A list of 10,000 tasks with their templates and health is some 30 MiB.
const MESSAGE_MAX: usize = 64 * 1024 * 1024;

/// Where a manager listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    Unix(PathBuf),
    /// `host:port`
    Tcp(String),
}

impl Host {
    /// What the user said, else `WARREN_HOST`, else the socket in the default data directory.
    pub fn chosen(flag: Option<&str>) -> Result<Self, Failure> {
        if let Some(text) = flag {
            return Self::parse(text).map_err(|why| Failure::flag("--host", why));
        }
        match std::env::var("WARREN_HOST") {
            Ok(text) if !text.is_empty() => {
                Self::parse(&text).map_err(|why| Failure::flag("WARREN_HOST", why))
            }
            _ => {
                let dir = match std::env::var_os("WARREN_DATA_DIR") {
                    Some(dir) => PathBuf::from(dir),
                    None => {
                        paths::default_data_dir().context("cannot tell the manager's socket")?
                    }
                };
                Ok(Self::Unix(paths::socket(&dir)))
            }
        }
    }

    /// `unix:///path`, `/path`, `http://host:port` or `host:port`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let path = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:"));
        if let Some(path) = path.or_else(|| text.starts_with('/').then_some(text)) {
            return if path.starts_with('/') {
                Ok(Self::Unix(PathBuf::from(path)))
            } else {
                Err(format!("{text:?} has no absolute path"))
            };
        }
        if text.starts_with("https://") {
            return Err(format!("{text:?}: there is no TLS yet; use http:// or a socket"));
        }
        let authority = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let port = authority.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        match port.map(|(_, port)| port.parse::<u16>()) {
            Some(Ok(1..)) if !authority.contains('/') => Ok(Self::Tcp(authority.to_owned())),
            _ => Err(format!("{text:?} is not unix:///PATH, http://HOST:PORT or HOST:PORT")),
        }
    }

    pub fn endpoint(&self) -> anyhow::Result<Endpoint> {
        let endpoint = Endpoint::from_shared(self.to_string())
            .with_context(|| format!("cannot use the address {self}"))?;
        Ok(endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true))
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(authority) => write!(f, "http://{authority}"),
        }
    }
}

/// The API's services over one connection.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
}

impl Client {
    pub async fn connect(host: &Host) -> Result<Self, Failure> {
        match host.endpoint()?.connect().await {
            Ok(channel) => Ok(Self { channel }),
            Err(error) => Err(unreachable(host, &error)),
        }
    }

    pub fn services(&self) -> ServicesClient<Channel> {
        ServicesClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_MAX)
    }

    pub fn tasks(&self) -> TasksClient<Channel> {
        TasksClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_MAX)
    }

    pub fn nodes(&self) -> NodesClient<Channel> {
        NodesClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_MAX)
    }

    pub fn images(&self) -> ImagesClient<Channel> {
        ImagesClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_MAX)
    }

    pub fn health(&self) -> HealthApiClient<Channel> {
        HealthApiClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_MAX)
    }

    pub fn database(&self) -> DatabaseClient<Channel> {
        DatabaseClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_MAX)
    }

    pub fn events(&self) -> EventsClient<Channel> {
        EventsClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_MAX)
    }
}

/// A sentence that says what to do.
fn unreachable(host: &Host, error: &tonic::transport::Error) -> Failure {
    let cause = innermost(error);
    let denied = matches!(host, Host::Unix(_))
        && cause
            .downcast_ref()
            .is_some_and(|io: &std::io::Error| io.kind() == std::io::ErrorKind::PermissionDenied);
    let advice = if denied {
        "only the user that runs the manager may connect"
    } else {
        "is it running? Start one with 'warren run', or say where it is with --host"
    };
    Failure::Unreachable(format!("cannot reach the manager at {host}: {cause}; {advice}"))
}

fn innermost<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> &'a (dyn std::error::Error + 'static) {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_socket_or_a_tcp_address() {
        for (text, shown) in [
            ("unix:///run/warren.sock", "unix:///run/warren.sock"),
            ("unix:/run/warren.sock", "unix:///run/warren.sock"),
            ("/run/warren.sock", "unix:///run/warren.sock"),
            ("http://127.0.0.1:7470", "http://127.0.0.1:7470"),
            ("http://127.0.0.1:7470/", "http://127.0.0.1:7470"),
            ("localhost:7470", "http://localhost:7470"),
            ("[::1]:7470", "http://[::1]:7470"),
        ] {
            assert_eq!(Host::parse(text).map(|host| host.to_string()), Ok(shown.to_owned()));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "localhost", ":7470", "h:0", "h:70000", "h:1/x", "unix://x", "ftp://h:1"] {
            assert!(Host::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(
            Host::parse("https://h:1"),
            Err("\"https://h:1\": there is no TLS yet; use http:// or a socket".to_owned())
        );
    }
}
