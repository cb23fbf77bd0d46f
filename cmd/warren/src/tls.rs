//! Certificates and keys, as the flags name them: read and checked before anybody uses them.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use rustls::{RootCertStore, crypto::ring, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use crate::{cli::TlsArgs, client::CONNECT_TIMEOUT, failure::Failure};

/// A value, and the flag or variable that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told<T>(pub &'static str, pub T);

impl<T: fmt::Display> Told<T> {
    fn wrong(&self, why: impl fmt::Display) -> Failure {
        Failure::flag(self.0, format!("{}: {why}", self.1))
    }
}

/// The path of a file, shown as it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File(PathBuf);

impl From<&Path> for File {
    fn from(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl Told<File> {
    pub fn read(&self) -> Result<Vec<u8>, Failure> {
        fs::read(&self.1.0).map_err(|error| self.wrong(format!("it cannot be read: {error}")))
    }
}

/// Who one is: a certificate, with what leads from it to its CA, and its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Own {
    pub file: PathBuf,
    pub certificate: Vec<u8>,
    key: Vec<u8>,
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Own {
    /// Both files or none of them; and the one belongs to the other.
    pub fn read(
        certificate: Option<Told<File>>,
        key: Option<Told<File>>,
    ) -> Result<Option<Self>, Failure> {
        let (certificate, key) = match (certificate, key) {
            (None, None) => return Ok(None),
            (Some(certificate), None) => {
                return Err(Failure::flag(certificate.0, "needs its key: add --tls-key"));
            }
            (None, Some(key)) => {
                return Err(Failure::flag(key.0, "needs its certificate: add --tls-cert"));
            }
            (Some(certificate), Some(key)) => (certificate, key),
        };
        let (chain, secret) = (certificate.read()?, key.read()?);
        let parsed = certificates(&certificate, &chain)?;
        let private = PrivateKeyDer::from_pem_slice(&secret)
            .map_err(|_| key.wrong("it holds no private key in PEM"))?;
        match CertifiedKey::from_der(parsed, private, &ring::default_provider()) {
            Ok(_) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                let why = format!("it is not the key of the certificate in {}", certificate.1);
                return Err(key.wrong(why));
            }
            Err(error @ rustls::Error::InvalidCertificate(_)) => {
                return Err(certificate.wrong(error));
            }
            Err(error) => return Err(key.wrong(error)),
        }
        Ok(Some(Self { file: certificate.1.0, certificate: chain, key: secret }))
    }

    pub fn identity(&self) -> Identity {
        Identity::from_pem(&self.certificate, &self.key)
    }
}

fn certificates(told: &Told<File>, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match parsed {
        Ok(parsed) if !parsed.is_empty() => Ok(parsed),
        Ok(_) | Err(_) => Err(told.wrong("it holds no certificate in PEM")),
    }
}

/// The certificates of those whose word counts.
pub fn authorities(told: &Told<File>) -> Result<Vec<u8>, Failure> {
    let text = told.read()?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(told, &text)? {
        roots.add(certificate).map_err(|error| told.wrong(error))?;
    }
    Ok(text)
}

/// How a manager shows who it is, and whom it lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    pub own: Own,
    client_ca: Option<Vec<u8>>,
}

impl ServerTls {
    /// Absent where no flag asks for it.
    pub fn checked(args: &TlsArgs, client_ca: Option<&Path>) -> Result<Option<Self>, Failure> {
        let TlsArgs { ca, cert, key, server_name } = args;
        if ca.is_some() {
            let why = "is for who connects; the CA of those who may is --tls-client-ca";
            return Err(Failure::flag("--tls-ca", why));
        }
        if server_name.is_some() {
            return Err(Failure::flag("--tls-server-name", "is for who connects"));
        }
        let told = |flag, path: &Option<PathBuf>| path.as_deref().map(|p| Told(flag, p.into()));
        let own = Own::read(told("--tls-cert", cert), told("--tls-key", key))?;
        match (own, client_ca) {
            (None, None) => Ok(None),
            (None, Some(_)) => {
                let why = "needs a certificate of the manager's own: add --tls-cert and --tls-key";
                Err(Failure::flag("--tls-client-ca", why))
            }
            (Some(own), client_ca) => {
                let client_ca = client_ca.map(|path| Told("--tls-client-ca", path.into()));
                let client_ca = client_ca.as_ref().map(authorities).transpose()?;
                Ok(Some(Self { own, client_ca }))
            }
        }
    }

    /// Whether only clients with a certificate may connect.
    pub fn is_mutual(&self) -> bool {
        self.client_ca.is_some()
    }

    pub fn config(&self) -> ServerTlsConfig {
        let config = ServerTlsConfig::new().identity(self.own.identity()).timeout(CONNECT_TIMEOUT);
        match &self.client_ca {
            Some(ca) => config.client_ca_root(Certificate::from_pem(ca)),
            None => config,
        }
    }
}
