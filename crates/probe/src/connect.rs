//! A connection to the task: to a port inside its network namespace, or to a unix socket among
//! its files.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
    time::Duration,
};

use nix::sys::stat::{SFlag, fstat};
use socket2::Domain;
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio_util::either::Either;
use warren_core::{
    check::{Endpoint, PortRef},
    outcome::Evidence,
    spec::AbsolutePath,
};

use crate::{Prober, Target, clause, end::End, trace::Trace};

/// Between two tries at a unix socket whose queue is full: the kernel does not say when it has
/// room again.
const QUEUE_FULL: Duration = Duration::from_millis(5);

/// Ends by RST when it is dropped.
pub(crate) type Stream = Either<TcpStream, UnixStream>;

/// Where an attempt goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer<'a> {
    Tcp(SocketAddr),
    Unix(&'a AbsolutePath),
}

impl<'a> Peer<'a> {
    pub(crate) fn of(target: &Target, endpoint: &'a Endpoint) -> Result<Self, End> {
        match endpoint {
            Endpoint::Port(port) => Self::of_port(target, port),
            Endpoint::Socket(path) => Ok(Self::Unix(path)),
        }
    }

    pub(crate) fn of_port(target: &Target, port: &PortRef) -> Result<Self, End> {
        match port {
            PortRef::Number(port) => Ok(Self::Tcp(SocketAddr::new(target.address, port.get()))),
            // A task's checks have numbers.
            PortRef::Name(name) => {
                let message = format!("no port of the task is called {name}");
                Err(End::inconclusive(clause::NAMED_PORT, message))
            }
        }
    }

    pub(crate) fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => f.write_str(path.as_str()),
        }
    }
}

pub(crate) async fn connect(
    prober: &Prober,
    target: &Target,
    peer: Peer<'_>,
    trace: &Trace,
) -> Result<Stream, End> {
    let stream = match peer {
        Peer::Tcp(address) => Either::Left(tcp(prober, target, address).await?),
        Peer::Unix(path) => Either::Right(unix(target, path).await?),
    };
    trace.connected();
    Ok(stream)
}

async fn tcp(prober: &Prober, target: &Target, peer: SocketAddr) -> Result<TcpStream, End> {
    let socket = prober.home.socket(target.netns.as_ref(), Domain::for_address(peer))?;
    let refuse = |error| End::of_io(&error, Peer::Tcp(peer), "");
    // No TIME_WAIT after the close, on either side. A linger time above zero does not shorten it.
    socket.set_linger(Some(Duration::ZERO)).map_err(refuse)?;
    let socket = TcpSocket::from_std_stream(socket.into());
    let stream = socket.connect(peer).await.map_err(refuse)?;
    // Where nobody listens on a port that the kernel also hands out to clients, a connection from
    // an address to itself may be given that very port, and then it meets itself.
    if stream.local_addr().is_ok_and(|local| local == peer) {
        let message = format!("connection refused by {peer}: it met only itself");
        return Err(End::fail(clause::NO_CONNECTION, Evidence::Refused, message));
    }
    Ok(stream)
}

async fn unix(target: &Target, path: &AbsolutePath) -> Result<UnixStream, End> {
    let refused = |why: &str| {
        let message = format!("connection refused by {}: {why}", path.as_str());
        End::fail(clause::SOCKET, Evidence::Refused, message)
    };
    let Some(socket) = target.files.find(path).await? else {
        return Err(refused("there is no such socket"));
    };
    let kind = fstat(&socket).map(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT);
    if kind != Ok(SFlag::S_IFSOCK) {
        return Err(refused("it is no socket"));
    }
    // The very file that was found, whatever its path leads to by now.
    let found = format!("/proc/self/fd/{}", socket.as_raw_fd());
    loop {
        match UnixStream::connect(&found).await {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(QUEUE_FULL).await;
            }
            Err(error) => return Err(End::of_io(&error, Peer::Unix(path), "")),
        }
    }
}
