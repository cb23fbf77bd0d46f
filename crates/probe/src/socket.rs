//! A TCP connection that is watched only where it has to be waited for.
//!
//! On the same machine an answer mostly takes less time than it takes to ask the others that are
//! due at the same moment. So the others go first, and then the answer is there: nothing has to be
//! registered, woken and taken out again, which costs more than the read itself.

use std::{
    cell::Cell,
    future::poll_fn,
    hint::black_box,
    io::{self, IoSlice, Read},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use socket2::Socket;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
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

thread_local! {
    /// Somebody on this thread has let the others go first, and so will be polled again.
    static COMES_BACK: Cell<bool> = const { Cell::new(false) };
}

/// Whether what is polled lets the others go first, and has seen to it that it is polled again.
pub(crate) fn comes_back<T>(poll: impl FnOnce() -> Poll<T>) -> (Poll<T>, bool) {
    COMES_BACK.set(false);
    let polled = poll();
    (polled, COMES_BACK.get())
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
                COMES_BACK.set(true);
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

    /// Has its memory fetched, and does nothing else.
    pub(crate) fn glance(&self) {
        if let Self::Watched(stream) = self {
            // Whether anything is there is known without a system call, and stays as it is.
            drop(black_box(stream.try_io(Interest::READABLE, || Ok(()))));
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
                read => {
                    // Who always has more to say shall not hold up everybody.
                    *turn = Turn::Theirs;
                    return Poll::Ready(read.map(|bytes| buf.advance(bytes)));
                }
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

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        net::{TcpListener, TcpStream as StdStream},
        task::Waker,
        time::Duration,
    };

    use socket2::{Domain, Type};
    use tokio::{io::AsyncReadExt, time::timeout};

    use super::*;

    fn pair() -> (StdStream, Tcp) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.connect(&listener.local_addr().unwrap().into()).unwrap();
        socket.set_nonblocking(true).unwrap();
        (listener.accept().unwrap().0, Tcp::new(socket))
    }

    fn read(tcp: &mut Tcp, cx: &mut Context<'_>) -> Option<Vec<u8>> {
        let mut room = [0; 100];
        let mut buf = ReadBuf::new(&mut room);
        match Pin::new(tcp).poll_read(cx, &mut buf) {
            Poll::Ready(read) => {
                read.unwrap();
                Some(buf.filled().to_vec())
            }
            Poll::Pending => None,
        }
    }

    // There is no runtime here that could watch anything.
    #[test]
    fn an_answer_that_is_there_when_the_others_were_asked_takes_no_watch() {
        let (mut peer, mut tcp) = pair();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(tcp.is_silent(&mut cx));
        assert_eq!(read(&mut tcp, &mut cx), None, "the others are asked first");
        peer.write_all(b"answer").unwrap();
        assert_eq!(read(&mut tcp, &mut cx).unwrap(), b"answer");
        assert!(tcp.is_silent(&mut cx));
        drop(peer);
        assert!(!tcp.is_silent(&mut cx), "its end is no silence");
    }

    // C-6
    #[test]
    fn a_peer_that_always_has_more_to_say_does_not_hold_up_the_others() {
        let (mut peer, mut tcp) = pair();
        let mut cx = Context::from_waker(Waker::noop());
        peer.write_all(&[b'x'; 1000]).unwrap();
        for _ in 0..10 {
            assert_eq!(read(&mut tcp, &mut cx), None);
            assert_eq!(read(&mut tcp, &mut cx).unwrap(), [b'x'; 100]);
        }
    }

    #[tokio::test]
    async fn what_comes_later_is_waited_for() {
        let (mut peer, mut tcp) = pair();
        let mut answer = [0; 6];
        let early = timeout(Duration::from_millis(20), tcp.read_exact(&mut answer)).await;
        assert!(early.is_err() && matches!(tcp, Tcp::Watched(_)));
        peer.write_all(b"answer").unwrap();
        tcp.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"answer");
        assert!(poll_fn(|cx| Poll::Ready(tcp.is_silent(cx))).await);
    }
}
