//! What `/health` with three checks costs beside a bare handler: requests per second and latency,
//! over keep-alive connections on loopback, client and server in this process. Prints, never fails.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use axum::{Router, routing::get};
use tokio::{net::TcpListener, runtime::Runtime};
use vitals::{CheckError, Disclosure, Vitals};

const CLIENTS: usize = 8;
const WARM_UP: Duration = Duration::from_millis(500);
const DURATION: Duration = Duration::from_secs(5);

fn main() -> std::io::Result<()> {
    // `cargo test --benches` only wants to know that it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let runtime = Runtime::new()?;
    println!("{CLIENTS} connections, {} s each", DURATION.as_secs());
    let bare = Router::new().route("/health", get(async || "{\"status\":\"healthy\"}"));
    measure(&runtime, "bare axum handler", bare, "/health")?;
    let health = |disclosure| {
        let check = || async {
            tokio::task::yield_now().await;
            Ok::<_, CheckError>(())
        };
        Vitals::new("bench", "1.0.0")
            .disclosure(disclosure)
            .critical("database", check)
            .critical("queue", check)
            .non_critical("cache", check)
    };
    let simple = health(Disclosure::Never).routes();
    measure(&runtime, "/health, three checks, simple", simple, "/health")?;
    let detailed = health(Disclosure::Always).routes();
    measure(&runtime, "/health, three checks, detailed", detailed, "/health")?;
    let live = health(Disclosure::Never).routes();
    measure(&runtime, "/liveness", live, "/liveness")
}

fn measure(runtime: &Runtime, name: &str, app: Router, path: &str) -> std::io::Result<()> {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    let server = runtime.spawn(async move { axum::serve(listener, app).await });
    run(address, path, WARM_UP)?;
    let mut latencies = run(address, path, DURATION)?;
    server.abort();
    latencies.sort_unstable();
    let at = |share: usize| latencies[latencies.len() * share / 1000].as_secs_f64() * 1e6;
    #[expect(clippy::cast_precision_loss, reason = "a rate for a person")]
    let rate = latencies.len() as f64 / DURATION.as_secs_f64();
    println!(
        "{name:34} {rate:9.0} requests/s   p50 {:6.0} us   p99 {:6.0} us   p99.9 {:6.0} us",
        at(500),
        at(990),
        at(999)
    );
    Ok(())
}

/// The latency of each request of all clients.
fn run(address: SocketAddr, path: &str, duration: Duration) -> std::io::Result<Vec<Duration>> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n");
    let until = Instant::now() + duration;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let request = request.clone();
            thread::spawn(move || client(address, &request, until))
        })
        .collect();
    let mut all = Vec::new();
    for client in clients {
        let ended = client.join().map_err(|_| std::io::Error::other("a client panicked"))?;
        all.extend(ended?);
    }
    Ok(all)
}

fn client(address: SocketAddr, request: &str, until: Instant) -> std::io::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let (mut latencies, mut buffer) = (Vec::new(), vec![0; 16 << 10]);
    while Instant::now() < until {
        let began = Instant::now();
        stream.write_all(request.as_bytes())?;
        let mut length = 0;
        while !is_whole(&buffer[..length]) {
            let more = stream.read(&mut buffer[length..])?;
            if more == 0 {
                return Err(std::io::Error::other("the server closed the connection"));
            }
            length += more;
        }
        latencies.push(began.elapsed());
    }
    Ok(latencies)
}

fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.and_then(|length| length.parse().ok()).is_some_and(|length: usize| body.len() >= length)
}
