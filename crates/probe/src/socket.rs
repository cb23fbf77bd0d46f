//! A TCP connection that is watched only where it has to be waited for.
//!
//! On the same machine an answer mostly takes less time than it takes to ask the others that are
//! due at the same moment. So the others go first, and then the answer is there: nothing has to be
//! registered, woken and taken out again, which costs more than the read itself.

use std::{
    future::poll_fn,
    io::{self, IoSlice, Read},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use socket2::Socket;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

#[derive(Debug)]
pub(crate) enum Tcp {
    /// Nothing has had to be waited for.
    Alone(Socket, Turn),
    Watched(TcpStream),
    /// It cannot be watched.
    Lost,
}

/// Who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Something was sent just now: the others.
    Theirs,
    Ours,
}

/// Lets the others that are due at this moment come as far as this.
pub(crate) async fn after_you() {
    let mut turn = Turn::Theirs;
    poll_fn(|cx| turn.come(cx)).await;
}

impl Turn {
    fn come(&mut self, cx: &Context<'_>) -> Poll<()> {
        match std::mem::replace(self, Self::Ours) {
            Self::Ours => Poll::Ready(()),
            Self::Theirs => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl Tcp {
    /// Of a socket that does not block.
    pub(crate) const fn new(socket: Socket) -> Self {
        Self::Alone(socket, Turn::Theirs)
    }

    /// Until it is connected, or is not going to be.
    pub(crate) async fn connected(&mut self) -> io::Result<()> {
        let stream = self.watched()?;
        stream.writable().await?;
        stream.take_error()?.map_or(Ok(()), Err)
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Alone(socket, _) => socket.local_addr()?.as_socket().ok_or_else(lost),
            Self::Watched(stream) => stream.local_addr(),
            Self::Lost => Err(lost()),
        }
    }

    /// Whether nothing has come over it, not even its end.
    pub(crate) fn is_silent(&mut self, cx: &mut Context<'_>) -> bool {
        let mut byte = [0];
        match self {
            Self::Alone(socket, _) => (&*socket).read(&mut byte).is_err_and(|e| would_block(&e)),
            Self::Watched(stream) => {
                stream.poll_peek(cx, &mut ReadBuf::new(&mut byte)).is_pending()
            }
            Self::Lost => false,
        }
    }

    fn watched(&mut self) -> io::Result<&mut TcpStream> {
        if let Self::Alone(..) = self
            && let Self::Alone(socket, _) = std::mem::replace(self, Self::Lost)
        {
            *self = Self::Watched(TcpStream::from_std(socket.into())?);
        }
        match self {
            Self::Watched(stream) => Ok(stream),
            Self::Alone(..) | Self::Lost => Err(lost()),
        }
    }
}

fn lost() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

fn would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

impl AsyncRead for Tcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Self::Alone(socket, turn) = &mut *self {
            ready!(turn.come(cx));
            match (&*socket).read(buf.initialize_unfilled()) {
                Err(error) if would_block(&error) => {}
                read => return Poll::Ready(read.map(|bytes| buf.advance(bytes))),
            }
        }
        Pin::new(self.watched()?).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Self::Alone(socket, turn) = &mut *self {
            *turn = Turn::Theirs;
            match socket.send(buf) {
                Err(error) if would_block(&error) => {}
                written => return Poll::Ready(written),
            }
        }
        Pin::new(self.watched()?).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Self::Alone(socket, turn) = &mut *self {
            *turn = Turn::Theirs;
            match socket.send_vectored(bufs) {
                Err(error) if would_block(&error) => {}
                written => return Poll::Ready(written),
            }
        }
        Pin::new(self.watched()?).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// A FIN would leave a `TIME_WAIT` behind.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
