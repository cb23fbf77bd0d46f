//! `warren node`.

use clap::{Args, Subcommand};

use super::OutputArgs;

/// Look at the machines that run workers, forget those that are gone
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  warren node ls")]
pub struct NodeArgs {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    Ls(LsArgs),
    Inspect(InspectArgs),
    Rm(RmArgs),
}

/// List the nodes
#[derive(Debug, Args)]
#[command(visible_alias = "list", after_help = "Example:\n  warren node ls -o yaml")]
pub struct LsArgs {
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Show a node
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  warren node inspect machine-1")]
pub struct InspectArgs {
    /// Its name or id
    pub node: String,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Forget nodes that are down; their tasks are replaced elsewhere
#[derive(Debug, Args)]
#[command(visible_alias = "remove", after_help = "Example:\n  warren node rm machine-1")]
pub struct RmArgs {
    /// Names or ids
    #[arg(required = true)]
    pub nodes: Vec<String>,
}
