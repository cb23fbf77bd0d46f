//! HTTP/2, over a connection of its own, driven by whoever waits for an answer.

use std::{
    future::poll_fn,
    io::ErrorKind,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::{
    RecvStream,
    client::{self, Connection, ResponseFuture, SendRequest},
};
use http::Response;
use http_body::{Body, Frame};
use tokio::io::{AsyncRead, AsyncWrite};
use warren_core::outcome::Evidence;

use crate::{clause, connect::Peer, end::End, exchange::Broken, trace::Trace};

/// For all headers together.
const HEAD: u32 = 64 * 1024;
/// Interim answers are kept until somebody takes them, so a storm of them must end.
const INTERIM: usize = 64;

/// How a connection ends that the other side has closed.
const CLOSED: [ErrorKind; 3] =
    [ErrorKind::BrokenPipe, ErrorKind::ConnectionAborted, ErrorKind::UnexpectedEof];

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Received(pub(crate) RecvStream);

/// Greets. The connection moves only while it is polled.
pub(crate) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
) -> Result<(SendRequest<Bytes>, Connection<S, Bytes>), h2::Error> {
    client::Builder::new()
        .enable_push(false)
        .max_header_list_size(HEAD)
        .max_concurrent_reset_streams(8)
        .handshake(stream)
        .await
}

/// Waits for the answer; a handful of interim ones may come before it.
pub(crate) async fn answer(
    mut response: ResponseFuture,
    peer: Peer<'_>,
) -> Result<Response<Received>, Broken> {
    let mut interim = 0;
    let answer = poll_fn(|cx| {
        while let Poll::Ready(Some(one)) = response.poll_informational(cx) {
            one.map_err(Broken::Http2)?;
            interim += 1;
            if interim > INTERIM {
                let message = format!("{peer} sent more than {INTERIM} interim answers");
                let end = End::fail(clause::HTTP, Evidence::Explicit, message);
                return Poll::Ready(Err(Broken::Judged(end)));
            }
        }
        Pin::new(&mut response).poll(cx).map_err(Broken::Http2)
    });
    Ok(answer.await?.map(Received))
}

impl Body for Received {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        match std::task::ready!(self.0.poll_data(cx)) {
            Some(Ok(data)) => {
                // The window is opened again as fast as it was filled: who reads decides when
                // there was enough.
                self.0.flow_control().release_capacity(data.len())?;
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None => match std::task::ready!(self.0.poll_trailers(cx)) {
                Ok(Some(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Ok(None) => Poll::Ready(None),
                Err(error) => Poll::Ready(Some(Err(error))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}

/// What a broken HTTP/2 exchange says of the task.
pub(crate) fn judge(error: &h2::Error, peer: Peer<'_>, trace: &Trace) -> End {
    let when = trace.before();
    if let Some(error) = error.get_io() {
        // h2 keeps the kind of a system's error and not its number.
        let lost = |why: &str| {
            let message = format!("{why}{when}");
            End::fail(clause::NO_CONNECTION, Evidence::Refused, message)
        };
        if error.kind() == ErrorKind::ConnectionReset {
            return lost(&format!("connection reset by {peer}"));
        }
        if CLOSED.contains(&error.kind()) {
            return lost(&format!("{peer} closed the connection"));
        }
        return End::of_io(error, peer, &when);
    }
    let message = if error.is_remote() {
        format!("{peer} broke off{when}: {error}")
    } else {
        format!("{peer} answered with what is not HTTP/2{when}: {error}")
    };
    End::fail(clause::HTTP2, Evidence::Explicit, message)
}
