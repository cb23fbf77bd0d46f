//! What each task of a service runs, and the rules that concern several of its fields.

use std::{collections::BTreeSet, fmt, sync::Arc};

use super::{
    AbsolutePath, CpuMillis, EnvVar, Hostname, ImageRef, MemoryBytes, Mount, Network, Protocol,
    Publish, StopSignal, User, Workload,
};
use crate::{
    Invalid,
    bounds::{Port, StopGrace},
    check::{Checks, HealthConfig, NamedPort},
    invalid::At,
};

/// What each task of a service runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskTemplate {
    pub workload: Workload,
    /// Replaces the image's CMD; follows the command where there is no image.
    pub args: Vec<String>,
    /// Added to the image's environment. Names are unique.
    pub env: Vec<EnvVar>,
    pub user: Option<User>,
    pub workdir: Option<AbsolutePath>,
    pub hostname: Option<Hostname>,
    /// Targets are unique.
    pub mounts: Vec<Mount>,
    pub cpu_millis: Option<CpuMillis>,
    pub memory_bytes: Option<MemoryBytes>,
    pub stop_signal: Option<StopSignal>,
    pub stop_grace_period: StopGrace,
    pub network: Network,
    /// Host ports are unique for each protocol.
    pub publish: Vec<Publish>,
    pub health: HealthConfig,
    /// By whose names the checks may call them. Names are unique.
    pub ports: Vec<NamedPort>,
    /// The container's first process is an init, which reaps orphans and forwards signals.
    pub init: bool,
}

impl TaskTemplate {
    pub const DEFAULT_STOP_GRACE: StopGrace = StopGrace::from_millis_const(10_000);

    /// With all that a spec may leave out left out.
    pub const fn new(workload: Workload) -> Self {
        Self {
            network: workload.default_network(),
            workload,
            args: Vec::new(),
            env: Vec::new(),
            user: None,
            workdir: None,
            hostname: None,
            mounts: Vec::new(),
            cpu_millis: None,
            memory_bytes: None,
            stop_signal: None,
            stop_grace_period: Self::DEFAULT_STOP_GRACE,
            publish: Vec::new(),
            health: HealthConfig::Auto,
            ports: Vec::new(),
            init: false,
        }
    }

    /// Whether they run the same, however it is looked at.
    pub fn is_but_for_health(&self, other: &Self) -> bool {
        // Names of ports are for checks alone.
        let (health, ports) = (other.health.clone(), other.ports.clone());
        Self { health, ports, ..self.clone() } == *other
    }

    /// Holds the rules that concern several fields. Every template from outside goes through it.
    pub fn validated(self) -> Result<Self, Invalid> {
        words(&self.args).at("args")?;
        unique(self.env.iter().map(|var| var.name.as_str())).at("env")?;
        unique(self.mounts.iter().map(|mount| mount.target.as_str())).at("mounts")?;
        let port = |p: &Publish| format!("{}/{}", p.host_port, p.protocol.name());
        unique(self.publish.iter().map(port)).at("publish")?;
        unique(self.ports.iter().map(|named| named.name.as_str())).at("ports")?;
        if let HealthConfig::Checks(checks) = &self.health {
            Checks::clone(checks).bind_ports(&self.ports).at("checks").at("health")?;
        }
        if let HealthConfig::Preset(preset) = &self.health {
            preset.checks(self.image()).at("preset").at("health")?;
        }
        match &self.workload {
            Workload::Process { command } => {
                words(command).at("command")?;
                if command.first().is_none_or(String::is_empty) {
                    return Err(Invalid::new("names no program").at("command"));
                }
                self.process_rules()?;
            }
            Workload::Image { image: _, pull: _, command } => words(command).at("command")?,
        }
        if self.network != Network::Bridge && !self.publish.is_empty() {
            return Err(Invalid::new("needs the bridge network").at("publish"));
        }
        Ok(self)
    }

    /// The process driver gives its tasks the node's own files, limits and network, and reaps their
    /// orphans itself.
    fn process_rules(&self) -> Result<(), Invalid> {
        let refuse = |field, wanted| {
            if wanted { Err(Invalid::new("needs an image").at(field)) } else { Ok(()) }
        };
        refuse("hostname", self.hostname.is_some())?;
        refuse("mounts", !self.mounts.is_empty())?;
        refuse("cpu_millis", self.cpu_millis.is_some())?;
        refuse("memory_bytes", self.memory_bytes.is_some())?;
        refuse("publish", !self.publish.is_empty())?;
        refuse("init", self.init)?;
        refuse("network", self.network != Network::Host)
    }

    /// Whether two of its tasks would be in each other's way on one node: published ports are the
    /// node's own, and so are those of a container in the node's network. A process has an
    /// address of its own.
    pub fn binds_host_ports(&self) -> bool {
        let in_hosts_network = match self.workload {
            Workload::Image { .. } => self.network == Network::Host,
            Workload::Process { .. } => false,
        };
        in_hosts_network || !self.publish.is_empty()
    }

    /// What a task runs, once its image is known: `from_image` is the image's HEALTHCHECK, where
    /// it has one. Ports have their numbers. Shared with the template where it has the very same.
    pub fn checks(&self, from_image: Option<&Checks>) -> Arc<Checks> {
        let checks = self.health.resolve(self.image(), from_image, self.published_tcp_port());
        let mut bound = Checks::clone(&checks);
        // Cannot fail: a template whose checks call for other names is refused.
        drop(bound.bind_ports(&self.ports));
        if bound == *checks { checks } else { bound.into() }
    }

    pub const fn image(&self) -> Option<&ImageRef> {
        match &self.workload {
            Workload::Image { image, .. } => Some(image),
            Workload::Process { .. } => None,
        }
    }

    /// The first published TCP port, as the task sees it.
    pub fn published_tcp_port(&self) -> Option<Port> {
        let tcp = |publish: &&Publish| publish.protocol == Protocol::Tcp;
        self.publish.iter().find(tcp).map(|publish| publish.task_port)
    }
}

/// Of a command line, which the kernel takes as NUL-terminated strings.
fn words(words: &[String]) -> Result<(), Invalid> {
    match words.iter().position(|word| word.contains('\0')) {
        Some(index) => Err(Invalid::new("has a NUL byte").at_index(index)),
        None => Ok(()),
    }
}

fn unique<T: Ord + fmt::Display>(items: impl Iterator<Item = T>) -> Result<(), Invalid> {
    let mut seen = BTreeSet::new();
    for (index, item) in items.enumerate() {
        if seen.contains(&item) {
            return Err(Invalid::new(format!("{item} is there twice")).at_index(index));
        }
        seen.insert(item);
    }
    Ok(())
}
