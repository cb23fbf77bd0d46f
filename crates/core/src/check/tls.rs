//! How a task's certificate is judged.

use std::sync::Arc;

use rustls_pki_types::{CertificateDer, pem::PemObject};

use crate::Invalid;

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Tls {
    pub trust: Trust,
    /// The name in the certificate, sent as SNI too. `None`: that of the Host header, else the
    /// task's address.
    pub server_name: Option<ServerName>,
}

/// Whose word for a certificate counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Trust {
    /// Any certificate is taken: a check asks whether the task answers, not who it is.
    #[default]
    Anyone,
    /// The authorities that the node's system trusts.
    Node,
    Ca(Ca),
}

/// One or more certificates in PEM, up to 64 KiB.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ca(Arc<str>);

impl Ca {
    pub fn new(pem: impl Into<Arc<str>>) -> Result<Self, Invalid> {
        let pem = pem.into();
        if pem.len() > 64 * 1024 {
            return Err(Invalid::new("is longer than 64 KiB"));
        }
        let ca = Self(pem);
        let certificates = ca.certificates()?;
        if certificates.is_empty() {
            return Err(Invalid::new("has no certificate in PEM (-----BEGIN CERTIFICATE-----)"));
        }
        for (index, certificate) in certificates.iter().enumerate() {
            webpki::anchor_from_trusted_cert(certificate).map_err(|error| {
                let number = index + 1;
                Invalid::new(format!("certificate {number} in it cannot be used: {error}"))
            })?;
        }
        Ok(ca)
    }

    pub fn pem(&self) -> &str {
        &self.0
    }

    /// What the PEM holds; keys and the like in it are left out.
    pub fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Invalid> {
        CertificateDer::pem_slice_iter(self.0.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| Invalid::new(format!("is not PEM: {error}")))
    }
}

/// A DNS name or an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerName(String);

impl ServerName {
    pub fn new(name: impl Into<String>) -> Result<Self, Invalid> {
        let name = name.into();
        match rustls_pki_types::ServerName::try_from(name.as_str()) {
            Ok(_) => Ok(Self(name)),
            Err(_) => Err(Invalid::new(format!("{name:?} is not a DNS name or an address"))),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}
