//! Our exchange and hyper's, which is far longer in the field, understand the same bytes alike.

use http::{Request, header::LOCATION};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1 as theirs;
use hyper_util::rt::TokioIo;
use proptest::{collection::vec, option, prelude::*, sample::select};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinSet,
};

use crate::{
    http1::{self, Asked, Broken},
    trace::Trace,
};

/// What was understood: status, `Location` and body, or why nothing was.
type Understood = Result<(u16, Option<Vec<u8>>, Vec<u8>), Why>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// There is no head, or it is none. hyper looks at one less eagerly, and so may see first that
    /// the connection ended.
    Head,
    /// The connection ended within the body.
    Lost,
    /// The body is none.
    NotHttp,
    /// A trailer is none. We do not look.
    Trailer,
}

/// Hears a request, answers so many bytes at a time, and closes.
async fn serve(mut peer: DuplexStream, answer: Vec<u8>, step: usize) {
    let mut request = [0; 4096];
    let _bytes = peer.read(&mut request).await.unwrap();
    for piece in answer.chunks(step) {
        // Whoever has understood enough has gone.
        if peer.write_all(piece).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn ours(stream: DuplexStream, asked: Asked) -> Understood {
    let why = |broken| match broken {
        Broken::Closed | Broken::Io(_) => Why::Lost,
        Broken::TooLong | Broken::NotHttp(_) => Why::NotHttp,
    };
    let trace = Trace::start();
    let answer = http1::answer(stream, b"GET / HTTP/1.1\r\n\r\n".to_vec(), asked, &trace).await;
    let (head, body) = answer.map_err(|_| Why::Head)?;
    let location = head.location.map(|value| value.as_bytes().to_vec());
    let body = body.collect().await.map_err(why)?.to_bytes();
    Ok((head.status.as_u16(), location, body.to_vec()))
}

async fn theirs(stream: DuplexStream, asked: Asked) -> Understood {
    let why = |error: hyper::Error| {
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            if let Some(error) = cause.downcast_ref::<std::io::Error>() {
                let is_of_chunks = error.to_string().contains("chunk");
                return if error.kind() == std::io::ErrorKind::UnexpectedEof {
                    Why::Lost
                } else if is_of_chunks {
                    Why::NotHttp
                } else {
                    Why::Trailer
                };
            }
            source = cause.source();
        }
        if error.is_parse() || error.is_parse_too_large() { Why::NotHttp } else { Why::Lost }
    };
    let (mut sender, connection) = theirs::handshake(TokioIo::new(stream)).await.unwrap();
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let method = if asked == Asked::Head { "HEAD" } else { "GET" };
    let request = Request::builder().method(method).uri("/").body(Empty::<&[u8]>::new()).unwrap();
    let answered = async {
        let (head, body) = sender.send_request(request).await.map_err(|_| Why::Head)?.into_parts();
        let location = head.headers.get(LOCATION).map(|value| value.as_bytes().to_vec());
        let body = body.collect().await.map_err(why)?.to_bytes();
        Ok((head.status.as_u16(), location, body.to_vec()))
    };
    answered.await
}

fn understood(answer: &[u8], step: usize, asked: Asked) -> (Understood, Understood) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (peer, stream) = duplex(4096);
        let ((), ours) = tokio::join!(serve(peer, answer.to_vec(), step), ours(stream, asked));
        let (peer, stream) = duplex(4096);
        let ((), theirs) = tokio::join!(serve(peer, answer.to_vec(), step), theirs(stream, asked));
        (ours, theirs)
    })
}

const STATUS_LINES: [&str; 11] = [
    "HTTP/1.1 200 OK",
    "HTTP/1.1 200 OK",
    "HTTP/1.1 302 Found",
    "HTTP/1.1 204 No Content",
    "HTTP/1.1 304 Not Modified",
    "HTTP/1.1 500 \u{fc}",
    "HTTP/1.1 999",
    "HTTP/1.0 200 OK",
    "HTTP/1.1 20 OK",
    "HTTP/2 200 OK",
    "ICY 200 OK",
];

const HEADERS: [&str; 22] = [
    "Content-Length: 0",
    "Content-Length: 5",
    "content-length:5",
    "Content-Length: 5, 5",
    "Content-Length: 5,6",
    "Content-Length: ",
    "Content-Length: +5",
    "Content-Length: 0x5",
    "Content-Length: 18446744073709551616",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: chunked",
    "TRANSFER-ENCODING:  Chunked ",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, gzip",
    "Transfer-Encoding: identity",
    "Location: /elsewhere",
    "Location: //\u{fc}",
    "Connection: close",
    "X-Empty:",
    "X-\u{fc}: x",
    "No colon",
    " folded",
];

const BODIES: [&str; 18] = [
    "hello",
    "5\r\nhello\r\n",
    "5\r\nhello\r\n",
    "005\r\nhello\r\n",
    "A\r\n0123456789\r\n",
    "3;name=\"value\"\r\nabc\r\n",
    "3 \t;x\r\nabc\r\n",
    "3 3\r\nabc\r\n",
    "3\nabc\n",
    "3\r\nabcd\r\n",
    "fffffffffffffffff\r\n",
    "-1\r\n",
    "0\r\n\r\n",
    "0\r\n\r\n",
    "0\r\nTrailer: x\r\n\r\n",
    "0;last\r\n\r\n",
    "\r\n",
    "\n",
];

/// Mostly as it should be, and now and then a byte of it is another one, or it ends too early.
fn an_answer() -> impl Strategy<Value = Vec<u8>> {
    let interim =
        vec(select(vec!["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 X\r\nA: b\r\n\r\n"]), 0..3);
    let parts = (
        interim,
        select(STATUS_LINES.to_vec()),
        vec(select(HEADERS.to_vec()), 0..4),
        vec(select(BODIES.to_vec()), 0..5),
        option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>())),
        option::weighted(0.2, any::<prop::sample::Index>()),
    );
    parts.prop_map(|(interim, status, headers, bodies, change, end)| {
        let mut text = interim.concat() + status + "\r\n";
        for header in headers {
            text += header;
            text += "\r\n";
        }
        text += "\r\n";
        text += &bodies.concat();
        let mut bytes = text.into_bytes();
        if let Some((at, byte)) = change {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(end) = end {
            bytes.truncate(end.index(bytes.len()));
        }
        bytes
    })
}

proptest! {
    // More than usual, since most of what is generated is wrong in more than one way.
    #![proptest_config({
        let config = ProptestConfig::default();
        ProptestConfig { cases: 4 * config.cases, ..config }
    })]

    // C-50, C-52, C-131
    #[test]
    fn the_same_bytes_mean_the_same(
        answer in an_answer(),
        step in select(vec![1, 2, 7, 40, 4096]),
        asked in select(vec![Asked::Other, Asked::Other, Asked::Other, Asked::Head]),
    ) {
        let (ours, theirs) = understood(&answer, step, asked);
        if theirs == Err(Why::Trailer) {
            let is_well = matches!(ours, Ok(_) | Err(Why::NotHttp));
            prop_assert!(is_well, "{:?}", answer.escape_ascii().to_string());
            return Ok(());
        }
        prop_assert_eq!(ours, theirs, "of {:?}", answer.escape_ascii().to_string());
    }
}
