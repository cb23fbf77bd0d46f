//! One request and its answer over one connection, by either version of HTTP.

use std::{
    error::Error,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::Poll,
};

use http::{
    HeaderName, Request, Uri, Version,
    header::{CONNECTION, HOST, TRANSFER_ENCODING, UPGRADE},
    uri::{Authority, PathAndQuery},
};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use warren_core::{check::Scheme, outcome::Evidence};

use crate::{
    clause,
    end::End,
    http::{Answer, Visit},
    http2,
    request::{self, Nothing},
    wire::Wire,
};

/// For a status line and its headers together, and for what is read ahead of them. hyper itself
/// takes no more than 100 headers.
const HEAD: usize = 64 * 1024;

/// An exchange that did not come to its end.
#[derive(Debug)]
pub(crate) enum Broken {
    Http1(hyper::Error),
    Http2(h2::Error),
    Judged(End),
}

/// The connection, which moves only while somebody drives it.
pub(crate) struct Driver<'a, C, E> {
    connection: Pin<&'a mut C>,
    ended: bool,
    error: Option<E>,
}

impl Visit<'_> {
    pub(crate) async fn exchange_1<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        request: Request<Nothing>,
        path: &PathAndQuery,
    ) -> Result<Answer, End> {
        let method = request.method().clone();
        let (mut sender, connection) = http1::Builder::new()
            // Some home-made servers know `Host` and not `host`.
            .title_case_headers(true)
            .max_buf_size(HEAD)
            .max_header_size(HEAD)
            .handshake(TokioIo::new(Wire::new(stream, self.trace)))
            .await
            .map_err(|error| self.broken(&error.into()))?;
        let connection = pin!(connection);
        let mut driver = Driver::new(connection);
        let response = driver.drive(sender.send_request(request)).await;
        let response = response.map_err(|error| self.broken(&driver.cause(error)))?;
        self.judge(&mut driver, response, &method, path).await
    }

    pub(crate) async fn exchange_2<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        request: Request<Nothing>,
        path: &PathAndQuery,
    ) -> Result<Answer, End> {
        let method = request.method().clone();
        let request = self.for_http_2(request, path)?;
        let greeted = http2::greet(Wire::new(stream, self.trace)).await;
        let (sender, connection) = greeted.map_err(|error| self.broken(&error.into()))?;
        let connection = pin!(connection);
        let mut driver = Driver::new(connection);
        let asked = async {
            let (response, _) = sender.ready().await?.send_request(request, true)?;
            http2::answer(response, self.peer).await
        };
        let response = driver.drive(asked).await.map_err(|broken| self.broken(&broken))?;
        self.judge(&mut driver, response, &method, path).await
    }

    /// `:scheme` and `:authority` in the place of what is about the connection.
    fn for_http_2(
        &self,
        request: Request<Nothing>,
        path: &PathAndQuery,
    ) -> Result<Request<()>, End> {
        let (mut head, _) = request.into_parts();
        for name in [HOST, CONNECTION, TRANSFER_ENCODING, UPGRADE, KEEP_ALIVE, PROXY_CONNECTION] {
            head.headers.remove(name);
        }
        // Only a request that came by HTTP/1 may do without an authority.
        head.version = Version::HTTP_11;
        if let Some(host) = &self.host {
            let unsendable = |error: http::Error| request::unsendable(host, &error);
            let authority = Authority::try_from(host.as_str());
            let authority = authority.map_err(|error| unsendable(error.into()))?;
            let scheme = match self.check.scheme() {
                Scheme::Http => "http",
                Scheme::Https => "https",
            };
            let uri = Uri::builder().scheme(scheme).authority(authority);
            head.uri = uri.path_and_query(path.clone()).build().map_err(unsendable)?;
            head.version = Version::HTTP_2;
        }
        Ok(Request::from_parts(head, ()))
    }

    /// The exchange broke: what that says of the task.
    pub(crate) fn broken(&self, broken: &Broken) -> End {
        match broken {
            Broken::Http1(error) => self.broken_1(error),
            Broken::Http2(error) => http2::judge(error, self.peer, self.trace),
            Broken::Judged(end) => end.clone(),
        }
    }

    fn broken_1(&self, error: &hyper::Error) -> End {
        let (peer, when) = (self.peer, self.trace.before());
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(error) = cause.downcast_ref::<io::Error>() {
                return End::of_io(error, peer, &when);
            }
            source = cause.source();
        }
        let explicit =
            |why: &str| End::fail(clause::HTTP, Evidence::Explicit, format!("{peer} {why}"));
        if error.is_parse_too_large() {
            explicit("answered with more than 64 KiB or 100 lines of headers")
        } else if error.is_parse() {
            explicit(&format!("answered with what is not HTTP/1: {error}"))
        } else {
            let message = format!("{peer} closed the connection{when}");
            End::fail(clause::NO_CONNECTION, Evidence::Refused, message)
        }
    }
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

impl<'a, C: Future<Output = Result<(), E>>, E> Driver<'a, C, E> {
    fn new(connection: Pin<&'a mut C>) -> Self {
        Self { connection, ended: false, error: None }
    }

    /// Waits for `event` and moves the connection meanwhile.
    pub(crate) async fn drive<F: Future>(&mut self, event: F) -> F::Output {
        let mut event = pin!(event);
        poll_fn(|cx| {
            if let Poll::Ready(output) = event.as_mut().poll(cx) {
                return Poll::Ready(output);
            }
            if !self.ended
                && let Poll::Ready(end) = self.connection.as_mut().poll(cx)
            {
                self.ended = true;
                self.error = end.err();
            }
            event.as_mut().poll(cx)
        })
        .await
    }

    /// The connection's own error says more than that of the exchange that it took down.
    pub(crate) fn cause(&mut self, error: E) -> Broken
    where
        E: Into<Broken>,
    {
        self.error.take().unwrap_or(error).into()
    }
}

impl From<hyper::Error> for Broken {
    fn from(error: hyper::Error) -> Self {
        Self::Http1(error)
    }
}

impl From<h2::Error> for Broken {
    fn from(error: h2::Error) -> Self {
        Self::Http2(error)
    }
}
