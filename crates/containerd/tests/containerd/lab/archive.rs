//! Image archives, made in memory from the machine's own busybox.

use std::{fmt::Write as _, fs, io::Write as _, process::Command, sync::OnceLock};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// The blobs of one image, and its manifest.
#[derive(Clone)]
pub struct Image {
    pub blobs: Vec<Vec<u8>>,
    pub manifest: Vec<u8>,
    pub config: Vec<u8>,
}

pub enum Compression {
    None,
    Gzip,
    Zstd,
}

pub fn digest(bytes: &[u8]) -> String {
    let mut digest = "sha256:".to_owned();
    for byte in Sha256::digest(bytes) {
        write!(digest, "{byte:02x}").unwrap();
    }
    digest
}

pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() })
}

pub fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

/// A root file system with every applet, and users to run as.
fn base_layer() -> &'static [u8] {
    static LAYER: OnceLock<Vec<u8>> = OnceLock::new();
    LAYER.get_or_init(|| {
        let applets = Command::new("/bin/busybox").arg("--list").output().unwrap().stdout;
        let mut tar = Tar::new();
        for dir in ["bin", "dev", "etc", "proc", "root", "sys", "tmp"] {
            tar.dir(dir);
        }
        tar.file("bin/busybox", 0o755, &fs::read("/bin/busybox").unwrap());
        for applet in String::from_utf8(applets).unwrap().lines() {
            if applet != "busybox" {
                tar.link(&format!("bin/{applet}"), "busybox");
            }
        }
        tar.file(
            "etc/passwd",
            0o644,
            b"root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/tmp:/bin/sh\n",
        );
        tar.file("etc/group", 0o644, b"root:x:0:\napp:x:1001:\ndata:x:50:app\nlog:x:51:app\n");
        tar.finish()
    })
}

/// Says which image it is, so that two images are two.
fn top_layer(mark: &str) -> Vec<u8> {
    let mut tar = Tar::new();
    tar.file("etc/mark", 0o644, mark.as_bytes());
    tar.finish()
}

pub fn image(mark: &str, config: &Value, compression: &Compression) -> Image {
    let layers = [base_layer().to_vec(), top_layer(mark)];
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": layers.each_ref().map(|layer| digest(layer)) },
    });
    let config = config.to_string().into_bytes();
    let (blobs, suffix) = match compression {
        Compression::None => (layers.to_vec(), ""),
        Compression::Gzip => (layers.iter().map(|layer| gzip(layer)).collect(), "+gzip"),
        Compression::Zstd => {
            (layers.iter().map(|layer| zstd::encode_all(&layer[..], 1).unwrap()).collect(), "+zstd")
        }
    };
    let layer_type = format!("{OCI_LAYER}{suffix}");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_CONFIG, &config),
        "layers": blobs.iter().map(|blob| descriptor(&layer_type, blob)).collect::<Vec<_>>(),
    });
    Image { blobs, manifest: manifest.to_string().into_bytes(), config }
}

/// An OCI archive of one image under its full name.
pub fn oci(name: &str, config: &Value) -> Vec<u8> {
    let image = image(name, config, &Compression::Gzip);
    let annotations = json!({ "io.containerd.image.name": name });
    layout(&image, &annotations)
}

/// An OCI image layout whose index describes the image so.
pub fn layout(image: &Image, annotations: &Value) -> Vec<u8> {
    let mut entry = descriptor(OCI_MANIFEST, &image.manifest);
    entry["annotations"] = annotations.clone();
    let blobs = image.blobs.iter().chain([&image.manifest, &image.config]);
    layout_of(&[entry], blobs.map(Vec::as_slice))
}

pub fn layout_of<'a>(entries: &[Value], blobs: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut tar = Tar::new();
    tar.dir("blobs");
    tar.dir("blobs/sha256");
    tar.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#);
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries });
    tar.file("index.json", 0o644, index.to_string().as_bytes());
    for blob in blobs {
        let digest = digest(blob);
        tar.file(&format!("blobs/{}", digest.replace(':', "/")), 0o644, blob);
    }
    tar.finish()
}

/// What `docker save` wrote before version 25, with a layer by way of a link.
pub fn docker(tags: &[&str], config: &Value) -> Vec<u8> {
    let image = image("docker", config, &Compression::None);
    let mut tar = Tar::new();
    let manifest = json!([{
        "Config": "config.json",
        "RepoTags": tags,
        "Layers": ["one/layer.tar", "two/layer.tar"],
    }]);
    tar.file("./manifest.json", 0o644, manifest.to_string().as_bytes());
    tar.file("./config.json", 0o644, &image.config);
    tar.dir("one");
    tar.dir("two");
    tar.file("shared.tar", 0o644, &image.blobs[0]);
    tar.link("one/layer.tar", "../shared.tar");
    tar.file("two/layer.tar", 0o644, &image.blobs[1]);
    tar.finish()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        self.0.append_data(&mut header, path, content).unwrap();
    }

    fn dir(&mut self, path: &str) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(if path == "tmp" { 0o1777 } else { 0o755 });
        header.set_size(0);
        self.0.append_data(&mut header, path, std::io::empty()).unwrap();
    }

    fn link(&mut self, path: &str, target: &str) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        self.0.append_link(&mut header, path, target).unwrap();
    }

    fn finish(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}
