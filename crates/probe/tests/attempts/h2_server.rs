//! A server that speaks HTTP/2 and answers as a test says.

use std::{
    net::{SocketAddr, TcpListener as StdListener},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use h2::server;
use http::{HeaderMap, Response};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinSet,
};

/// What it does with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// The head, and a body that ends with it or in trailers.
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: Bytes, trailers: Trailers },
    /// A head, then a body without an end.
    Endless,
    /// That, so much later.
    After(Duration, Box<Reply>),
    /// Nothing.
    Hang,
    /// Closes the connection.
    Close,
}

pub type Trailers = Option<Vec<(&'static str, String)>>;

pub struct H2Server {
    pub address: SocketAddr,
    log: Arc<Mutex<Log>>,
    _accepting: JoinSet<()>,
}

#[derive(Debug, Default)]
pub struct Log {
    pub connections: usize,
    pub heads: Vec<http::request::Parts>,
    pub bodies: Vec<Vec<u8>>,
}

type Script = Arc<dyn Fn(usize) -> Reply + Send + Sync>;

impl H2Server {
    /// Replies to the first, the second, ... request of all.
    pub fn start(script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Mutex::new(Log::default()));
        let mut accepting = JoinSet::new();
        let (shared, script): (_, Script) = (Arc::clone(&log), Arc::new(script));
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                shared.lock().unwrap().connections += 1;
                connections.spawn(serve(stream, Arc::clone(&shared), Arc::clone(&script)));
            }
        });
        Self { address, log, _accepting: accepting }
    }

    pub fn log<T>(&self, look: impl FnOnce(&Log) -> T) -> T {
        look(&self.log.lock().unwrap())
    }
}

pub async fn serve<S>(stream: S, log: Arc<Mutex<Log>>, script: Script)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ok(mut connection) = server::handshake(stream).await else { return };
    let mut answering = JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        let (head, mut body) = request.into_parts();
        let reply = {
            let mut log = log.lock().unwrap();
            log.heads.push(head);
            script(log.heads.len())
        };
        if matches!(reply, Reply::Close) {
            return;
        }
        let log = Arc::clone(&log);
        answering.spawn(async move {
            let mut whole = Vec::new();
            while let Some(Ok(data)) = body.data().await {
                whole.extend_from_slice(&data);
            }
            log.lock().unwrap().bodies.push(whole);
            let reply = match reply {
                Reply::After(pause, reply) => {
                    tokio::time::sleep(pause).await;
                    *reply
                }
                now @ (Reply::Answer { .. } | Reply::Endless | Reply::Hang | Reply::Close) => now,
            };
            answer(respond, reply).await;
        });
    }
}

async fn answer(mut respond: server::SendResponse<Bytes>, reply: Reply) {
    let head = |status: u16, headers: Vec<(&'static str, String)>| {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(name, value);
        }
        response.body(()).unwrap()
    };
    match reply {
        Reply::Answer { status, headers, body, trailers } => {
            let bare = body.is_empty() && trailers.is_none();
            let Ok(mut stream) = respond.send_response(head(status, headers), bare) else { return };
            if bare {
                return;
            }
            stream.send_data(body, trailers.is_none()).unwrap();
            if let Some(trailers) = trailers {
                let mut map = HeaderMap::new();
                for (name, value) in trailers {
                    map.insert(name, value.parse().unwrap());
                }
                stream.send_trailers(map).unwrap();
            }
        }
        Reply::Endless => {
            let mut stream = respond.send_response(head(200, Vec::new()), false).unwrap();
            let chunk = Bytes::from_static(&[b'x'; 1024]);
            while stream.send_data(chunk.clone(), false).is_ok() {
                stream.reserve_capacity(1024);
                if std::future::poll_fn(|cx| stream.poll_capacity(cx)).await.is_none() {
                    return;
                }
            }
        }
        Reply::After(..) | Reply::Hang | Reply::Close => std::future::pending().await,
    }
}
