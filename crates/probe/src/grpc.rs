//! One call of `grpc.health.v1.Health/Check`, over a connection that is kept for a while.
//!
//! A gRPC client keeps its connection, so the check does as its clients do. Every few attempts
//! and after any failure the connection is a fresh one, which tests accept and TLS too.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{
    HeaderMap, Method, Request, StatusCode, Uri,
    header::{CONTENT_TYPE, TE, USER_AGENT},
    uri::Authority,
};
use http_body::Body;
use http_body_util::BodyExt;
use percent_encoding::percent_decode_str;
use prost::Message;
use tokio::task::JoinSet;
use warren_core::{
    check::{GrpcCheck, GrpcHost},
    clause::Clause,
    outcome::Evidence,
};

use crate::{
    Prober, Target, clause,
    connect::{self, Peer},
    end::End,
    exchange::Broken,
    http2::{self, Received},
    kept::{Era, Used},
    message, request,
    tls::{self, Alpn},
    trace::Trace,
};

const PATH: &str = "/grpc.health.v1.Health/Check";
/// An answer is two bytes long.
const ANSWER: usize = 10 * 1024;

#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Bytes>,
    /// Ends by RST with it.
    driver: JoinSet<()>,
}

#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(enumeration = "ServingStatus", tag = "1")]
    status: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
enum ServingStatus {
    Unknown = 0,
    Serving = 1,
    NotServing = 2,
    ServiceUnknown = 3,
}

impl ServingStatus {
    const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Serving => "SERVING",
            Self::NotServing => "NOT_SERVING",
            Self::ServiceUnknown => "SERVICE_UNKNOWN",
        }
    }
}

/// One attempt.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) prober: &'a Prober,
    pub(crate) target: &'a Target,
    pub(crate) check: &'a GrpcCheck,
    pub(crate) peer: Peer<'a>,
    pub(crate) trace: &'a Trace,
    pub(crate) allowed: Allowed,
}

/// How long it may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowed {
    /// By the check's own timeout.
    pub(crate) limit: Duration,
    /// However much its deadline is stretched while it lasts: the server shall not end a call that
    /// we still wait for.
    pub(crate) longest: Duration,
}

impl Call<'_> {
    pub(crate) async fn make(&self) -> Result<End, End> {
        let era = self.target.kept_grpc.era();
        if let Some(mut kept) = self.target.kept_grpc.take(self.check)
            && !kept.connection.has_ended()
        {
            self.trace.kept();
            // One that broke meanwhile says nothing of the task: servers end idle connections.
            if let Ok(response) = self.ask(&mut kept.connection).await {
                return self.judge(response, kept, era).await;
            }
            self.trace.start_over();
        }
        let mut fresh = Used { connection: self.connect().await?, attempts: 0 };
        match self.ask(&mut fresh.connection).await {
            Ok(response) => self.judge(response, fresh, era).await,
            Err(Broken::Http2(error)) => Err(http2::judge(&error, self.peer, self.trace)),
            Err(Broken::Judged(end)) => Err(end),
            Err(Broken::Http1(_)) => {
                Err(End::inconclusive(clause::OBSERVER, "gRPC was asked by HTTP/1"))
            }
        }
    }

    async fn connect(&self) -> Result<Connection, End> {
        let stream = connect::connect(self.prober, self.target, self.peer, self.trace).await?;
        let greeted = match &self.check.tls {
            None => drive(stream).await,
            Some(tls) => {
                let config = self.prober.tls.of(&tls.trust, Alpn::Http2).await?;
                let host = self.check.host.as_ref().map(GrpcHost::as_str);
                let name = tls::name(tls, host, self.peer);
                drive(tls::handshake(config, stream, name, self.peer, self.trace).await?).await
            }
        };
        greeted.map_err(|error| http2::judge(&error, self.peer, self.trace))
    }

    async fn ask(&self, connection: &mut Connection) -> Result<http::Response<Received>, Broken> {
        let request = self.request().map_err(Broken::Judged)?;
        let mut sender = connection.sender.clone().ready().await?;
        let (response, mut body) = sender.send_request(request, false)?;
        let question = HealthCheckRequest { service: self.check.service.as_str().to_owned() };
        let mut frame = BytesMut::with_capacity(5 + question.encoded_len());
        frame.put_u8(0);
        frame.put_u32(u32::try_from(question.encoded_len()).unwrap_or(u32::MAX));
        frame.put_slice(&question.encode_to_vec());
        body.send_data(frame.freeze(), true)?;
        let response = http2::answer(response, self.peer).await?;
        self.trace.received(1);
        Ok(response)
    }

    fn request(&self) -> Result<Request<()>, End> {
        let scheme = if self.check.tls.is_some() { "https" } else { "http" };
        let authority = authority(self.check, self.peer);
        let unsendable = |error: http::Error| request::unsendable(&authority, &error);
        let parsed = Authority::try_from(authority.as_str());
        let parsed = parsed.map_err(|error| unsendable(error.into()))?;
        let uri = Uri::builder().scheme(scheme).authority(parsed).path_and_query(PATH).build();
        let left = self.allowed.longest.saturating_sub(self.trace.start.elapsed());
        Request::builder()
            .method(Method::POST)
            .uri(uri.map_err(unsendable)?)
            .version(http::Version::HTTP_2)
            .header(CONTENT_TYPE, "application/grpc")
            .header(TE, "trailers")
            .header("grpc-timeout", grpc_timeout(left))
            .header(USER_AGENT, request::AGENT)
            .body(())
            .map_err(unsendable)
    }

    async fn judge(
        &self,
        response: http::Response<Received>,
        used: Used<Connection>,
        era: Era,
    ) -> Result<End, End> {
        let (head, mut body) = response.into_parts();
        self.trace.body(head.status.as_u16(), 0);
        self.is_grpc(head.status, &head.headers)?;
        let mut message = Vec::new();
        let mut trailers = head.headers;
        while message.len() < ANSWER && !body.is_end_stream() {
            let Some(frame) = body.frame().await else { break };
            let broken = |error| http2::judge(&error, self.peer, self.trace);
            match frame.map_err(broken)?.into_data() {
                Ok(data) => message.extend_from_slice(&data),
                Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
            }
        }
        let end = self.verdict(&trailers, &message)?;
        let attempts = used.attempts + 1;
        self.target.kept_grpc.put(self.check, Used { attempts, ..used }, era);
        Ok(end)
    }

    fn is_grpc(&self, status: StatusCode, headers: &HeaderMap) -> Result<(), End> {
        if status != StatusCode::OK {
            return Err(self.no(clause::GRPC, &format!("HTTP {} instead of gRPC", status.as_u16())));
        }
        let kind = headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes).unwrap_or_default();
        if kind.starts_with(b"application/grpc") {
            return Ok(());
        }
        let what = message::excerpt(kind);
        Err(self.no(clause::GRPC, &format!("content type {what:?} instead of application/grpc")))
    }

    /// What the call's status, and then the answer itself, say.
    fn verdict(&self, trailers: &HeaderMap, message: &[u8]) -> Result<End, End> {
        let text = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok());
        let service = self.check.service.as_str();
        let asked = match service {
            "" => "the server".to_owned(),
            service => format!("service {service:?}"),
        };
        match text("grpc-status").map(str::parse::<u32>) {
            Some(Ok(0)) => {}
            // A deadline of its own or of one behind it. Some servers call that CANCELLED, which
            // in time is an answer.
            Some(Ok(code @ (1 | 4))) if code == 4 || self.is_late() => {
                let message = format!("gRPC {} from {}", code_name(code), self.peer);
                return Err(End::fail(clause::DEADLINE, Evidence::Timeout, message));
            }
            Some(Ok(5)) => {
                let why = format!("NOT_FOUND: its health service does not know {asked}");
                return Err(self.no(clause::GRPC_HELP, &why));
            }
            Some(Ok(12)) => {
                let why = "UNIMPLEMENTED: it does not serve grpc.health.v1.Health";
                return Err(self.no(clause::GRPC_HELP, why));
            }
            Some(Ok(code)) => {
                let said = text("grpc-message").unwrap_or_default();
                let said = percent_decode_str(said).collect::<Vec<u8>>();
                let why = format!("{}: {}", code_name(code), message::excerpt(&said));
                return Err(self.no(clause::GRPC, why.trim_end_matches(": ")));
            }
            Some(Err(_)) | None => {
                return Err(self.no(clause::GRPC, "an answer without grpc-status"));
            }
        }
        let status = decode(message).map_err(|why| self.no(clause::GRPC, why))?;
        let status = ServingStatus::try_from(status).unwrap_or(ServingStatus::Unknown);
        let told = format!("{} for {asked} from {}", status.name(), self.peer);
        match status {
            ServingStatus::Serving => Ok(End::pass(clause::GRPC, told)),
            ServingStatus::Unknown | ServingStatus::NotServing | ServingStatus::ServiceUnknown => {
                Err(End::fail(clause::GRPC, Evidence::Explicit, told))
            }
        }
    }

    /// It would be over by now, were its deadline not stretched.
    fn is_late(&self) -> bool {
        self.trace.start.elapsed() >= self.allowed.limit
    }

    fn no(&self, clause: Clause, why: &str) -> End {
        End::fail(clause, Evidence::Explicit, format!("gRPC from {}: {why}", self.peer))
    }
}

/// The connection moves by itself: between two attempts a server pings, and says that it goes.
async fn drive<S>(stream: S) -> Result<Connection, h2::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::greet(stream).await?;
    let mut driver = JoinSet::new();
    // Whoever asks next is told how it ended.
    driver.spawn(async move { drop(connection.await) });
    Ok(Connection { sender, driver })
}

impl Connection {
    fn has_ended(&mut self) -> bool {
        self.driver.try_join_next().is_some()
    }
}

/// Whom it asks for: routers choose by it among the services behind them.
fn authority(check: &GrpcCheck, peer: Peer<'_>) -> String {
    let GrpcCheck { endpoint: _, service: _, tls, host } = check;
    let server_name = tls.as_ref().and_then(|tls| tls.server_name.as_ref());
    match (host, server_name, peer) {
        (Some(host), _, _) => host.as_str().to_owned(),
        (None, Some(name), _) if name.as_str().contains(':') => format!("[{}]", name.as_str()),
        (None, Some(name), _) => name.as_str().to_owned(),
        (None, None, Peer::Tcp(address)) => address.to_string(),
        (None, None, Peer::Unix(_)) => "localhost".to_owned(),
    }
}

/// At most eight digits and a unit.
fn grpc_timeout(left: Duration) -> String {
    let millis = left.as_micros().div_ceil(1000).max(1);
    if millis < 100_000_000 { format!("{millis}m") } else { format!("{}S", left.as_secs()) }
}

/// One message, not compressed.
fn decode(message: &[u8]) -> Result<i32, &'static str> {
    let Some((head, message)) = message.split_first_chunk::<5>() else {
        return Err("an answer without a message");
    };
    let [compressed, a, b, c, d] = *head;
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if compressed != 0 {
        return Err("a compressed message, though none was asked for");
    }
    let message = message.get(..length).ok_or("a message that is cut off")?;
    HealthCheckResponse::decode(message)
        .map(|response| response.status)
        .map_err(|_| "a message that is no HealthCheckResponse")
}

fn code_name(code: u32) -> String {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let known = usize::try_from(code).ok().and_then(|code| NAMES.get(code));
    known.map_or_else(|| format!("status {code}"), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use warren_core::{
        bounds::Port,
        check::{ServerName, Tls},
        spec::AbsolutePath,
    };

    use super::*;

    /// C-110.
    #[test]
    fn the_authority_is_the_host_else_the_server_name_else_where_it_goes() {
        let tls = |name: &str| {
            Some(Tls { server_name: Some(ServerName::new(name).unwrap()), ..Tls::default() })
        };
        let host = |host: &str| Some(GrpcHost::new(host).unwrap());
        let socket = AbsolutePath::new("/run/g").unwrap();
        let (tcp, unix) = (Peer::Tcp(([127, 0, 0, 5], 443).into()), Peer::Unix(&socket));
        for (tls, host, peer, expected) in [
            (tls("a.example"), host("b.example:8443"), tcp, "b.example:8443"),
            (None, host("b.example"), unix, "b.example"),
            (tls("a.example"), None, tcp, "a.example"),
            (tls("::1"), None, unix, "[::1]"),
            (Some(Tls::default()), None, tcp, "127.0.0.5:443"),
            (None, None, unix, "localhost"),
        ] {
            let check = GrpcCheck { tls, host, ..GrpcCheck::new(Port::new(443).unwrap()) };
            assert_eq!(authority(&check, peer), expected);
        }
    }
}
