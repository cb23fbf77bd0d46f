//! Reads image archives: the OCI image layout and what `docker save` writes, as tar files that
//! may be compressed. Nothing is unpacked; a blob is a place in the file.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::{Component, Path},
    sync::Arc,
};

use bytes::Bytes;
use futures::{Stream, stream};
use serde::{Deserialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use warren_core::spec::ImageRef;

use crate::manifest::{Descriptor, Index, Manifest, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, finish};

/// Of a document in the archive.
const DOCUMENT_MAX: u64 = 16 << 20;
/// Of the whole archive, when it is decompressed. A small file can become any size.
const PLAIN_MAX: u64 = 32 << 30;
/// Read at once.
const PIECE: u64 = 1 << 20;
/// Links to links. docker's oldest archives have one.
const LINKS_MAX: usize = 8;

/// An image in an archive.
#[derive(Debug, Clone)]
pub struct Archived {
    pub name: ImageRef,
    pub target: Descriptor,
    /// Where the target is one.
    pub index: Option<(Descriptor, Vec<u8>)>,
    pub manifest: (Descriptor, Vec<u8>),
    pub config: (Descriptor, Vec<u8>),
    pub layers: Vec<(Descriptor, Place)>,
}

/// Where in the file.
#[derive(Debug, Clone)]
pub struct Place {
    file: Arc<File>,
    offset: u64,
    size: u64,
}

impl Place {
    pub fn stream(&self) -> impl Stream<Item = io::Result<Bytes>> + Unpin + Send + use<> {
        let all = (Arc::clone(&self.file), self.offset, self.size);
        Box::pin(stream::try_unfold(all, |(file, offset, left)| async move {
            let length = left.min(PIECE);
            if length == 0 {
                return Ok(None);
            }
            let read = move || {
                let mut piece = vec![0; usize::try_from(length).map_err(io::Error::other)?];
                file.read_exact_at(&mut piece, offset)?;
                Ok::<_, io::Error>((Bytes::from(piece), file))
            };
            let (piece, file) = tokio::task::spawn_blocking(read).await??;
            Ok(Some((piece, (file, offset + length, left - length))))
        }))
    }

    fn start(&self) -> io::Result<[u8; 4]> {
        let mut start = [0; 4];
        if self.size >= 4 {
            self.file.read_exact_at(&mut start, self.offset)?;
        }
        Ok(start)
    }

    fn digest(&self) -> io::Result<String> {
        let mut hash = Sha256::new();
        let mut piece = vec![0; 1 << 20];
        let (mut offset, mut left) = (self.offset, self.size);
        while left > 0 {
            let part = &mut piece[..usize::try_from(left.min(PIECE)).map_err(io::Error::other)?];
            self.file.read_exact_at(part, offset)?;
            hash.update(&*part);
            offset += part.len() as u64;
            left -= part.len() as u64;
        }
        Ok(finish(&hash.finalize()))
    }
}

/// What is wrong with an archive, for the user.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("{0}")]
    Content(String),
}

/// Finds the images of an archive. Blocks. `scratch` takes what must be decompressed.
pub fn open(path: &Path, scratch: &Path) -> Result<Vec<Archived>, ArchiveError> {
    let archive = Archive::open(path, scratch, PLAIN_MAX)?;
    let named = if archive.entries.contains_key("index.json") {
        archive.oci()?
    } else if archive.entries.contains_key("manifest.json") {
        Vec::new()
    } else {
        return Err(ArchiveError::Content(
            "it is neither an OCI image layout nor an archive of `docker save`".to_owned(),
        ));
    };
    // docker's newer archives are both; then the names may be in the older half.
    let images = if named.is_empty() { archive.docker()? } else { named };
    if images.is_empty() {
        return Err(ArchiveError::Content(
            "none of its images has a name: save it with one, such as \
             `docker save -o FILE NAME:TAG` or `skopeo copy ... oci-archive:FILE:NAME:TAG`"
                .to_owned(),
        ));
    }
    Ok(images)
}

#[derive(Debug)]
struct Archive {
    file: Arc<File>,
    entries: HashMap<String, Entry>,
}

#[derive(Debug)]
enum Entry {
    File { offset: u64, size: u64 },
    Link(String),
}

/// An entry of docker's manifest.json.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Archive {
    fn open(path: &Path, scratch: &Path, plain_max: u64) -> Result<Self, ArchiveError> {
        let mut file = File::open(path)?;
        let mut magic = [0; 2];
        let gzipped = file.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
        file.seek(SeekFrom::Start(0))?;
        if gzipped {
            // Without a name: it ends with us.
            let mut plain = tempfile::tempfile_in(scratch)?;
            let decoder = flate2::read::MultiGzDecoder::new(file);
            if io::copy(&mut decoder.take(plain_max + 1), &mut plain)? > plain_max {
                let most = plain_max >> 20;
                let why = format!("it is larger than {most} MiB when decompressed");
                return Err(ArchiveError::Content(why));
            }
            plain.seek(SeekFrom::Start(0))?;
            file = plain;
        }
        // The reader's own words quote what it found, which of a file that is no archive is junk.
        let entries = entries(&file).map_err(|_| {
            ArchiveError::Content("it is not a tar archive, or a damaged one".to_owned())
        })?;
        Ok(Self { file: Arc::new(file), entries })
    }

    fn place(&self, name: &str) -> Result<Place, ArchiveError> {
        let mut name = name.to_owned();
        for _ in 0..LINKS_MAX {
            match self.entries.get(&name) {
                Some(Entry::File { offset, size }) => {
                    let file = Arc::clone(&self.file);
                    return Ok(Place { file, offset: *offset, size: *size });
                }
                Some(Entry::Link(target)) => name.clone_from(target),
                None => break,
            }
        }
        Err(ArchiveError::Content(format!("it has no {name}")))
    }

    fn document(&self, name: &str) -> Result<Vec<u8>, ArchiveError> {
        let place = self.place(name)?;
        if place.size > DOCUMENT_MAX {
            return Err(ArchiveError::Content(format!("its {name} is larger than 16 MiB")));
        }
        let mut document = vec![0; usize::try_from(place.size).unwrap_or_default()];
        self.file.read_exact_at(&mut document, place.offset)?;
        Ok(document)
    }

    fn blob(&self, blob: &Descriptor) -> Result<Vec<u8>, ArchiveError> {
        self.document(&blob_name(blob)?)
    }

    /// The images that have a name.
    fn oci(&self) -> Result<Vec<Archived>, ArchiveError> {
        let index: Index = parsed("index.json", &self.document("index.json")?)?;
        let mut images = Vec::new();
        for target in index.manifests {
            let Some(name) = annotated_name(&target)? else { continue };
            images.push(self.oci_image(name, target)?);
        }
        Ok(images)
    }

    fn oci_image(&self, name: ImageRef, target: Descriptor) -> Result<Archived, ArchiveError> {
        let mut index = None;
        let mut descriptor = target.clone();
        if target.is_index() {
            let document = self.blob(&target)?;
            let manifests: Index = parsed("image index", &document)?;
            descriptor = manifests.for_this_machine().cloned().ok_or_else(|| {
                ArchiveError::Content(format!("its image {name} is not for this kind of machine"))
            })?;
            index = Some((target.clone(), document));
        }
        let document = self.blob(&descriptor)?;
        let manifest: Manifest = parsed("image manifest", &document)?;
        let config = self.blob(&manifest.config)?;
        let mut layers = Vec::with_capacity(manifest.layers.len());
        for layer in manifest.layers {
            let place = self.place(&blob_name(&layer)?)?;
            layers.push((layer, place));
        }
        let manifest = (descriptor, document, manifest.config);
        Ok(Archived {
            name,
            target,
            index,
            manifest: (manifest.0, manifest.1),
            config: (manifest.2, config),
            layers,
        })
    }

    /// docker writes no manifest in the OCI sense, so we do.
    fn docker(&self) -> Result<Vec<Archived>, ArchiveError> {
        if !self.entries.contains_key("manifest.json") {
            return Ok(Vec::new());
        }
        let saved: Vec<Saved> = parsed("manifest.json", &self.document("manifest.json")?)?;
        let mut images = Vec::new();
        for image in saved {
            let tags = image.repo_tags.unwrap_or_default();
            if tags.is_empty() {
                continue;
            }
            let config = self.document(&clean(Path::new(&image.config)))?;
            let config = (Descriptor::of(OCI_CONFIG, &config), config);
            let mut layers = Vec::with_capacity(image.layers.len());
            for layer in &image.layers {
                let place = self.place(&clean(Path::new(layer)))?;
                layers.push((layer_descriptor(&place)?, place));
            }
            let manifest = Manifest {
                schema_version: 2,
                media_type: OCI_MANIFEST.to_owned(),
                config: config.0.clone(),
                layers: layers.iter().map(|(layer, _)| layer.clone()).collect(),
            };
            let document = serde_json::to_vec(&manifest).map_err(io::Error::other)?;
            let target = Descriptor::of(OCI_MANIFEST, &document);
            for tag in tags {
                images.push(Archived {
                    name: parsed_name(&tag)?,
                    target: target.clone(),
                    index: None,
                    manifest: (target.clone(), document.clone()),
                    config: config.clone(),
                    layers: layers.clone(),
                });
            }
        }
        Ok(images)
    }
}

fn entries(file: &File) -> Result<HashMap<String, Entry>, ArchiveError> {
    let mut tar = tar::Archive::new(file);
    let mut entries = HashMap::new();
    for entry in tar.entries_with_seek()? {
        let entry = entry?;
        let path = entry.path()?.into_owned();
        let kind = entry.header().entry_type();
        if kind.is_file() {
            let place = Entry::File { offset: entry.raw_file_position(), size: entry.size() };
            entries.insert(clean(&path), place);
        } else if kind.is_symlink() || kind.is_hard_link() {
            let Some(target) = entry.link_name()? else { continue };
            // A hard link's target is a name in the archive, a symbolic one's is relative.
            let base = path.parent().filter(|_| kind.is_symlink()).unwrap_or(Path::new(""));
            entries.insert(clean(&path), Entry::Link(clean(&base.join(target))));
        }
    }
    Ok(entries)
}

/// Without `./`, and with `..` resolved; it is only ever looked up, never opened.
fn clean(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::ParentDir => drop(parts.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    parts.join("/")
}

fn blob_name(blob: &Descriptor) -> Result<String, ArchiveError> {
    let hex = blob.hex().ok_or_else(|| {
        ArchiveError::Content(format!("it has a digest that is not a SHA-256: {:?}", blob.digest))
    })?;
    Ok(format!("blobs/sha256/{hex}"))
}

fn layer_descriptor(place: &Place) -> Result<Descriptor, ArchiveError> {
    let compression = match place.start()? {
        [0x1f, 0x8b, ..] => "+gzip",
        [0x28, 0xb5, 0x2f, 0xfd] => "+zstd",
        _ => "",
    };
    Ok(Descriptor {
        digest: place.digest()?,
        size: place.size,
        ..Descriptor::of(&format!("{OCI_LAYER}{compression}"), b"")
    })
}

/// containerd's and docker's annotation has the name in full. The standard's own should be a tag
/// alone, which says nothing; some tools write the whole name there.
fn annotated_name(target: &Descriptor) -> Result<Option<ImageRef>, ArchiveError> {
    let full = target.annotations.get("io.containerd.image.name");
    let other = target.annotations.get("org.opencontainers.image.ref.name");
    let name = full.or_else(|| other.filter(|name| name.contains(['/', ':'])));
    name.map(|name| parsed_name(name)).transpose()
}

fn parsed_name(name: &str) -> Result<ImageRef, ArchiveError> {
    name.parse().map_err(|error| ArchiveError::Content(format!("its name: {error}")))
}

fn parsed<T: DeserializeOwned>(what: &str, document: &[u8]) -> Result<T, ArchiveError> {
    serde_json::from_slice(document)
        .map_err(|error| ArchiveError::Content(format!("its {what} cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_becomes_too_large_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bomb.tar.gz");
        let file = File::create(&path).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::best());
        encoder.write_all(&vec![0; (1 << 20) + 1]).unwrap();
        encoder.finish().unwrap();
        let refused = Archive::open(&path, dir.path(), 1 << 20).unwrap_err().to_string();
        assert_eq!(refused, "it is larger than 1 MiB when decompressed");
        assert!(Archive::open(&path, dir.path(), 2 << 20).is_ok());
    }
}
