//! `warren node`.

use clap::{Args, Subcommand};

use super::OutputArgs;

/// Look at the machines that run workers, empty them, forget those that are gone
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
    Cordon(CordonArgs),
    Drain(DrainArgs),
    Uncordon(UncordonArgs),
    Label(LabelArgs),
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

/// Place nothing more on nodes; what runs there stays
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  warren node cordon machine-1 --reason 'noisy disk'")]
pub struct CordonArgs {
    /// Names or ids
    #[arg(required = true)]
    pub nodes: Vec<String>,
    /// Why, for whoever looks later
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub reason: String,
}

/// Place nothing more on nodes, and move what runs there elsewhere
///
/// Each task is stopped once the one that takes over from it is ready.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  warren node drain machine-1 --wait")]
pub struct DrainArgs {
    /// Names or ids
    #[arg(required = true)]
    pub nodes: Vec<String>,
    /// Why, for whoever looks later
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub reason: String,
    /// Return when no task is left there
    #[arg(long)]
    pub wait: bool,
    /// How long to wait at most, such as 60s or 2m
    #[arg(long, default_value = "5m", value_name = "TIME", allow_hyphen_values = true)]
    pub wait_timeout: String,
}

/// Let nodes take tasks again, after a cordon or a drain
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  warren node uncordon machine-1")]
pub struct UncordonArgs {
    /// Names or ids
    #[arg(required = true)]
    pub nodes: Vec<String>,
}

/// Set and remove labels of a node, which services choose by
///
/// A label that is set here wins over the one that the node's worker was started with, and stays
/// when the worker returns. Tasks whose --constraint the node no longer fits move elsewhere, as in
/// a drain; --spread counts for new tasks alone.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  warren node label machine-1 zone=a disk=ssd\n  \
                        warren node label machine-1 zone-")]
pub struct LabelArgs {
    /// Its name or id
    pub node: String,
    /// KEY=VALUE sets a label, KEY- removes one that was set here. Repeatable
    #[arg(required = true, value_name = "KEY=VALUE|KEY-")]
    pub labels: Vec<String>,
}

/// Forget nodes that are lost; their tasks are replaced elsewhere
#[derive(Debug, Args)]
#[command(visible_alias = "remove", after_help = "Example:\n  warren node rm machine-1")]
pub struct RmArgs {
    /// Names or ids
    #[arg(required = true)]
    pub nodes: Vec<String>,
}
