//! A task before it starts: its root file system, network, files, and the record in containerd
//! that ties them together. Every step may find itself done by an attempt before.

use std::{collections::HashMap, fs, net::IpAddr, path::PathBuf, time::Duration};

use containerd_client::services::v1::{
    Container, CreateContainerRequest, GetContainerRequest, container::Runtime,
};
use prost_types::Any;
use warren_core::{
    id::TaskId,
    spec::{ImageRef, Network, Workload},
};
use warren_runtime::{Launch, RuntimeError};

use crate::{
    client::{Lease, fault, found, made, unavailable},
    files,
    image::Image,
    manifest::RunConfig,
    mounts, netns, rootfs,
    shared::Shared,
    spec::{self, Parts},
    user::Ids,
};

/// The shim that runs each task.
const RUNTIME: &str = "io.containerd.runc.v2";
const SPEC_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
/// From the first step of a creation to its last, unpacking a large image included.
const LEASE_LIFETIME: Duration = Duration::from_hours(24);

/// What is written on a task's container, so that the next worker knows it again.
pub mod label {
    pub const NODE: &str = "warren.io/node";
    pub const TASK: &str = "warren.io/task";
    pub const SERVICE: &str = "warren.io/service";
    pub const SERVICE_NAME: &str = "warren.io/service-name";
    pub const SLOT: &str = "warren.io/slot";
    pub const NETWORK: &str = "warren.io/network";
    pub const ADDRESS: &str = "warren.io/address";
    /// Milliseconds since the epoch.
    pub const STARTED_AT: &str = "warren.io/started-at";
}

impl Shared {
    pub async fn create(&self, launch: &Launch) -> Result<(), RuntimeError> {
        let template = &launch.template;
        let Workload::Image { image: name, command, .. } = &template.workload else {
            return Err(RuntimeError::Refused("containerd runs only images".to_owned()));
        };
        if self.container(launch.task).await?.is_some() {
            return self.client.end_lease(&lease_id(launch.task)).await;
        }
        if let Some(source) = mounts::missing_source(template) {
            return Err(RuntimeError::Refused(format!(
                "cannot mount {source}: there is no such file or directory on this node"
            )));
        }
        if let Some(why) = mounts::missing_init(template, &self.config.init) {
            return Err(RuntimeError::Refused(why));
        }
        let image = self.image(name).await?.ok_or_else(|| absent(name))?;
        let config = image.config.config.clone().unwrap_or_default();
        let argv = spec::argv(&config, command, &template.args).ok_or_else(|| {
            RuntimeError::Refused(format!("image {name} has no command to run: give one"))
        })?;
        let dir = self.task_dir(launch.task);
        fs::create_dir_all(dir.join("rootfs")).map_err(|error| self.disk_fault(&error))?;
        let lease = self.client.lease(lease_id(launch.task), LEASE_LIFETIME).await?;
        let ids = self.root_file_system(launch, &image, &config, &lease).await?;
        let (netns, address) = self.join_network(launch).await?;
        let hostname = spec::hostname(launch);
        files::write(&dir, &hostname, template.network, address)
            .map_err(|error| self.disk_fault(&error))?;
        let parts = Parts {
            launch,
            image: &config,
            argv,
            hostname,
            ids: &ids,
            netns,
            task_dir: &dir,
            init: &self.config.init,
        };
        let labels = self.labels(launch, address);
        self.put_container(launch.task, name, labels, &parts, &lease).await?;
        self.client.release(&lease).await
    }

    /// `None`: containerd does not have it, or it is not ours.
    pub async fn container(&self, task: TaskId) -> Result<Option<Container>, RuntimeError> {
        let request = self.client.request(GetContainerRequest { id: task.to_string() });
        let answer = found(self.client.containers().get(request).await)
            .map_err(fault(format!("cannot look up task {task}")))?;
        let ours = |container: &Container| {
            container.labels.get(label::NODE) == Some(&self.config.node.to_string())
        };
        Ok(answer.and_then(|answer| answer.container).filter(ours))
    }

    /// Where a task is reached, by what its container says.
    pub fn network(
        &self,
        task: TaskId,
        container: &Container,
    ) -> Result<(Option<PathBuf>, IpAddr), RuntimeError> {
        let of = |key: &str| container.labels.get(key).map_or("", String::as_str);
        let address = of(label::ADDRESS).parse().map_err(|_| {
            RuntimeError::Refused(format!("the container of task {task} has lost its address"))
        })?;
        let netns = (of(label::NETWORK) != network_name(Network::Host)).then(|| self.netns(task));
        Ok((netns, address))
    }

    async fn root_file_system(
        &self,
        launch: &Launch,
        image: &Image,
        config: &RunConfig,
        lease: &Lease,
    ) -> Result<Ids, RuntimeError> {
        self.unpack(image, lease).await?;
        let top = image.config.chain_ids().pop().unwrap_or_default();
        // What an attempt long ago left may be about to be collected: only a new one is sure.
        self.remove_snapshot(&self.snapshotter, &launch.task.to_string()).await?;
        let mounts = self.prepare_snapshot(&launch.task.to_string(), &top, lease).await?;
        let at = self.task_dir(launch.task).join("rootfs");
        let user = spec::user(&launch.template, config).to_owned();
        rootfs::prepare(mounts, at, user, spec::workdir(&launch.template, config)).await
    }

    async fn join_network(
        &self,
        launch: &Launch,
    ) -> Result<(Option<PathBuf>, IpAddr), RuntimeError> {
        let loopback = IpAddr::V4(netns::LOOPBACK);
        let path = self.netns(launch.task);
        let address = match launch.template.network {
            Network::Host => return Ok((None, loopback)),
            Network::None => {
                netns::make(path.clone()).await?;
                loopback
            }
            Network::Bridge => {
                let cni = self.cni.as_ref().ok_or_else(no_bridge)?;
                let fresh = netns::make(path.clone()).await?;
                let record = self.network_record(launch.task);
                let publish = &launch.template.publish;
                cni.attach(launch.task, &path, fresh, &record, publish).await?
            }
        };
        Ok((Some(path), address))
    }

    fn labels(&self, launch: &Launch, address: IpAddr) -> HashMap<String, String> {
        [
            (label::NODE, self.config.node.to_string()),
            (label::TASK, launch.task.to_string()),
            (label::SERVICE, launch.service.to_string()),
            (label::SERVICE_NAME, launch.service_name.to_string()),
            (label::SLOT, launch.slot.to_string()),
            (label::NETWORK, network_name(launch.template.network).to_owned()),
            (label::ADDRESS, address.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    async fn put_container(
        &self,
        task: TaskId,
        image: &ImageRef,
        labels: HashMap<String, String>,
        parts: &Parts<'_>,
        lease: &Lease,
    ) -> Result<(), RuntimeError> {
        let value = spec::spec(parts).to_string().into_bytes();
        let container = Container {
            id: task.to_string(),
            labels,
            image: image.to_string(),
            runtime: Some(Runtime { name: RUNTIME.to_owned(), options: None }),
            spec: Some(Any { type_url: SPEC_TYPE.to_owned(), value }),
            snapshotter: self.snapshotter.clone(),
            snapshot_key: task.to_string(),
            ..Container::default()
        };
        let create = CreateContainerRequest { container: Some(container) };
        let create = lease.over(self.client.request(create));
        made(self.client.containers().create(create).await)
            .map_err(fault(format!("cannot create the container of task {task}")))?;
        Ok(())
    }

    /// The disk is full or broken: another try may find it better.
    pub fn disk_fault(&self, error: &std::io::Error) -> RuntimeError {
        unavailable(format!("cannot write below {}: {error}", self.config.state_dir.display()))
    }
}

pub fn lease_id(task: TaskId) -> String {
    format!("warren-task-{task}")
}

pub fn absent(name: &ImageRef) -> RuntimeError {
    RuntimeError::Refused(format!(
        "image {name} is not on this node: import it with `warren image import FILE`, or let it \
         be pulled with --pull missing"
    ))
}

const fn network_name(network: Network) -> &'static str {
    match network {
        Network::Bridge => "bridge",
        Network::Host => "host",
        Network::None => "none",
    }
}

fn no_bridge() -> RuntimeError {
    RuntimeError::Refused(
        "this node has no bridge network: install the package containernetworking-plugins and \
         start the worker again, or use --network none or --network host"
            .to_owned(),
    )
}
