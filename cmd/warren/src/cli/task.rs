//! `warren task`.

use clap::{Args, Subcommand};

use super::{OutputArgs, RoleWord};

/// Look at tasks, check them by hand, read their logs, stop them
#[derive(Debug, Args)]
#[command(after_help = "\
A task goes by its id, a unique beginning of it, or SERVICE.SLOT for the task that fills a slot.

Example:
  warren task ls web")]
pub struct TaskArgs {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    Ls(LsArgs),
    Inspect(InspectArgs),
    Check(CheckArgs),
    Why(WhyArgs),
    Logs(LogsArgs),
    Rm(RmArgs),
}

/// List the tasks, of one service or of all
#[derive(Debug, Args)]
#[command(visible_alias = "list", after_help = "Example:\n  warren task ls web --all")]
pub struct LsArgs {
    /// A name or id
    pub service: Option<String>,
    /// With those that have ended
    #[arg(short, long)]
    pub all: bool,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Show a task: what it runs, how it fares, and the last results of each role
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  warren task inspect web.1")]
pub struct InspectArgs {
    /// Its id, a unique beginning of it, or SERVICE.SLOT
    pub task: String,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Have a task's worker make an attempt at the task's own checks now
///
/// It counts in no verdict. Exit code 0: all passed; 1: one failed; 125: nobody could look, or the
/// attempt was inconclusive.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  warren task check web.1 --role readiness")]
pub struct CheckArgs {
    /// Its id, a unique beginning of it, or SERVICE.SLOT
    pub task: String,
    /// Only the check of this role. Absent: all that the task has
    #[arg(long, value_enum)]
    pub role: Option<RoleWord>,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Show what was decided about a task, why, and what comes next
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  warren task why web.1")]
pub struct WhyArgs {
    /// Its id, a unique beginning of it, or SERVICE.SLOT
    pub task: String,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Print what a task wrote: its stdout to stdout, its stderr to stderr
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  warren task logs web.1 --tail 100 -f")]
pub struct LogsArgs {
    /// Its id, a unique beginning of it, or SERVICE.SLOT
    pub task: String,
    /// Go on with what it writes from now on
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last N lines
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true)]
    pub tail: Option<u32>,
    /// Begin each line with its time, in UTC
    #[arg(short, long)]
    pub timestamps: bool,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Stop tasks; their slots get new ones
#[derive(Debug, Args)]
#[command(visible_alias = "remove", after_help = "Example:\n  warren task rm web.1")]
pub struct RmArgs {
    /// Ids, unique beginnings of them, or SERVICE.SLOT
    #[arg(required = true)]
    pub tasks: Vec<String>,
}
