//! Images from registries into containerd: what is missing of them.

use std::time::Duration;

use futures::{
    FutureExt,
    future::{BoxFuture, try_join_all},
};
use tokio::time::sleep;
use warren_core::spec::ImageRef;
use warren_runtime::RuntimeError;

use crate::{
    client::Lease,
    content::StoreError,
    image::{Image, parse},
    manifest::{Descriptor, Index, Manifest},
    registry::{Registry, RegistryError},
    shared::Shared,
};

/// Of each document and blob. A registry that fails so often in a row is down; the service's own
/// backoff goes on from there.
const ATTEMPTS: u32 = 4;
/// After the first failure; doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Why an image, or a part of it, did not come.
#[derive(Debug, thiserror::Error)]
enum PullError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

impl PullError {
    const fn is_passing(&self) -> bool {
        match self {
            Self::Registry(RegistryError::Passing(_)) | Self::Store(StoreError::Source(_)) => true,
            Self::Registry(RegistryError::Final(_))
            | Self::Store(StoreError::Runtime(_))
            | Self::Runtime(_) => false,
        }
    }
}

impl Shared {
    /// Asks the registry what the name stands for now, and fetches what is not there.
    pub async fn pull(&self, name: &ImageRef) -> Result<Image, RuntimeError> {
        let lease = self.image_lease().await?;
        let pulled = self.pull_under(name, &lease).await;
        let released = lease.release().await;
        let image = pulled.map_err(|error| match error {
            PullError::Runtime(error) | PullError::Store(StoreError::Runtime(error)) => error,
            PullError::Registry(error) => refused(name, &error.to_string()),
            PullError::Store(StoreError::Source(reason)) => refused(name, &reason),
        })?;
        released?;
        Ok(image)
    }

    async fn pull_under(&self, name: &ImageRef, lease: &Lease) -> Result<Image, PullError> {
        let registry = Registry::of(name).await?;
        let resolve = || async { Ok(registry.resolve().await?) }.boxed();
        let (target, document) = retried(resolve).await?;
        if !target.is_index() {
            self.fetch(&registry, &target, document, lease).await?;
        } else if let Some(ours) = parse::<Index>(&document, name.as_str())?.for_this_machine() {
            let child = || async { Ok(registry.child(ours).await?) }.boxed();
            let (manifest, child) = retried(child).await?;
            self.fetch(&registry, &manifest, child, lease).await?;
            self.store_index(lease, &target, document, &manifest).await?;
        }
        Ok(self.finish_image(name, target, lease).await?)
    }

    /// The manifest last, so that its labels tie together what is there.
    async fn fetch(
        &self,
        registry: &Registry,
        target: &Descriptor,
        document: Vec<u8>,
        lease: &Lease,
    ) -> Result<(), PullError> {
        let manifest: Manifest = parse(&document, &target.digest)?;
        let blobs = std::iter::once(&manifest.config).chain(&manifest.layers);
        let fetched: Vec<BoxFuture<'_, _>> =
            blobs.map(|blob| self.fetch_blob(registry, blob, lease).boxed()).collect();
        try_join_all(fetched).await?;
        self.store_manifest(lease, target, document).await?;
        Ok(())
    }

    async fn fetch_blob(
        &self,
        registry: &Registry,
        blob: &Descriptor,
        lease: &Lease,
    ) -> Result<(), PullError> {
        // Never closed.
        let _permit = self.downloads.acquire().await;
        let attempt = || {
            async {
                if let Some(writer) = self.client.writer(lease, blob).await? {
                    writer.fill(registry.blob(blob).await?).await?;
                }
                Ok(())
            }
            .boxed()
        };
        retried(attempt).await
    }
}

/// Asks again after a failure that may pass.
async fn retried<'a, T>(
    attempt: impl Fn() -> BoxFuture<'a, Result<T, PullError>> + Send,
) -> Result<T, PullError> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..ATTEMPTS {
        match attempt().await {
            Err(error) if error.is_passing() => {
                tracing::debug!(%error, "a registry failed: asking again");
                sleep(pause).await;
                pause *= 2;
            }
            other => return other,
        }
    }
    attempt().await
}

fn refused(name: &ImageRef, reason: &str) -> RuntimeError {
    RuntimeError::Refused(format!("cannot pull {name}: {reason}"))
}
