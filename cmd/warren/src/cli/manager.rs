//! `warren manager backup`, `restore` and `check`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum ManagerCommand {
    Backup(BackupArgs),
    Restore(RestoreArgs),
    Check(CheckArgs),
}

/// Copy the database of a running manager into a file
#[derive(Debug, Args)]
#[command(after_help = "\
The copy is of one moment, and whole or not there. It holds what services were given as
environment, and is for its owner alone.

Example:
  warren manager backup /var/backups/warren.redb")]
pub struct BackupArgs {
    /// Where to: its directory is there, and has room for the copy
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    pub force: bool,
}

/// Make a backup the database of a manager that does not run
#[derive(Debug, Args)]
#[command(after_help = "\
The backup is checked first, as 'warren manager check FILE' does. When the manager starts again,
tasks that were made after the backup are unknown to it, and their workers end them.

Example:
  warren manager restore /var/backups/warren.redb --data-dir /var/lib/warren")]
pub struct RestoreArgs {
    /// A file of 'warren manager backup'
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The manager's data directory. Absent: the one that 'warren manager' would use
    #[arg(long, env = "WARREN_DATA_DIR", value_name = "PATH")]
    pub data_dir: Option<PathBuf>,
    /// Put it in the place of a database that is there, which is kept beside it, and take a backup
    /// whose rows contradict each other
    #[arg(long)]
    pub force: bool,
}

/// Look at all of a database that no manager uses, or of a backup, and change nothing
#[derive(Debug, Args)]
#[command(after_help = "\
Verifies the checksum of every page, reads every row, and looks for rows that contradict each
other. Exits 0 when all is well, 1 when something is not.

Examples:
  warren manager check
  warren manager check /var/backups/warren.redb")]
pub struct CheckArgs {
    /// A database file. Absent: the one in the data directory
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The manager's data directory. Absent: the one that 'warren manager' would use
    #[arg(long, env = "WARREN_DATA_DIR", value_name = "PATH")]
    pub data_dir: Option<PathBuf>,
}
