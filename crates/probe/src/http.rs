//! One HTTP attempt: connect, ask, follow redirects that stay with the task, judge.

use std::{
    error::Error,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use http::{
    HeaderValue, Method, StatusCode,
    header::LOCATION,
    uri::{Authority, PathAndQuery},
};
use http_body_util::BodyExt;
use hyper::{
    Request,
    body::{Body, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use warren_core::{
    bounds::Port,
    check::{HttpCheck, Scheme, StatusSet},
    outcome::Evidence,
};

use crate::{
    Prober, Target, clause, connect,
    end::End,
    message,
    redirect::{self, Site},
    request::{self, Nothing},
    tls,
    trace::Trace,
    wire::Wire,
};

/// So much of a body must arrive for a pass, or all of it. Most health pages are far shorter; a
/// stream without an end has shown by then that it flows.
const BODY: usize = 10 * 1024;
/// For a status line and its headers together, and for what is read ahead of them. hyper itself
/// takes no more than 100 headers.
const HEAD: usize = 64 * 1024;
/// A loop shows itself within so many; browsers go twice as far.
const REDIRECTS: usize = 10;
/// A bad status has decided. Its body is for the message only, and worth no longer wait.
const EXCERPT_WAIT: Duration = Duration::from_millis(100);

/// One attempt at one HTTP check.
#[derive(Debug)]
pub(crate) struct Visit<'a> {
    prober: &'a Prober,
    target: &'a Target,
    check: &'a HttpCheck,
    port: Port,
    trace: &'a Trace,
    pub(crate) peer: SocketAddr,
    /// The `Host` header.
    host: Option<String>,
}

enum Answer {
    Decided(End),
    Elsewhere(StatusCode, HeaderValue),
}

/// The connection, which moves only while somebody drives it.
struct Driver<'a, C> {
    connection: Pin<&'a mut C>,
    ended: bool,
    error: Option<hyper::Error>,
}

impl<'a> Visit<'a> {
    pub(crate) fn new(
        prober: &'a Prober,
        target: &'a Target,
        check: &'a HttpCheck,
        port: Port,
        trace: &'a Trace,
    ) -> Self {
        let peer = connect::peer(target, port);
        Self { prober, target, check, port, trace, peer, host: request::host(check, peer) }
    }

    pub(crate) async fn run(&self) -> End {
        self.follow().await.unwrap_or_else(|end| end)
    }

    async fn follow(&self) -> Result<End, End> {
        let mut method = Method::from_bytes(self.check.method.as_str().as_bytes())
            .map_err(|error| request::unsendable(self.check.method.as_str(), &error))?;
        let mut path = request::target(self.check.path.as_str().as_bytes())?;
        let site =
            Site { scheme: self.check.scheme(), host: self.host.as_deref(), peer: self.peer };
        for redirects in 0..=REDIRECTS {
            self.trace.reconnect(redirects);
            match self.ask(&method, &path).await? {
                Answer::Decided(end) => return Ok(end),
                Answer::Elsewhere(status, location) => {
                    let what = self.describe(status, &method, &path);
                    path =
                        redirect::resolve(location.as_bytes(), &path, &site).ok_or_else(|| {
                            let to = message::excerpt(location.as_bytes());
                            let message = format!("{what} leaves the task: redirected to {to}");
                            End::fail(clause::REDIRECT, Evidence::Explicit, message)
                        })?;
                    method = redirect::method(status, method);
                }
            }
        }
        let message = format!("more than {REDIRECTS} redirects, the last to {path}");
        Err(End::fail(clause::REDIRECT, Evidence::Explicit, message))
    }

    async fn ask(&self, method: &Method, path: &PathAndQuery) -> Result<Answer, End> {
        let request = request::build(self.check, method, path, self.host.as_deref())?;
        let stream =
            connect::connect(&self.prober.home, self.target, self.peer, self.trace).await?;
        match self.check.scheme() {
            Scheme::Http => self.exchange(stream, request, path).await,
            Scheme::Https => {
                let asked = self.host.as_deref().and_then(|host| Authority::try_from(host).ok());
                let name = asked.as_ref().map(Authority::host);
                let config = &self.prober.tls;
                let stream = tls::handshake(config, stream, name, self.peer, self.trace).await?;
                self.exchange(stream, request, path).await
            }
        }
    }

    async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
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
            .map_err(|error| self.broken(&error))?;
        let connection = pin!(connection);
        let mut driver = Driver::new(connection);
        let response = driver.drive(sender.send_request(request)).await;
        let response = response.map_err(|error| self.broken(&driver.cause(error)))?;
        let status = response.status();
        self.trace.body(status.as_u16(), 0);
        if let Some(location) = response.headers().get(LOCATION)
            && redirect::is_redirect(status)
            && !self.expects_redirect(status)
        {
            return Ok(Answer::Elsewhere(status, location.clone()));
        }
        let what = self.describe(status, &method, path);
        let mut body = response.into_body();
        if self.check.expect.contains(status.as_u16()) {
            let read = self.read(&mut driver, &mut body, status, BODY, None).await;
            read.map_err(|error| {
                let end = self.broken(&driver.cause(error));
                End { clause: clause::BODY, ..end }
            })?;
            return Ok(Answer::Decided(End::pass(clause::STATUS, what)));
        }
        let mut begin = Vec::new();
        let enough = message::EXCERPT;
        let read = self.read(&mut driver, &mut body, status, enough, Some(&mut begin));
        // However it ends: what has come is shown.
        let _broken_or_late = timeout(EXCERPT_WAIT, read).await;
        let excerpt = message::excerpt(&begin);
        let message = if excerpt.is_empty() { what } else { format!("{what}: {excerpt}") };
        Ok(Answer::Decided(End::fail(clause::STATUS, Evidence::Explicit, message)))
    }

    /// A redirect passes as it is where the owner named its status; the default names none.
    fn expects_redirect(&self, status: StatusCode) -> bool {
        self.check.expect.contains(status.as_u16()) && self.check.expect != StatusSet::default()
    }

    /// Reads the body to its end, or to `enough` bytes, and keeps them where it is asked to.
    async fn read<C: Future<Output = hyper::Result<()>>>(
        &self,
        driver: &mut Driver<'_, C>,
        body: &mut Incoming,
        status: StatusCode,
        enough: usize,
        mut keep: Option<&mut Vec<u8>>,
    ) -> hyper::Result<()> {
        let mut bytes = 0;
        while bytes < enough && !body.is_end_stream() {
            let Some(frame) = driver.drive(body.frame()).await else { break };
            // Trailers are none of the body.
            let Ok(data) = frame?.into_data() else { continue };
            if let Some(kept) = keep.as_deref_mut() {
                kept.extend_from_slice(&data[..data.len().min(enough - bytes)]);
            }
            bytes += data.len();
            self.trace.body(status.as_u16(), bytes);
        }
        Ok(())
    }

    fn describe(&self, status: StatusCode, method: &Method, path: &PathAndQuery) -> String {
        format!("HTTP {} from {method} {path} on port {}", status.as_u16(), self.port)
    }

    /// The exchange broke: what that says of the task.
    fn broken(&self, error: &hyper::Error) -> End {
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

impl<'a, C: Future<Output = hyper::Result<()>>> Driver<'a, C> {
    fn new(connection: Pin<&'a mut C>) -> Self {
        Self { connection, ended: false, error: None }
    }

    /// Waits for `event` and moves the connection meanwhile.
    async fn drive<F: Future>(&mut self, event: F) -> F::Output {
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
    fn cause(&mut self, error: hyper::Error) -> hyper::Error {
        self.error.take().unwrap_or(error)
    }
}
