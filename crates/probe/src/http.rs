//! One HTTP attempt: connect, ask, follow redirects that stay with the task, judge.

use std::time::Duration;

use bytes::Buf;
use http::{
    HeaderValue, Method, StatusCode,
    header::{CONTENT_LENGTH, LOCATION, TRANSFER_ENCODING},
    response,
    uri::PathAndQuery,
};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use warren_core::{
    check::{Endpoint, HttpCheck, HttpVersion, PortRef, StatusSet, Tls},
    clause::Clause,
    outcome::Evidence,
};

use crate::{
    Prober, Target, clause, components,
    connect::{self, Peer, Stream},
    end::End,
    exchange::{Broken, Driver},
    message,
    redirect::{self, Site},
    request,
    socket::after_you,
    tls::{self, Alpn},
    trace::Trace,
};

/// So much of a body is looked at. Most health pages are far shorter.
const BODY: usize = 10 * 1024;
/// A body whose end was not announced must come to it within so much: dynamic pages do, and a
/// stream that answers for ever does not.
const UNANNOUNCED: usize = 1024 * 1024;
/// A loop shows itself within so many; browsers go twice as far.
const REDIRECTS: usize = 10;
/// A bad status has decided. Its body is for the message only, and worth no longer wait.
const EXCERPT_WAIT: Duration = Duration::from_millis(100);

/// One attempt at one HTTP check.
#[derive(Debug)]
pub(crate) struct Visit<'a> {
    prober: &'a Prober,
    pub(crate) target: &'a Target,
    pub(crate) check: &'a HttpCheck,
    pub(crate) trace: &'a Trace,
    pub(crate) peer: Peer<'a>,
    /// The `Host` header.
    pub(crate) host: Option<String>,
}

/// What a kept connection is.
pub(crate) type Connection = Either<Stream, Box<TlsStream<Stream>>>;

/// Has a connection's memory fetched, and does nothing else.
pub(crate) fn glance(connection: &Connection) {
    if let Either::Left(Either::Left(tcp)) = connection {
        tcp.glance();
    }
}

pub(crate) enum Answer {
    Decided(End),
    Elsewhere(StatusCode, HeaderValue),
}

/// What of the beginning of an answer is looked at.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) location: Option<HeaderValue>,
    /// It said how long its body is.
    pub(crate) announced: bool,
}

/// How much of a body to read, and to keep.
#[derive(Debug, Clone, Copy)]
struct Read {
    enough: usize,
    keep: usize,
}

impl<'a> Visit<'a> {
    pub(crate) fn new(
        prober: &'a Prober,
        target: &'a Target,
        check: &'a HttpCheck,
        peer: Peer<'a>,
        trace: &'a Trace,
    ) -> Self {
        Self { prober, target, check, trace, peer, host: request::host(check, peer) }
    }

    pub(crate) async fn follow(&self) -> Result<End, End> {
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
                            let message = format!(
                                "{what} leaves the task, and that status was not named as \
                                 expected: redirected to {to}"
                            );
                            End::fail(clause::REDIRECT, Evidence::Explicit, message)
                        })?;
                    method = redirect::method(status, method);
                }
            }
        }
        let message = format!("more than {REDIRECTS} redirects, the last to {path}");
        Err(End::fail(clause::REDIRECT, Evidence::Explicit, message))
    }

    /// What a plain exchange has no use for is boxed: it shall not carry the room for it.
    async fn ask(&self, method: &Method, path: &PathAndQuery) -> Result<Answer, End> {
        match (self.check.version, &self.check.tls) {
            (HttpVersion::Http1, None) if !self.check.keep_alive => {
                after_you().await;
                let request = self.render(method, path);
                let (mut stream, sent) = self.connect_and_send(&request).await?;
                let unsent = request::rest(request, sent);
                let (judged, _) = self.exchange_1(&mut stream, unsent, method, path).await;
                connect::or_met_itself(judged, &stream, self.peer)
            }
            (HttpVersion::Http1, Some(tls)) if !self.check.keep_alive => {
                Box::pin(async {
                    let stream = self.shake_hands(tls, Alpn::Http1).await?;
                    self.exchange_1(stream, self.render(method, path), method, path).await.0
                })
                .await
            }
            (HttpVersion::Http1, _) => self.exchange_kept(method, path).await,
            (HttpVersion::Http2, tls) => {
                Box::pin(async {
                    let request = request::build(self.check, method, path, self.host.as_deref())?;
                    match tls {
                        None => self.exchange_2(self.connect().await?, request, path).await,
                        Some(tls) => {
                            let stream = self.shake_hands(tls, Alpn::Http2).await?;
                            self.exchange_2(stream, request, path).await
                        }
                    }
                })
                .await
            }
        }
    }

    pub(crate) fn render(&self, method: &Method, path: &PathAndQuery) -> Vec<u8> {
        request::render(self.check, method, path, self.host.as_deref())
    }

    async fn connect(&self) -> Result<Stream, End> {
        connect::connect(self.prober, self.target, self.peer, self.trace).await
    }

    /// Sends the beginning of `request`, and says how much.
    pub(crate) async fn connect_to_keep(&self, request: &[u8]) -> Result<(Connection, usize), End> {
        Ok(match &self.check.tls {
            None => {
                let (stream, sent) = self.connect_and_send(request).await?;
                (Either::Left(stream), sent)
            }
            Some(tls) => {
                let stream = Box::pin(self.shake_hands(tls, Alpn::Http1)).await?;
                (Either::Right(Box::new(stream)), 0)
            }
        })
    }

    async fn connect_and_send(&self, request: &[u8]) -> Result<(Stream, usize), End> {
        let (prober, target) = (self.prober, self.target);
        connect::connect_and_send(prober, target, self.peer, request, self.trace).await
    }

    async fn shake_hands(&self, tls: &Tls, alpn: Alpn) -> Result<TlsStream<Stream>, End> {
        let stream = self.connect().await?;
        let config = self.prober.tls.of(&tls.trust, alpn).await?;
        let name = tls::name(tls, self.host.as_deref(), self.peer);
        tls::handshake(config, stream, name, self.peer, self.trace).await
    }

    pub(crate) async fn judge<C, B, E>(
        &self,
        driver: &mut Driver<'_, C, E>,
        head: Head,
        mut body: B,
        method: &Method,
        path: &PathAndQuery,
    ) -> Result<Answer, End>
    where
        C: Future<Output = Result<(), E>>,
        B: Body<Data: Buf, Error = E> + Unpin,
        E: Into<Broken>,
    {
        let Head { status, location, announced } = head;
        self.trace.body(status.as_u16(), 0);
        if let Some(location) = location
            && redirect::is_redirect(status)
            && !self.expects_redirect(status)
        {
            return Ok(Answer::Elsewhere(status, location));
        }
        let what = self.describe(status, method, path);
        let mut kept = Vec::new();
        if self.check.expect.contains(status.as_u16()) {
            let enough = if announced { BODY } else { UNANNOUNCED };
            let read = Read { enough, keep: if self.wants_body() { BODY } else { 0 } };
            let ended = self.read(driver, &mut body, status, read, &mut kept).await;
            let ended = ended.map_err(|error| {
                let end = self.broken(&driver.cause(error));
                End { clause: clause::BODY, ..end }
            })?;
            if !ended && !announced {
                let message = format!("{what}, and its body does not end within 1 MiB");
                return Err(End::fail(clause::BODY, Evidence::Explicit, message));
            }
            return self.match_body(what, status, &kept).map(Answer::Decided);
        }
        let read = async {
            let excerpt = Read { enough: message::EXCERPT, keep: BODY };
            let ended = self.read(driver, &mut body, status, excerpt, &mut kept).await?;
            if !ended && components::may_be_in(&kept) {
                let rest = Read { enough: BODY.saturating_sub(kept.len()), keep: BODY };
                self.read(driver, &mut body, status, rest, &mut kept).await?;
            }
            Ok::<(), E>(())
        };
        // However it ends: what has come is shown.
        let _broken_or_late = timeout(EXCERPT_WAIT, Box::pin(read)).await;
        Ok(Answer::Decided(failed(clause::STATUS, what, &kept)))
    }

    const fn wants_body(&self) -> bool {
        self.check.body.is_some() || self.check.body_not.is_some()
    }

    fn match_body(&self, what: String, status: StatusCode, body: &[u8]) -> Result<End, End> {
        let HttpCheck { body: wanted, body_not: unwanted, .. } = self.check;
        let fail =
            |why: String| failed(clause::BODY_MATCH, format!("{what}, but its body {why}"), body);
        if let Some(wanted) = wanted.as_ref().filter(|wanted| !wanted.is_match(body)) {
            return Err(fail(format!("does not {wanted}")));
        }
        if let Some(unwanted) = unwanted.as_ref().filter(|unwanted| unwanted.is_match(body)) {
            return Err(fail(format!("does {unwanted}")));
        }
        let clause = if self.wants_body() {
            clause::BODY_MATCH
        } else if redirect::is_redirect(status) && self.expects_redirect(status) {
            clause::REDIRECT
        } else {
            clause::STATUS
        };
        Ok(End::pass(clause, what))
    }

    /// A redirect passes as it is where the owner named its status; the default names none.
    fn expects_redirect(&self, status: StatusCode) -> bool {
        self.check.expect.contains(status.as_u16()) && self.check.expect != StatusSet::default()
    }

    /// Reads the body to its end, or until it is enough. Whether it has ended.
    async fn read<C, B, E>(
        &self,
        driver: &mut Driver<'_, C, E>,
        body: &mut B,
        status: StatusCode,
        read: Read,
        kept: &mut Vec<u8>,
    ) -> Result<bool, E>
    where
        C: Future<Output = Result<(), E>>,
        B: Body<Data: Buf, Error = E> + Unpin,
    {
        let mut bytes = 0;
        while bytes < read.enough {
            if body.is_end_stream() {
                return Ok(true);
            }
            let Some(frame) = driver.drive(body.frame()).await else { return Ok(true) };
            // Trailers are none of the body.
            let Ok(mut data) = frame?.into_data() else { continue };
            bytes += data.remaining();
            while data.has_remaining() && kept.len() < read.keep {
                let chunk = data.chunk();
                let part = chunk.len().min(read.keep - kept.len());
                kept.extend_from_slice(&chunk[..part]);
                data.advance(part);
            }
            self.trace.body(status.as_u16(), bytes);
        }
        Ok(body.is_end_stream())
    }

    /// Every attempt says it, so by a quicker way than `format`.
    pub(crate) fn describe(
        &self,
        status: StatusCode,
        method: &Method,
        path: &PathAndQuery,
    ) -> String {
        let mut digits = itoa::Buffer::new();
        let (by, place) = match &self.check.endpoint {
            Endpoint::Port(PortRef::Number(port)) => (" on port ", digits.format(port.get())),
            Endpoint::Port(PortRef::Name(port)) => (" on port ", port.as_str()),
            Endpoint::Socket(socket) => (" over ", socket.as_str()),
        };
        let (status, method, path) = (status.as_str(), method.as_str(), path.as_str());
        ["HTTP ", status, " from ", method, " ", path, by, place].concat()
    }
}

impl From<response::Parts> for Head {
    fn from(parts: response::Parts) -> Self {
        let response::Parts { status, mut headers, .. } = parts;
        let announced =
            headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(TRANSFER_ENCODING);
        Self { status, location: headers.remove(LOCATION), announced }
    }
}

/// An answer that is no, with the beginning of its body and what that says is broken.
fn failed(clause: Clause, what: String, body: &[u8]) -> End {
    let components = components::failing(body);
    let what = match &*components {
        [] => what,
        [one] => format!("{what}, {one} fails"),
        names => format!("{what}, {} fail", names.join(" and ")),
    };
    let excerpt = message::excerpt(body);
    let message = if excerpt.is_empty() { what } else { format!("{what}: {excerpt}") };
    End { components, ..End::fail(clause, Evidence::Explicit, message) }
}
