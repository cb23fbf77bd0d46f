//! TLS: whose certificates are taken, and the handshake.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::uri::Authority;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{self, CryptoProvider, WebPkiSupportedAlgorithms},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use warren_core::{
    check::{Ca, Tls, Trust},
    clause::Clause,
    outcome::Evidence,
};

use crate::{
    clause,
    connect::{Peer, Stream},
    end::End,
    trace::Trace,
};

/// As many as a node has services with a CA of their own, and then some. Beyond it the cache
/// begins anew: a service that was removed leaves its CA behind.
const CACHED: usize = 256;

/// What to speak over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Alpn {
    Http1,
    Http2,
    /// Nothing is agreed on: both sides know it.
    Unnamed,
}

/// The ways to shake hands, made once: a CA takes longer to read than a handshake takes.
#[derive(Debug)]
pub(crate) struct Configs {
    made: Mutex<HashMap<(Trust, Alpn), Arc<ClientConfig>>>,
}

impl Configs {
    /// Fails where the process cannot do TLS at all.
    pub(crate) fn new() -> Result<Self, Error> {
        let mut made = HashMap::new();
        for alpn in [Alpn::Http1, Alpn::Http2, Alpn::Unnamed] {
            made.insert((Trust::Anyone, alpn), Arc::new(unverified(alpn)?));
        }
        Ok(Self { made: Mutex::new(made) })
    }

    pub(crate) async fn of(&self, trust: &Trust, alpn: Alpn) -> Result<Arc<ClientConfig>, End> {
        let key = (trust.clone(), alpn);
        if let Some(config) = self.made().get(&key) {
            return Ok(Arc::clone(config));
        }
        let trust = trust.clone();
        // The node's own authorities are a file or a hundred.
        let joined = tokio::task::spawn_blocking(move || config(&trust, alpn)).await;
        let lost = |why: String| End::inconclusive(clause::OBSERVER, why);
        let config = joined.map_err(|error| lost(format!("cannot set up TLS: {error}")))?;
        let config = Arc::new(config.map_err(lost)?);
        let mut cache = self.made();
        if cache.len() >= CACHED {
            cache.clear();
        }
        cache.insert(key, Arc::clone(&config));
        Ok(config)
    }

    fn made(&self) -> MutexGuard<'_, HashMap<(Trust, Alpn), Arc<ClientConfig>>> {
        // Nothing panics while it is held.
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error is why we cannot, for a person.
fn config(trust: &Trust, alpn: Alpn) -> Result<ClientConfig, String> {
    let refuse = |error: Error| format!("cannot set up TLS: {error}");
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Anyone => return unverified(alpn).map_err(refuse),
        Trust::Node => by_authority(node_roots()?)?,
        Trust::Ca(ca) => Arc::new(Judge::new(Word::of_owner(ca)?)),
    };
    with_verifier(verifier, alpn).map_err(refuse)
}

fn by_authority(roots: RootCertStore) -> Result<Arc<WebPkiServerVerifier>, String> {
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    builder.build().map_err(|error| format!("cannot set up TLS: {error}"))
}

fn node_roots() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (taken, _) = roots.add_parsable_certificates(found.certs);
    if taken > 0 {
        return Ok(roots);
    }
    let why = found.errors.first().map(ToString::to_string).unwrap_or_default();
    Err(format!("the node trusts no certificate authorities: {why}"))
}

/// Every certificate.
fn unverified(alpn: Alpn) -> Result<ClientConfig, Error> {
    with_verifier(Arc::new(Judge::new(Word::Anyones)), alpn)
}

fn with_verifier(verifier: Arc<dyn ServerCertVerifier>, alpn: Alpn) -> Result<ClientConfig, Error> {
    let provider = Arc::<CryptoProvider>::new(crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(finish(config, alpn))
}

fn finish(mut config: ClientConfig, alpn: Alpn) -> ClientConfig {
    config.alpn_protocols = match alpn {
        Alpn::Http1 => vec![b"http/1.1".to_vec()],
        Alpn::Http2 => vec![b"h2".to_vec()],
        Alpn::Unnamed => Vec::new(),
    };
    // A resumed session would leave out the half of the handshake that a check should test.
    config.resumption = Resumption::disabled();
    config
}

/// The name to ask for and to find in the certificate: the check's own, that of the `Host`
/// header, or the task's address. One that is a DNS name is sent as SNI; else none is.
pub(crate) fn name(tls: &Tls, host: Option<&str>, peer: Peer<'_>) -> ServerName<'static> {
    let parse = |name: &str| ServerName::try_from(name.to_owned()).ok();
    let own = tls.server_name.as_ref().and_then(|name| parse(name.as_str()));
    let asked = || {
        let authority = Authority::try_from(host?).ok()?;
        let host = authority.host();
        parse(host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host))
    };
    let address = || peer.ip().map(ServerName::from);
    let local = || ServerName::from(std::net::IpAddr::from([127, 0, 0, 1]));
    own.or_else(asked).or_else(address).unwrap_or_else(local)
}

/// rustls's word for a connection that ended without `close_notify`, as many do. The system has no
/// such error.
pub(crate) fn is_unannounced_close(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

pub(crate) async fn handshake(
    config: Arc<ClientConfig>,
    stream: Stream,
    name: ServerName<'static>,
    peer: Peer<'_>,
    trace: &Trace,
) -> Result<TlsStream<Stream>, End> {
    trace.tls_begun();
    let connector = TlsConnector::from(config);
    let stream = connector.connect(name, stream).await.map_err(|error| failed(&error, peer))?;
    trace.tls_done();
    Ok(stream)
}

fn failed(error: &io::Error, peer: Peer<'_>) -> End {
    if error.kind() == io::ErrorKind::InvalidData {
        let why = if of_tls(error).is_some_and(is_authority) {
            "invalid peer certificate: it signs itself; give it to the check as tls=FILE".to_owned()
        } else {
            error.to_string()
        };
        let message = format!("TLS handshake with {peer} failed: {why}");
        return End::fail(clause_of(error), Evidence::Explicit, message);
    }
    End::of_io(error, peer, " during the TLS handshake")
}

/// A certificate that is not the right one is another matter than a peer that knows no TLS.
fn clause_of(error: &io::Error) -> Clause {
    if matches!(of_tls(error), Some(Error::InvalidCertificate(_))) {
        clause::CERTIFICATE
    } else {
        clause::TLS
    }
}

fn of_tls(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// Whose word for a certificate counts. Either way it is taken only from a peer that has its key.
#[derive(Debug)]
struct Judge {
    word: Word,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
enum Word {
    Anyones,
    /// What an authority of the owner's file has signed; and what stands in that file itself, for
    /// `openssl req -x509` makes certificates that sign themselves and call themselves an
    /// authority, which by the book serve nobody.
    Owners {
        authorities: Arc<WebPkiServerVerifier>,
        file: Vec<CertificateDer<'static>>,
    },
}

impl Word {
    fn of_owner(ca: &Ca) -> Result<Self, String> {
        let file = ca.certificates().map_err(|invalid| invalid.to_string())?;
        let mut roots = RootCertStore::empty();
        for certificate in &file {
            let added = roots.add(certificate.clone());
            added.map_err(|error| format!("cannot use the CA: {error}"))?;
        }
        Ok(Self::Owners { authorities: by_authority(roots)?, file })
    }
}

impl Judge {
    fn new(word: Word) -> Self {
        let algorithms = crypto::ring::default_provider().signature_verification_algorithms;
        Self { word, algorithms }
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Word::Owners { authorities, file } = &self.word else {
            return Ok(ServerCertVerified::assertion());
        };
        let judged = authorities.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        // Its time is judged before, its name after.
        if matches!(&judged, Err(error) if is_authority(error)) && file.contains(end_entity) {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        judged
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// It is an authority that serves by itself, and nothing worse.
fn is_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(other)) = error else {
        return false;
    };
    other.0.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity)
}
