//! Service specs and task templates as messages.

use std::sync::Arc;

use prost::Message as _;
use warren_proto::v1 as pb;

use super::{
    AbsolutePath, Constraint, CpuMillis, EnvVar, Hostname, MemoryBytes, Mount, MountKind, Network,
    PlacementRules, Protocol, Publish, Pull, Replicas, RestartPolicy, ServiceSpec, TaskTemplate,
    User, Workload,
};
use crate::{
    Invalid,
    bounds::{Attempts, Port},
    check::NamedPort,
    invalid::At,
    wire::{
        enumerated_or, optional, parsed, parsed_or_none, repeated, required, unknown_number,
        wire_enum,
    },
};

wire_enum!(Pull: Missing, Always, Never);
wire_enum!(Network: Bridge, Host, None);
wire_enum!(Protocol: Tcp, Udp);

/// Every task of a node goes into one message when its session opens: at this size, and with a
/// node's few hundred tasks, it stays within what that message may have.
const TEMPLATE_MAX: usize = 256 * 1024;

impl From<&ServiceSpec> for pb::ServiceSpec {
    fn from(spec: &ServiceSpec) -> Self {
        let ServiceSpec { name, replicas, template, restart, placement } = spec;
        let PlacementRules { constraints, spread } = placement;
        Self {
            name: name.to_string(),
            replicas: replicas.get(),
            template: Some((&**template).into()),
            restart: (*restart != RestartPolicy::default()).then(|| restart.into()),
            constraints: constraints.iter().map(ToString::to_string).collect(),
            spread: spread.as_ref().map(ToString::to_string).unwrap_or_default(),
        }
    }
}

impl From<&RestartPolicy> for pb::RestartPolicy {
    fn from(restart: &RestartPolicy) -> Self {
        let RestartPolicy { max_attempts, window } = restart;
        Self {
            max_attempts: max_attempts.map(Attempts::get).unwrap_or_default(),
            window: window.map(Into::into),
        }
    }
}

impl TryFrom<pb::RestartPolicy> for RestartPolicy {
    type Error = Invalid;

    fn try_from(wire: pb::RestartPolicy) -> Result<Self, Invalid> {
        let pb::RestartPolicy { max_attempts, window } = wire;
        Self {
            max_attempts: unless_zero(max_attempts, Attempts::new).at("max_attempts")?,
            window: optional("window", window)?,
        }
        .validated()
    }
}

impl TryFrom<pb::ServiceSpec> for ServiceSpec {
    type Error = Invalid;

    fn try_from(wire: pb::ServiceSpec) -> Result<Self, Invalid> {
        let pb::ServiceSpec { name, replicas, template, restart, constraints, spread } = wire;
        let constraint = |(index, text): (usize, String)| {
            text.parse::<Constraint>().map_err(|invalid| invalid.at_index(index))
        };
        let constraints =
            constraints.into_iter().enumerate().map(constraint).collect::<Result<_, _>>();
        let constraints = constraints.at("constraints")?;
        let placement = PlacementRules { constraints, spread: parsed_or_none("spread", &spread)? };
        Ok(Self {
            name: parsed("name", &name)?,
            replicas: Replicas::new(replicas).at("replicas")?,
            template: Arc::new(required("template", template)?),
            restart: optional("restart", restart)?.unwrap_or_default(),
            placement: placement.validated().at("constraints")?,
        })
    }
}

impl From<&TaskTemplate> for pb::TaskTemplate {
    fn from(template: &TaskTemplate) -> Self {
        let TaskTemplate {
            workload,
            args,
            env,
            user,
            workdir,
            hostname,
            mounts,
            cpu_millis,
            memory_bytes,
            stop_signal,
            stop_grace_period,
            network,
            publish,
            health,
            ports,
            init,
        } = template;
        let (image, pull, command) = match workload {
            Workload::Image { image, pull, command } => {
                (image.to_string(), pb::Pull::from(*pull), command)
            }
            Workload::Process { command } => (String::new(), pb::Pull::Unspecified, command),
        };
        Self {
            image,
            pull: pull.into(),
            command: command.clone(),
            args: args.clone(),
            env: env.iter().map(Into::into).collect(),
            user: user.as_ref().map(|user| user.as_str().to_owned()).unwrap_or_default(),
            workdir: workdir.as_ref().map(|path| path.as_str().to_owned()).unwrap_or_default(),
            hostname: hostname.as_ref().map(|name| name.as_str().to_owned()).unwrap_or_default(),
            mounts: mounts.iter().map(Into::into).collect(),
            cpu_millis: cpu_millis.map(CpuMillis::get).unwrap_or_default(),
            memory_bytes: memory_bytes.map(MemoryBytes::get).unwrap_or_default(),
            stop_signal: stop_signal.map(|signal| signal.to_string()).unwrap_or_default(),
            stop_grace_period: Some((*stop_grace_period).into()),
            network: pb::Network::from(*network).into(),
            publish: publish.iter().map(Into::into).collect(),
            health: Some(health.into()),
            ports: ports.iter().map(Into::into).collect(),
            init: *init,
        }
    }
}

impl TryFrom<pb::TaskTemplate> for TaskTemplate {
    type Error = Invalid;

    fn try_from(wire: pb::TaskTemplate) -> Result<Self, Invalid> {
        if wire.encoded_len() > TEMPLATE_MAX {
            return Err(Invalid::new("is larger than 256 KiB in all"));
        }
        let pb::TaskTemplate {
            image,
            pull,
            command,
            args,
            env,
            user,
            workdir,
            hostname,
            mounts,
            cpu_millis,
            memory_bytes,
            stop_signal,
            stop_grace_period,
            network,
            publish,
            health,
            ports,
            init,
        } = wire;
        let workload = workload(&image, pull, command)?;
        let absent_network = workload.default_network();
        Self {
            workload,
            args,
            env: repeated::<_, EnvVar, _>("env", env)?,
            user: unless_empty(user, User::new).at("user")?,
            workdir: unless_empty(workdir, AbsolutePath::new).at("workdir")?,
            hostname: unless_empty(hostname, Hostname::new).at("hostname")?,
            mounts: repeated::<_, Mount, _>("mounts", mounts)?,
            cpu_millis: unless_zero(cpu_millis, CpuMillis::new).at("cpu_millis")?,
            memory_bytes: unless_zero(memory_bytes, MemoryBytes::new).at("memory_bytes")?,
            stop_signal: parsed_or_none("stop_signal", &stop_signal)?,
            stop_grace_period: optional("stop_grace_period", stop_grace_period)?
                .unwrap_or(Self::DEFAULT_STOP_GRACE),
            network: enumerated_or::<pb::Network, _>("network", network, absent_network)?,
            publish: repeated::<_, Publish, _>("publish", publish)?,
            health: optional("health", health)?.unwrap_or_default(),
            ports: repeated::<_, NamedPort, _>("ports", ports)?,
            init,
        }
        .validated()
    }
}

fn workload(image: &str, pull: i32, command: Vec<String>) -> Result<Workload, Invalid> {
    if !image.is_empty() {
        return Ok(Workload::Image {
            image: parsed("image", image)?,
            pull: enumerated_or::<pb::Pull, _>("pull", pull, Pull::Missing)?,
            command,
        });
    }
    if command.is_empty() {
        let why = "is required, or a command for the process driver";
        return Err(Invalid::new(why).at("image"));
    }
    if pull != 0 {
        return Err(Invalid::new("needs an image").at("pull"));
    }
    Ok(Workload::Process { command })
}

fn unless_empty<T>(
    text: String,
    new: impl Fn(String) -> Result<T, Invalid>,
) -> Result<Option<T>, Invalid> {
    if text.is_empty() { Ok(None) } else { new(text).map(Some) }
}

fn unless_zero<N: Default + PartialEq, T>(
    number: N,
    new: impl Fn(N) -> Result<T, Invalid>,
) -> Result<Option<T>, Invalid> {
    if number == N::default() { Ok(None) } else { new(number).map(Some) }
}

impl From<&EnvVar> for pb::EnvVar {
    fn from(var: &EnvVar) -> Self {
        let EnvVar { name, value } = var;
        Self { name: name.clone(), value: value.clone() }
    }
}

impl TryFrom<pb::EnvVar> for EnvVar {
    type Error = Invalid;

    fn try_from(wire: pb::EnvVar) -> Result<Self, Invalid> {
        let pb::EnvVar { name, value } = wire;
        Self::new(name, value)
    }
}

impl From<&Mount> for pb::Mount {
    fn from(mount: &Mount) -> Self {
        let Mount { target, read_only, kind } = mount;
        let (source, kind) = match kind {
            MountKind::Bind { source } => (source.as_str().to_owned(), pb::MountKind::Bind),
            MountKind::Tmpfs => (String::new(), pb::MountKind::Tmpfs),
        };
        Self {
            source,
            target: target.as_str().to_owned(),
            read_only: *read_only,
            kind: kind.into(),
        }
    }
}

impl TryFrom<pb::Mount> for Mount {
    type Error = Invalid;

    fn try_from(wire: pb::Mount) -> Result<Self, Invalid> {
        let pb::Mount { source, target, read_only, kind } = wire;
        let kind = match pb::MountKind::try_from(kind) {
            Ok(pb::MountKind::Unspecified | pb::MountKind::Bind) => {
                MountKind::Bind { source: AbsolutePath::new(source).at("source")? }
            }
            Ok(pb::MountKind::Tmpfs) if source.is_empty() => MountKind::Tmpfs,
            Ok(pb::MountKind::Tmpfs) => {
                return Err(Invalid::new("a tmpfs has none").at("source"));
            }
            Err(_) => return Err(unknown_number(kind).at("kind")),
        };
        Ok(Self { target: AbsolutePath::new(target).at("target")?, read_only, kind })
    }
}

impl From<&Publish> for pb::Publish {
    fn from(publish: &Publish) -> Self {
        let Publish { host_port, task_port, protocol } = publish;
        Self {
            host_port: host_port.get().into(),
            task_port: task_port.get().into(),
            protocol: pb::Protocol::from(*protocol).into(),
        }
    }
}

impl TryFrom<pb::Publish> for Publish {
    type Error = Invalid;

    fn try_from(wire: pb::Publish) -> Result<Self, Invalid> {
        let pb::Publish { host_port, task_port, protocol } = wire;
        Ok(Self {
            host_port: Port::new(host_port).at("host_port")?,
            task_port: Port::new(task_port).at("task_port")?,
            protocol: enumerated_or::<pb::Protocol, _>("protocol", protocol, Protocol::Tcp)?,
        })
    }
}
