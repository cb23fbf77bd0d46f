//! HTTP/1, over a connection of its own, with the manners of a health check.
//!
//! A request is a few hundred bytes and so is an answer, so both mostly fit into one system call.
//! hyper spends several times as much on such an exchange as is spent here, on what a check has no
//! use for: a dispatcher, channels, maps of headers, buffers for bodies of any size.
//!
//! - Reading does not wait for writing: a server that answers before it was asked, or that resets
//!   without having read the request, has answered.
//! - A TLS peer that closes without `close_notify`, as many do, has closed. Whether the answer was
//!   complete is for HTTP to say.
//! - Nothing is ever shut down: a FIN would leave a `TIME_WAIT` behind.

use std::{
    future::poll_fn,
    io::{self, Cursor},
    mem::{self, MaybeUninit},
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderValue, StatusCode};
use http_body::{Body, Frame};
use httparse::{Header, ParserConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    framing::{Framing, Piece},
    http::Head,
    tls,
    trace::Trace,
};

/// For a status line and its headers together.
const HEAD: usize = 64 * 1024;
const LINES: usize = 100;
/// Read at once, first and then. Most answers are shorter than the first.
const FIRST: usize = 1024;
const MORE: usize = 8 * 1024;
/// The beginning of a head, and one that has come so far, is parsed as it comes, so that junk is
/// found at once. Beyond, only when its end is there: a peer that drips it must not keep us busy.
const EAGER: usize = 512;

/// Why there is no answer, or no whole one.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The connection ended.
    Closed,
    Io(io::Error),
    /// Of its head.
    TooLong,
    NotHttp(String),
}

/// Whether an answer can have a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Head,
    Other,
}

/// The body of an answer, and the connection that it comes by.
#[derive(Debug)]
pub(crate) struct Received<'a, S> {
    wire: Wire<'a, S>,
    framing: Framing,
    after: After,
}

/// What becomes of the connection after the answer, as the peer wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Close,
    Keep,
}

#[derive(Debug)]
struct Wire<'a, S> {
    stream: S,
    trace: &'a Trace,
    /// Of the request. Its memory goes with its last byte.
    unsent: Vec<u8>,
    sent: usize,
    /// The peer takes no more of it. Kept back until there is nothing more to read.
    refused: Option<io::Error>,
    flushed: bool,
    /// What was read; before `used` it is done with.
    buffer: Vec<u8>,
    used: usize,
    /// So much is read at once.
    room: usize,
}

/// Sends what is `unsent` of a request and waits for the head of its answer, after all that only
/// announce one.
pub(crate) async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    unsent: Vec<u8>,
    asked: Asked,
    trace: &Trace,
) -> Result<(Head, Received<'_, S>), Broken> {
    let mut wire = Wire {
        stream,
        trace,
        unsent,
        sent: 0,
        refused: None,
        flushed: false,
        buffer: Vec::new(),
        used: 0,
        room: FIRST,
    };
    let (head, framing, after) = wire.head(asked).await?;
    Ok((head, Received { wire, framing, after }))
}

/// A head, and what comes after it.
type Begun = (Head, Framing, After);

impl<S: AsyncRead + AsyncWrite + Unpin> Body for Received<'_, S> {
    type Data = Cursor<Vec<u8>>;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Broken>>> {
        let Self { wire, framing, after: _ } = &mut *self;
        loop {
            while wire.used < wire.buffer.len() && *framing != Framing::Ended {
                let unread = &wire.buffer[wire.used..];
                let Ok(piece) = framing.next(unread) else {
                    let why = "a chunk of the body has no size or no end";
                    return Poll::Ready(Some(Err(Broken::NotHttp(why.to_owned()))));
                };
                match piece {
                    Piece::Around(around) => wire.used += around,
                    Piece::Body(body) => {
                        return Poll::Ready(Some(Ok(Frame::data(wire.take(body)))));
                    }
                }
            }
            if *framing == Framing::Ended {
                return Poll::Ready(None);
            }
            match ready!(wire.poll_fill(cx)) {
                Ok(()) => {}
                Err(Broken::Closed) if *framing == Framing::UntilClose => {
                    *framing = Framing::Ended;
                }
                Err(broken) => return Poll::Ready(Some(Err(broken))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.framing == Framing::Ended
    }
}

impl<S> Received<'_, S> {
    /// The connection, where it can take another request.
    pub(crate) fn into_idle(self) -> Option<S> {
        let Wire { stream, unsent, refused, buffer, used, .. } = self.wire;
        let done = self.framing == Framing::Ended && used == buffer.len() && unsent.is_empty();
        (self.after == After::Keep && done && refused.is_none()).then_some(stream)
    }
}

impl<S> Wire<'_, S> {
    /// So much of what was read and is not done with. Mostly that is all, and takes its memory
    /// along.
    fn take(&mut self, bytes: usize) -> Cursor<Vec<u8>> {
        let (begin, end) = (self.used, self.used + bytes);
        if end < self.buffer.len() {
            self.used = end;
            return Cursor::new(self.buffer[begin..end].to_vec());
        }
        self.used = 0;
        let mut rest = Cursor::new(mem::take(&mut self.buffer));
        rest.set_position(begin as u64);
        rest
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<'_, S> {
    async fn head(&mut self, asked: Asked) -> Result<Begun, Broken> {
        // What of it was looked through for its end, and how many lines that are.
        let (mut looked, mut lines) = (0, 0);
        loop {
            poll_fn(|cx| self.poll_fill(cx)).await?;
            loop {
                let unread = &self.buffer[self.used..];
                let ended = |byte: &u8| usize::from(*byte == b'\n');
                lines += unread[looked..].iter().map(ended).sum::<usize>();
                // The end may have begun before.
                let ends = has_end(&unread[looked.saturating_sub(2)..]);
                let begins = looked == 0;
                looked = unread.len();
                if unread.len() > EAGER && !begins && !ends {
                    if unread.len() > HEAD || lines > LINES {
                        return Err(Broken::TooLong);
                    }
                    break;
                }
                let Some((head, length)) = parse(unread, asked)? else {
                    break;
                };
                self.used += length;
                (looked, lines) = (0, 0);
                if let Some(head) = head {
                    return Ok(head);
                }
            }
        }
    }

    /// Reads more, and writes what is still to be written.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if self.used > 0 {
            self.buffer.drain(..self.used);
            self.used = 0;
        }
        if self.refused.is_none()
            && let Poll::Ready(Err(error)) = self.poll_send(cx)
        {
            self.refused = Some(error);
        }
        let mut room = [MaybeUninit::uninit(); MORE];
        let mut piece = ReadBuf::uninit(&mut room[..self.room]);
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece));
        self.room = MORE;
        self.buffer.extend_from_slice(piece.filled());
        Poll::Ready(match read {
            Ok(()) if !piece.filled().is_empty() => {
                self.trace.received(piece.filled().len());
                Ok(())
            }
            Err(error) if !tls::is_unannounced_close(&error) => Err(Broken::Io(error)),
            Ok(()) | Err(_) => Err(self.refused.take().map_or(Broken::Closed, Broken::Io)),
        })
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let sent = Pin::new(&mut self.stream).poll_write(cx, &self.unsent[self.sent..]);
            match ready!(sent)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.sent += bytes,
            }
            if self.sent == self.unsent.len() {
                self.unsent = Vec::new();
            }
        }
        if !self.flushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }
}

/// Whether an empty line is in it, which ends a head.
fn has_end(head: &[u8]) -> bool {
    let line_end = |at: usize| head.get(at) == Some(&b'\n');
    let lines = head.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    lines
        .into_iter()
        .any(|(at, _)| line_end(at + 1) || (head.get(at + 1) == Some(&b'\r') && line_end(at + 2)))
}

/// The head at the beginning of `bytes` and its length; no head where it only announces one.
/// `None`: it is not all there.
fn parse(bytes: &[u8], asked: Asked) -> Result<Option<(Option<Begun>, usize)>, Broken> {
    let mut headers: [MaybeUninit<Header<'_>>; LINES] = [const { MaybeUninit::uninit() }; LINES];
    let mut response = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        bytes,
        &mut headers,
    );
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) if length <= HEAD => length,
        Ok(httparse::Status::Partial) if bytes.len() <= HEAD => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Broken::TooLong),
        Err(error) => return Err(Broken::NotHttp(error.to_string())),
    };
    let status = StatusCode::from_u16(response.code.unwrap_or_default())
        .map_err(|error| Broken::NotHttp(error.to_string()))?;
    if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Some((None, length)));
    }
    let bodiless = asked == Asked::Head
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let framing = if bodiless {
        Framing::Ended
    } else if let Some(coding) = named(response.headers, "transfer-encoding").next_back() {
        // One that has other characters names nothing.
        let coding = if coding.is_ascii() { coding } else { &[] };
        let last = coding.rsplit(|byte| *byte == b',').next().unwrap_or_default();
        match (response.version, last.trim_ascii().eq_ignore_ascii_case(b"chunked")) {
            (Some(0), _) => {
                let why = "HTTP/1.0 has no transfer encodings";
                return Err(Broken::NotHttp(why.to_owned()));
            }
            (_, true) => Framing::chunked(),
            (_, false) => Framing::UntilClose,
        }
    } else {
        let lengths = named(response.headers, "content-length");
        let lengths = lengths.flat_map(|value| value.split(|byte| *byte == b','));
        content_length(lengths)?
    };
    let has = |name| named(response.headers, name).next().is_some();
    let location = named(response.headers, "location").next().map(HeaderValue::from_bytes);
    let location = location.transpose().map_err(|error| Broken::NotHttp(error.to_string()))?;
    let announced = has("content-length") && !has("transfer-encoding");
    let closes = named(response.headers, "connection")
        .flat_map(|value| value.split(|byte| *byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"));
    let after = if closes || response.version == Some(0) { After::Close } else { After::Keep };
    let head = Head { status, location, announced };
    Ok(Some((Some((head, framing, after)), length)))
}

/// The values of all headers of this name.
fn named<'a>(
    headers: &'a [Header<'a>],
    name: &'a str,
) -> impl DoubleEndedIterator<Item = &'a [u8]> {
    let named = headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    named.map(|header| header.value)
}

/// However often it is said, it must be the same.
fn content_length<'a>(mut said: impl Iterator<Item = &'a [u8]>) -> Result<Framing, Broken> {
    let number = |text: &[u8]| {
        let text = text.trim_ascii();
        // `parse` would take a sign.
        let digits = text.iter().all(u8::is_ascii_digit);
        let number = str::from_utf8(text).ok().filter(|_| digits);
        number.and_then(|number| number.parse::<u64>().ok()).ok_or_else(|| {
            Broken::NotHttp(format!("Content-Length is {:?}", String::from_utf8_lossy(text)))
        })
    };
    let Some(first) = said.next().map(number).transpose()? else {
        return Ok(Framing::UntilClose);
    };
    for other in said {
        if number(other)? != first {
            return Err(Broken::NotHttp("two different Content-Length headers".to_owned()));
        }
    }
    Ok(Framing::length(first))
}

#[cfg(test)]
mod tests {
    use bytes::Buf;
    use http_body_util::BodyExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn framing(head: &str, asked: Asked) -> Result<Framing, Broken> {
        parse(head.as_bytes(), asked).map(|parsed| parsed.unwrap().0.unwrap().1)
    }

    // C-52
    #[test]
    fn the_body_ends_where_the_head_says() {
        let of =
            |headers: &str| framing(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n"), Asked::Other);
        assert_eq!(of("").unwrap(), Framing::UntilClose);
        assert_eq!(of("content-length: 0\r\n").unwrap(), Framing::Ended);
        assert_eq!(
            of("Content-Length: 7\r\nContent-Length: 7, 7\r\n").unwrap(),
            Framing::Length(7)
        );
        let chunked = "Content-Length: 7\r\nTransfer-Encoding: gzip, Chunked\r\n";
        assert_eq!(of(chunked).unwrap(), Framing::chunked());
        assert_eq!(of("Transfer-Encoding: gzip\r\n").unwrap(), Framing::UntilClose);
        for bad in ["7\r\nContent-Length: 8", "+7", "-1", "", "7 7", "99999999999999999999"] {
            let bad = of(&format!("Content-Length: {bad}\r\n"));
            assert!(matches!(bad, Err(Broken::NotHttp(_))), "{bad:?}");
        }
        let old = framing("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Asked::Other);
        assert!(matches!(old, Err(Broken::NotHttp(_))), "{old:?}");
    }

    #[test]
    fn some_answers_have_no_body_whatever_they_say() {
        let ended = |status: u16, asked| {
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: 7\r\n\r\n");
            framing(&head, asked).unwrap() == Framing::Ended
        };
        assert!(ended(200, Asked::Head));
        for (status, without) in [(101, true), (204, true), (304, true), (200, false), (500, false)]
        {
            assert_eq!(ended(status, Asked::Other), without, "{status}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_comes_byte_by_byte_is_the_same() {
        let (mut peer, ours) = duplex(1);
        let trace = Trace::start();
        let whole = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 302 Found\r\nLocation: /x\r\n\
                      Transfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n\r\n";
        let mut asked = [0; 8];
        let ((), (location, body)) = tokio::join!(
            async {
                peer.read_exact(&mut asked).await.unwrap();
                peer.write_all(whole).await.unwrap();
            },
            async {
                let (head, body) =
                    answer(ours, b"question".to_vec(), Asked::Other, &trace).await.unwrap();
                assert_eq!(head.status, StatusCode::FOUND);
                (head.location.unwrap(), body.collect().await.unwrap().to_bytes())
            }
        );
        assert_eq!((&asked, location.as_bytes(), &*body), (b"question", &b"/x"[..], &b"yes"[..]));
    }

    #[tokio::test]
    async fn a_failed_write_shows_only_after_the_answer() {
        let (mut peer, ours) = duplex(64);
        peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").await.unwrap();
        drop(peer);
        let trace = Trace::start();
        let (_, mut body) = answer(ours, b"question".to_vec(), Asked::Other, &trace).await.unwrap();
        let mut data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(&*data.copy_to_bytes(data.remaining()), b"half");
        let broken = body.frame().await.unwrap().unwrap_err();
        let Broken::Io(error) = broken else { panic!("{broken:?}") };
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
