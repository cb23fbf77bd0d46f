//! Answers at one address, by whichever thread that is for.

use std::{io, thread, time::Duration};

use futures::{Stream, TryStreamExt};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    runtime::Builder,
    select,
    sync::oneshot,
};
use tokio_stream::{
    StreamExt,
    wrappers::{ReceiverStream, UnixListenerStream},
};
use tokio_util::sync::CancellationToken;
use tonic::{
    service::Routes,
    transport::{
        Server,
        server::{Connected, TcpIncoming},
    },
};

use crate::{listen::Listener, manager::ManagerFault};

/// Half-open connections are found within the sum of these two, which is one grace.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Until `ending`, and then until its connections have closed.
pub async fn at(
    listener: Listener,
    routes: Routes,
    ending: CancellationToken,
) -> Result<(), ManagerFault> {
    match listener {
        Listener::Unix { listener, path: _ } => apart(listener, routes, ending).await,
        Listener::Tcp(listener) => serve(server(), without_delay(listener), routes, ending).await,
        Listener::Tls(listener, tls) => {
            let server = server().tls_config(*tls)?;
            serve(server, without_delay(listener), routes, ending).await
        }
        Listener::Memory(connections) => {
            let incoming = StreamExt::map(ReceiverStream::new(connections), io::Result::Ok);
            serve(server(), incoming, routes, ending).await
        }
    }
}

/// By a thread of its own. People come by the socket, workers mostly by an address: what thousands
/// of those report at once keeps the threads of the process busy, and whoever looks meanwhile does
/// not stand in their queue.
async fn apart(
    listener: UnixListener,
    routes: Routes,
    ending: CancellationToken,
) -> Result<(), ManagerFault> {
    let listener = listener.into_std().map_err(ManagerFault::Socket)?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(ManagerFault::Socket)?;
    let (end, given_up) = oneshot::channel::<()>();
    let (done, ended) = oneshot::channel();
    let run = move || {
        let served = runtime.block_on(async {
            let listener = UnixListener::from_std(listener).map_err(ManagerFault::Socket)?;
            let incoming = UnixListenerStream::new(listener);
            select! {
                served = serve(server(), incoming, routes, ending) => served,
                _ = given_up => Ok(()),
            }
        });
        drop(done.send(served));
    };
    let thread = thread::Builder::new().name("socket".to_owned()).spawn(run);
    thread.map_err(ManagerFault::Socket)?;
    // Gone without a word: it has panicked.
    let served = ended.await.unwrap_or(Err(ManagerFault::ListenerEnded));
    drop(end);
    served
}

fn server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
}

fn without_delay(listener: TcpListener) -> TcpIncoming {
    TcpIncoming::from(listener).with_nodelay(Some(true))
}

async fn serve<IO>(
    mut server: Server,
    incoming: impl Stream<Item = io::Result<IO>> + Send,
    routes: Routes,
    ending: CancellationToken,
) -> Result<(), ManagerFault>
where
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let ended = ending.cancelled_owned();
    let serving = server.add_routes(routes);
    Ok(serving.serve_with_incoming_shutdown(incoming.into_stream(), ended).await?)
}
