//! `grpc.health.v1` for tonic's servers, as gRPC specifies it: `Watch` of an unknown name stays
//! open and says so, and there is `List`. (`tonic-health` 0.14 ends the one and lacks the other.)

use std::{
    collections::HashMap,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt, stream};
use tokio::{sync::watch, time::timeout};
use tonic::{
    Request, Response, Status as RpcStatus,
    body::Body,
    codegen::{Body as HttpBody, Service, StdError},
    server::{Grpc, NamedService, ServerStreamingService, UnaryService},
};
use tonic_prost::ProstCodec;

use crate::{report::Report, status::Status, vitals::Vitals};

/// How often a watched state is looked at when nobody tells of a change: checks on demand run only
/// when somebody asks.
const WATCH_EVERY: Duration = Duration::from_secs(1);

impl Vitals {
    /// The health service of a gRPC server. The empty name stands for the whole process; each of
    /// `services` is served when the process is ready, and none is from the moment that it drains.
    ///
    /// ```
    /// use vitals::Vitals;
    ///
    /// let health = Vitals::new("payments", env!("CARGO_PKG_VERSION"));
    /// let routes = tonic::service::Routes::new(health.grpc(["payments.v1.Payments"]));
    /// # drop(routes);
    /// ```
    pub fn grpc<S: Into<String>>(&self, services: impl IntoIterator<Item = S>) -> GrpcHealth {
        let names = [String::new()].into_iter().chain(services.into_iter().map(Into::into));
        GrpcHealth { vitals: self.clone(), names: names.collect() }
    }
}

/// A tonic service; see [`Vitals::grpc`].
#[derive(Debug, Clone)]
pub struct GrpcHealth {
    vitals: Vitals,
    names: Arc<[String]>,
}

/// With the numbers of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Serving {
    Yes = 1,
    No = 2,
    Unknown = 3,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ListRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct ListResponse {
    #[prost(map = "string, message", tag = "1")]
    statuses: HashMap<String, CheckResponse>,
}

type Answer<T> = Pin<Box<dyn Future<Output = Result<Response<T>, RpcStatus>> + Send>>;
type Watched = Pin<Box<dyn Stream<Item = Result<CheckResponse, RpcStatus>> + Send>>;

impl GrpcHealth {
    fn knows(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    async fn serving(&self) -> Serving {
        match self.vitals.ready().await.status {
            Status::Healthy | Status::Degraded => Serving::Yes,
            Status::Unhealthy => Serving::No,
        }
    }

    fn watch(self, name: &str) -> Watched {
        if !self.knows(name) {
            // Names do not come later, and the asker need not ask again.
            let unknown = stream::once(async { Ok(Serving::Unknown.into()) });
            return Box::pin(unknown.chain(stream::pending()));
        }
        let start = Watch { changes: self.vitals.subscribe(), health: self, told: None };
        Box::pin(stream::unfold(start, |mut watch| async move {
            let serving = watch.next().await;
            Some((Ok(serving.into()), watch))
        }))
    }
}

struct Watch {
    health: GrpcHealth,
    changes: watch::Receiver<Arc<Report>>,
    told: Option<Serving>,
}

impl Watch {
    /// The first state at once, then each that differs from the one before.
    async fn next(&mut self) -> Serving {
        loop {
            let serving = self.health.serving().await;
            if self.told != Some(serving) {
                self.told = Some(serving);
                return serving;
            }
            // Either way it is time to look; the sender lives in `health`.
            drop(timeout(WATCH_EVERY, self.changes.changed()).await);
        }
    }
}

impl From<Serving> for CheckResponse {
    fn from(serving: Serving) -> Self {
        Self { status: serving as i32 }
    }
}

struct Check(GrpcHealth);
struct List(GrpcHealth);
struct WatchCall(GrpcHealth);

impl UnaryService<CheckRequest> for Check {
    type Response = CheckResponse;
    type Future = Answer<CheckResponse>;

    fn call(&mut self, request: Request<CheckRequest>) -> Self::Future {
        let health = self.0.clone();
        Box::pin(async move {
            if health.knows(&request.into_inner().service) {
                Ok(Response::new(health.serving().await.into()))
            } else {
                Err(RpcStatus::not_found("no such service"))
            }
        })
    }
}

impl UnaryService<ListRequest> for List {
    type Response = ListResponse;
    type Future = Answer<ListResponse>;

    fn call(&mut self, _: Request<ListRequest>) -> Self::Future {
        let health = self.0.clone();
        Box::pin(async move {
            let serving = health.serving().await;
            let names = health.names.iter().cloned();
            let statuses = names.map(|name| (name, serving.into())).collect();
            Ok(Response::new(ListResponse { statuses }))
        })
    }
}

impl ServerStreamingService<CheckRequest> for WatchCall {
    type Response = CheckResponse;
    type ResponseStream = Watched;
    type Future = Answer<Watched>;

    fn call(&mut self, request: Request<CheckRequest>) -> Self::Future {
        let watched = self.0.clone().watch(&request.into_inner().service);
        Box::pin(async move { Ok(Response::new(watched)) })
    }
}

impl<B> Service<http::Request<B>> for GrpcHealth
where
    B: HttpBody + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let health = self.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/grpc.health.v1.Health/Check" => {
                    Grpc::new(ProstCodec::default()).unary(Check(health), request).await
                }
                "/grpc.health.v1.Health/List" => {
                    Grpc::new(ProstCodec::default()).unary(List(health), request).await
                }
                "/grpc.health.v1.Health/Watch" => {
                    let mut grpc = Grpc::new(ProstCodec::default());
                    grpc.server_streaming(WatchCall(health), request).await
                }
                _ => RpcStatus::unimplemented("no such method").into_http(),
            })
        })
    }
}

impl NamedService for GrpcHealth {
    const NAME: &'static str = "grpc.health.v1.Health";
}
