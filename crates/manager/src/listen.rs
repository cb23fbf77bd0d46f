//! Where the manager is reached. Bound before anything is announced.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
};

use thiserror::Error;
use tokio::{
    io::DuplexStream,
    net::{TcpListener, UnixListener, UnixStream},
    sync::mpsc,
};
use tonic::transport::ServerTlsConfig;

/// Takes connections.
#[derive(Debug)]
pub enum Listener {
    Unix {
        listener: UnixListener,
        path: PathBuf,
    },
    Tcp(TcpListener),
    Tls(TcpListener, Box<ServerTlsConfig>),
    /// Connections within the process, for tests and simulation.
    Memory(mpsc::Receiver<DuplexStream>),
}

/// The manager cannot be reached where it should be.
#[derive(Debug, Error)]
pub enum BindFault {
    #[error(
        "another manager listens on {}: end it, or choose another socket",
        path.display()
    )]
    UnixInUse { path: PathBuf },
    #[error(
        "{} is there and is not a socket: remove it, or choose another path",
        path.display()
    )]
    NotASocket { path: PathBuf },
    #[error(
        "cannot listen on {}: see that its directory is there and writable for this user, and \
         that the path is shorter than 108 bytes",
        path.display()
    )]
    Unix {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("another process listens on {address}: end it, or choose another address")]
    TcpInUse { address: SocketAddr },
    #[error(
        "cannot listen on {address}: see that this machine has the address and that this user may \
         use the port"
    )]
    Tcp {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
}

/// Listens on a socket that only this user reaches. What a manager that died has left there is
/// removed; its directory is made.
pub async fn bind_unix(path: &Path) -> Result<Listener, BindFault> {
    let fault = |source| BindFault::Unix { path: path.to_owned(), source };
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(fault)?;
    }
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            if UnixStream::connect(path).await.is_ok() {
                return Err(BindFault::UnixInUse { path: path.to_owned() });
            }
            fs::remove_file(path).map_err(fault)?;
        }
        Ok(_) => return Err(BindFault::NotASocket { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(fault(error)),
    }
    let listener = UnixListener::bind(path).map_err(fault)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(fault)?;
    Ok(Listener::Unix { listener, path: path.to_owned() })
}

/// Over TLS where that is set up.
pub async fn bind_tcp(
    address: SocketAddr,
    tls: Option<ServerTlsConfig>,
) -> Result<Listener, BindFault> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(match tls {
            Some(tls) => Listener::Tls(listener, Box::new(tls)),
            None => Listener::Tcp(listener),
        }),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(BindFault::TcpInUse { address })
        }
        Err(source) => Err(BindFault::Tcp { address, source }),
    }
}

impl Listener {
    /// Where it can be dialled over TCP; tells the port when 0 was asked for.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) | Self::Tls(listener, _) => listener.local_addr().ok(),
            Self::Unix { .. } | Self::Memory(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_of_a_living_manager_is_left_alone_and_a_stale_one_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/warren.sock");
        let first = bind_unix(&path).await.unwrap();
        let second = bind_unix(&path).await.unwrap_err();
        assert!(matches!(second, BindFault::UnixInUse { .. }), "{second}");
        // Dropping the listener leaves the file behind, as a killed process does.
        drop(first);
        assert!(path.exists());
        bind_unix(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn what_is_in_the_way_is_named_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("warren.sock");
        fs::write(&path, "mine").unwrap();
        let fault = bind_unix(&path).await.unwrap_err();
        assert!(matches!(fault, BindFault::NotASocket { .. }), "{fault}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[tokio::test]
    async fn a_port_in_use_is_said_so() {
        let first = bind_tcp("127.0.0.1:0".parse().unwrap(), None).await.unwrap();
        let address = first.tcp_address().unwrap();
        let fault = bind_tcp(address, None).await.unwrap_err();
        assert_eq!(
            fault.to_string(),
            format!("another process listens on {address}: end it, or choose another address")
        );
    }
}
