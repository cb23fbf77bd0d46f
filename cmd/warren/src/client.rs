//! The connection to a manager.

mod tls;

use std::{error::Error as StdError, path::PathBuf, time::Duration};

use anyhow::Context;
use tonic::{
    body::Body,
    codegen::http,
    transport::{Channel, Endpoint},
};
use tower::ServiceExt;
use warren_proto::v1::{
    database_client::DatabaseClient, events_client::EventsClient,
    health_api_client::HealthApiClient, images_client::ImagesClient, nodes_client::NodesClient,
    services_client::ServicesClient, tasks_client::TasksClient,
};

use self::tls::ClientTls;
use crate::{cli::TlsArgs, failure::Failure, paths, tls::Own};

/// Who does not take a connection within this time is as good as gone.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
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
    /// The same, over TLS.
    Tls(String, ClientTls),
}

impl Host {
    /// What the user said, else `WARREN_HOST`, else the socket in the default data directory.
    pub fn chosen(flag: Option<&str>, tls: &TlsArgs) -> Result<Self, Failure> {
        if let Some(text) = flag {
            return Self::told("--host", text, tls);
        }
        match std::env::var("WARREN_HOST") {
            Ok(text) if !text.is_empty() => Self::told("WARREN_HOST", &text, tls),
            _ => {
                let dir = match std::env::var_os("WARREN_DATA_DIR") {
                    Some(dir) => PathBuf::from(dir),
                    None => {
                        paths::default_data_dir().context("cannot tell the manager's socket")?
                    }
                };
                ClientTls::not_for("a socket", tls)?;
                Ok(Self::Unix(paths::socket(&dir)))
            }
        }
    }

    /// `unix:///path`, `/path`, `http://host:port`, `https://host:port` or `host:port`.
    pub fn told(flag: &str, text: &str, tls: &TlsArgs) -> Result<Self, Failure> {
        let wrong = |why: String| Failure::flag(flag, why);
        let path = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:"));
        if let Some(path) = path.or_else(|| text.starts_with('/').then_some(text)) {
            ClientTls::not_for("a socket", tls)?;
            return if path.starts_with('/') {
                Ok(Self::Unix(PathBuf::from(path)))
            } else {
                Err(wrong(format!("{text:?} has no absolute path")))
            };
        }
        let secret = text.strip_prefix("https://");
        let rest = secret.or_else(|| text.strip_prefix("http://")).unwrap_or(text);
        let authority = rest.trim_end_matches('/');
        let (name, port) = authority.rsplit_once(':').unwrap_or_default();
        let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
        if name.is_empty() || !is_port || authority.contains('/') {
            let shapes = "unix:///PATH, https://HOST:PORT, http://HOST:PORT or HOST:PORT";
            return Err(wrong(format!("{text:?} is not {shapes}")));
        }
        if secret.is_some() {
            let tls = ClientTls::read(flag, name, tls)?;
            return Ok(Self::Tls(authority.to_owned(), tls));
        }
        ClientTls::not_for("an address without https:// before it", tls)?;
        Ok(Self::Tcp(authority.to_owned()))
    }

    /// That it shows to the manager.
    pub fn certificate(&self) -> Option<&Own> {
        match self {
            Self::Tls(_, tls) => tls.own.as_ref(),
            Self::Unix(_) | Self::Tcp(_) => None,
        }
    }

    pub fn endpoint(&self) -> anyhow::Result<Endpoint> {
        let endpoint = Endpoint::from_shared(self.to_string())
            .with_context(|| format!("cannot use the address {self}"))?;
        let endpoint = match self {
            Self::Tls(_, tls) => endpoint
                .tls_config(tls.config())
                .with_context(|| format!("cannot set up TLS for {self}"))?,
            Self::Unix(_) | Self::Tcp(_) => endpoint,
        };
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
            Self::Tls(authority, _) => write!(f, "https://{authority}"),
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
            Ok(channel) => {
                greet(host, &channel).await?;
                Ok(Self { channel })
            }
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

/// One turn, whatever the answer. With TLS 1.3 a server refuses a client after that one believes
/// itself connected, and who speaks the wrong protocol is found out no sooner.
async fn greet(host: &Host, channel: &Channel) -> Result<(), Failure> {
    if matches!(host, Host::Unix(_)) {
        return Ok(());
    }
    let request = http::Request::post("/").body(Body::empty()).context("cannot ask")?;
    let answer = channel.clone().oneshot(request);
    match tokio::time::timeout(CONNECT_TIMEOUT, answer).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(refused(host, &error)),
        Err(_) => {
            let why = "it has not answered within 5 s";
            Err(Failure::Unreachable(format!("cannot reach the manager at {host}: {why}")))
        }
    }
}

/// A sentence that says what to do.
fn unreachable(host: &Host, error: &tonic::transport::Error) -> Failure {
    let cause = innermost(error);
    if let Some((why, advice)) = tls::explain(host, error) {
        return sentence(host, &why, advice);
    }
    let denied = matches!(host, Host::Unix(_))
        && cause
            .downcast_ref()
            .is_some_and(|io: &std::io::Error| io.kind() == std::io::ErrorKind::PermissionDenied);
    let advice = if denied {
        "only the user that runs the manager may connect"
    } else {
        "is it running? Start one with 'warren run', or say where it is with --host"
    };
    sentence(host, &cause.to_string(), advice)
}

/// Somebody listens there, and it came to nothing.
fn refused(host: &Host, error: &(dyn StdError + 'static)) -> Failure {
    let explained = tls::explain(host, error);
    let (why, advice) = explained.unwrap_or_else(|| tls::turned_away(host, innermost(error)));
    sentence(host, &why, advice)
}

fn sentence(host: &Host, why: &str, advice: &str) -> Failure {
    Failure::Unreachable(format!("cannot reach the manager at {host}: {why}; {advice}"))
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

    fn told(text: &str) -> Result<String, String> {
        let host = Host::told("--host", text, &TlsArgs::default());
        host.map(|host| host.to_string()).map_err(|failure| failure.to_string())
    }

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
            assert_eq!(told(text), Ok(shown.to_owned()));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "localhost",
            ":7470",
            "h:0",
            "h:70000",
            "h:1/x",
            "unix://x",
            "ftp://h:1",
            "https://h",
            "https://h:x",
        ] {
            assert!(told(text).is_err(), "{text:?}");
        }
    }
}
