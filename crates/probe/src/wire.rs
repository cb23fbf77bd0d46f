//! What HTTP/2 reads from and writes to, with the manners of a health check.
//!
//! - A server that answers before it was asked is understood: early bytes are taken for an
//!   error, so none are seen before something was written.
//! - A server that answers and resets without reading the request has answered: a failed write
//!   is kept back until there is nothing more to read.
//! - A TLS peer that closes without `close_notify`, as many do, has closed. Whether the answer was
//!   complete is for HTTP to say.
//! - Shutting down does nothing: a FIN would leave a `TIME_WAIT` behind.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{tls, trace::Trace};

#[derive(Debug)]
pub(crate) struct Wire<'a, S> {
    stream: S,
    trace: &'a Trace,
    written: Written,
}

#[derive(Debug)]
enum Written {
    /// Nothing yet. A reader may wait.
    Nothing(Option<Waker>),
    Something,
    /// The peer takes no more.
    Broken(Option<io::Error>),
}

impl<'a, S> Wire<'a, S> {
    pub(crate) fn new(stream: S, trace: &'a Trace) -> Self {
        Self { stream, trace, written: Written::Nothing(None) }
    }

    fn wrote(&mut self, next: Written) {
        if let Written::Nothing(Some(reader)) = std::mem::replace(&mut self.written, next) {
            reader.wake();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Written::Nothing(reader) = &mut self.written {
            *reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let read = std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        let read = match read {
            Err(error) if tls::is_unannounced_close(&error) => Ok(()),
            read => read,
        };
        let bytes = buf.filled().len() - before;
        if bytes > 0 {
            self.trace.received(bytes);
        } else if let Written::Broken(error) = &mut self.written
            && let Some(error) = error.take()
        {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<'_, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if matches!(self.written, Written::Broken(_)) {
            return Poll::Ready(Ok(buf.len()));
        }
        match std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, buf)) {
            Ok(bytes) => {
                self.wrote(Written::Something);
                Poll::Ready(Ok(bytes))
            }
            Err(error) => {
                self.wrote(Written::Broken(Some(error)));
                Poll::Ready(Ok(buf.len()))
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.written {
            Written::Broken(_) => Poll::Ready(Ok(())),
            Written::Nothing(_) | Written::Something => {
                match std::task::ready!(Pin::new(&mut self.stream).poll_flush(cx)) {
                    Ok(()) => {}
                    Err(error) => self.wrote(Written::Broken(Some(error))),
                }
                Poll::Ready(Ok(()))
            }
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::join};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex, split},
        task::yield_now,
    };

    use super::*;

    #[tokio::test]
    async fn early_bytes_are_kept_until_something_was_written() {
        let (mut peer, ours) = duplex(64);
        peer.write_all(b"answer").await.unwrap();
        let trace = Trace::start();
        let mut wire = Wire::new(ours, &trace);
        let mut answer = [0; 6];
        assert!(wire.read(&mut answer).now_or_never().is_none());

        let (mut reader, mut writer) = split(wire);
        let asking = async {
            yield_now().await;
            writer.write_all(b"question").await
        };
        let (read, asked) = join(reader.read(&mut answer), asking).await;
        asked.unwrap();
        assert_eq!((read.unwrap(), &answer), (6, b"answer"));
    }

    #[tokio::test]
    async fn a_failed_write_shows_only_after_the_answer() {
        let (mut peer, ours) = duplex(64);
        peer.write_all(b"answer").await.unwrap();
        drop(peer);
        let trace = Trace::start();
        let mut wire = Wire::new(ours, &trace);
        for _ in 0..2 {
            wire.write_all(b"question").await.unwrap();
            wire.flush().await.unwrap();
        }
        let mut answer = Vec::new();
        let error = wire.read_to_end(&mut answer).await.unwrap_err();
        assert_eq!((answer.as_slice(), error.kind()), (&b"answer"[..], io::ErrorKind::BrokenPipe));
    }

    #[tokio::test]
    async fn shutting_down_says_nothing_to_the_peer() {
        let (mut peer, ours) = duplex(64);
        let trace = Trace::start();
        let mut wire = Wire::new(ours, &trace);
        wire.shutdown().await.unwrap();
        assert!(peer.read_u8().now_or_never().is_none());
    }
}
