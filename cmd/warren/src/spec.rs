//! From the flags of `service create` to a spec that core accepts.

use std::{ffi::OsString, path::Path, sync::Arc};

use warren_core::{
    Invalid,
    bounds::{Attempts, Port, RestartWindow, StopGrace},
    check::{HealthConfig, NamedPort},
    invalid::At,
    spec::{
        AbsolutePath, Constraint, EnvVar, Hostname, Mount, MountKind, Network, NodeAttribute,
        PlacementRules, Protocol, Publish, Pull, Replicas, RestartPolicy, ServiceSpec,
        TaskTemplate, User, Workload,
    },
};

use crate::{
    cli::service::{CreateArgs, NetworkWord, PlacementFlags, PullWord},
    failure::Failure,
    health_flags::{self, words},
    values,
};

/// Looks up a variable of the caller's environment.
pub type CallerEnv<'a> = &'a dyn Fn(&str) -> Option<OsString>;

pub fn service_spec(args: &CreateArgs, caller: CallerEnv<'_>) -> Result<ServiceSpec, Failure> {
    let name = args.name.parse().map_err(|why| Failure::flag("NAME", why))?;
    let replicas = values::count(&args.replicas).and_then(Replicas::new);
    let replicas = replicas.map_err(|why| Failure::flag("--replicas", why))?;
    let ports = each("--port", &args.port, named_port)?;
    let publish = each("--publish", &args.publish, |text| publish(text, &ports))?;
    let health = health_flags::health_config(&args.health, &publish, &ports)?;
    let template = template(args, caller, publish, health, ports)?;
    let restart = restart(&args.placement)?;
    let placement = placement(&args.placement)?;
    Ok(ServiceSpec { name, replicas, template: Arc::new(template), restart, placement })
}

fn restart(flags: &PlacementFlags) -> Result<RestartPolicy, Failure> {
    let attempts = |text: &str| match values::count(text)? {
        0 => Ok(None),
        count => Attempts::new(count).map(Some),
    };
    let window = |text: &str| values::span(text).and_then(RestartWindow::new);
    let max_attempts = flags.restart_max_attempts.as_deref();
    let restart = RestartPolicy {
        max_attempts: optional("--restart-max-attempts", max_attempts, attempts)?.flatten(),
        window: optional("--restart-window", flags.restart_window.as_deref(), window)?,
    };
    restart
        .validated()
        .map_err(|_| Failure::flag("--restart-window", "needs --restart-max-attempts"))
}

fn placement(flags: &PlacementFlags) -> Result<PlacementRules, Failure> {
    let spread = |text: &str| text.strip_prefix("spread=").unwrap_or(text).parse::<NodeAttribute>();
    let rules = PlacementRules {
        constraints: each("--constraint", &flags.constraint, str::parse::<Constraint>)?,
        spread: optional("--spread", flags.spread.as_deref(), spread)?,
    };
    rules.validated().map_err(|why| Failure::flag("--constraint", why))
}

fn template(
    args: &CreateArgs,
    caller: CallerEnv<'_>,
    publish: Vec<Publish>,
    health: HealthConfig,
    ports: Vec<NamedPort>,
) -> Result<TaskTemplate, Failure> {
    let (workload, words) = workload(args)?;
    let absent_network = workload.default_network();
    let template = TaskTemplate {
        workload,
        args: words,
        env: each("--env", &args.env, |text| env_var(text, caller))?,
        user: optional("--user", args.user.as_deref(), User::new)?,
        workdir: optional("--workdir", args.workdir.as_deref(), AbsolutePath::new)?,
        hostname: optional("--hostname", args.hostname.as_deref(), Hostname::new)?,
        mounts: each("--mount", &args.mount, mount)?,
        cpu_millis: optional("--cpus", args.cpus.as_deref(), values::cpus)?,
        memory_bytes: optional("--memory", args.memory.as_deref(), values::memory)?,
        stop_signal: optional("--stop-signal", args.stop_signal.as_deref(), str::parse)?,
        stop_grace_period: values::span(&args.stop_grace_period)
            .and_then(StopGrace::new)
            .map_err(|why| Failure::flag("--stop-grace-period", why))?,
        network: args.network.map_or(absent_network, network),
        publish,
        health,
        ports,
        init: args.init,
    };
    template.validated().map_err(|invalid| flag_of(args, &invalid))
}

/// What runs, and the words that follow it.
fn workload(args: &CreateArgs) -> Result<(Workload, Vec<String>), Failure> {
    let entrypoint = optional("--entrypoint", args.entrypoint.as_deref(), words)?;
    if let Some(image) = &args.image {
        let image = image.parse().map_err(|why| Failure::flag("--image", why))?;
        let pull = args.pull.map_or(Pull::Missing, pull);
        let command = entrypoint.unwrap_or_default();
        return Ok((Workload::Image { image, pull, command }, args.words.clone()));
    }
    if args.pull.is_some() {
        return Err(Failure::flag("--pull", "needs an image"));
    }
    match entrypoint {
        Some(command) => Ok((Workload::Process { command }, args.words.clone())),
        None if args.words.is_empty() => {
            let why = "is required, or a command after -- for the process driver";
            Err(Failure::flag("--image", why))
        }
        None => Ok((Workload::Process { command: args.words.clone() }, Vec::new())),
    }
}

fn each<T>(
    flag: &str,
    texts: &[String],
    parse: impl Fn(&str) -> Result<T, Invalid>,
) -> Result<Vec<T>, Failure> {
    texts.iter().map(|text| parse(text).map_err(|why| Failure::flag(flag, why))).collect()
}

fn optional<'a, T>(
    flag: &str,
    text: Option<&'a str>,
    parse: impl Fn(&'a str) -> Result<T, Invalid>,
) -> Result<Option<T>, Failure> {
    text.map(parse).transpose().map_err(|why| Failure::flag(flag, why))
}

const fn network(word: NetworkWord) -> Network {
    match word {
        NetworkWord::Bridge => Network::Bridge,
        NetworkWord::Host => Network::Host,
        NetworkWord::None => Network::None,
    }
}

const fn pull(word: PullWord) -> Pull {
    match word {
        PullWord::Missing => Pull::Missing,
        PullWord::Always => Pull::Always,
        PullWord::Never => Pull::Never,
    }
}

/// `NAME=VALUE`, or `NAME` for the caller's own value.
fn env_var(text: &str, caller: CallerEnv<'_>) -> Result<EnvVar, Invalid> {
    if let Some((name, value)) = text.split_once('=') {
        return EnvVar::new(name, value);
    }
    let Some(value) = caller(text) else {
        return Err(Invalid::new(format!("{text} has no value here; say {text}=VALUE")));
    };
    let value = value
        .into_string()
        .map_err(|_| Invalid::new(format!("the value that {text} has here is not UTF-8")))?;
    EnvVar::new(text, value)
}

/// `http=80`.
fn named_port(text: &str) -> Result<NamedPort, Invalid> {
    let Some((name, number)) = text.split_once('=') else {
        return Err(Invalid::new(format!("{text:?} is not NAME=PORT")));
    };
    Ok(NamedPort { name: name.parse()?, port: Port::new(values::count(number)?).at(name)? })
}

/// `8080:80`, `8080:80/tcp`, `53:53/udp`, or `8080:http` for a port that has a name.
fn publish(text: &str, ports: &[NamedPort]) -> Result<Publish, Invalid> {
    let (pair, protocol) = match text.rsplit_once('/') {
        None => (text, Protocol::Tcp),
        Some((pair, "tcp")) => (pair, Protocol::Tcp),
        Some((pair, "udp")) => (pair, Protocol::Udp),
        Some((_, other)) => return Err(Invalid::new(format!("{other:?} is not tcp or udp"))),
    };
    let Some((host, task)) = pair.split_once(':').filter(|(_, task)| !task.contains(':')) else {
        return Err(Invalid::new(format!("{text:?} is not HOST_PORT:TASK_PORT")));
    };
    let port = |text: &str| Port::new(values::count(text)?);
    let named = ports.iter().find(|named| named.name.as_str() == task);
    let task_port = named.map_or_else(|| port(task), |named| Ok(named.port));
    Ok(Publish {
        host_port: port(host).at("host port")?,
        task_port: task_port.at("task port")?,
        protocol,
    })
}

/// `SOURCE:TARGET[:ro]`, or docker's `type=bind,source=…,target=…,readonly`.
fn mount(text: &str) -> Result<Mount, Invalid> {
    if text.starts_with('/') || !text.contains('=') {
        return short_mount(text);
    }
    let (mut kind, mut source, mut target, mut read_only) = ("bind", None, None, false);
    for piece in text.split(',') {
        let (key, value) = piece.split_once('=').unwrap_or((piece, "true"));
        match (key, value) {
            ("type", _) => kind = value,
            ("source" | "src", _) => source = Some(value),
            ("target" | "dst" | "destination", _) => target = Some(value),
            ("readonly" | "ro", "true" | "1") => read_only = true,
            ("readonly" | "ro", "false" | "0") => read_only = false,
            (_, _) => {
                let why = "is not type=, source=, target= or readonly";
                return Err(Invalid::new(format!("{piece:?} {why}")));
            }
        }
    }
    let target = AbsolutePath::new(target.ok_or_else(|| Invalid::missing("target"))?);
    let kind = match (kind, source) {
        ("bind", Some(source)) => {
            MountKind::Bind { source: AbsolutePath::new(source).at("source")? }
        }
        ("bind", None) => return Err(Invalid::missing("source")),
        ("tmpfs", None) => MountKind::Tmpfs,
        ("tmpfs", Some(_)) => return Err(Invalid::new("a tmpfs has none").at("source")),
        (_, _) => return Err(Invalid::new(format!("{kind:?} is not bind or tmpfs")).at("type")),
    };
    Ok(Mount { target: target.at("target")?, read_only, kind })
}

fn short_mount(text: &str) -> Result<Mount, Invalid> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, read_only) = match parts[..] {
        [source, target] | [source, target, "rw"] => (source, target, false),
        [source, target, "ro"] => (source, target, true),
        _ => return Err(Invalid::new(format!("{text:?} is not SOURCE:TARGET[:ro]"))),
    };
    if !Path::new(source).is_absolute() {
        let why = "is not an absolute path; there are no named volumes";
        return Err(Invalid::new(format!("{source:?} {why}")).at("source"));
    }
    Ok(Mount {
        target: AbsolutePath::new(target).at("target")?,
        read_only,
        kind: MountKind::Bind { source: AbsolutePath::new(source).at("source")? },
    })
}

/// Rules that concern several fields are core's; their error names the field, and the user
/// knows it by its flag.
fn flag_of(args: &CreateArgs, invalid: &Invalid) -> Failure {
    let field = invalid.path().split(['.', '[']).next().unwrap_or_default();
    let flag = match field {
        "cpu_millis" => "--cpus".to_owned(),
        "memory_bytes" => "--memory".to_owned(),
        "mounts" => "--mount".to_owned(),
        "ports" => "--port".to_owned(),
        "health" if args.health.health_preset.is_some() => "--health-preset".to_owned(),
        "command" if args.entrypoint.is_some() => "--entrypoint".to_owned(),
        "command" | "args" => "CMD".to_owned(),
        other => format!("--{}", other.replace('_', "-")),
    };
    Failure::flag(&flag, invalid.why())
}
