//! HTTPS: any certificate will do, and the handshake is under the same deadline.

use std::{
    net::{SocketAddr, TcpListener as StdListener},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{net::TcpListener, task::JoinSet};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::PrivateKeyDer,
        version::{TLS12, TLS13},
    },
};
use warren_core::{
    check::{CheckKind, HttpCheck, Tls},
    outcome::Outcome,
};
use warren_probe::Seen;

use crate::server::{
    EXPLICIT, LATE, REFUSED, Server, Step, TIMEOUT, When, answer, header, look, perform, port,
    read_head, send,
};

type Hello = (Option<String>, Option<Vec<u8>>);

struct TlsServer {
    address: SocketAddr,
    /// Of each connection: the SNI and the ALPN.
    hellos: Arc<Mutex<Vec<Hello>>>,
    _accepting: JoinSet<()>,
}

impl TlsServer {
    fn start(
        version: &'static tokio_rustls::rustls::SupportedProtocolVersion,
        script: fn() -> Vec<Step>,
    ) -> Self {
        let own = rcgen::generate_simple_self_signed(vec!["other.example".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let address = listener.local_addr().unwrap();
        let hellos = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&hellos);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let (_, session) = stream.get_ref();
                let sni = session.server_name().map(str::to_owned);
                let alpn = session.alpn_protocol().map(<[u8]>::to_vec);
                log.lock().unwrap().push((sni, alpn));
                read_head(&mut stream).await;
                // Dropped without close_notify, as many servers do.
                perform(&mut stream, script()).await;
            }
        });
        Self { address, hellos, _accepting: accepting }
    }

    async fn look(&self, host: Option<&str>) -> Seen {
        let headers = host.map(|host| header("Host", host)).into_iter().collect();
        https(self.address, HttpCheck { headers, ..HttpCheck::new(port(self.address)) }).await
    }
}

async fn https(address: SocketAddr, check: HttpCheck) -> Seen {
    let check = HttpCheck { tls: Some(Tls::default()), ..check };
    look(address.ip(), CheckKind::Http(check), TIMEOUT).await
}

#[tokio::test]
async fn a_self_signed_certificate_of_another_name_passes() {
    for version in [&TLS12, &TLS13] {
        let server = TlsServer::start(version, || answer(200, "", "fine"));
        let seen = server.look(None).await;
        assert_eq!(seen.outcome, Outcome::Pass, "{version:?}: {}", seen.message);
        let phases = seen.phases;
        assert!(phases.connect < phases.tls && phases.tls <= phases.first_byte, "{phases:?}");
    }
}

#[tokio::test]
async fn the_hosts_name_is_sent_as_sni_and_an_address_is_not() {
    let server = TlsServer::start(&TLS13, || answer(200, "", ""));
    for host in [None, Some("web.example"), Some("web.example:8443"), Some("127.0.0.1")] {
        assert_eq!(server.look(host).await.outcome, Outcome::Pass);
    }
    let alpn = || Some(b"http/1.1".to_vec());
    let named = || (Some("web.example".to_owned()), alpn());
    let hellos = server.hellos.lock().unwrap().clone();
    assert_eq!(hellos, [(None, alpn()), named(), named(), (None, alpn())]);
}

#[tokio::test]
async fn a_body_may_end_without_close_notify() {
    let server = TlsServer::start(&TLS13, || vec![send("HTTP/1.0 200 OK\r\n\r\nall of it")]);
    let seen = server.look(None).await;
    assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
    let server = TlsServer::start(&TLS13, || {
        vec![send("HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\nhalf")]
    });
    let seen = server.look(None).await;
    assert_eq!(seen.outcome, REFUSED, "{}", seen.message);
}

#[tokio::test]
async fn a_bad_status_over_tls_is_a_failure() {
    let server = TlsServer::start(&TLS13, || answer(500, "", "broken"));
    let seen = server.look(None).await;
    assert_eq!(seen.outcome, EXPLICIT);
    assert!(seen.message.ends_with(": broken"), "{}", seen.message);
}

#[tokio::test]
async fn a_handshake_that_never_finishes_is_late() {
    let silent = StdListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let check = HttpCheck { tls: Some(Tls::default()), ..HttpCheck::new(port(address)) };
    let seen = look(address.ip(), CheckKind::Http(check), Duration::from_millis(150)).await;
    assert_eq!(seen.outcome, LATE, "{}", seen.message);
    assert!(seen.message.ends_with(", TLS handshake unfinished"), "{}", seen.message);
    assert!(seen.phases.connect.is_some() && seen.phases.tls.is_none(), "{seen:?}");
}

#[tokio::test]
async fn a_connection_that_ends_during_the_handshake_is_refused() {
    for steps in [vec![], vec![Step::Reset]] {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        let server = Server::on(listener, When::Connected, move |_| steps.clone());
        let seen = https(server.address, server.check()).await;
        assert_eq!(seen.outcome, REFUSED, "{}", seen.message);
        assert!(seen.message.ends_with(" during the TLS handshake"), "{}", seen.message);
    }
}

#[tokio::test]
async fn a_server_without_tls_fails_explicitly() {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let plain = Server::on(listener, When::Connected, |_| answer(400, "", "speak plainly"));
    let seen = https(plain.address, plain.check()).await;
    assert_eq!(seen.outcome, EXPLICIT, "{}", seen.message);
    assert_eq!(seen.clause.to_string(), "C-55");
    assert!(seen.message.starts_with("TLS handshake with 127.0.0.1:"), "{}", seen.message);
}
