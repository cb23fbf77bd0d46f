//! What the user types. Nothing here is checked but its shape: values become domain values in
//! `spec.rs` and its like, whose errors name the flag.

pub mod check;
pub mod event;
pub mod health;
pub mod image;
pub mod manager;
pub mod node;
pub mod process;
pub mod service;
pub mod task;

use clap::{Args, Parser, Subcommand, ValueEnum};
use warren_core::check::Role;

/// Runs services on machines, and knows which of their tasks really work.
#[derive(Debug, Parser)]
#[command(
    name = "warren",
    version,
    max_term_width = 100,
    after_help = "\
Exit codes: 0 done, 1 failure, 2 wrong usage, 3 manager unreachable, 4 not found, 5 conflict;
of a check by hand 0 pass, 1 fail, 125 inconclusive.

Examples:
  warren run
  warren service create web --image nginx --replicas 3 --health-http /:80
  warren service inspect web"
)]
pub struct Cli {
    /// Where the manager listens: HOST:PORT, or a socket's path, with or without http:// or
    /// unix:// before it. Absent: the variable `WARREN_HOST`, else the socket in the data directory
    #[arg(long, global = true, value_name = "ADDR")]
    pub host: Option<String>,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Run(Box<process::RunArgs>),
    Manager(Box<process::ManagerArgs>),
    Worker(Box<process::WorkerArgs>),
    Check(check::CheckArgs),
    #[command(flatten)]
    Client(ClientCommand),
}

/// These talk to a manager, through the API alone.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    Service(service::ServiceArgs),
    Task(task::TaskArgs),
    Node(node::NodeArgs),
    Image(image::ImageArgs),
    Health(health::HealthArgs),
    Event(event::EventArgs),
}

/// On every read.
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// How to print it. JSON and YAML are the API's message, field by field
    #[arg(short, long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    pub output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleWord {
    Startup,
    Liveness,
    Readiness,
}

impl From<RoleWord> for Role {
    fn from(word: RoleWord) -> Self {
        match word {
            RoleWord::Startup => Self::Startup,
            RoleWord::Liveness => Self::Liveness,
            RoleWord::Readiness => Self::Readiness,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Json,
    Yaml,
}
