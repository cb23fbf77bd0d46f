//! What the user said about a process, checked.

use std::{
    fs::DirBuilder,
    io::IsTerminal,
    net::Ipv4Addr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};
use warren_core::{
    Invalid,
    id::ClusterId,
    node::{LabelKey, Labels},
};

use crate::{
    cli::process::{CommonArgs, LogFormat, NodeArgs},
    failure::Failure,
    paths,
};

/// Linux' limit for the name of an interface.
const INTERFACE_MAX: usize = 15;
/// containerd's limit for an identifier.
const NAMESPACE_MAX: usize = 76;
const DEFAULT_SOCKET: &str = "/run/containerd/containerd.sock";
/// Debian puts the plugins into the second one, everybody else into the first.
const CNI_DIRS: [&str; 2] = ["/opt/cni/bin", "/usr/lib/cni"];

/// The log goes where it was said to go for as long as this lives.
#[derive(Default)]
pub struct Logging {
    #[cfg(feature = "otlp")]
    _export: Option<super::otlp::Export>,
}

/// Writes the log to stderr from now on, and to a collector.
pub fn log(args: &CommonArgs) -> Result<Logging, Failure> {
    let filter = EnvFilter::try_new(&args.log).map_err(|why| Failure::flag("--log", why))?;
    let text = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let written = match args.log_format {
        LogFormat::Text => text.boxed(),
        LogFormat::Json => text.json().flatten_event(true).boxed(),
    };
    let log = tracing_subscriber::registry().with(filter).with(written);
    let failed = |error| Failure::Fault(anyhow::anyhow!("cannot log: {error}"));
    #[cfg(feature = "otlp")]
    if let Some(endpoint) = &args.otlp_endpoint {
        let export = super::otlp::Export::to(endpoint)
            .map_err(|why| Failure::flag("--otlp-endpoint", format!("{why:#}")))?;
        log.with(export.layer()).try_init().map_err(failed)?;
        return Ok(Logging { _export: Some(export) });
    }
    log.try_init().map_err(failed)?;
    Ok(Logging::default())
}

/// The data directory and what lies in it.
#[derive(Debug)]
pub struct Home(PathBuf);

impl Home {
    /// Makes it, for this user alone, when it is not there. One that is there is taken as it is.
    pub fn open(dir: Option<&Path>) -> Result<Self> {
        let dir = match dir {
            Some(dir) => dir.to_owned(),
            None => paths::default_data_dir()?,
        };
        let advice = || {
            let dir = dir.display();
            format!(
                "cannot use the data directory {dir}: make it writable, or choose another one \
                     with --data-dir"
            )
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).with_context(advice)?;
        Ok(Self(dir.canonicalize().with_context(advice)?))
    }

    pub fn data_dir(&self) -> &Path {
        &self.0
    }

    pub fn socket(&self) -> PathBuf {
        paths::socket(&self.0)
    }

    pub fn worker_dir(&self) -> PathBuf {
        self.0.join("worker")
    }

    pub fn log_dir(&self) -> PathBuf {
        self.0.join("logs")
    }

    pub fn process_dir(&self) -> PathBuf {
        self.0.join("process")
    }

    pub fn containerd_dir(&self) -> PathBuf {
        self.0.join("containerd")
    }

    pub fn cni_dir(&self) -> PathBuf {
        self.0.join("cni")
    }
}

/// What a worker is told about its machine.
#[derive(Debug)]
pub struct Node {
    name: Option<String>,
    pub labels: Labels,
    pub containerd: ContainerdChoice,
    pub namespace: String,
    pub cni_plugin_dir: Option<PathBuf>,
    pub init_path: PathBuf,
    pub bridge: String,
    pub subnet: String,
    pub process_driver: bool,
    /// The cluster that it is given to, whichever it belonged to.
    pub join_cluster: Option<ClusterId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerdChoice {
    /// The user wants this one.
    At(PathBuf),
    /// Where it usually is, when it is there.
    Found(PathBuf),
    None,
}

impl Node {
    pub fn checked(args: &NodeArgs) -> Result<Self, Failure> {
        let containerd = match &args.containerd_socket {
            Some(socket) => ContainerdChoice::At(socket.clone()),
            None if args.no_containerd || !Path::new(DEFAULT_SOCKET).exists() => {
                ContainerdChoice::None
            }
            None => ContainerdChoice::Found(PathBuf::from(DEFAULT_SOCKET)),
        };
        if let Some(name) = &args.node_name {
            node_name(name).map_err(|why| Failure::flag("--node-name", why))?;
        }
        let identifier = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let named = |name: &str, max| {
            let ends = name.starts_with(|c: char| c.is_ascii_alphanumeric());
            ends && name.len() <= max && name.bytes().all(identifier)
        };
        if !named(&args.containerd_namespace, NAMESPACE_MAX) {
            let why = format!("{:?} is not an identifier", args.containerd_namespace);
            return Err(Failure::flag("--containerd-namespace", why));
        }
        if !named(&args.bridge, INTERFACE_MAX) {
            let why = format!("{:?} is not an interface name of 1-15 characters", args.bridge);
            return Err(Failure::flag("--bridge", why));
        }
        if !is_subnet(&args.subnet) {
            let why = format!("{:?} is not an IPv4 subnet such as 10.77.0.0/16", args.subnet);
            return Err(Failure::flag("--subnet", why));
        }
        let join_cluster = args.join_cluster.as_deref().map(str::parse::<ClusterId>).transpose();
        Ok(Self {
            join_cluster: join_cluster.map_err(|why| Failure::flag("--join-cluster", why))?,
            name: args.node_name.clone(),
            labels: labels(&args.labels).map_err(|why| Failure::flag("--label", why))?,
            containerd,
            namespace: args.containerd_namespace.clone(),
            cni_plugin_dir: cni_plugin_dir(args.cni_plugin_dir.as_deref())?,
            init_path: init_path(&args.init_path)?,
            bridge: args.bridge.clone(),
            subnet: args.subnet.clone(),
            process_driver: !args.no_process_driver,
        })
    }

    /// As told, else the host's.
    pub fn name(&self) -> Result<String> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let advice = "cannot tell the host's name: name the node with --node-name";
        let name = nix::unistd::gethostname().context(advice)?;
        let name = name.to_string_lossy().into_owned();
        node_name(&name).map_err(anyhow::Error::msg).context(advice)?;
        Ok(name)
    }
}

/// `KEY=VALUE`, or `KEY` for an empty value.
fn labels(texts: &[String]) -> Result<Labels, Invalid> {
    if texts.len() > LabelKey::COUNT_MAX {
        return Err(Invalid::new(format!("comes more than {} times", LabelKey::COUNT_MAX)));
    }
    let mut labels = Labels::new();
    for text in texts {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        let value = LabelKey::checked_value(value.to_owned())?;
        if labels.insert(key.parse()?, value).is_some() {
            return Err(Invalid::new(format!("{key} is there twice")));
        }
    }
    Ok(labels)
}

/// What core takes for a node's name.
fn node_name(name: &str) -> Result<(), String> {
    warren_core::node::Node::checked_name(name.to_owned()).map(drop).map_err(|why| why.to_string())
}

/// Whether it is there is asked when a task wants it: it may be installed later.
fn init_path(told: &Path) -> Result<PathBuf, Failure> {
    if told.is_absolute() {
        Ok(told.to_owned())
    } else {
        let why = format!("{} is not an absolute path", told.display());
        Err(Failure::flag("--init-path", why))
    }
}

fn cni_plugin_dir(told: Option<&Path>) -> Result<Option<PathBuf>, Failure> {
    let has_bridge = |dir: &&Path| dir.join("bridge").is_file();
    match told {
        Some(dir) if has_bridge(&dir) => Ok(Some(dir.to_owned())),
        Some(dir) => {
            let why = format!("{} has no bridge plugin", dir.display());
            Err(Failure::flag("--cni-plugin-dir", why))
        }
        None => Ok(CNI_DIRS.iter().map(Path::new).find(has_bridge).map(Path::to_owned)),
    }
}

/// The address of a network, with room for a gateway and two tasks at the least.
fn is_subnet(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let (Ok(address), Ok(length @ 8..=29)) = (address.parse::<Ipv4Addr>(), length.parse::<u32>())
    else {
        return false;
    };
    address.to_bits() << length == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_init_is_named_by_an_absolute_path() {
        assert_eq!(init_path(Path::new("/opt/init")).unwrap(), Path::new("/opt/init"));
        let refused = init_path(Path::new("tini")).unwrap_err();
        assert_eq!(refused.chain(), "--init-path: tini is not an absolute path");
    }

    #[test]
    fn a_subnet_is_the_address_of_an_ipv4_network() {
        for text in ["10.77.0.0/16", "192.168.5.0/24", "10.0.0.8/29", "10.0.0.0/8"] {
            assert!(is_subnet(text), "{text}");
        }
        for text in ["", "10.77.0.0", "10.77.0.1/16", "10.77.0.0/30", "10.0.0.0/7", "fd00::/64"] {
            assert!(!is_subnet(text), "{text}");
        }
    }

    #[test]
    fn labels_are_keys_and_values_each_once() {
        let texts = |texts: &[&str]| texts.iter().copied().map(String::from).collect::<Vec<_>>();
        let found = labels(&texts(&["zone=a", "disk/ssd", "expr=x=y"])).unwrap();
        let shown: Vec<String> =
            found.iter().map(|(key, value)| format!("{key}:{value}")).collect();
        assert_eq!(shown, ["disk/ssd:", "expr:x=y", "zone:a"]);
        for wrong in [&["=a"][..], &["a b=c"], &["zone=a", "zone=b"], &["a=\u{7}"]] {
            assert!(labels(&texts(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_data_directory_is_made_for_its_user_alone() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(Some(&dir.path().join("a/b"))).unwrap();
        let mode = home.data_dir().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let refused = format!("{:#}", Home::open(Some(&file)).unwrap_err());
        assert!(refused.contains("choose another one with --data-dir"), "{refused}");
    }
}
