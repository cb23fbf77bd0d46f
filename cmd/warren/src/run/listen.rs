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
use crate::{cli::process::ListenArgs, failure::Failure};

/// Where to listen besides the socket.
#[derive(Debug, PartialEq, Eq)]
pub struct Listening(Vec<SocketAddr>);

/// Where it does listen.
#[derive(Debug)]
pub struct Bound {
    socket: PathBuf,
    tcp: Vec<SocketAddr>,
}

impl Listening {
    pub fn checked(args: &ListenArgs) -> Result<Self, Failure> {
        if args.listen.iter().any(|text| text == "none") {
            return if args.listen.len() == 1 {
                Ok(Self(Vec::new()))
            } else {
                Err(Failure::flag("--listen", "none contradicts the other addresses"))
            };
        }
        let mut addresses = Vec::new();
        for text in &args.listen {
            let address = address(text).map_err(|why| Failure::flag("--listen", why))?;
            if !address.ip().is_loopback() && !args.insecure_listen_anywhere {
                let why = format!(
                    "{address} is not a loopback address, and there is no TLS yet: who reaches \
                     it controls the cluster; if you want that, add --insecure-listen-anywhere"
                );
                return Err(Failure::flag("--listen", why));
            }
            addresses.push(address);
        }
        Ok(Self(addresses))
    }

    /// All of them, or none and a sentence.
    pub async fn bind(&self, home: &Home) -> Result<(Bound, Vec<Listener>)> {
        let socket = home.socket();
        let mut listeners = vec![bind_unix(&socket).await?];
        for &address in &self.0 {
            if !address.ip().is_loopback() {
                tracing::warn!(%address, "the API has no TLS: who reaches it controls the cluster");
            }
            listeners.push(bind_tcp(address).await?);
        }
        let tcp = listeners.iter().filter_map(Listener::tcp_address).collect();
        Ok((Bound { socket, tcp }, listeners))
    }
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
        self.tcp.iter().try_for_each(|address| write!(f, " http://{address}"))
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
        let args = ListenArgs { listen, insecure_listen_anywhere: anywhere };
        let checked = Listening::checked(&args).map_err(|failure| failure.to_string())?;
        Ok(checked.0.iter().map(ToString::to_string).collect())
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
        assert!(refused.ends_with("add --insecure-listen-anywhere"), "{refused}");
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
