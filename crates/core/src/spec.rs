//! What the user asks for.

use std::{collections::BTreeSet, fmt, str::FromStr, sync::Arc};

use crate::{
    Invalid,
    bounds::{Port, StopGrace},
    check::HealthConfig,
    invalid::At,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSpec {
    pub name: ServiceName,
    pub replicas: Replicas,
    pub template: Arc<TaskTemplate>,
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
        let ok = (1..=63).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && !name.ends_with('-')
            && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if ok {
            Ok(Self(name.into()))
        } else {
            Err(Invalid::new(format!(
                "{name:?} is not a name: 1-63 characters of a-z, 0-9 and '-', beginning with a \
                 letter and not ending with '-'"
            )))
        }
    }
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
}

impl TaskTemplate {
    pub const DEFAULT_STOP_GRACE: StopGrace = StopGrace::from_millis_const(10_000);

    /// Holds the rules that concern several fields. Every template from outside goes through it.
    pub fn validated(self) -> Result<Self, Invalid> {
        unique(self.env.iter().map(|var| var.name.as_str())).at("env")?;
        unique(self.mounts.iter().map(|mount| mount.target.as_str())).at("mounts")?;
        unique(self.publish.iter().map(|p| (p.host_port, p.protocol))).at("publish")?;
        match &self.workload {
            Workload::Process { .. } => self.process_rules()?,
            Workload::Image { .. } => {}
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

    /// The first published TCP port, as the task sees it.
    pub fn published_tcp_port(&self) -> Option<Port> {
        let tcp = |publish: &&Publish| publish.protocol == Protocol::Tcp;
        self.publish.iter().find(tcp).map(|publish| publish.task_port)
    }
}

fn unique<T: Ord + fmt::Debug>(items: impl Iterator<Item = T>) -> Result<(), Invalid> {
    let mut seen = BTreeSet::new();
    for (index, item) in items.enumerate() {
        if seen.contains(&item) {
            return Err(Invalid::new(format!("{item:?} is there twice")).at_index(index));
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

/// An image's name in full: registry, repository, and a tag or digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageRef(Arc<str>);

impl ImageRef {
    /// Such as `docker.io/library/nginx:latest`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ImageRef {
    type Err = Invalid;

    /// Completes a short name as docker does: `nginx` is `docker.io/library/nginx:latest`.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let refuse = |fault: &str| Invalid::new(format!("{text:?} is not an image name: {fault}"));
        if text.len() > 512 || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(refuse("blanks, non-ASCII characters or more than 512 bytes"));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let hex = |d: &str| d.len() == 64 && d.bytes().all(|b| b.is_ascii_hexdigit());
        if digest.is_some_and(|d| !d.strip_prefix("sha256:").is_some_and(hex)) {
            return Err(refuse("a digest is sha256: and 64 hexadecimal digits"));
        }
        let (registry, rest) = match name.split_once('/') {
            Some((host, rest)) if host == "localhost" || host.contains(['.', ':']) => (host, rest),
            Some(_) | None => ("docker.io", name),
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        let component = |part: &str| {
            let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            part.starts_with(edge)
                && part.ends_with(edge)
                && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
        };
        if !path.split('/').all(component) {
            return Err(refuse("a repository is lower-case letters, digits, '.', '_', '-' and '/'"));
        }
        let tag_byte = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if tag.is_some_and(|t| !(1..=128).contains(&t.len()) || !t.bytes().all(tag_byte)) {
            return Err(refuse("a tag is letters, digits, '.', '_' and '-', at most 128"));
        }
        let library = if registry == "docker.io" && !path.contains('/') { "library/" } else { "" };
        let suffix = match (tag, digest) {
            (Some(tag), Some(digest)) => format!(":{tag}@{digest}"),
            (None, Some(digest)) => format!("@{digest}"),
            (tag, None) => format!(":{}", tag.unwrap_or("latest")),
        };
        Ok(Self(format!("{registry}/{library}{path}{suffix}").into()))
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
        let part = |p: &str| {
            !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
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

/// A Linux signal by its number, 1-64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StopSignal(u8);

/// The signals by name that a program may be asked to stop with, x86-64 and arm64 numbering.
const SIGNALS: [(&str, u8); 14] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ABRT", 6),
    ("KILL", 9),
    ("USR1", 10),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("CONT", 18),
    ("STOP", 19),
    ("WINCH", 28),
    ("PWR", 30),
];

impl StopSignal {
    pub const TERM: Self = Self(15);
    pub const KILL: Self = Self(9);

    pub const fn number(self) -> u8 {
        self.0
    }
}

impl FromStr for StopSignal {
    type Err = Invalid;

    /// `SIGTERM`, `TERM`, `15`, or `SIGRTMIN+3` as systemd's images have it.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let known = SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
        let number = || name.parse().ok().filter(|n| (1..=64).contains(n));
        // glibc's SIGRTMIN; the two below it are its own.
        let realtime = || {
            let above = name.strip_prefix("RTMIN+")?.parse::<u8>().ok()?;
            (above <= 30).then_some(34 + above)
        };
        known
            .or_else(number)
            .or_else(realtime)
            .map(Self)
            .ok_or_else(|| Invalid::new(format!("{text:?} is not a signal such as SIGTERM or 15")))
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SIGNALS.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => write!(f, "SIG{name}"),
            None => write!(f, "{}", self.0),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_image_names_mean_what_docker_makes_of_them() {
        for (short, full) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("bitnami/redis", "docker.io/bitnami/redis:latest"),
            ("127.0.0.1:5000/app:x", "127.0.0.1:5000/app:x"),
            ("localhost/app", "localhost/app:latest"),
            ("ghcr.io/a/b/c:1", "ghcr.io/a/b/c:1"),
        ] {
            assert_eq!(short.parse::<ImageRef>().map(|i| i.to_string()), Ok(full.to_owned()));
        }
        let digest = format!("nginx@sha256:{}", "a".repeat(64));
        assert_eq!(
            digest.parse::<ImageRef>().map(|i| i.to_string()),
            Ok(format!("docker.io/library/{digest}"))
        );
    }

    #[test]
    fn full_image_names_stay_as_they_are() {
        let full = "docker.io/library/nginx:latest".parse::<ImageRef>().unwrap();
        assert_eq!(full.as_str().parse(), Ok(full.clone()));
    }

    #[test]
    fn what_is_not_an_image_name_is_refused() {
        for text in ["", "Nginx", "a b", "nginx:", "nginx@sha256:1", "/x", "x//y", "-x", "x:a/b"] {
            assert!(text.parse::<ImageRef>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn signals_go_by_name_and_by_number() {
        for text in ["SIGTERM", "TERM", "term", "15"] {
            assert_eq!(text.parse(), Ok(StopSignal::TERM));
        }
        assert_eq!("SIGRTMIN+3".parse::<StopSignal>().map(StopSignal::number), Ok(37));
        for text in ["", "0", "65", "SIGNOPE", "RTMIN+99"] {
            assert!(text.parse::<StopSignal>().is_err(), "{text:?}");
        }
    }

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
