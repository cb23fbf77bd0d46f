//! `warren health`.

use clap::{Args, Subcommand};

use super::OutputArgs;

/// The health of every task, now or as it changes
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  warren health watch web")]
pub struct HealthArgs {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    Ls(LsArgs),
    Watch(WatchArgs),
}

/// List the health of the tasks, of one service or of all
#[derive(Debug, Args)]
#[command(visible_alias = "list", after_help = "Example:\n  warren health ls web")]
pub struct LsArgs {
    /// A name or id
    pub service: Option<String>,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Print the health of the tasks, then every change of it, until Ctrl-C
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  warren health watch web -o json")]
pub struct WatchArgs {
    /// A name or id
    pub service: Option<String>,
    /// Go on after this revision, where the manager still knows what came since
    #[arg(long, value_name = "REVISION")]
    pub from: Option<u64>,
    #[command(flatten)]
    pub output: OutputArgs,
}
