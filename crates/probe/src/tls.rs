//! TLS without verification: a check asks whether the task answers, not who it is.

use std::{io, net::SocketAddr, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{self, CryptoProvider, WebPkiSupportedAlgorithms},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use warren_core::outcome::Evidence;

use crate::{clause, end::End, trace::Trace};

/// TLS 1.2 and 1.3, every certificate, HTTP/1.1 only.
pub(crate) fn unverified() -> Result<Arc<ClientConfig>, Error> {
    let provider = crypto::ring::default_provider();
    let verifier = Arc::new(AnyCertificate(provider.signature_verification_algorithms));
    let mut config = ClientConfig::builder_with_provider(Arc::<CryptoProvider>::new(provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed session would leave out the half of the handshake that a check should test.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Shakes hands. A `name` that is a DNS name is sent as SNI; else none is.
pub(crate) async fn handshake(
    config: &Arc<ClientConfig>,
    stream: TcpStream,
    name: Option<&str>,
    peer: SocketAddr,
    trace: &Trace,
) -> Result<TlsStream<TcpStream>, End> {
    let name = name
        .and_then(|name| ServerName::try_from(name.to_owned()).ok())
        .unwrap_or_else(|| ServerName::from(peer.ip()));
    trace.tls_begun();
    let connector = TlsConnector::from(Arc::clone(config));
    let stream = connector.connect(name, stream).await.map_err(|error| failed(&error, peer))?;
    trace.tls_done();
    Ok(stream)
}

fn failed(error: &io::Error, peer: SocketAddr) -> End {
    if error.kind() == io::ErrorKind::InvalidData {
        let message = format!("TLS handshake with {peer} failed: {error}");
        return End::fail(clause::TLS, Evidence::Explicit, message);
    }
    End::of_io(error, peer, " during the TLS handshake")
}

/// Takes every certificate, but only from a peer that has its key.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
