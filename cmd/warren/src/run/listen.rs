//! The addresses of a manager.

use std::{
    fmt,
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use anyhow::Result;
use warren_manager::{Listener, bind_tcp, bind_unix};

use super::settings::Home;
use crate::{
    cli::{TlsArgs, process::ListenArgs},
    failure::Failure,
    tls::{Own, ServerTls},
};

/// Where to listen besides the socket, and how.
#[derive(Debug, PartialEq, Eq)]
pub struct Listening {
    addresses: Vec<SocketAddr>,
    tls: Option<ServerTls>,
}

/// Where it does listen.
#[derive(Debug)]
pub struct Bound {
    socket: PathBuf,
    tcp: Vec<SocketAddr>,
    scheme: &'static str,
}

impl Listening {
    pub fn checked(args: &ListenArgs, tls: &TlsArgs) -> Result<Self, Failure> {
        let tls = ServerTls::checked(tls, args.tls_client_ca.as_deref())?;
        if args.listen.iter().any(|text| text == "none") {
            return match &tls {
                _ if args.listen.len() > 1 => {
                    Err(Failure::flag("--listen", "none contradicts the other addresses"))
                }
                Some(_) => {
                    let why = "the socket has no TLS, and there is no other address: add --listen";
                    Err(Failure::flag("--tls-cert", why))
                }
                None => Ok(Self { addresses: Vec::new(), tls }),
            };
        }
        let mut addresses = Vec::new();
        for text in &args.listen {
            let address = address(text).map_err(|why| Failure::flag("--listen", why))?;
            if !address.ip().is_loopback() && !args.insecure_listen_anywhere {
                guarded(address, tls.as_ref())?;
            }
            addresses.push(address);
        }
        Ok(Self { addresses, tls })
    }

    /// That it shows to clients.
    pub fn certificate(&self) -> Option<&Own> {
        self.tls.as_ref().map(|tls| &tls.own)
    }

    /// All of them, or none and a sentence.
    pub async fn bind(&self, home: &Home) -> Result<(Bound, Vec<Listener>)> {
        let socket = home.socket();
        let mut listeners = vec![bind_unix(&socket).await?];
        for &address in &self.addresses {
            if !address.ip().is_loopback() && guarded(address, self.tls.as_ref()).is_err() {
                tracing::warn!(%address, "whoever reaches the API controls the cluster");
            }
            let tls = self.tls.as_ref().map(ServerTls::config);
            listeners.push(bind_tcp(address, tls).await?);
        }
        let tcp = listeners.iter().filter_map(Listener::tcp_address).collect();
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        Ok((Bound { socket, tcp, scheme }, listeners))
    }
}

/// Whether strangers are kept out of an address that they may reach.
fn guarded(address: SocketAddr, tls: Option<&ServerTls>) -> Result<(), Failure> {
    let (lack, flags) = match tls {
        Some(tls) if tls.is_mutual() => return Ok(()),
        Some(_) => ("TLS without --tls-client-ca lets anybody in", "--tls-client-ca"),
        None => ("it would have no TLS", "--tls-cert, --tls-key and --tls-client-ca"),
    };
    let why = format!(
        "{address} is not a loopback address, and {lack}: who reaches it controls the cluster; \
         add {flags}, or, if you want that, --insecure-listen-anywhere"
    );
    Err(Failure::flag("--listen", why))
}

pub fn address(text: &str) -> Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse().map_err(|_| format!("{text:?} is not an address such as 127.0.0.1:7470, or none"))
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix://{}", self.socket.display())?;
        self.tcp.iter().try_for_each(|address| write!(f, " {}://{address}", self.scheme))
    }
}

/// Tells whoever started the process that it can be used now. Nobody has to listen.
pub fn announce(what: &str) {
    let mut out = io::stdout().lock();
    drop(writeln!(out, "warren is ready: {what}").and_then(|()| out.flush()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(listen: &[&str], anywhere: bool) -> Result<Vec<String>, String> {
        let listen = listen.iter().map(ToString::to_string).collect();
        let args = ListenArgs { listen, tls_client_ca: None, insecure_listen_anywhere: anywhere };
        let checked = Listening::checked(&args, &TlsArgs::default());
        let checked = checked.map_err(|failure| failure.to_string())?;
        Ok(checked.addresses.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn loopback_is_free_and_anything_else_takes_a_flag() {
        let ok = |addresses: &[&str]| Ok(addresses.iter().map(ToString::to_string).collect());
        assert_eq!(
            checked(&["127.0.0.1:7470", "[::1]:1"], false),
            ok(&["127.0.0.1:7470", "[::1]:1"])
        );
        assert_eq!(checked(&["localhost:0"], false), ok(&["127.0.0.1:0"]));
        assert_eq!(checked(&["none"], false), ok(&[]));
        assert_eq!(checked(&["0.0.0.0:1"], true), ok(&["0.0.0.0:1"]));
        let refused = checked(&["0.0.0.0:1"], false).unwrap_err();
        let advice = "add --tls-cert, --tls-key and --tls-client-ca, or, if you want that, \
                      --insecure-listen-anywhere";
        assert!(refused.ends_with(advice), "{refused}");
        assert_eq!(
            checked(&["none", "127.0.0.1:1"], false),
            Err("--listen: none contradicts the other addresses".to_owned())
        );
        assert_eq!(
            checked(&["7470"], false),
            Err("--listen: \"7470\" is not an address such as 127.0.0.1:7470, or none".to_owned())
        );
    }
}
