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

use std::path::PathBuf;

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
    /// Where the manager listens: https://HOST:PORT, HOST:PORT without TLS, or a socket's path.
    /// Absent: the variable `WARREN_HOST`, else the socket in the data directory
    #[arg(long, global = true, value_name = "ADDR")]
    pub host: Option<String>,

    #[command(flatten)]
    pub tls: TlsArgs,

    #[command(subcommand)]
    pub command: Command,
}

/// Who connects says with all of them whom it believes and who it is; who listens, with the second
/// and third, who it is.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsArgs {
    /// Of who connects to https://HOST:PORT: a PEM file with the CA of the manager's certificate.
    /// Absent: the variable `WARREN_TLS_CA`
    #[arg(id = "tls-ca", long = "tls-ca", global = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// One's own certificate: a PEM file. Absent, of who connects: the variable `WARREN_TLS_CERT`
    #[arg(id = "tls-cert", long = "tls-cert", global = true, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// The key of --tls-cert: a PEM file. Absent, of who connects: the variable `WARREN_TLS_KEY`
    #[arg(id = "tls-key", long = "tls-key", global = true, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Of who connects: the name that the manager's certificate must be for. Absent: the variable
    /// `WARREN_TLS_SERVER_NAME`, else that in the address
    #[arg(id = "tls-server-name", long = "tls-server-name", global = true, value_name = "NAME")]
    pub server_name: Option<String>,
}

impl TlsArgs {
    /// Any that is there.
    pub fn given(&self) -> Option<&'static str> {
        let Self { ca, cert, key, server_name } = self;
        [
            ("--tls-ca", ca.is_some()),
            ("--tls-cert", cert.is_some()),
            ("--tls-key", key.is_some()),
            ("--tls-server-name", server_name.is_some()),
        ]
        .into_iter()
        .find_map(|(flag, given)| given.then_some(flag))
    }
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
