//! `warren event`.

use clap::{Args, Subcommand};

use super::OutputArgs;

/// The history: what was seen and decided, and why
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  warren event ls web")]
pub struct EventArgs {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    Ls(LsArgs),
}

/// List the latest events, the newest last
#[derive(Debug, Args)]
#[command(visible_alias = "list", after_help = "Example:\n  warren event ls web -f")]
pub struct LsArgs {
    /// A name or id, also of a service that is gone. Absent: of the whole cluster
    pub service: Option<String>,
    /// Go on with what happens from now on, until Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
    /// At most so many, 1-1000
    #[arg(
        short = 'n',
        long,
        default_value_t = 100,
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..=1000)
    )]
    pub limit: u32,
    #[command(flatten)]
    pub output: OutputArgs,
}
