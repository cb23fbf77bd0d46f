//! Images from archives into containerd.

use std::{fs, path::PathBuf};

use warren_core::spec::{ImageRef, Pull};
use warren_runtime::{ImageFacts, ImageRecord, RuntimeError};

use crate::{
    archive::{self, Archived},
    client::{Lease, unavailable},
    container::absent,
    content::StoreError,
    facts,
    image::Image,
    shared::Shared,
};

impl Shared {
    pub async fn ensure_image(
        &self,
        name: &ImageRef,
        pull: Pull,
    ) -> Result<ImageFacts, RuntimeError> {
        let _turn = self.image_turn(name).lock().await;
        let image = match pull {
            Pull::Never => self.usable_image(name).await?.ok_or_else(|| absent(name))?,
            Pull::Always => self.pull(name).await?,
            Pull::Missing => match self.usable_image(name).await? {
                Some(image) => image,
                None => self.pull(name).await?,
            },
        };
        Ok(image.config.config.as_ref().map(facts::facts).unwrap_or_default())
    }

    /// The image, unpacked. `None`: something of it is not there.
    async fn usable_image(&self, name: &ImageRef) -> Result<Option<Image>, RuntimeError> {
        let Some(image) = self.image(name).await? else { return Ok(None) };
        if self.is_unpacked(&image).await? {
            return Ok(Some(image));
        }
        if !self.has_layers(&image).await? {
            return Ok(None);
        }
        let lease = self.image_lease().await?;
        let unpacked = self.unpack(&image, &lease).await;
        let released = lease.release().await;
        unpacked?;
        released?;
        Ok(Some(image))
    }

    pub async fn import(&self, path: PathBuf) -> Result<Vec<ImageRecord>, RuntimeError> {
        // Without the path: it may be a copy whose name means nothing to the user.
        let refused =
            |reason: String| RuntimeError::Refused(format!("cannot import the archive: {reason}"));
        let scratch = self.config.state_dir.clone();
        fs::create_dir_all(&scratch).map_err(|error| self.disk_fault(&error))?;
        let opened = tokio::task::spawn_blocking(move || archive::open(&path, &scratch)).await;
        let images = opened
            .map_err(|error| unavailable(error.to_string()))?
            .map_err(|error| refused(error.to_string()))?;
        let mut names = Vec::with_capacity(images.len());
        for image in images {
            let _turn = self.image_turn(&image.name).lock().await;
            let lease = self.image_lease().await?;
            let imported = self.import_image(&image, &lease).await;
            let released = lease.release().await;
            imported.map_err(|error| match error {
                StoreError::Source(reason) => refused(reason),
                StoreError::Runtime(error) => error,
            })?;
            released?;
            names.push(image.name.to_string());
        }
        let mut records = self.image_records().await?;
        records.retain(|record| names.contains(&record.name));
        Ok(records)
    }

    async fn import_image(&self, image: &Archived, lease: &Lease) -> Result<(), StoreError> {
        for (layer, place) in &image.layers {
            if let Some(writer) = self.client.writer(lease, layer).await? {
                writer.fill(place.stream()).await?;
            }
        }
        let (config, document) = &image.config;
        self.client.store_document(lease, config, document.clone(), [].into()).await?;
        let (manifest, document) = &image.manifest;
        self.store_manifest(lease, manifest, document.clone()).await?;
        if let Some((index, document)) = &image.index {
            self.store_index(lease, index, document.clone(), manifest).await?;
        }
        self.finish_image(&image.name, image.target.clone(), lease).await?;
        Ok(())
    }
}
