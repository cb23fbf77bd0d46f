//! A server that does as a script says, and what tests need to look at it.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdListener},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use warren_core::{
    bounds::Port,
    check::{CheckKind, HttpCheck, HttpHeader, HttpPath, TcpCheck},
    id::TaskId,
    outcome::{Evidence, Outcome},
};
use warren_probe::{Prober, Seen, Target};
use warren_runtime::Reach;

use crate::runtime::Fake;

pub const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub const TIMEOUT: Duration = Duration::from_secs(5);
pub const EXPLICIT: Outcome = Outcome::Fail(Evidence::Explicit);
pub const REFUSED: Outcome = Outcome::Fail(Evidence::Refused);
pub const LATE: Outcome = Outcome::Fail(Evidence::Timeout);

/// What a server does after it has read a request. In the end it closes.
#[derive(Debug, Clone)]
pub enum Step {
    Send(Vec<u8>),
    /// Again and again, until the client has gone.
    Repeat(Vec<u8>, Duration),
    /// Nothing, until the client has gone.
    Hang,
    /// Closes by RST.
    Reset,
}

/// When it runs its script.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum When {
    Asked,
    Connected,
}

pub struct Server {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    _accepting: JoinSet<()>,
}

pub fn send(text: impl Into<Vec<u8>>) -> Step {
    Step::Send(text.into())
}

/// A whole answer with a body.
pub fn answer(status: u16, headers: &str, body: &str) -> Vec<Step> {
    let length = body.len();
    vec![send(format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{headers}\r\n{body}"))]
}

impl Server {
    pub fn start(script: impl Fn(&str) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::on(StdListener::bind("127.0.0.1:0").unwrap(), When::Asked, script)
    }

    pub fn on(
        listener: StdListener,
        when: When,
        script: impl Fn(&str) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (log, script) = (Arc::clone(&heads), Arc::new(script));
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                let (log, script) = (Arc::clone(&log), Arc::clone(&script));
                connections.spawn(async move {
                    let mut stream = stream;
                    let mut head = String::new();
                    if when == When::Asked {
                        head = read_head(&mut stream).await;
                        log.lock().unwrap().push(head.clone());
                    }
                    let steps = script(&head);
                    if steps.iter().any(|step| matches!(step, Step::Reset)) {
                        stream.set_zero_linger().unwrap();
                    }
                    perform(&mut stream, steps).await;
                });
            }
        });
        Self { address, heads, _accepting: accepting }
    }

    /// The request heads that it has read, in order.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    pub fn check(&self) -> HttpCheck {
        HttpCheck::new(port(self.address))
    }

    pub async fn look(&self, check: HttpCheck) -> Seen {
        self.look_within(check, TIMEOUT).await
    }

    /// Looks, and holds the attempt to its deadline.
    pub async fn look_within(&self, check: HttpCheck, timeout: Duration) -> Seen {
        look(self.address.ip(), CheckKind::Http(check), timeout).await
    }

    pub async fn get(&self, path: &str) -> Seen {
        self.look(HttpCheck { path: HttpPath::new(path).unwrap(), ..self.check() }).await
    }
}

pub async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

pub async fn perform(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), steps: Vec<Step>) {
    for step in steps {
        let done = match step {
            Step::Send(bytes) => stream.write_all(&bytes).await.is_ok(),
            Step::Reset => true,
            Step::Hang => stream.read_u8().await.is_ok(),
            Step::Repeat(bytes, pause) => loop {
                if stream.write_all(&bytes).await.is_err() {
                    break false;
                }
                if pause.is_zero() {
                    tokio::task::yield_now().await;
                } else {
                    tokio::time::sleep(pause).await;
                }
            },
        };
        if !done {
            return;
        }
    }
    let _flushed = stream.flush().await;
}

pub fn port(address: SocketAddr) -> Port {
    Port::new(u32::from(address.port())).unwrap()
}

pub fn header(name: &str, value: &str) -> HttpHeader {
    HttpHeader::new(name, value).unwrap()
}

pub fn tcp(address: SocketAddr) -> CheckKind {
    CheckKind::Tcp(TcpCheck::new(port(address)))
}

pub fn target(reach: Reach) -> Target {
    Target::new(TaskId::from_u64(1), reach, Arc::new(Fake::default()))
}

/// Looks from this namespace, and holds the attempt to its deadline.
pub async fn look(address: IpAddr, kind: CheckKind, timeout: Duration) -> Seen {
    look_at(&target(Reach { netns: None, address, root_of: None }), kind, timeout).await
}

pub async fn look_at(target: &Target, kind: CheckKind, timeout: Duration) -> Seen {
    let prober = Prober::new().unwrap();
    let start = Instant::now();
    let seen = prober.attempt(target, &kind, timeout).await;
    let took = start.elapsed();
    assert!(took < timeout + Duration::from_millis(250), "took {took:?} of {timeout:?}: {seen:?}");
    seen
}

/// A listener whose queue is full: further connects get no answer at all.
pub struct BlackHole {
    pub address: SocketAddr,
    _listener: socket2::Socket,
    _queued: Vec<TcpStream>,
}

impl BlackHole {
    pub async fn open() -> Self {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let mut queued = Vec::new();
        let patience = Duration::from_millis(200);
        while let Ok(stream) = tokio::time::timeout(patience, TcpStream::connect(address)).await {
            queued.push(stream.unwrap());
        }
        Self { address, _listener: socket, _queued: queued }
    }
}
