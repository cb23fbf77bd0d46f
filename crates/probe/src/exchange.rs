//! One request and its answer over one connection, by either version of HTTP.

use std::{
    future::{pending, poll_fn},
    mem::MaybeUninit,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderName, Method, Request, Uri, Version,
    header::{CONNECTION, HOST, TRANSFER_ENCODING, UPGRADE},
    uri::{Authority, PathAndQuery},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::either::Either;
use warren_core::{
    check::Scheme,
    outcome::{Evidence, Outcome},
};

use crate::{
    clause, connect,
    end::End,
    http::{Answer, Connection, Visit},
    http1::{self, Asked},
    http2,
    kept::{Era, Used},
    request,
    socket::after_you,
    wire::Wire,
};

/// An exchange that did not come to its end.
#[derive(Debug)]
pub(crate) enum Broken {
    Http1(http1::Broken),
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
    /// By HTTP/1: sends what is `unsent` of the request and judges the answer. Gives the
    /// connection back where it can take another request.
    pub(crate) async fn exchange_1<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        unsent: Vec<u8>,
        method: &Method,
        path: &PathAndQuery,
    ) -> (Result<Answer, End>, Option<S>) {
        let (head, mut body) = match http1::answer(stream, unsent, asked(method), self.trace).await
        {
            Ok(answer) => answer,
            Err(broken) => return (Err(self.broken_1(&broken)), None),
        };
        // Who reads moves the connection.
        let connection = pin!(pending());
        let judged = self.judge(&mut Driver::new(connection), head, &mut body, method, path).await;
        (judged, body.into_idle())
    }

    /// The same over the connection that this check's last attempt has left, where there is one,
    /// or else a fresh one. Leaves it to the next attempt.
    pub(crate) async fn exchange_kept(
        &self,
        method: &Method,
        path: &PathAndQuery,
    ) -> Result<Answer, End> {
        let era = self.target.kept_http.era();
        if let Some(Used { mut connection, attempts }) = self.target.kept_http.take(self.check)
            && is_idle(&mut connection).await
        {
            self.trace.kept();
            let request = self.render(method, path);
            let (judged, connection) = self.exchange_1(connection, request, method, path).await;
            // Otherwise it was closed since, as servers do with idle ones. That says nothing.
            if !self.trace.is_unanswered() {
                return self.keep(judged, connection, attempts, era);
            }
            self.trace.start_over();
        }
        after_you().await;
        let request = self.render(method, path);
        let (mut connection, sent) = self.connect_to_keep(&request).await?;
        let unsent = request::rest(request, sent);
        let (judged, idle) = self.exchange_1(&mut connection, unsent, method, path).await;
        let may_go_on = idle.is_some();
        let judged = match &connection {
            Either::Left(stream) => connect::or_met_itself(judged, stream, self.peer),
            Either::Right(_) => judged,
        };
        self.keep(judged, may_go_on.then_some(connection), 0, era)
    }

    /// For the next attempt, after so many.
    fn keep(
        &self,
        judged: Result<Answer, End>,
        connection: Option<Connection>,
        attempts: u32,
        era: Era,
    ) -> Result<Answer, End> {
        if let (Ok(Answer::Decided(end)), Some(connection)) = (&judged, connection)
            && end.outcome == Outcome::Pass
        {
            let used = Used { connection, attempts: attempts + 1 };
            self.target.kept_http.put(self.check, used, era);
        }
        judged
    }

    pub(crate) async fn exchange_2<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        request: Request<()>,
        path: &PathAndQuery,
    ) -> Result<Answer, End> {
        let method = request.method().clone();
        let request = self.for_http_2(request, path)?;
        let greeted = http2::greet(Wire::new(stream, self.trace)).await;
        let (sender, connection) = greeted.map_err(|error| self.broken(&error.into()))?;
        let connection = pin!(connection);
        let mut driver = Driver::new(connection);
        let asked = async {
            let body = request::body(self.check, &method);
            let (response, mut stream) =
                sender.ready().await?.send_request(request, body.is_empty())?;
            if !body.is_empty() {
                stream.send_data(Bytes::copy_from_slice(body), true)?;
            }
            http2::answer(response, self.peer).await
        };
        let response = driver.drive(asked).await.map_err(|broken| self.broken(&broken))?;
        let (head, body) = response.into_parts();
        self.judge(&mut driver, head.into(), body, &method, path).await
    }

    /// `:scheme` and `:authority` in the place of what is about the connection.
    fn for_http_2(&self, request: Request<()>, path: &PathAndQuery) -> Result<Request<()>, End> {
        let (mut head, ()) = request.into_parts();
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
            Broken::Http1(broken) => self.broken_1(broken),
            Broken::Http2(error) => http2::judge(error, self.peer, self.trace),
            Broken::Judged(end) => end.clone(),
        }
    }

    fn broken_1(&self, broken: &http1::Broken) -> End {
        let (peer, when) = (self.peer, self.trace.before());
        let explicit =
            |why: &str| End::fail(clause::HTTP, Evidence::Explicit, format!("{peer} {why}"));
        match broken {
            http1::Broken::Io(error) => End::of_io(error, peer, &when),
            http1::Broken::TooLong => {
                explicit("answered with more than 64 KiB or 100 lines of headers")
            }
            http1::Broken::NotHttp(why) => {
                explicit(&format!("answered with what is not HTTP/1: {why}"))
            }
            http1::Broken::Closed => {
                let message = format!("{peer} closed the connection{when}");
                End::fail(clause::NO_CONNECTION, Evidence::Refused, message)
            }
        }
    }
}

/// Whether nothing has come over it: neither its end nor an answer that nobody has asked for, such
/// as the 408 by which some servers take their leave.
async fn is_idle(connection: &mut Connection) -> bool {
    poll_fn(|cx| Poll::Ready(poll_idle(connection, cx))).await
}

fn poll_idle(connection: &mut Connection, cx: &mut Context<'_>) -> bool {
    if let Either::Left(Either::Left(tcp)) = connection {
        return tcp.is_silent(cx);
    }
    let mut byte = [MaybeUninit::uninit()];
    Pin::new(connection).poll_read(cx, &mut ReadBuf::uninit(&mut byte)).is_pending()
}

fn asked(method: &Method) -> Asked {
    if *method == Method::HEAD { Asked::Head } else { Asked::Other }
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

impl From<http1::Broken> for Broken {
    fn from(broken: http1::Broken) -> Self {
        Self::Http1(broken)
    }
}

impl From<h2::Error> for Broken {
    fn from(error: h2::Error) -> Self {
        Self::Http2(error)
    }
}
