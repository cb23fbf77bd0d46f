//! `warren image`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::OutputArgs;

/// Import images from files, list what the nodes have
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  warren image ls")]
pub struct ImageArgs {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    Import(ImportArgs),
    Ls(LsArgs),
}

/// Import the images of an OCI or docker archive
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  warren image import web.tar
  docker save web | warren image import -")]
pub struct ImportArgs {
    /// The archive; - is the standard input
    pub file: PathBuf,
    /// The node to import to, by name or id. Absent: the only one that has containerd
    #[arg(long)]
    pub node: Option<String>,
}

/// List the images that the nodes have
#[derive(Debug, Args)]
#[command(visible_alias = "list", after_help = "Example:\n  warren image ls --node machine-1")]
pub struct LsArgs {
    /// Only this node's, by name or id
    #[arg(long)]
    pub node: Option<String>,
    #[command(flatten)]
    pub output: OutputArgs,
}
