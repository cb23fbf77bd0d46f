//! A connection to the task.

use std::{net::SocketAddr, time::Duration};

use socket2::Domain;
use tokio::net::{TcpSocket, TcpStream};
use warren_core::{bounds::Port, outcome::Evidence};

use crate::{Target, clause, end::End, netns::Home, trace::Trace};

pub(crate) fn peer(target: &Target, port: Port) -> SocketAddr {
    SocketAddr::new(target.address, port.get())
}

/// Connects from inside the task's namespace. The stream ends by RST when it is dropped.
pub(crate) async fn connect(
    home: &Home,
    target: &Target,
    peer: SocketAddr,
    trace: &Trace,
) -> Result<TcpStream, End> {
    let socket = home.socket(target.netns.as_ref(), Domain::for_address(peer))?;
    let refuse = |error| End::of_io(&error, peer, "");
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
    trace.connected();
    Ok(stream)
}
