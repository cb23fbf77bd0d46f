//! Images that are there: the records by name, and what stands behind them.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    ops::Deref,
    time::Duration,
};

use containerd_client::{
    services::v1::{
        CreateImageRequest, GetImageRequest, Image as Record, ListImagesRequest, UpdateImageRequest,
    },
    types::Descriptor as Target,
};
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;
use warren_core::{spec::ImageRef, time::Timestamp};
use warren_runtime::{ImageRecord, RuntimeError};

use crate::{
    client::{Client, Lease, fault, found, made, unique},
    content::StoreError,
    manifest::{Descriptor, ImageConfig, Index, Manifest},
    shared::{IMAGES_AT_ONCE, Shared},
};

/// From the first blob of an image to its record. A slow line needs hours for a large image.
const LEASE_LIFETIME: Duration = Duration::from_hours(24);

/// An image whose documents are all there; its layers may not be.
#[derive(Debug, Clone)]
pub struct Image {
    /// What the name stands for: a manifest, or an index of them.
    pub target: Descriptor,
    /// For this machine.
    pub manifest: Manifest,
    pub config: ImageConfig,
}

impl Image {
    pub fn size_bytes(&self) -> u64 {
        self.manifest.layers.iter().map(|layer| layer.size).sum::<u64>() + self.manifest.config.size
    }
}

/// Holds the parts of an image until it has its record. Dropped, because nobody waits for the
/// image any more, it is ended behind the caller's back.
#[derive(Debug)]
pub struct ImageLease {
    lease: Lease,
    end: LeaseEnd,
}

#[derive(Debug)]
struct LeaseEnd {
    client: Client,
    background: TaskTracker,
    /// `None`: it was ended.
    id: Option<String>,
}

impl ImageLease {
    pub async fn release(mut self) -> Result<(), RuntimeError> {
        let released = self.end.client.release(&self.lease).await;
        self.end.id = None;
        released
    }
}

impl Deref for ImageLease {
    type Target = Lease;

    fn deref(&self) -> &Lease {
        &self.lease
    }
}

impl Drop for LeaseEnd {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let client = self.client.clone();
        self.background.spawn(async move {
            if let Err(error) = client.end_lease(&id).await {
                tracing::warn!(lease = id, %error, "a lease stays until it ends by itself");
            }
        });
    }
}

impl Shared {
    /// `None`: there is no such name, or documents of it are missing.
    pub async fn image(&self, name: &ImageRef) -> Result<Option<Image>, RuntimeError> {
        let request = self.client.request(GetImageRequest { name: name.to_string() });
        let record = found(self.client.images().get(request).await)
            .map_err(fault(format!("cannot look up image {name}")))?;
        match record.and_then(|answer| answer.image).and_then(|record| record.target) {
            Some(target) => self.behind(descriptor(target)).await,
            None => Ok(None),
        }
    }

    /// The image that a manifest or index stands for.
    pub async fn behind(&self, target: Descriptor) -> Result<Option<Image>, RuntimeError> {
        let mut digest = target.digest.clone();
        if target.is_index() {
            let Some(index) = self.parsed::<Index>(&digest).await? else { return Ok(None) };
            let Some(ours) = index.for_this_machine() else { return Ok(None) };
            digest.clone_from(&ours.digest);
        }
        let Some(manifest) = self.parsed::<Manifest>(&digest).await? else { return Ok(None) };
        let config = self.parsed::<ImageConfig>(&manifest.config.digest).await?;
        Ok(config.map(|config| Image { target, manifest, config }))
    }

    async fn parsed<T: DeserializeOwned>(&self, digest: &str) -> Result<Option<T>, RuntimeError> {
        let Some(document) = self.client.document(digest).await? else { return Ok(None) };
        parse(&document, digest).map(Some)
    }

    pub async fn image_records(&self) -> Result<Vec<ImageRecord>, RuntimeError> {
        let request = self.client.request(ListImagesRequest::default());
        let answer = self.client.images().list(request).await;
        let records = answer.map_err(fault("cannot list the images"))?.into_inner().images;
        let mut images = Vec::with_capacity(records.len());
        for record in records {
            images.push(self.described(record).await?);
        }
        images.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(images)
    }

    async fn described(&self, record: Record) -> Result<ImageRecord, RuntimeError> {
        let target = descriptor(record.target.unwrap_or_default());
        let image = self.behind(target.clone()).await?;
        Ok(ImageRecord {
            name: record.name,
            digest: target.digest,
            size_bytes: image.map_or(target.size, |image| image.size_bytes()),
            updated_at: record.updated_at.as_ref().map_or(Timestamp::EPOCH, timestamp),
        })
    }

    /// Waits for one's turn with the image. Others may have to wait for it too, by chance.
    pub fn image_turn(&self, name: &ImageRef) -> &Mutex<()> {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let turn = usize::try_from(hasher.finish() % IMAGES_AT_ONCE as u64).unwrap_or_default();
        &self.image_turns[turn]
    }

    pub async fn image_lease(&self) -> Result<ImageLease, RuntimeError> {
        let id = format!("warren-image-{}", unique());
        // Before it is taken: whatever cuts the taking short, it ends.
        let end = LeaseEnd {
            client: self.client.clone(),
            background: self.background.clone(),
            id: Some(id.clone()),
        };
        Ok(ImageLease { lease: self.client.lease(id, LEASE_LIFETIME).await?, end })
    }

    /// The last steps of an image whose blobs are all there.
    pub async fn finish_image(
        &self,
        name: &ImageRef,
        target: Descriptor,
        lease: &Lease,
    ) -> Result<Image, RuntimeError> {
        let image = self.behind(target).await?.ok_or_else(|| {
            RuntimeError::Refused(format!("image {name} is not for this kind of machine"))
        })?;
        self.unpack(&image, lease).await?;
        self.put_image(name, &image.target, lease).await?;
        Ok(image)
    }

    /// Gives the image its name, which keeps all of it. What had the name before loses it.
    async fn put_image(
        &self,
        name: &ImageRef,
        target: &Descriptor,
        lease: &Lease,
    ) -> Result<(), RuntimeError> {
        let failed = || fault(format!("cannot record image {name}"));
        let record = Record {
            name: name.to_string(),
            target: Some(Target {
                media_type: target.media_type.clone(),
                digest: target.digest.clone(),
                size: i64::try_from(target.size).unwrap_or_default(),
                annotations: HashMap::new(),
            }),
            ..Record::default()
        };
        let create = CreateImageRequest { image: Some(record.clone()), source_date_epoch: None };
        let create = lease.over(self.client.request(create));
        if made(self.client.images().create(create).await).map_err(failed())?.is_none() {
            let update =
                UpdateImageRequest { image: Some(record), ..UpdateImageRequest::default() };
            let update = lease.over(self.client.request(update));
            self.client.images().update(update).await.map_err(failed())?;
        }
        Ok(())
    }

    /// Stores a manifest so that it keeps what it refers to; that must be there.
    pub async fn store_manifest(
        &self,
        lease: &Lease,
        blob: &Descriptor,
        document: Vec<u8>,
    ) -> Result<(), StoreError> {
        let manifest: Manifest = parse(&document, &blob.digest)?;
        let mut labels = HashMap::new();
        labels.insert("containerd.io/gc.ref.content.config".to_owned(), manifest.config.digest);
        for (index, layer) in manifest.layers.into_iter().enumerate() {
            labels.insert(format!("containerd.io/gc.ref.content.l.{index}"), layer.digest);
        }
        self.client.store_document(lease, blob, document, labels).await
    }

    /// Stores an index so that it keeps the one manifest of it that is there.
    pub async fn store_index(
        &self,
        lease: &Lease,
        blob: &Descriptor,
        document: Vec<u8>,
        ours: &Descriptor,
    ) -> Result<(), StoreError> {
        let label = ("containerd.io/gc.ref.content.m.0".to_owned(), ours.digest.clone());
        self.client.store_document(lease, blob, document, [label].into()).await
    }
}

pub fn parse<T: DeserializeOwned>(document: &[u8], what: &str) -> Result<T, RuntimeError> {
    serde_json::from_slice(document).map_err(|error| {
        RuntimeError::Refused(format!("the image's document {what} cannot be read: {error}"))
    })
}

fn descriptor(target: Target) -> Descriptor {
    Descriptor {
        media_type: target.media_type,
        digest: target.digest,
        size: u64::try_from(target.size).unwrap_or_default(),
        annotations: target.annotations.into_iter().collect(),
        platform: None,
    }
}

pub fn timestamp(time: &prost_types::Timestamp) -> Timestamp {
    let seconds = u64::try_from(time.seconds).unwrap_or_default();
    let millis = u64::try_from(time.nanos / 1_000_000).unwrap_or_default();
    Timestamp::from_millis(seconds.saturating_mul(1000).saturating_add(millis))
}
