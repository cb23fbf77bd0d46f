//! Generates the messages of `proto/warren/v1` and, behind the `grpc` feature, its services.

use std::{env, fs, io, path::PathBuf};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?)
        .join("../../proto");
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    let mut files = Vec::new();
    for entry in fs::read_dir(root.join("warren/v1"))? {
        files.push(entry?.path());
    }
    files.sort();
    println!("cargo::rerun-if-changed={}", root.display());
    tonic_prost_build::configure()
        .file_descriptor_set_path(out.join("warren.v1.bin"))
        .client_mod_attribute("warren.v1", "#[cfg(feature = \"grpc\")]")
        .server_mod_attribute("warren.v1", "#[cfg(feature = \"grpc\")]")
        .compile_protos(&files, &[root])
}
