//! `warren run`, `warren manager` and `warren worker`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::manager::ManagerCommand;

/// Run manager and worker in one process
#[derive(Debug, Args)]
#[command(after_help = "\
The line 'warren is ready: ADDRESS…' on stdout says that all listeners are bound. SIGTERM or
Ctrl-C ends in order and leaves the tasks running; a second one ends at once.

Example:
  warren run --data-dir /var/lib/warren --listen 127.0.0.1:7470")]
pub struct RunArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    #[command(flatten)]
    pub health: HealthArgs,
    #[command(flatten)]
    pub listen: ListenArgs,
    #[command(flatten)]
    pub rules: RuleArgs,
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Run a manager: it keeps the cluster's state and answers the API. Or look after its database
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  warren manager --listen 127.0.0.1:7470
  warren manager --listen 0.0.0.0:7470 --tls-cert manager.pem --tls-key manager.key \\
      --tls-client-ca ca.pem"
)]
pub struct ManagerArgs {
    #[command(subcommand)]
    pub command: Option<ManagerCommand>,
    #[command(flatten)]
    pub common: CommonArgs,
    #[command(flatten)]
    pub health: HealthArgs,
    #[command(flatten)]
    pub listen: ListenArgs,
    #[command(flatten)]
    pub rules: RuleArgs,
}

/// Run a worker: it runs tasks and looks at them
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  warren worker --manager http://127.0.0.1:7470 --data-dir /var/lib/warren-worker
  warren worker --manager https://manager.example:7470 --tls-ca ca.pem --tls-cert node.pem \\
      --tls-key node.key")]
pub struct WorkerArgs {
    /// Where the manager listens: https://HOST:PORT, HOST:PORT without TLS, or a socket's path
    #[arg(long, value_name = "ADDR")]
    pub manager: String,
    #[command(flatten)]
    pub common: CommonArgs,
    #[command(flatten)]
    pub health: HealthArgs,
    #[command(flatten)]
    pub node: NodeArgs,
}

#[derive(Debug, Args)]
pub struct CommonArgs {
    /// Where everything is kept. Absent: /var/lib/warren for root, else warren in the user's
    /// state directory
    #[arg(long, env = "WARREN_DATA_DIR", value_name = "PATH")]
    pub data_dir: Option<PathBuf>,
    /// How to write the log, to stderr
    #[arg(long, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// What to log: error, warn, info, debug, trace, or target=level,…
    #[arg(long, env = "RUST_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
    /// Send the log to a collector of OpenTelemetry as well, over OTLP/gRPC, such as
    /// `http://127.0.0.1:4317`
    #[cfg(feature = "otlp")]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
}

#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Serve health endpoints of this process, and /metrics, on this TCP address. Absent: nowhere
    #[arg(long, env = "WARREN_HEALTH_LISTEN", value_name = "ADDR")]
    pub health_listen: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub struct ListenArgs {
    /// A TCP address for the API, beside the socket in the data directory; none for no TCP.
    /// Repeatable
    #[arg(long, default_value = "127.0.0.1:7470", value_name = "ADDR")]
    pub listen: Vec<String>,
    /// Serve the TCP addresses over TLS, as --tls-cert, to clients with a certificate of the CA in
    /// this PEM file and to no others
    #[arg(long, value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// Allow --listen on an address that other machines reach without --tls-client-ca: who reaches
    /// it controls the cluster
    #[arg(long)]
    pub insecure_listen_anywhere: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Nodes and replacement")]
pub struct RuleArgs {
    /// A node that is silent for longer is lost: 3s - 10m. Heartbeats come three times in it
    #[arg(long, default_value = "15s", value_name = "TIME", allow_hyphen_values = true)]
    pub node_lease: String,
    /// The tasks of a lost node are replaced so long after it was lost: 0s - 1h
    #[arg(long, default_value = "15s", value_name = "TIME", allow_hyphen_values = true)]
    pub reschedule_after: String,
    /// So many percent of a service's slots, but at least one, are in replacement at once: 1 - 100
    #[arg(long, default_value = "25", value_name = "PERCENT", allow_hyphen_values = true)]
    pub replacement_budget: String,
    /// So many replacements in a second, of the whole cluster: 1 - 1000, and five times as many at
    /// once
    #[arg(long, default_value = "10", value_name = "COUNT", allow_hyphen_values = true)]
    pub replacement_pace: String,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Worker")]
pub struct NodeArgs {
    /// Absent: the host's name
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// A label of the node, for --constraint and --spread of services. Repeatable
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,
    /// containerd's socket. Absent: /run/containerd/containerd.sock, where that exists
    #[arg(long, value_name = "PATH")]
    pub containerd_socket: Option<PathBuf>,
    /// Leave containerd alone even where it is there
    #[arg(long, conflicts_with = "containerd_socket")]
    pub no_containerd: bool,
    /// The namespace in containerd that holds the tasks
    #[arg(long, default_value = "warren", value_name = "NAME")]
    pub containerd_namespace: String,
    /// Where the CNI plugins are. Absent: /opt/cni/bin or /usr/lib/cni, whichever exists
    #[arg(long, value_name = "PATH")]
    pub cni_plugin_dir: Option<PathBuf>,
    /// The first process of tasks whose service wants --init: a static program that runs what
    /// follows `--`, reaps orphans and forwards signals
    #[arg(long, default_value = "/usr/bin/tini-static", value_name = "PATH")]
    pub init_path: PathBuf,
    /// The bridge that the tasks are joined to
    #[arg(long, default_value = "warren0", value_name = "NAME")]
    pub bridge: String,
    /// Where the tasks' addresses come from
    #[arg(long, default_value = "10.77.0.0/16", value_name = "CIDR")]
    pub subnet: String,
    /// Give this node to the cluster of this id, though it belongs to another one. Tasks that the
    /// new one does not know are ended
    #[arg(long, value_name = "ID")]
    pub join_cluster: Option<String>,
    /// Do not run services without an image
    #[arg(long)]
    pub no_process_driver: bool,
}
