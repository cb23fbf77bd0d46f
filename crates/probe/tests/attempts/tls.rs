//! HTTPS: any certificate will do, and the handshake is under the same deadline.

use std::{
    net::{SocketAddr, TcpListener as StdListener},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer},
        version::{TLS12, TLS13},
    },
};
use warren_core::{
    check::{
        Ca, CheckKind, GrpcCheck, HttpCheck, HttpVersion, Payload, ServerName, TcpCheck, TextMatch,
        Tls, Trust,
    },
    clause::Clause,
    outcome::Outcome,
};
use warren_probe::Seen;

use crate::h2_server::{Reply, serve};
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
        let key = own.signing_key.serialize_der();
        Self::with(version, own.cert.der().clone(), key, script)
    }

    fn with(
        version: &'static tokio_rustls::rustls::SupportedProtocolVersion,
        certificate: CertificateDer<'static>,
        key: Vec<u8>,
        script: fn() -> Vec<Step>,
    ) -> Self {
        let acceptor = acceptor(version, certificate, key);
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

pub fn acceptor(
    version: &'static tokio_rustls::rustls::SupportedProtocolVersion,
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
) -> TlsAcceptor {
    let key = PrivateKeyDer::try_from(key).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Signs certificates for names.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    ca: Ca,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = Ca::new(params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), ca }
    }

    fn sign(&self, name: &str) -> (CertificateDer<'static>, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.der().clone(), key.serialize_der())
    }

    /// Answers as `name`.
    fn server(&self, name: &str) -> TlsServer {
        let (certificate, key) = self.sign(name);
        TlsServer::with(&TLS13, certificate, key, || answer(200, "", "fine"))
    }

    fn trusted(&self, server_name: Option<&str>) -> Tls {
        let server_name = server_name.map(|name| ServerName::new(name).unwrap());
        Tls { trust: Trust::Ca(self.ca.clone()), server_name }
    }
}

async fn verified(server: &TlsServer, tls: Tls, host: Option<&str>) -> Seen {
    let headers = host.map(|host| header("Host", host)).into_iter().collect();
    let check = HttpCheck { tls: Some(tls), headers, ..HttpCheck::new(port(server.address)) };
    look(server.address.ip(), CheckKind::Http(check), TIMEOUT).await
}

/// C-100.
#[tokio::test]
async fn a_certificate_of_the_owners_authority_passes_for_its_name_only() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let named = ours.server("web.example");
    for (tls, host, outcome) in [
        (ours.trusted(Some("web.example")), None, Outcome::Pass),
        (ours.trusted(None), Some("web.example:8443"), Outcome::Pass),
        (ours.trusted(Some("web.example")), Some("other.example"), Outcome::Pass),
        (ours.trusted(Some("other.example")), Some("web.example"), EXPLICIT),
        (ours.trusted(None), None, EXPLICIT),
        (theirs.trusted(Some("web.example")), None, EXPLICIT),
        (Tls { trust: Trust::Node, server_name: None }, Some("web.example"), EXPLICIT),
        (Tls::default(), None, Outcome::Pass),
    ] {
        let seen = verified(&named, tls.clone(), host).await;
        assert_eq!(seen.outcome, outcome, "{tls:?} {host:?}: {}", seen.message);
        if outcome == EXPLICIT {
            assert_eq!(seen.clause, Clause::new(100), "{}", seen.message);
            assert!(seen.message.contains("invalid peer certificate"), "{}", seen.message);
        }
    }
    // By its address, which is never sent as SNI.
    let seen = verified(&ours.server("127.0.0.1"), ours.trusted(None), None).await;
    assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
}

/// C-100: as `openssl req -x509` makes them.
#[tokio::test]
async fn an_authority_that_serves_by_itself_passes_where_the_file_names_it() {
    let made = |names: &[&str], last_day: i32| {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(last_day, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let ca = Ca::new(certificate.pem()).unwrap();
        let (der, key) = (certificate.der().clone(), key.serialize_der());
        (TlsServer::with(&TLS13, der, key, || answer(200, "", "fine")), ca)
    };
    let (server, ca) = made(&["web.example"], 4000);
    let (_, stranger) = made(&["web.example"], 4000);
    let (expired, late) = made(&["web.example"], 2000);
    for (server, ca, name, outcome) in [
        (&server, &ca, "web.example", Outcome::Pass),
        (&server, &ca, "other.example", EXPLICIT),
        (&server, &stranger, "web.example", EXPLICIT),
        (&expired, &late, "web.example", EXPLICIT),
    ] {
        let server_name = Some(ServerName::new(name).unwrap());
        let tls = Tls { trust: Trust::Ca(ca.clone()), server_name };
        let seen = verified(server, tls, None).await;
        assert_eq!(seen.outcome, outcome, "{name}: {}", seen.message);
    }
    // Nobody has told the node of it.
    for trust in [Trust::Node, Trust::Ca(stranger)] {
        let server_name = Some(ServerName::new("web.example").unwrap());
        let seen = verified(&server, Tls { trust, server_name }, None).await;
        let told = "it signs itself; give it to the check as tls=FILE";
        assert!(seen.message.ends_with(told), "{}", seen.message);
    }
}

/// C-100: the name is sent as SNI, verified or not.
#[tokio::test]
async fn the_owners_server_name_is_sent_as_sni() {
    let server = TlsServer::start(&TLS13, || answer(200, "", ""));
    let server_name = Some(ServerName::new("sni.example").unwrap());
    let tls = Tls { trust: Trust::Anyone, server_name };
    assert_eq!(verified(&server, tls, Some("web.example")).await.outcome, Outcome::Pass);
    let hellos = server.hellos.lock().unwrap().clone();
    assert_eq!(hellos[0].0.as_deref(), Some("sni.example"));
}

/// Speaks HTTP/2 over TLS, and replies the same to everything.
async fn h2_over_tls(authority: &Authority, reply: Reply) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (certificate, key) = authority.sign("grpc.example");
    let acceptor = acceptor(&TLS13, certificate, key);
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
            assert_eq!(alpn.as_deref(), Some(&b"h2"[..]));
            let reply = reply.clone();
            serve(stream, Arc::default(), Arc::new(move |_| reply.clone())).await;
        }
    });
    (address, serving)
}

/// C-58.
#[tokio::test]
async fn http_2_over_tls_is_agreed_by_alpn() {
    let authority = Authority::new();
    let reply =
        Reply::Answer { status: 200, headers: vec![], body: Bytes::from("fine"), trailers: None };
    let (address, _serving) = h2_over_tls(&authority, reply).await;
    let check = HttpCheck {
        tls: Some(authority.trusted(Some("grpc.example"))),
        version: HttpVersion::Http2,
        ..HttpCheck::new(port(address))
    };
    let seen = look(address.ip(), CheckKind::Http(check), TIMEOUT).await;
    assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
}

/// C-113.
#[tokio::test]
async fn grpc_over_tls_is_verified_as_https_is() {
    let authority = Authority::new();
    let reply = Reply::Answer {
        status: 200,
        headers: vec![("content-type", "application/grpc".to_owned())],
        body: Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]),
        trailers: Some(vec![("grpc-status", "0".to_owned())]),
    };
    for (tls, outcome) in [
        (Some(authority.trusted(Some("grpc.example"))), Outcome::Pass),
        (Some(Tls::default()), Outcome::Pass),
        (Some(authority.trusted(Some("other.example"))), EXPLICIT),
        (Some(Authority::new().trusted(Some("grpc.example"))), EXPLICIT),
        (None, REFUSED),
    ] {
        let (address, _serving) = h2_over_tls(&authority, reply.clone()).await;
        let check = GrpcCheck { tls: tls.clone(), ..GrpcCheck::new(port(address)) };
        let seen = look(address.ip(), CheckKind::Grpc(check), TIMEOUT).await;
        let plain = tls.is_none() && matches!(seen.outcome, Outcome::Fail(_));
        assert!(seen.outcome == outcome || plain, "{tls:?}: {}", seen.message);
    }
}

async fn https(address: SocketAddr, check: HttpCheck) -> Seen {
    let check = HttpCheck { tls: Some(Tls::default()), ..check };
    look(address.ip(), CheckKind::Http(check), TIMEOUT).await
}

/// C-55.
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

/// C-55.
#[tokio::test]
async fn a_server_without_tls_fails_explicitly() {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let plain = Server::on(listener, When::Connected, |_| answer(400, "", "speak plainly"));
    let seen = https(plain.address, plain.check()).await;
    assert_eq!(seen.outcome, EXPLICIT, "{}", seen.message);
    assert_eq!(seen.clause.to_string(), "C-55");
    assert!(seen.message.starts_with("TLS handshake with 127.0.0.1:"), "{}", seen.message);
}

/// C-60, C-105: as redis with `tls-port` and SMTP on 465 speak, without ALPN.
#[tokio::test]
async fn tcp_over_tls_is_verified_as_https_is_and_then_talks() {
    let authority = Authority::new();
    let (certificate, key) = authority.sign("redis.example");
    let acceptor = acceptor(&TLS13, certificate, key);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            assert_eq!(stream.get_ref().1.alpn_protocol(), None);
            let mut heard = [0; 6];
            if stream.read_exact(&mut heard).await.is_ok() {
                assert_eq!(&heard, b"PING\r\n");
                stream.write_all(b"+PONG\r\n").await.unwrap();
                stream.flush().await.unwrap();
                // Without a leave of TLS.
            }
        }
    });
    let ask = async |tls: Option<Tls>, expect: Option<&str>| {
        let send = if expect.is_some() { &b"PING\r\n"[..] } else { &[] };
        let check = TcpCheck {
            tls,
            send: Payload::new(send).unwrap(),
            expect: expect.map(|text| TextMatch::contains(text).unwrap()),
            ..TcpCheck::new(port(address))
        };
        look(address.ip(), CheckKind::Tcp(check), TIMEOUT).await
    };
    let trusted = |name| Some(authority.trusted(Some(name)));
    for (tls, expect, outcome, clause) in [
        (trusted("redis.example"), Some("+PONG"), Outcome::Pass, 105),
        (Some(Tls::default()), None, Outcome::Pass, 60),
        (trusted("redis.example"), Some("-ERR"), EXPLICIT, 105),
        (trusted("other.example"), Some("+PONG"), EXPLICIT, 100),
        (Some(Authority::new().trusted(Some("redis.example"))), None, EXPLICIT, 100),
    ] {
        let seen = ask(tls, expect).await;
        assert_eq!((seen.outcome, seen.clause), (outcome, Clause::new(clause)), "{seen:?}");
    }
    let seen = ask(Some(Tls::default()), None).await;
    assert_eq!(seen.message, format!("connected to {address} by TLS"));
    assert!(seen.phases.tls.is_some(), "{seen:?}");
}
