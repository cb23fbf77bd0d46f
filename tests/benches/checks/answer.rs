//! The one that answers: a small HTTP/1 server for all targets at once, without a thread for each
//! connection, so that it is not what is measured. Who asks by gRPC is answered by our own health
//! service.

use std::{
    io::{BufRead, ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU64, Ordering},
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use tonic::{service::Routes, transport::Server};
use vitals::Vitals;

use crate::targets::{GRPC_PORT, PORT};

const LISTENER: Token = Token(usize::MAX);
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

static ANSWERS: AtomicU64 = AtomicU64::new(0);
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

/// Says `ready`, then so many answers and connections for each line that it reads.
pub fn run() {
    let mut poll = Poll::new().unwrap();
    let at = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
    let mut listener = TcpListener::bind(at).unwrap();
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).unwrap();
    std::thread::spawn(serve_grpc);
    println!("ready");
    std::thread::spawn(tell);
    let mut connections: Vec<Option<TcpStream>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut events = Events::with_capacity(1024);
    loop {
        if poll.poll(&mut events, None).is_err_and(|e| e.kind() != ErrorKind::Interrupted) {
            return;
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    let slot = free.pop().unwrap_or_else(|| {
                        connections.push(None);
                        connections.len() - 1
                    });
                    let interest = Interest::READABLE;
                    poll.registry().register(&mut stream, Token(slot), interest).unwrap();
                    connections[slot] = Some(stream);
                    CONNECTIONS.fetch_add(1, Ordering::Relaxed);
                }
            } else if let Some(stream) = &mut connections[event.token().0]
                && !serve(stream)
            {
                connections[event.token().0] = None;
                free.push(event.token().0);
            }
        }
    }
}

/// Answers what has come. Whether the connection goes on.
fn serve(stream: &mut TcpStream) -> bool {
    let mut request = [0; 2048];
    loop {
        match stream.read(&mut request) {
            Ok(0) => return false,
            Ok(bytes) => {
                // Requests are small, and come in one piece over loopback.
                let request = &request[..bytes];
                if request.ends_with(b"\r\n\r\n") {
                    ANSWERS.fetch_add(1, Ordering::Relaxed);
                    if stream.write_all(ANSWER).is_err() || asks_to_close(request) {
                        return false;
                    }
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Err(_reset) => return false,
        }
    }
}

fn asks_to_close(request: &[u8]) -> bool {
    let close = b"onnection: close\r\n";
    request.windows(close.len()).any(|window| window == close) || is_old(request)
}

fn is_old(request: &[u8]) -> bool {
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    line.ends_with(b"HTTP/1.0")
}

/// A call that comes before it listens fails, and its check is attempted again.
fn serve_grpc() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let health = Routes::new(Vitals::new("bench", "1").grpc([""; 0]));
        let at = SocketAddr::from((Ipv4Addr::UNSPECIFIED, GRPC_PORT));
        Server::builder().add_routes(health).serve(at).await.unwrap();
    });
}

/// Until nobody asks any more.
fn tell() {
    for line in std::io::stdin().lock().lines() {
        if line.is_err() {
            break;
        }
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        println!("{} {}", count(&ANSWERS), count(&CONNECTIONS));
    }
    std::process::exit(0);
}
