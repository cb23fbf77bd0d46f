//! Layers into snapshots, each upon the one below it.

use std::{collections::HashMap, time::Duration};

use containerd_client::{
    services::v1::{
        ApplyRequest,
        snapshots::{
            CommitSnapshotRequest, PrepareSnapshotRequest, RemoveSnapshotRequest,
            StatSnapshotRequest,
        },
    },
    types::{Descriptor as Target, Mount},
};
use warren_runtime::RuntimeError;

use crate::{
    client::{Lease, fault, found, made, unique},
    image::Image,
    manifest::Descriptor,
    shared::Shared,
};

/// For one layer: some gigabytes onto a slow disk.
const APPLY_TIMEOUT: Duration = Duration::from_mins(15);

impl Shared {
    /// Whether tasks can be started from the image right away.
    pub async fn is_unpacked(&self, image: &Image) -> Result<bool, RuntimeError> {
        match image.config.chain_ids().last() {
            Some(top) => self.has_snapshot(top).await,
            None => Ok(true),
        }
    }

    /// Whether the image can be unpacked without fetching anything.
    pub async fn has_layers(&self, image: &Image) -> Result<bool, RuntimeError> {
        for layer in &image.manifest.layers {
            if !self.client.has_blob(&layer.digest).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Unpacks what is not unpacked yet, and ties the result to the image's config.
    pub async fn unpack(&self, image: &Image, lease: &Lease) -> Result<(), RuntimeError> {
        let chain = image.config.chain_ids();
        if chain.len() != image.manifest.layers.len() {
            return Err(RuntimeError::Refused(format!(
                "the image is broken: its config names {} layers and its manifest {}",
                chain.len(),
                image.manifest.layers.len()
            )));
        }
        let Some(top) = chain.last() else { return Ok(()) };
        if !self.holds_snapshot(top, lease).await? {
            let mut parent = "";
            for (index, (layer, name)) in image.manifest.layers.iter().zip(&chain).enumerate() {
                if !self.holds_snapshot(name, lease).await? {
                    let diff_id = &image.config.rootfs.diff_ids[index];
                    self.unpack_layer(layer, diff_id, parent, name, lease).await?;
                }
                parent = name;
            }
        }
        let label = format!("containerd.io/gc.ref.snapshot.{}", self.snapshotter);
        let config = &image.manifest.config.digest;
        self.client.label_blob(config, [(label, top.clone())].into()).await
    }

    async fn unpack_layer(
        &self,
        layer: &Descriptor,
        diff_id: &str,
        parent: &str,
        name: &str,
        lease: &Lease,
    ) -> Result<(), RuntimeError> {
        let failed = || fault(format!("cannot unpack layer {}", layer.digest));
        let key = format!("warren-unpack-{}", unique());
        let mounts = self.prepare_snapshot(&key, parent, lease).await?;
        let applied = async {
            let digest = self.apply(layer, mounts).await?;
            if digest != diff_id {
                return Err(RuntimeError::Refused(format!(
                    "the image is broken: layer {} holds {digest} and not {diff_id}",
                    layer.digest
                )));
            }
            let commit = CommitSnapshotRequest {
                snapshotter: self.snapshotter.clone(),
                name: name.to_owned(),
                key: key.clone(),
                labels: HashMap::new(),
            };
            let commit = lease.over(self.client.request(commit));
            made(self.client.snapshots().commit(commit).await).map_err(failed())
        }
        .await;
        match applied {
            Ok(Some(())) => Ok(()),
            // Somebody else was first, or it failed.
            other => {
                self.remove_snapshot(&self.snapshotter, &key).await?;
                other.map(drop)
            }
        }
    }

    /// Gives the digest of what came out.
    async fn apply(&self, layer: &Descriptor, mounts: Vec<Mount>) -> Result<String, RuntimeError> {
        let diff = Target {
            media_type: layer.media_type.clone(),
            digest: layer.digest.clone(),
            size: i64::try_from(layer.size).unwrap_or_default(),
            annotations: HashMap::new(),
        };
        let apply = ApplyRequest { diff: Some(diff), mounts, ..ApplyRequest::default() };
        let request = self.client.request_within(apply, APPLY_TIMEOUT);
        let answer = self.client.diff().apply(request).await;
        let answer = answer.map_err(fault(format!("cannot unpack layer {}", layer.digest)))?;
        Ok(answer.into_inner().applied.unwrap_or_default().digest)
    }

    /// A writable snapshot on top of another, or of nothing.
    pub async fn prepare_snapshot(
        &self,
        key: &str,
        parent: &str,
        lease: &Lease,
    ) -> Result<Vec<Mount>, RuntimeError> {
        let prepare = PrepareSnapshotRequest {
            snapshotter: self.snapshotter.clone(),
            key: key.to_owned(),
            parent: parent.to_owned(),
            labels: HashMap::new(),
        };
        let request = lease.over(self.client.request(prepare));
        let prepared = self.client.snapshots().prepare(request).await;
        Ok(prepared.map_err(fault("cannot prepare a root file system"))?.into_inner().mounts)
    }

    pub async fn remove_snapshot(&self, snapshotter: &str, key: &str) -> Result<(), RuntimeError> {
        let remove =
            RemoveSnapshotRequest { snapshotter: snapshotter.to_owned(), key: key.to_owned() };
        let removed = self.client.snapshots().remove(self.client.request(remove)).await;
        found(removed).map_err(fault("cannot remove a root file system"))?;
        Ok(())
    }

    /// Whether it is there, and stays: its image may be losing its name just now.
    async fn holds_snapshot(&self, key: &str, lease: &Lease) -> Result<bool, RuntimeError> {
        let kind = format!("snapshots/{}", self.snapshotter);
        self.client.hold(lease, kind, key).await?;
        self.has_snapshot(key).await
    }

    async fn has_snapshot(&self, key: &str) -> Result<bool, RuntimeError> {
        let stat =
            StatSnapshotRequest { snapshotter: self.snapshotter.clone(), key: key.to_owned() };
        let stat = found(self.client.snapshots().stat(self.client.request(stat)).await);
        Ok(stat.map_err(fault("cannot look up a snapshot"))?.is_some())
    }
}
