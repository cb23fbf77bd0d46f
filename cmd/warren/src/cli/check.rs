//! `warren check`.
#![allow(rustdoc::broken_intra_doc_links, reason = "help texts, where brackets mean optional")]

use clap::{Args, Subcommand};

use super::OutputArgs;

/// Make one attempt from here, as a worker would
///
/// The same engine with the same keys as the health flags of `service create`, but from this
/// shell: in its network, with its files, and at whatever host is named. Exit code 0: it passed;
/// 1: it failed; 125: it was inconclusive; 2: wrong usage.
#[derive(Debug, Args)]
#[command(after_help = "\
To try the checks of a running task where it runs, see 'warren task check'.

Examples:
  warren check http http://localhost:8080/health
  warren check exec -- pg_isready -h localhost
  warren check preset redis")]
pub struct CheckArgs {
    #[command(subcommand)]
    pub kind: Kind,
}

#[derive(Debug, Subcommand)]
pub enum Kind {
    Http(HttpArgs),
    Tcp(TcpArgs),
    Grpc(GrpcArgs),
    Exec(ExecArgs),
    File(FileArgs),
    Preset(PresetArgs),
}

/// Ask over HTTP or HTTPS
#[derive(Debug, Args)]
#[command(after_help = "\
The keys are those of --health-http in 'warren service create --help', and timeout=.

Examples:
  warren check http https://example.org/
  warren check http /health:8080,status=200,header=X-Probe:1
  warren check http :8080/ready --address 10.0.0.7 --timeout 500ms -o json")]
pub struct HttpArgs {
    /// A URL, HOST:PORT/PATH, or what --health-http takes, which is looked for on loopback; keys
    /// may follow
    #[arg(value_name = "URL|CHECK", allow_hyphen_values = true)]
    pub check: String,
    #[command(flatten)]
    pub net: NetArgs,
}

/// Connect by TCP
#[derive(Debug, Args)]
#[command(after_help = "\
The keys are those of --health-tcp in 'warren service create --help', and timeout=.

Examples:
  warren check tcp 6379
  warren check tcp db.example.org:5432 --timeout 2s")]
pub struct TcpArgs {
    /// HOST:PORT, or what --health-tcp takes, which is looked for on loopback
    #[arg(value_name = "HOST:PORT|CHECK", allow_hyphen_values = true)]
    pub check: String,
    #[command(flatten)]
    pub net: NetArgs,
}

/// Ask a gRPC server for its health (grpc.health.v1)
#[derive(Debug, Args)]
#[command(after_help = "\
The keys are those of --health-grpc in 'warren service create --help', and timeout=.

Examples:
  warren check grpc 50051
  warren check grpc cart.example.org:443,service=shop.Cart,tls=node --timeout 2s")]
pub struct GrpcArgs {
    /// HOST:PORT, or what --health-grpc takes, which is looked for on loopback
    #[arg(value_name = "HOST:PORT|CHECK", allow_hyphen_values = true)]
    pub check: String,
    #[command(flatten)]
    pub net: NetArgs,
}

/// Run a command
#[derive(Debug, Args)]
#[command(after_help = "\
The keys before cmd= are those of --health-cmd in 'warren service create --help', and timeout=.

Examples:
  warren check exec 'test -f /tmp/ready && echo yes'
  warren check exec --timeout 200ms -- sh -c 'sleep 300 & sleep 300'")]
pub struct ExecArgs {
    /// What --health-cmd takes
    #[arg(value_name = "CMD", required_unless_present = "words")]
    pub check: Option<String>,
    /// Words that were meant for the command
    #[arg(value_name = "WORD", hide = true)]
    pub stray: Vec<String>,
    /// The program and its arguments, without a shell
    #[arg(last = true, value_name = "WORD", conflicts_with = "check")]
    pub words: Vec<String>,
    #[command(flatten)]
    pub look: LookArgs,
}

/// Look for a file
#[derive(Debug, Args)]
#[command(after_help = "\
The keys are those of --health-file in 'warren service create --help', and timeout=.

Examples:
  warren check file /run/ready
  warren check file /run/beat,max-age=30s")]
pub struct FileArgs {
    /// What --health-file takes: a path, and how old it may be at most
    #[arg(value_name = "PATH[,max-age=TIME]")]
    pub check: String,
    #[command(flatten)]
    pub look: LookArgs,
}

/// Ask a known server what its preset asks
///
/// Where liveness and readiness ask different things, an attempt is made for each. A preset that
/// runs a command runs it here, which asks the server at `WARREN_TASK_IP`, else at 127.0.0.1.
/// Of several attempts that do not all pass, a failure decides the exit code.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  warren check preset redis
  warren check preset etcd,port=12379 --address 10.0.0.7")]
pub struct PresetArgs {
    /// What --health-preset takes, but for auto: postgres, redis, mysql, mongodb, rabbitmq, nats,
    /// kafka, memcached, etcd or nginx, and where it listens elsewhere
    #[arg(value_name = "NAME[,port=N]")]
    pub check: String,
    #[command(flatten)]
    pub net: NetArgs,
}

/// Of the kinds that connect.
#[derive(Debug, Args)]
pub struct NetArgs {
    /// Where to look for a check that names no host: a name or an address [default: 127.0.0.1]
    #[arg(long, value_name = "HOST")]
    pub address: Option<String>,
    #[command(flatten)]
    pub look: LookArgs,
}

/// Of every kind.
#[derive(Debug, Args)]
pub struct LookArgs {
    /// For each whole attempt; the key timeout= says the same [default: 5s]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub timeout: Option<String>,
    #[command(flatten)]
    pub output: OutputArgs,
}
