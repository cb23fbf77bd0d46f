//! `warren service health`.

use clap::{Args, Subcommand};

/// Pause the checks of a service for a while, or end that
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  warren service health pause web --for 10m")]
pub struct HealthArgs {
    #[command(subcommand)]
    pub verb: HealthVerb,
}

#[derive(Debug, Subcommand)]
pub enum HealthVerb {
    Pause(PauseArgs),
    Resume(ResumeArgs),
}

/// Make no attempt of the service's checks for a while
///
/// Verdicts stay as they are, and a process that exits still counts. A task that starts meanwhile
/// is not ready before the pause is over. It ends by itself, also where the manager is away.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  warren service health pause web --for 10m")]
pub struct PauseArgs {
    /// Its name or id
    pub service: String,
    /// How long, from 1s to 24h
    #[arg(long = "for", value_name = "TIME", allow_hyphen_values = true)]
    pub span: String,
    /// Who asks, for others to see [default: the user]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// Go on with the service's checks
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  warren service health resume web")]
pub struct ResumeArgs {
    /// Its name or id
    pub service: String,
}
