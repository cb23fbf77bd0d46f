//! A server of our own, for services that have none: on its own thread, so that it answers while
//! the service's runtime is blocked or overloaded.

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener as StdListener, ToSocketAddrs},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    sync::{Semaphore, oneshot},
    task::JoinSet,
};

use crate::{answer::refusal, vitals::Vitals};

/// More connections than all probers of a service open, few enough to cost nothing.
const CONNECTIONS_MAX: usize = 128;
/// Who is slower to send a request is no prober.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Long enough for a descriptor to become free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The endpoints on an address of their own, until this is dropped.
///
/// ```
/// use vitals::Vitals;
///
/// let health = Vitals::new("mailer", env!("CARGO_PKG_VERSION"));
/// // An address that cannot be bound is an error here.
/// let listener = health.listen("127.0.0.1:0")?;
/// println!("http://{}/health", listener.address());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "the endpoints are gone when this is dropped"]
pub struct Listener {
    address: SocketAddr,
    end: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

/// A page beside the health endpoints, such as `/metrics`.
pub(crate) type Page = Arc<dyn Fn() -> Response<String> + Send + Sync>;

impl Vitals {
    /// Serves the endpoints on an address of their own, from a thread of its own. Called within a
    /// tokio runtime, that is the one whose life liveness watches and whose checks run.
    pub fn listen(&self, address: impl ToSocketAddrs) -> io::Result<Listener> {
        Listener::bind(self, address, None)
    }
}

impl Listener {
    pub(crate) fn bind(
        vitals: &Vitals,
        address: impl ToSocketAddrs,
        metrics: Option<Page>,
    ) -> io::Result<Self> {
        let listener = StdListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        vitals.start();
        let (end, ended) = oneshot::channel();
        let server = Server { vitals: vitals.clone(), metrics };
        let thread = std::thread::Builder::new()
            .name("vitals".to_owned())
            .spawn(move || serve(&runtime, listener, &server, ended))?;
        Ok(Self { address, end: Some(end), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It does not panic, and there is nobody to tell.
            drop(thread.join());
        }
    }
}

#[derive(Clone)]
struct Server {
    vitals: Vitals,
    metrics: Option<Page>,
}

fn serve(
    runtime: &Runtime,
    listener: StdListener,
    server: &Server,
    ended: oneshot::Receiver<Infallible>,
) {
    runtime.block_on(async {
        // Where the service has no runtime, the checks run here.
        server.vitals.start();
        match TcpListener::from_std(listener) {
            Ok(listener) => tokio::select! {
                _ = ended => {}
                () = accept(&listener, server) => {}
            },
            Err(error) => tracing::error!(%error, "the health endpoints cannot be served"),
        }
    });
}

async fn accept(listener: &TcpListener, server: &Server) {
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        // Never closed.
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, peer)) => {
                let server = server.clone();
                connections.spawn(async move {
                    converse(stream, peer, server).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the health endpoints");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, server: Server) {
    let service = service_fn(|request: Request<Incoming>| async {
        Ok::<_, Infallible>(server.answer(request, peer).await)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, %peer, "a connection to the health endpoints ended early");
    }
}

impl Server {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<String> {
        let (parts, _) = request.into_parts();
        match (&self.metrics, parts.uri.path()) {
            (Some(metrics), "/metrics") => metrics(),
            (None, "/metrics") => refusal(StatusCode::NOT_FOUND, "no metrics here"),
            _ => self.vitals.answer(&parts, Some(peer.ip())).await,
        }
    }
}
