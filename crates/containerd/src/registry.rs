//! One image's registry: how to reach it, and documents and blobs from it.

use std::{io, net::IpAddr, time::Duration};

use bytes::Bytes;
use docker_credential::{CredentialRetrievalError, DockerCredential};
use futures::Stream;
use oci_client::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol},
    errors::{OciDistributionError, OciErrorCode},
    manifest::OciDescriptor,
    secrets::RegistryAuth,
};
use warren_core::spec::ImageRef;

use crate::{
    client::chain,
    manifest::{DOCKER_INDEX, DOCKER_MANIFEST, Descriptor, OCI_INDEX, OCI_MANIFEST},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Without a single byte.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const ACCEPTED: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST];
/// docker's own registry, as its configuration calls it.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// Why something did not come from a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The same question may have another answer soon.
    #[error("{0}")]
    Passing(String),
    #[error("{0}")]
    Final(String),
}

pub struct Registry {
    client: Client,
    reference: Reference,
    auth: RegistryAuth,
    /// For sentences.
    host: String,
}

impl Registry {
    pub async fn of(name: &ImageRef) -> Result<Self, RegistryError> {
        // The HTTP client has no TLS of its own. An error means that somebody chose before us.
        drop(rustls::crypto::ring::default_provider().install_default());
        let reference: Reference = name
            .as_str()
            .parse()
            .map_err(|error| RegistryError::Final(format!("{name}: {error}")))?;
        let host = reference.registry().to_owned();
        let protocol =
            if is_loopback(&host) { ClientProtocol::Http } else { ClientProtocol::Https };
        let client = Client::new(ClientConfig {
            protocol,
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            ..ClientConfig::default()
        });
        let auth = credentials(host.clone()).await;
        Ok(Self { client, reference, auth, host })
    }

    /// What the name stands for.
    pub async fn resolve(&self) -> Result<(Descriptor, Vec<u8>), RegistryError> {
        self.manifest(&self.reference).await
    }

    /// A manifest that an index names.
    pub async fn child(&self, child: &Descriptor) -> Result<(Descriptor, Vec<u8>), RegistryError> {
        self.manifest(&self.reference.clone_with_digest(child.digest.clone())).await
    }

    async fn manifest(&self, name: &Reference) -> Result<(Descriptor, Vec<u8>), RegistryError> {
        let pulled = self.client.pull_manifest_raw(name, &self.auth, &ACCEPTED).await;
        let (document, _) = pulled.map_err(|error| self.explain(error))?;
        let media_type = media_type(&document);
        Ok((Descriptor::of(&media_type, &document), document.to_vec()))
    }

    /// Verified: it ends with an error when it was not what it should be.
    pub async fn blob(
        &self,
        blob: &Descriptor,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Unpin + Send + use<>, RegistryError> {
        let descriptor = OciDescriptor {
            media_type: blob.media_type.clone(),
            digest: blob.digest.clone(),
            size: i64::try_from(blob.size).unwrap_or_default(),
            ..OciDescriptor::default()
        };
        let pulled = self.client.pull_blob_stream(&self.reference, &descriptor).await;
        Ok(pulled.map_err(|error| self.explain(error))?.stream)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "most of another crate's errors are answers that stay what they are"
    )]
    fn explain(&self, error: OciDistributionError) -> RegistryError {
        let host = &self.host;
        let image = &self.reference;
        match error {
            OciDistributionError::UnauthorizedError { .. }
            | OciDistributionError::AuthenticationFailure(_) => RegistryError::Final(format!(
                "registry {host} does not give out {image}: it does not exist, or the user that \
                 the worker runs as needs `docker login {host}`"
            )),
            OciDistributionError::RegistryError { envelope, .. } => {
                let codes = || envelope.errors.iter().map(|error| &error.code);
                if codes().any(|code| *code == OciErrorCode::Toomanyrequests) {
                    RegistryError::Passing(format!("registry {host} wants fewer requests"))
                } else if codes().any(is_absence) {
                    RegistryError::Final(format!("registry {host} has no image {image}"))
                } else {
                    RegistryError::Final(format!("registry {host} says: {envelope}"))
                }
            }
            OciDistributionError::ImageManifestNotFoundError(_) => {
                RegistryError::Final(format!("registry {host} has no image {image}"))
            }
            OciDistributionError::ServerError { code, .. } if code < 500 && code != 429 => {
                RegistryError::Final(format!("registry {host} answers with status {code}"))
            }
            OciDistributionError::ServerError { code, .. } => {
                RegistryError::Passing(format!("registry {host} answers with status {code}"))
            }
            error @ (OciDistributionError::RequestError(_)
            | OciDistributionError::IoError(_)
            | OciDistributionError::DigestError(_)) => {
                RegistryError::Passing(format!("registry {host}: {}", chain(&error)))
            }
            error => RegistryError::Final(format!("registry {host}: {}", chain(&error))),
        }
    }
}

fn is_absence(code: &OciErrorCode) -> bool {
    matches!(
        code,
        OciErrorCode::ManifestUnknown
            | OciErrorCode::NameUnknown
            | OciErrorCode::NotFound
            | OciErrorCode::BlobUnknown
            | OciErrorCode::ManifestBlobUnknown
    )
}

/// Only there is nobody on the way who could read or change what is not encrypted.
fn is_loopback(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        Some(_) | None => registry,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// The document's own word. Old indexes have none, and only they have manifests.
fn media_type(document: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(document).unwrap_or_default();
    match value["mediaType"].as_str() {
        Some(media_type) => media_type.to_owned(),
        None if value["manifests"].is_array() => OCI_INDEX.to_owned(),
        None => OCI_MANIFEST.to_owned(),
    }
}

/// From docker's configuration, where the user has one. Helpers are programs: they may take time.
async fn credentials(host: String) -> RegistryAuth {
    let key = if host == "docker.io" { DOCKER_HUB_KEY.to_owned() } else { host.clone() };
    let asked = tokio::task::spawn_blocking(move || docker_credential::get_credential(&key)).await;
    match asked {
        Ok(Ok(DockerCredential::UsernamePassword(user, password))) => {
            RegistryAuth::Basic(user, password)
        }
        Ok(Ok(DockerCredential::IdentityToken(_))) => {
            tracing::warn!(registry = host, "identity tokens are not supported: going on without");
            RegistryAuth::Anonymous
        }
        Ok(Err(
            CredentialRetrievalError::ConfigNotFound
            | CredentialRetrievalError::NoCredentialConfigured,
        )) => RegistryAuth::Anonymous,
        Ok(Err(error)) => {
            tracing::warn!(registry = host, %error, "no credentials from docker's configuration");
            RegistryAuth::Anonymous
        }
        Err(error) => {
            tracing::warn!(registry = host, %error, "no credentials from docker's configuration");
            RegistryAuth::Anonymous
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_registries_are_spoken_to_without_tls() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.8.9.1", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["docker.io", "10.0.0.1:5000", "localhost.evil.org", "127.0.0.1.evil.org"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_document_without_a_type_is_known_by_its_shape() {
        assert_eq!(media_type(br#"{"manifests":[]}"#), OCI_INDEX);
        assert_eq!(media_type(br#"{"config":{},"layers":[]}"#), OCI_MANIFEST);
        assert_eq!(media_type(br#"{"mediaType":"x","manifests":[]}"#), "x");
    }
}
