//! A connection to the task: to a port inside its network namespace, or to a unix socket among
//! its files.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::stat::{SFlag, fstat},
};
use socket2::Domain;
use tokio::net::UnixStream;
use tokio_util::either::Either;
use warren_core::{
    check::{Endpoint, PortRef},
    outcome::Evidence,
    spec::AbsolutePath,
};

use crate::{
    Prober, Target, clause,
    end::{End, errno},
    socket::Tcp,
    trace::Trace,
};

/// Between two tries at a unix socket whose queue is full: the kernel does not say when it has
/// room again.
const QUEUE_FULL: Duration = Duration::from_millis(5);

/// Ends by RST when it is dropped.
pub(crate) type Stream = Either<Tcp, UnixStream>;

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

    fn of_port(target: &Target, port: &PortRef) -> Result<Self, End> {
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
    Ok(connect_and_send(prober, target, peer, &[], trace).await?.0)
}

/// Connects and sends the beginning of `request`; how much of it.
pub(crate) async fn connect_and_send(
    prober: &Prober,
    target: &Target,
    peer: Peer<'_>,
    request: &[u8],
    trace: &Trace,
) -> Result<(Stream, usize), End> {
    let (stream, sent) = match peer {
        Peer::Tcp(address) => {
            let (stream, sent) = tcp(prober, target, address, request).await?;
            (Either::Left(stream), sent)
        }
        Peer::Unix(path) => (Either::Right(Box::pin(unix(target, path)).await?), 0),
    };
    trace.connected();
    Ok((stream, sent))
}

/// On the same machine the peer's kernel has mostly answered when `connect` returns, and then
/// nothing has to be waited for.
async fn tcp(
    prober: &Prober,
    target: &Target,
    peer: SocketAddr,
    request: &[u8],
) -> Result<(Tcp, usize), End> {
    let socket = prober.home.socket(target.netns.as_ref(), Domain::for_address(peer))?;
    let refuse = |error| End::of_io(&error, Peer::Tcp(peer), "");
    // No TIME_WAIT after the close, on either side. A linger time above zero does not shorten it.
    socket.set_linger(Some(Duration::ZERO)).map_err(refuse)?;
    match socket.connect(&peer.into()) {
        Err(error) if errno(&error) != Some(Errno::EINPROGRESS) => return Err(refuse(error)),
        Ok(()) | Err(_) => {}
    }
    let sent = match request {
        [] => socket.peer_addr().is_ok().then_some(0),
        request => match socket.send(request) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            // Connected, and reset by now: what it has said before that is still to be read.
            Err(error) if matches!(errno(&error), Some(Errno::ECONNRESET | Errno::EPIPE)) => {
                Some(0)
            }
            Err(error) => return Err(refuse(error)),
        },
    };
    let mut stream = Tcp::new(socket);
    if sent.is_none() {
        stream.connected().await.map_err(refuse)?;
    }
    if request.is_empty() && meets_itself(&stream, peer) {
        return Err(met_itself(peer));
    }
    Ok((stream, sent.unwrap_or_default()))
}

/// What an exchange has come to that began with the connection. An HTTP/1 request that comes back
/// is no answer, so whether it met itself need not be asked before that fails.
pub(crate) fn or_met_itself<T>(
    came_to: Result<T, End>,
    stream: &Stream,
    peer: Peer<'_>,
) -> Result<T, End> {
    match (came_to, stream, peer) {
        (Err(_), Either::Left(stream), Peer::Tcp(peer)) if meets_itself(stream, peer) => {
            Err(met_itself(peer))
        }
        (came_to, _, _) => came_to,
    }
}

/// Where nobody listens on a port that the kernel also hands out to clients, a connection from an
/// address to itself may be given that very port, and then it meets itself.
fn meets_itself(stream: &Tcp, peer: SocketAddr) -> bool {
    stream.local_addr().is_ok_and(|local| local == peer)
}

fn met_itself(peer: SocketAddr) -> End {
    let message = format!("connection refused by {peer}: it met only itself");
    End::fail(clause::NO_CONNECTION, Evidence::Refused, message)
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
