//! The drivers that this machine has.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::time::timeout;
use warren_containerd::{CniConfig, Config, Containerd};
use warren_core::id::NodeId;
use warren_runtime::{
    Runtime,
    process::{ProcessConfig, ProcessDriver, check_supported},
};
use warren_worker::{Drivers, Echo};

use super::settings::{ContainerdChoice, Home, Node};

/// A containerd that starts up answers within seconds; one that hangs never does.
const ANSWERS_WITHIN: Duration = Duration::from_secs(15);

pub struct Found {
    pub drivers: Drivers,
    /// To be settled at the end, as the next one.
    pub containerd: Option<Containerd>,
    pub process: Option<Arc<ProcessDriver>>,
}

pub async fn find(home: &Home, node: &Node, id: NodeId) -> Result<Found> {
    let program = own_program()?;
    let mut runtimes: Vec<Arc<dyn Runtime>> = Vec::new();
    let containerd = match socket(&node.containerd) {
        Some(socket) => Some(containerd(home, node, id, socket, &program).await?),
        None => None,
    };
    if let Some(containerd) = &containerd {
        runtimes.push(Arc::new(containerd.clone()));
    }
    let mut process = None;
    if node.process_driver {
        let version = check_supported()?;
        let config = ProcessConfig {
            dir: home.process_dir(),
            log_dir: home.log_dir(),
            supervisor: vec![program.into_os_string(), "task-supervisor".into()],
            node: id,
        };
        let driver = Arc::new(ProcessDriver::new(config)?);
        runtimes.push(Arc::clone(&driver) as Arc<dyn Runtime>);
        process = Some(driver);
        tracing::info!(driver = "process", version, "driver found");
    }
    if runtimes.is_empty() {
        bail!(
            "there is nothing to run tasks with: start containerd and name its socket with \
             --containerd-socket, or leave out --no-process-driver"
        );
    }
    Ok(Found { drivers: Drivers::new(runtimes), containerd, process })
}

/// Among the containers where there are some, else among the programs, which are the worker's
/// children like itself.
pub fn echo(found: &Found, node_name: &str) -> Result<Echo> {
    let cgroups = match &found.containerd {
        Some(_) => warren_containerd::observer_cgroups(),
        None => Vec::new(),
    };
    Ok(Echo { program: own_program()?, args: vec![super::ECHO.into(), node_name.into()], cgroups })
}

fn own_program() -> Result<PathBuf> {
    std::env::current_exe().context("cannot tell this program's own path")
}

/// Only root can give tasks their files and networks. Others who did not ask for containerd go on
/// without it.
fn socket(choice: &ContainerdChoice) -> Option<&Path> {
    match choice {
        ContainerdChoice::At(socket) => Some(socket),
        ContainerdChoice::Found(socket) if nix::unistd::geteuid().is_root() => Some(socket),
        ContainerdChoice::Found(socket) => {
            tracing::warn!(path = %socket.display(), "containerd is left alone: it takes root");
            None
        }
        ContainerdChoice::None => None,
    }
}

async fn containerd(
    home: &Home,
    node: &Node,
    id: NodeId,
    socket: &Path,
    program: &Path,
) -> Result<Containerd> {
    let cni = node.cni_plugin_dir.clone().map(|plugin_dir| CniConfig {
        plugin_dir,
        bridge: node.bridge.clone(),
        subnet: node.subnet.clone(),
        cache_dir: home.cni_dir(),
    });
    if cni.is_none() {
        tracing::warn!(
            "no CNI plugins were found: tasks on the bridge network cannot run here; install \
             containernetworking-plugins, or name their directory with --cni-plugin-dir"
        );
    }
    let config = Config {
        socket: socket.to_owned(),
        namespace: node.namespace.clone(),
        node: id,
        state_dir: home.containerd_dir(),
        log_dir: home.log_dir(),
        logger: program.to_owned(),
        cni,
        snapshotter: None,
        init: node.init_path.clone(),
    };
    let advice = || {
        format!(
            "cannot use containerd at {}: start it, name another socket with \
             --containerd-socket, or go on without it with --no-containerd",
            socket.display()
        )
    };
    let connected = async {
        let containerd = Containerd::connect(config).await?;
        let version = containerd.ping().await?;
        anyhow::Ok((containerd, version))
    };
    let (containerd, version) = timeout(ANSWERS_WITHIN, connected)
        .await
        .context("it does not answer")
        .flatten()
        .with_context(advice)?;
    tracing::info!(driver = "containerd", version, path = %socket.display(), "driver found");
    Ok(containerd)
}
