//! What an image is made of: the JSON documents of the OCI image format, and docker's of the same
//! shape. Only what is needed is read; unknown fields and media types do no harm.

use std::{collections::BTreeMap, env::consts::ARCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: String,
    pub size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

impl Descriptor {
    /// Of a document that we have.
    pub fn of(media_type: &str, document: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: sha256(document),
            size: document.len() as u64,
            annotations: BTreeMap::new(),
            platform: None,
        }
    }

    pub fn is_index(&self) -> bool {
        self.media_type == OCI_INDEX || self.media_type == DOCKER_INDEX
    }

    /// The hexadecimal part of the digest; `None` when it is not a SHA-256.
    pub fn hex(&self) -> Option<&str> {
        let hex = self.digest.strip_prefix("sha256:")?;
        let ok = hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        ok.then_some(hex)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    pub manifests: Vec<Descriptor>,
}

impl Index {
    /// The manifest for this machine.
    pub fn for_this_machine(&self) -> Option<&Descriptor> {
        let fits = |manifest: &&Descriptor| {
            manifest
                .platform
                .as_ref()
                .is_some_and(|p| p.os == "linux" && p.architecture == architecture())
        };
        let only = || match self.manifests.as_slice() {
            [one] if one.platform.is_none() => Some(one),
            _ => None,
        };
        self.manifests.iter().find(fits).or_else(only)
    }
}

/// This machine's, as images name it.
pub fn architecture() -> &'static str {
    match ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u32,
    #[serde(default)]
    pub media_type: String,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct ImageConfig {
    #[serde(default)]
    pub config: Option<RunConfig>,
    pub rootfs: RootFs,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct RootFs {
    /// The digest of each layer when unpacked.
    #[serde(default)]
    pub diff_ids: Vec<String>,
}

/// How the image wants to be run. Builders write absent lists as null.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    pub user: Option<String>,
    pub env: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
    pub shell: Option<Vec<String>>,
    pub working_dir: Option<String>,
    pub stop_signal: Option<String>,
    pub healthcheck: Option<Healthcheck>,
}

/// docker's addition to the format. Durations are nanoseconds, and 0 means the default.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    pub test: Option<Vec<String>>,
    pub interval: Option<i64>,
    pub timeout: Option<i64>,
    pub start_period: Option<i64>,
    pub start_interval: Option<i64>,
    pub retries: Option<i64>,
}

impl ImageConfig {
    /// The names of the unpacked layers, each of which stands on the ones before it.
    pub fn chain_ids(&self) -> Vec<String> {
        let mut chain: Vec<String> = Vec::with_capacity(self.rootfs.diff_ids.len());
        for diff_id in &self.rootfs.diff_ids {
            let next = match chain.last() {
                Some(below) => sha256(format!("{below} {diff_id}").as_bytes()),
                None => diff_id.clone(),
            };
            chain.push(next);
        }
        chain
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    finish(&Sha256::digest(bytes))
}

/// A hash in the form that documents have it in.
pub fn finish(hash: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
    let digits = hash.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    "sha256:".chars().chain(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(os: &str, architecture: &str) -> Descriptor {
        let platform = Platform { os: os.to_owned(), architecture: architecture.to_owned() };
        Descriptor {
            platform: Some(platform),
            ..Descriptor::of(OCI_MANIFEST, format!("{os}/{architecture}").as_bytes())
        }
    }

    #[test]
    fn an_index_gives_the_manifest_of_this_machine_and_no_other() {
        let ours = manifest("linux", architecture());
        let others = [manifest("unknown", "unknown"), manifest("windows", architecture())];
        let index = Index { manifests: [&others[..], std::slice::from_ref(&ours)].concat() };
        assert_eq!(index.for_this_machine(), Some(&ours));
        assert_eq!(Index { manifests: others.to_vec() }.for_this_machine(), None);
    }

    #[test]
    fn only_sha256_digests_are_taken() {
        assert!(Descriptor::of(OCI_LAYER, b"x").hex().is_some());
        for digest in ["", "sha256:../../etc/passwd", "sha512:00", "sha256:ABC"] {
            let blob = Descriptor { digest: digest.to_owned(), ..Descriptor::of(OCI_LAYER, b"") };
            assert_eq!(blob.hex(), None, "{digest:?}");
        }
    }

    #[test]
    fn nulls_in_a_config_are_absent_values() {
        let text = r#"{"config":{"Cmd":null,"Env":null,"Entrypoint":["a"],"Labels":{}},
            "rootfs":{"type":"layers","diff_ids":["sha256:1","sha256:2"]}}"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config.chain_ids()[0], "sha256:1");
        assert_eq!(config.chain_ids()[1], sha256(b"sha256:1 sha256:2"));
        assert_eq!(config.config.unwrap().entrypoint, Some(vec!["a".to_owned()]));
    }
}
