//! What the user asks for.

mod image;
mod placement;
mod restart;
mod signal;
mod wire;

use std::{collections::BTreeSet, fmt, str::FromStr, sync::Arc};

use crate::{
    Invalid,
    bounds::{Port, StopGrace},
    check::{Checks, HealthConfig, NamedPort},
    invalid::At,
};

pub use self::{
    image::ImageRef,
    placement::{Comparison, Constraint, NodeAttribute, PlacementRules},
    restart::RestartPolicy,
    signal::StopSignal,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSpec {
    pub name: ServiceName,
    pub replicas: Replicas,
    pub template: Arc<TaskTemplate>,
    /// A change of it replaces nothing.
    pub restart: RestartPolicy,
    /// A change of it moves the tasks that are where they may not be.
    pub placement: PlacementRules,
}

/// 1-63 characters of a-z, 0-9 and '-', beginning with a letter and not ending with '-': what
/// DNS, hostnames and every peer's tools take.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName(Arc<str>);

impl ServiceName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ServiceName {
    type Err = Invalid;

    fn from_str(name: &str) -> Result<Self, Invalid> {
        if is_label(name) {
            Ok(Self(name.into()))
        } else {
            Err(Invalid::new(format!(
                "{name:?} is not a name: 1-63 characters of a-z, 0-9 and '-', beginning with a \
                 letter and not ending with '-'"
            )))
        }
    }
}

/// 1-63 characters of a-z, 0-9 and '-', beginning with a letter and not ending with '-'.
pub(crate) fn is_label(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// 0-10,000: ten times what one service has in the largest clusters that peers publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Replicas(u32);

impl Replicas {
    pub fn new(count: u32) -> Result<Self, Invalid> {
        match count {
            0..=10_000 => Ok(Self(count)),
            _ => Err(Invalid::new(format!("{count} is not in 0..=10000"))),
        }
    }

    pub const fn get(self) -> u32 {
        self.0
    }
}

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
}

impl TaskTemplate {
    pub const DEFAULT_STOP_GRACE: StopGrace = StopGrace::from_millis_const(10_000);

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

    /// The process driver gives its tasks the node's own files, limits and network.
    fn process_rules(&self) -> Result<(), Invalid> {
        let refuse = |field, wanted| {
            if wanted { Err(Invalid::new("needs an image").at(field)) } else { Ok(()) }
        };
        refuse("hostname", self.hostname.is_some())?;
        refuse("mounts", !self.mounts.is_empty())?;
        refuse("cpu_millis", self.cpu_millis.is_some())?;
        refuse("memory_bytes", self.memory_bytes.is_some())?;
        refuse("publish", !self.publish.is_empty())?;
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

/// What the driver is given to run. Decides which driver it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Workload {
    Image {
        image: ImageRef,
        pull: Pull,
        /// Replaces the image's ENTRYPOINT, unless empty.
        command: Vec<String>,
    },
    /// A program of the node itself, for the process driver. Never empty.
    Process { command: Vec<String> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pull {
    Missing,
    Always,
    Never,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvVar {
    name: String,
    value: String,
}

impl EnvVar {
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Result<Self, Invalid> {
        let (name, value) = (name.into(), value.into());
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(Invalid::new(format!("{name:?} is not a variable's name")).at("name"));
        }
        if value.contains('\0') {
            return Err(Invalid::new("has a NUL byte").at("value"));
        }
        Ok(Self { name, value })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn value(&self) -> &str {
        &self.value
    }
}

/// `user`, `user:group`, `uid` or `uid:gid`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct User(String);

impl User {
    pub fn new(user: impl Into<String>) -> Result<Self, Invalid> {
        let user = user.into();
        let is_name = |p: &str| {
            !p.is_empty()
                && !p.starts_with('-')
                && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        // The last number is the kernel's word for no id.
        let is_id = |p: &str| p.parse().is_ok_and(|id: u32| id != u32::MAX);
        let part = |p: &str| is_name(p) && (is_id(p) || !p.bytes().all(|b| b.is_ascii_digit()));
        let mut parts = user.split(':');
        let ok = parts.next().is_some_and(part)
            && parts.next().is_none_or(part)
            && parts.next().is_none();
        if ok {
            Ok(Self(user))
        } else {
            Err(Invalid::new(format!("{user:?} is not user, user:group, uid or uid:gid")))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Begins with `/` and has no `..` and no NUL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AbsolutePath(String);

impl AbsolutePath {
    pub fn new(path: impl Into<String>) -> Result<Self, Invalid> {
        let path = path.into();
        let ok = path.starts_with('/')
            && path.len() <= 4096
            && !path.contains('\0')
            && !path.split('/').any(|part| part == "..");
        if ok {
            Ok(Self(path))
        } else {
            Err(Invalid::new(format!("{path:?} is not an absolute path without '..'")))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// 1-63 letters, digits, `-` and `.`, with a letter or digit at both ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hostname(String);

impl Hostname {
    pub fn new(name: impl Into<String>) -> Result<Self, Invalid> {
        let name = name.into();
        let edge = |c: char| c.is_ascii_alphanumeric();
        let ok = (1..=63).contains(&name.len())
            && name.starts_with(edge)
            && name.ends_with(edge)
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
        if ok { Ok(Self(name)) } else { Err(Invalid::new(format!("{name:?} is not a hostname"))) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub target: AbsolutePath,
    pub read_only: bool,
    pub kind: MountKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    Bind { source: AbsolutePath },
    Tmpfs,
}

/// Thousandths of a CPU: 10-1,000,000. Less than a hundredth of a CPU cannot be scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CpuMillis(u32);

impl CpuMillis {
    pub fn new(millis: u32) -> Result<Self, Invalid> {
        match millis {
            10..=1_000_000 => Ok(Self(millis)),
            _ => Err(Invalid::new(format!("{millis} is not in 10..=1000000"))),
        }
    }

    pub const fn get(self) -> u32 {
        self.0
    }
}

/// 4 MiB (less starts no process) - 1 PiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemoryBytes(u64);

impl MemoryBytes {
    pub fn new(bytes: u64) -> Result<Self, Invalid> {
        if (4 << 20..=1 << 50).contains(&bytes) {
            Ok(Self(bytes))
        } else {
            Err(Invalid::new(format!("{bytes} bytes are not within 4 MiB - 1 PiB")))
        }
    }

    pub const fn get(self) -> u64 {
        self.0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Network {
    /// A namespace of its own, joined to the node's bridge.
    Bridge,
    /// The node's namespace.
    Host,
    /// A namespace of its own with nothing but loopback.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Publish {
    pub host_port: Port,
    pub task_port: Port,
    pub protocol: Protocol,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_names_are_dns_labels() {
        for name in ["web", "a", "web-1", &"a".repeat(63)] {
            assert!(name.parse::<ServiceName>().is_ok(), "{name:?}");
        }
        for name in ["", "1web", "Web", "web-", "-web", "we_b", "a.b", &"a".repeat(64)] {
            assert!(name.parse::<ServiceName>().is_err(), "{name:?}");
        }
    }
}
