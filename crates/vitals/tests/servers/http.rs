//! HTTP, Qdrant's documented answers, TCP.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    thread,
};

use vitals::{Status, Vitals, testing::FakeCheck};

use crate::server::{message, service, until};

/// Other crates of a workspace may give the client TLS, which wants to be told its provider.
fn client() -> reqwest::Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::new()
}

#[tokio::test]
async fn another_services_health_is_asked_for() {
    let check = FakeCheck::passing();
    let other = Vitals::new("other", "1").critical("x", check.clone());
    let listener = other.listen("127.0.0.1:0").unwrap();
    let url = format!("http://{}/health/ready", listener.address());
    let health = service(vitals::http(client(), &url));
    until(&health, Status::Healthy).await;
    check.fail("down");
    let report = until(&health, Status::Unhealthy).await;
    assert_eq!(message(&report), "answered 503 Service Unavailable");
    assert_eq!(report.components[0].target.as_deref(), Some(url.as_str()));
    check.pass();
    until(&health, Status::Healthy).await;
    until(&service(vitals::http(client(), &url).head()), Status::Healthy).await;
    drop(listener);
    until(&health, Status::Unhealthy).await;
}

/// What Qdrant says at its endpoints; there is no package of it to run.
#[derive(Clone, Default)]
struct FakeQdrant(Arc<Mutex<Vec<(&'static str, u16)>>>);

impl FakeQdrant {
    fn say(&self, answers: &[(&'static str, u16)]) {
        *self.0.lock().unwrap() = answers.to_vec();
    }

    fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answers = Arc::clone(&self.0);
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let request = lines.next().unwrap().unwrap();
                let headers: Vec<_> =
                    lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                let path = request.split(' ').nth(1).unwrap();
                let answers = answers.lock().unwrap();
                let known = answers.iter().find(|(known, _)| *known == path);
                let keyed = headers.iter().any(|header| header == "api-key: k3y");
                let status = if keyed { known.map_or(404, |(_, status)| *status) } else { 401 };
                let head = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close");
                write!(stream, "{head}\r\n\r\n").unwrap();
            }
        });
        address
    }
}

#[tokio::test]
async fn qdrant_is_ready_when_its_shards_are() {
    let qdrant = FakeQdrant::default();
    let address = format!("http://{}/", qdrant.serve());
    let health = service(vitals::qdrant(client(), &address).api_key("k3y"));
    qdrant.say(&[("/readyz", 200), ("/healthz", 200)]);
    until(&health, Status::Healthy).await;
    qdrant.say(&[("/readyz", 503), ("/healthz", 200)]);
    let report = until(&health, Status::Unhealthy).await;
    assert_eq!(message(&report), "answered 503 Service Unavailable");
    qdrant.say(&[("/healthz", 200)]);
    until(&health, Status::Healthy).await;
    let without_key = service(vitals::qdrant(client(), &address));
    until(&without_key, Status::Unhealthy).await;
}

#[tokio::test]
async fn tcp_passes_while_somebody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let health = service(vitals::tcp(listener.local_addr().unwrap().to_string()));
    until(&health, Status::Healthy).await;
    drop(listener);
    let report = until(&health, Status::Unhealthy).await;
    assert!(message(&report).contains("refused"), "{}", message(&report));
}
