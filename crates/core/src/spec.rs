//! What the user asks for.

mod image;
mod placement;
mod restart;
mod signal;
mod template;
mod wire;

use std::{fmt, str::FromStr, sync::Arc};

use crate::{Invalid, bounds::Port};

pub use self::{
    image::ImageRef,
    placement::{Comparison, Constraint, NodeAttribute, PlacementRules},
    restart::RestartPolicy,
    signal::StopSignal,
    template::TaskTemplate,
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

impl Workload {
    /// Where nobody names one.
    pub const fn default_network(&self) -> Network {
        match self {
            Self::Image { .. } => Network::Bridge,
            Self::Process { .. } => Network::Host,
        }
    }
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
