//! `warren service`.
#![allow(rustdoc::broken_intra_doc_links, reason = "help texts, where brackets mean optional")]

mod pause;

use clap::{Args, Subcommand, ValueEnum};

use super::{OutputArgs, RoleWord};

pub use self::pause::{HealthArgs, HealthVerb, PauseArgs, ResumeArgs};

/// Create, look at, change, release and remove services
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  warren service ls")]
pub struct ServiceArgs {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    Create(Box<CreateArgs>),
    Ls(LsArgs),
    Inspect(InspectArgs),
    Update(Box<UpdateArgs>),
    Scale(ScaleArgs),
    Release(ReleaseArgs),
    Health(HealthArgs),
    Rm(RmArgs),
}

/// Create a service and start its tasks
///
/// With an image, the words after -- replace the image's CMD. Without one they are a command of
/// the node itself, which the process driver runs.
#[derive(Debug, Args)]
#[command(after_help = "\
Durations are 30s, 500ms, 1m30s or whole seconds. Sizes are bytes, or K, M, G (1024 each).

Examples:
  warren service create web --image nginx --publish 8080:80 --health-http / --wait
  warren service create db --image postgres -e POSTGRES_PASSWORD --memory 512M \\
      --health-cmd 'pg_isready -U postgres' --health-start-period 30s
  warren service create api --image api:7 --replicas 3 \\
      --startup-tcp 8000,failures=30 --liveness-http /alive:8000,period=5s \\
      --readiness-http path=/ready,port=8000,status=200
  warren service create cart --image cart:2 --port grpc=50051 --health-match all \\
      --health-grpc port=grpc,service=shop.Cart --health-file /run/ready,max-age=30s
  warren service create cache --image redis:7 --health-preset auto
  warren service create tick -- sh -c 'while sleep 1; do date; done'")]
pub struct CreateArgs {
    /// 1-63 characters of a-z, 0-9 and '-', beginning with a letter
    pub name: String,

    /// The image to run; nginx means docker.io/library/nginx:latest
    #[arg(long)]
    pub image: Option<String>,

    /// How many tasks, 0-10000
    #[arg(long, default_value = "1", allow_hyphen_values = true, value_name = "N")]
    pub replicas: String,

    /// An environment variable. A name alone takes the value that it has here. Repeatable
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,

    /// A port of the node that leads to a port of the task; a node has it once, so replicas that
    /// publish it need a node each. Repeatable
    #[arg(short, long, value_name = "HOST:PORT[/udp]", allow_hyphen_values = true)]
    pub publish: Vec<String>,

    /// A name for a port of the task, by which --publish and the health checks may call it.
    /// Repeatable
    #[arg(long, value_name = "NAME=PORT")]
    pub port: Vec<String>,

    /// At most so many CPUs, such as 0.5
    #[arg(long, value_name = "CPUS", allow_hyphen_values = true)]
    pub cpus: Option<String>,

    /// At most so much memory, such as 64M, 1G or bytes
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub memory: Option<String>,

    /// SOURCE:TARGET[:ro], or type=bind,source=…,target=…[,readonly], or type=tmpfs,target=….
    /// Repeatable
    #[arg(long, value_name = "MOUNT")]
    pub mount: Vec<String>,

    /// Absent: bridge with an image, host without
    #[arg(long, value_enum)]
    pub network: Option<NetworkWord>,

    /// Between the stop signal and SIGKILL, at most 1h
    #[arg(long, default_value = "10s", value_name = "TIME", allow_hyphen_values = true)]
    pub stop_grace_period: String,

    /// SIGTERM, TERM or 15. Absent: the image's, else SIGTERM
    #[arg(long, value_name = "SIGNAL", allow_hyphen_values = true)]
    pub stop_signal: Option<String>,

    /// When to pull the image. Absent: when it is missing
    #[arg(long, value_enum, value_name = "WHEN")]
    pub pull: Option<PullWord>,

    /// Replaces the image's ENTRYPOINT: words as in a shell, or a JSON array
    #[arg(long, value_name = "CMD")]
    pub entrypoint: Option<String>,

    /// user, user:group, uid or uid:gid
    #[arg(long, allow_hyphen_values = true)]
    pub user: Option<String>,

    /// The directory to start in
    #[arg(long, value_name = "PATH")]
    pub workdir: Option<String>,

    /// Absent: the task's name, such as web-1
    #[arg(long)]
    pub hostname: Option<String>,

    /// Make the container's first process a small init, which reaps orphans and forwards signals to
    /// the command
    #[arg(long)]
    pub init: bool,

    #[command(flatten)]
    pub placement: PlacementFlags,

    #[command(flatten)]
    pub health: HealthFlags,

    /// Return when all replicas are healthy and take traffic
    #[arg(long)]
    pub wait: bool,

    /// How long to wait at most
    #[arg(long, default_value = "60s", value_name = "TIME", allow_hyphen_values = true)]
    pub wait_timeout: String,

    /// The command and its arguments
    #[arg(last = true, value_name = "CMD")]
    pub words: Vec<String>,
}

/// Where tasks may run, and when to stop trying.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Placement and restarts")]
pub struct PlacementFlags {
    /// Only nodes for which this holds: node.labels.KEY==VALUE, node.name!=NAME or node.id==ID.
    /// Repeatable: all must hold
    #[arg(long, value_name = "RULE")]
    pub constraint: Vec<String>,
    /// Spread the tasks evenly over the values of node.labels.KEY. Absent: over the nodes
    #[arg(long, value_name = "ATTRIBUTE")]
    pub spread: Option<String>,
    /// Give a slot up after so many restarts, 1-100; 0: never [default: 0]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub restart_max_attempts: Option<String>,
    /// Count only restarts within so long, 1s-24h. Absent: since the slot last ran well
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub restart_window: Option<String>,
}

/// How to look at the tasks. Without any of these the image's HEALTHCHECK counts, else a TCP
/// check of the first published port, else the process alone.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Health checks")]
pub struct HealthFlags {
    /// One HTTP check for liveness and readiness: /health:8080, :8080/health,
    /// http://:8080/health, /health (the one published port), or path=/,port=80 (or a name of
    /// --port, or socket=/run/x.sock) with further keys scheme=http|https|h2c version=1.1|2
    /// tls=any|node|FILE server-name= host= header=NAME:VALUE status=200-299+304 method=
    /// send= (the request's body) body= body-regex= body-not= body-not-regex= keep-alive=true|false
    #[arg(long, value_name = "CHECK", allow_hyphen_values = true)]
    pub health_http: Vec<String>,
    /// One TCP check for liveness and readiness: 6379, :6379 or port=6379 (or socket=) with further
    /// keys send='PING\r\n' expect=PONG or expect-regex= tls=any|node|FILE server-name=
    #[arg(long, value_name = "CHECK", allow_hyphen_values = true)]
    pub health_tcp: Vec<String>,
    /// One gRPC health check (grpc.health.v1) for liveness and readiness: 50051, :50051 or
    /// port=50051 (or socket=) with further keys service= host= tls=any|node|FILE server-name=
    #[arg(long, value_name = "CHECK", allow_hyphen_values = true)]
    pub health_grpc: Vec<String>,
    /// One file of the task for liveness and readiness: /run/ready, or path=/run/beat,max-age=30s
    #[arg(long, value_name = "CHECK")]
    pub health_file: Vec<String>,
    /// One command for liveness and readiness, in the task's container: plain words run as they
    /// are, shell syntax through /bin/sh -c, a JSON array is the argv, where $(NAME) is a variable
    /// of the task. Keys come first: user=,pass=0+1,inconclusive=75,expect=,expect-regex=,cmd=CMD
    #[arg(long, value_name = "CMD")]
    pub health_cmd: Vec<String>,
    /// Several checks of --health-*: whether all or any of them must pass
    #[arg(long, value_enum, value_name = "RULE")]
    pub health_match: Option<MatchWord>,
    /// What is right for a known server: postgres, redis, mysql, mongodb, rabbitmq, nats, kafka,
    /// memcached, etcd or nginx, where it listens elsewhere with ,port=N; or auto, which goes by
    /// the image's name and says what it chose
    #[arg(long, value_name = "PRESET")]
    pub health_preset: Option<String>,
    /// Between two attempts [default: 30s]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub health_interval: Option<String>,
    /// For one attempt [default: 10s]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub health_timeout: Option<String>,
    /// Between the stop signal and SIGKILL of a task that failed this check, at most 1h [default:
    /// the service's own]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub health_stop_grace_period: Option<String>,
    /// So many consecutive failures fail [default: 3]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub health_retries: Option<String>,
    /// Failures are ignored so long after the start; more than 0 gives the check the startup
    /// role as well [default: 0s]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub health_start_period: Option<String>,
    /// Between two attempts until the first pass [default: 1s, or the interval if that is less]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub health_start_interval: Option<String>,
    /// A task is not replaced before it has failed for so long without a pass [default: 0s]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub health_min_failing: Option<String>,
    /// Marks a task as flapping when so many of so many attempts failed; off never does
    /// [default: 4/10]
    #[arg(long, value_name = "N/M", allow_hyphen_values = true)]
    pub health_flapping: Option<String>,
    /// Watch the process only, whatever the image says
    #[arg(long)]
    pub no_healthcheck: bool,

    /// Until it passes the other checks wait; failing ends the task. Keys as in --health-http,
    /// and period= timeout= failures= successes= delay= confirm= start-interval= start-period=
    /// min-failing= stop-grace-period=
    #[arg(long, value_name = "CHECK", allow_hyphen_values = true)]
    pub startup_http: Vec<String>,
    /// The same as a TCP check
    #[arg(long, value_name = "CHECK", allow_hyphen_values = true)]
    pub startup_tcp: Vec<String>,
    /// The same as a gRPC health check
    #[arg(long, value_name = "CHECK", allow_hyphen_values = true)]
    pub startup_grpc: Vec<String>,
    /// The same as a file
    #[arg(long, value_name = "CHECK")]
    pub startup_file: Vec<String>,
    /// The same as a command: 'CMD', or 'period=2s,cmd=CMD' where CMD is all the rest
    #[arg(long, value_name = "CHECK")]
    pub startup_cmd: Vec<String>,
    /// Several checks of --startup-*: whether all or any of them must pass
    #[arg(long, value_enum, value_name = "RULE")]
    pub startup_match: Option<MatchWord>,

    /// Failing replaces the task. Keys as for startup without start-period=, and flapping=4/10
    #[arg(long, value_name = "CHECK", allow_hyphen_values = true)]
    pub liveness_http: Vec<String>,
    /// The same as a TCP check
    #[arg(long, value_name = "CHECK", allow_hyphen_values = true)]
    pub liveness_tcp: Vec<String>,
    /// The same as a gRPC health check
    #[arg(long, value_name = "CHECK", allow_hyphen_values = true)]
    pub liveness_grpc: Vec<String>,
    /// The same as a file
    #[arg(long, value_name = "CHECK")]
    pub liveness_file: Vec<String>,
    /// The same as a command
    #[arg(long, value_name = "CHECK")]
    pub liveness_cmd: Vec<String>,
    /// Several checks of --liveness-*: whether all or any of them must pass
    #[arg(long, value_enum, value_name = "RULE")]
    pub liveness_match: Option<MatchWord>,

    /// Failing takes the task out of traffic and never replaces it. Keys as for liveness, without
    /// min-failing= and stop-grace-period=
    #[arg(long, value_name = "CHECK", allow_hyphen_values = true)]
    pub readiness_http: Vec<String>,
    /// The same as a TCP check
    #[arg(long, value_name = "CHECK", allow_hyphen_values = true)]
    pub readiness_tcp: Vec<String>,
    /// The same as a gRPC health check
    #[arg(long, value_name = "CHECK", allow_hyphen_values = true)]
    pub readiness_grpc: Vec<String>,
    /// The same as a file
    #[arg(long, value_name = "CHECK")]
    pub readiness_file: Vec<String>,
    /// The same as a command
    #[arg(long, value_name = "CHECK")]
    pub readiness_cmd: Vec<String>,
    /// Several checks of --readiness-*: whether all or any of them must pass
    #[arg(long, value_enum, value_name = "RULE")]
    pub readiness_match: Option<MatchWord>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MatchWord {
    All,
    Any,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NetworkWord {
    /// A network namespace of its own on the node's bridge
    Bridge,
    /// The node's network
    Host,
    /// A network namespace of its own with loopback only
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PullWord {
    Missing,
    Always,
    Never,
}

/// List the services
#[derive(Debug, Args)]
#[command(visible_alias = "list", after_help = "Example:\n  warren service ls -o json")]
pub struct LsArgs {
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Show a service: its spec, its checks, how it fares, and its tasks
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  warren service inspect web")]
pub struct InspectArgs {
    /// Its name or id
    pub service: String,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Change how a service is looked at, how many tasks it has, or its image
///
/// Other checks are taken up by the tasks that run: none is replaced for them. Another image
/// replaces the tasks, one at a time. What is not named stays: a flag for the timing alone changes
/// the checks that there are, one of --startup-*, --liveness-* and --readiness-* its role's check.
/// One of --health-* that names a check takes the place of all of them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  warren service update web --health-interval 5s --health-retries 2
  warren service update web --readiness-http /ready:8080
  warren service update web --health-rm liveness
  warren service update web --image nginx:1.27 --replicas 5")]
pub struct UpdateArgs {
    /// Its name or id
    pub service: String,

    /// The image to run; nginx means docker.io/library/nginx:latest
    #[arg(long)]
    pub image: Option<String>,

    /// How many tasks, 0-10000
    #[arg(long, allow_hyphen_values = true, value_name = "N")]
    pub replicas: Option<String>,

    /// Whether the container's first process is a small init, which reaps orphans and forwards
    /// signals to the command
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    pub init: Option<bool>,

    #[command(flatten)]
    pub health: HealthFlags,

    /// Take away the check of this role; may be repeated
    #[arg(long, value_enum, value_name = "ROLE", help_heading = "Health checks")]
    pub health_rm: Vec<RoleWord>,
}

/// Change how many tasks services have
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  warren service scale web=5 api=2")]
pub struct ScaleArgs {
    /// One or more NAME=N, or one NAME N
    #[arg(required = true, value_name = "NAME=N")]
    pub targets: Vec<String>,
}

/// Let go what guards hold of services, and try again what was given up
///
/// What holds replacements, and since when, is in 'warren service inspect'. Budgets and backoff
/// still pace what is let go.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  warren service release web")]
pub struct ReleaseArgs {
    /// Names or ids
    #[arg(required = true)]
    pub services: Vec<String>,
}

/// Remove services: their tasks are stopped, then they disappear
#[derive(Debug, Args)]
#[command(visible_alias = "remove", after_help = "Example:\n  warren service rm web --wait")]
pub struct RmArgs {
    /// Names or ids
    #[arg(required = true)]
    pub services: Vec<String>,
    /// Return when they are gone. Fails when a task may still run, on a node that is down
    #[arg(long)]
    pub wait: bool,
    /// How long to wait at most, such as 60s or 2m
    #[arg(long, default_value = "60s", value_name = "TIME", allow_hyphen_values = true)]
    pub wait_timeout: String,
}
