//! The bridge network, by the CNI reference plugins: one process per step, JSON on its stdin.
//!
//! What was asked of the plugins is written down before they are asked, so that it can be undone
//! after a crash, and with the settings that it was done with.

use std::{
    ffi::OsString,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, process::Command, sync::Mutex, time::sleep};
use warren_core::{id::TaskId, spec::Publish};
use warren_runtime::RuntimeError;

use crate::{client::unavailable, netns};

/// For one plugin. They take some ten milliseconds; more only when they wait for each other.
const PLUGIN_TIMEOUT: Duration = Duration::from_secs(30);
/// Of joining the network, within one creation: a plugin that was busy is not for long.
const ADD_ATTEMPTS: u32 = 3;
const ADD_PAUSE: Duration = Duration::from_millis(200);
/// The interface in the task's namespace.
const INTERFACE: &str = "eth0";

/// The node's bridge network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CniConfig {
    /// Where the plugins are, such as `/usr/lib/cni`.
    pub plugin_dir: PathBuf,
    /// The bridge's interface name, at most 15 characters; made when it is missing.
    pub bridge: String,
    /// The addresses to give out, such as `10.88.0.0/16`.
    pub subnet: String,
    /// Keeps which address is whose. Must outlive the worker.
    pub cache_dir: PathBuf,
}

#[derive(Debug)]
pub struct Cni {
    config: CniConfig,
    /// The plugins change the node's bridge, addresses and packet filter, and not all of them
    /// expect company.
    turn: Mutex<()>,
}

/// What a task has of the network, as it is kept in its directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Attachment {
    /// The plugins' configurations, in the order in which they were asked.
    plugins: Vec<Value>,
    /// What the first of them answered; the others are told, and so are all of them at the end.
    result: Option<Value>,
    /// `None`: was not completed.
    address: Option<IpAddr>,
}

impl Cni {
    pub fn new(config: CniConfig) -> Self {
        Self { config, turn: Mutex::new(()) }
    }

    /// Joins the namespace to the bridge, and publishes the task's ports. Gives its address.
    /// `fresh`: the namespace was made just now, whatever the record says.
    pub async fn attach(
        &self,
        task: TaskId,
        netns: &Path,
        fresh: bool,
        record: &Path,
        publish: &[Publish],
    ) -> Result<IpAddr, RuntimeError> {
        let plugins = self.plugins(publish)?;
        let _turn = self.turn.lock().await;
        if let Some(kept) = read(record)? {
            if let Some(address) = kept.address.filter(|_| !fresh) {
                return Ok(address);
            }
            self.undo(task, netns, &kept).await?;
        }
        refuse_taken_ports(record, publish)?;
        let mut attempt = 1;
        loop {
            match self.add(task, netns, record, plugins.clone()).await {
                Err(RuntimeError::Refused(reason)) if attempt < ADD_ATTEMPTS => {
                    tracing::warn!(task.id = %task, reason, "a network failed: trying it again");
                }
                done => return done,
            }
            if let Some(kept) = read(record)? {
                self.undo(task, netns, &kept).await?;
            }
            sleep(ADD_PAUSE).await;
            attempt += 1;
        }
    }

    async fn add(
        &self,
        task: TaskId,
        netns: &Path,
        record: &Path,
        plugins: Vec<Value>,
    ) -> Result<IpAddr, RuntimeError> {
        let mut attachment = Attachment { plugins, result: None, address: None };
        write(record, &attachment)?;
        let mut address = None;
        for plugin in attachment.plugins.clone() {
            let told = with_result(&plugin, attachment.result.as_ref());
            let result = self.call("ADD", task, netns, &told).await?;
            if attachment.result.is_none() {
                address = first_address(&result);
                attachment.result = Some(result);
                write(record, &attachment)?;
            }
        }
        attachment.address = address;
        write(record, &attachment)?;
        address.ok_or_else(|| {
            RuntimeError::Refused("CNI plugin bridge gave the task no address".to_owned())
        })
    }

    /// Undoes [`Cni::attach`], or what was done of it.
    pub async fn detach(
        &self,
        task: TaskId,
        netns: &Path,
        record: &Path,
    ) -> Result<(), RuntimeError> {
        let Some(attachment) = read(record)? else { return Ok(()) };
        let _turn = self.turn.lock().await;
        self.undo(task, netns, &attachment).await?;
        fs::remove_file(record).map_err(|error| file_fault(record, &error))
    }

    async fn undo(
        &self,
        task: TaskId,
        netns: &Path,
        attachment: &Attachment,
    ) -> Result<(), RuntimeError> {
        // After a reboot the namespace is gone; what the node keeps is still to be undone.
        let netns = if netns::exists(netns) { netns } else { Path::new("") };
        for plugin in attachment.plugins.iter().rev() {
            let told = with_result(plugin, attachment.result.as_ref());
            self.call("DEL", task, netns, &told).await?;
        }
        Ok(())
    }

    /// In the order in which they are asked.
    fn plugins(&self, publish: &[Publish]) -> Result<Vec<Value>, RuntimeError> {
        self.check_plugins(publish)?;
        let mut plugins = vec![self.bridge()];
        // Where docker is installed, the node forwards only what a rule lets through.
        if self.has_plugin("firewall") {
            plugins.push(self.plugin("firewall"));
        }
        if !publish.is_empty() {
            plugins.push(self.portmap(publish));
        }
        Ok(plugins)
    }

    fn plugin(&self, name: &str) -> Value {
        json!({ "cniVersion": "1.0.0", "name": self.config.bridge, "type": name })
    }

    fn bridge(&self) -> Value {
        let mut bridge = self.plugin("bridge");
        bridge["bridge"] = json!(self.config.bridge);
        for wanted in ["isGateway", "ipMasq", "hairpinMode"] {
            bridge[wanted] = json!(true);
        }
        bridge["ipam"] = json!({
            "type": "host-local",
            "ranges": [[{ "subnet": self.config.subnet }]],
            "routes": [{ "dst": "0.0.0.0/0" }],
            "dataDir": self.config.cache_dir,
        });
        bridge
    }

    fn portmap(&self, publish: &[Publish]) -> Value {
        let mapping = |port: &Publish| {
            json!({
                "hostPort": port.host_port.get(),
                "containerPort": port.task_port.get(),
                "protocol": port.protocol.name(),
            })
        };
        let mappings: Vec<Value> = publish.iter().map(mapping).collect();
        let mut portmap = self.plugin("portmap");
        portmap["capabilities"] = json!({ "portMappings": true });
        portmap["runtimeConfig"] = json!({ "portMappings": mappings });
        portmap
    }

    fn has_plugin(&self, name: &str) -> bool {
        self.config.plugin_dir.join(name).is_file()
    }

    fn check_plugins(&self, publish: &[Publish]) -> Result<(), RuntimeError> {
        let portmap = if publish.is_empty() { None } else { Some("portmap") };
        for plugin in ["bridge", "host-local"].into_iter().chain(portmap) {
            if !self.has_plugin(plugin) {
                return Err(RuntimeError::Refused(format!(
                    "CNI plugin {plugin} is not in {}: install the package \
                     containernetworking-plugins, or use --network none or --network host",
                    self.config.plugin_dir.display()
                )));
            }
        }
        Ok(())
    }

    /// Runs one plugin. Gives what it answers, which is nothing for DEL.
    async fn call(
        &self,
        command: &str,
        task: TaskId,
        netns: &Path,
        config: &Value,
    ) -> Result<Value, RuntimeError> {
        let plugin = config["type"].as_str().unwrap_or_default();
        let text = |reason: &str| format!("CNI plugin {plugin} failed to {command}: {reason}");
        // What did not run says nothing of the task and is worth another try.
        let undone = |reason: String| unavailable(text(&reason));
        let mut process = Command::new(self.config.plugin_dir.join(plugin))
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", task.to_string())
            .env("CNI_NETNS", netns)
            .env("CNI_IFNAME", INTERFACE)
            .env("CNI_PATH", &self.config.plugin_dir)
            .env("PATH", path_with_sbin())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| undone(error.to_string()))?;
        let exchange = async {
            if let Some(mut stdin) = process.stdin.take() {
                stdin.write_all(config.to_string().as_bytes()).await?;
            }
            process.wait_with_output().await
        };
        let output = tokio::time::timeout(PLUGIN_TIMEOUT, exchange)
            .await
            .map_err(|_| undone(format!("it did not end within {PLUGIN_TIMEOUT:?}")))?
            .map_err(|error| undone(error.to_string()))?;
        let answer = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        if output.status.success() {
            return Ok(answer);
        }
        let said = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let reason = format!("{} {} {}", said("msg"), said("details"), stderr).trim().to_owned();
        // What is not undone would keep the task's ports and address for ever.
        Err(if command == "DEL" { undone(reason) } else { RuntimeError::Refused(text(&reason)) })
    }
}

/// portmap gives a host port to the first who asked, and tells the others nothing.
fn refuse_taken_ports(record: &Path, publish: &[Publish]) -> Result<(), RuntimeError> {
    let (Some(own), false) = (record.parent(), publish.is_empty()) else { return Ok(()) };
    let (Some(tasks), Some(name)) = (own.parent(), record.file_name()) else { return Ok(()) };
    let entries = fs::read_dir(tasks).map_err(|error| file_fault(tasks, &error))?;
    for task in entries.flatten().map(|entry| entry.path()).filter(|path| path != own) {
        let Some(other) = read(&task.join(name))? else { continue };
        let mappings = |plugin| Value::pointer(plugin, "/runtimeConfig/portMappings")?.as_array();
        for taken in other.plugins.iter().filter_map(mappings).flatten() {
            let same = |port: &&Publish| {
                taken["hostPort"] == port.host_port.get()
                    && taken["protocol"] == port.protocol.name()
            };
            if let Some(port) = publish.iter().find(same) {
                return Err(RuntimeError::Refused(format!(
                    "port {} of this node is published by task {} already",
                    port.host_port,
                    task.file_name().unwrap_or_default().display()
                )));
            }
        }
    }
    Ok(())
}

fn with_result(plugin: &Value, result: Option<&Value>) -> Value {
    let mut told = plugin.clone();
    if let Some(result) = result {
        told["prevResult"] = result.clone();
    }
    told
}

/// Such as `10.88.0.2/16`.
fn first_address(result: &Value) -> Option<IpAddr> {
    result["ips"][0]["address"].as_str()?.split('/').next()?.parse().ok()
}

/// The plugins look for iptables, which services often start without.
pub fn path_with_sbin() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/usr/bin:/sbin:/bin");
    path
}

/// What a crash cut short is as good as absent: the plugins are asked after it is complete.
fn read(record: &Path) -> Result<Option<Attachment>, RuntimeError> {
    match fs::read(record) {
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file_fault(record, &error)),
    }
}

fn write(record: &Path, attachment: &Attachment) -> Result<(), RuntimeError> {
    let text = serde_json::to_vec(attachment)
        .map_err(|error| RuntimeError::Refused(format!("cannot write JSON: {error}")))?;
    let new = record.with_extension("new");
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, record))
        .map_err(|error| file_fault(record, &error))
}

fn file_fault(path: &Path, error: &std::io::Error) -> RuntimeError {
    RuntimeError::Refused(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A network whose bridge plugin notes what it is asked, and fails its first ADDs.
    fn network(dir: &Path, failures: u32) -> Cni {
        let bridge = format!(
            "#!/bin/sh\n\
             cat > /dev/null\n\
             echo $CNI_COMMAND >> {calls}\n\
             [ $CNI_COMMAND = ADD ] || exit 0\n\
             if [ $(grep -c ADD {calls}) -le {failures} ]; then\n\
             echo '{{\"msg\": \"it is busy\"}}'; exit 1\n\
             fi\n\
             echo '{{\"ips\": [{{\"address\": \"10.1.2.3/16\"}}]}}'\n",
            calls = dir.join("calls").display(),
        );
        for (name, text) in [("bridge", bridge.as_str()), ("host-local", "")] {
            fs::write(dir.join(name), text).unwrap();
            fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        Cni::new(CniConfig {
            plugin_dir: dir.to_owned(),
            bridge: "test".to_owned(),
            subnet: "10.1.0.0/16".to_owned(),
            cache_dir: dir.join("cache"),
        })
    }

    async fn attach(failures: u32) -> (Result<IpAddr, RuntimeError>, String) {
        let dir = tempfile::tempdir().unwrap();
        let cni = network(dir.path(), failures);
        let task = TaskId::from_u64(0xaa);
        let record = dir.path().join("network.json");
        let attached = cni.attach(task, &dir.path().join("netns"), true, &record, &[]).await;
        (attached, fs::read_to_string(dir.path().join("calls")).unwrap().replace('\n', " "))
    }

    #[tokio::test]
    async fn a_plugin_that_was_busy_is_asked_again_once_its_failure_is_undone() {
        let (attached, calls) = attach(1).await;
        assert_eq!(attached.unwrap(), IpAddr::from([10, 1, 2, 3]));
        assert_eq!(calls, "ADD DEL ADD ");
    }

    #[tokio::test]
    async fn a_plugin_that_keeps_failing_is_believed() {
        let (attached, calls) = attach(9).await;
        let RuntimeError::Refused(reason) = attached.unwrap_err() else { panic!() };
        assert_eq!(reason, "CNI plugin bridge failed to ADD: it is busy");
        assert_eq!(calls, "ADD DEL ADD DEL ADD ");
    }
}
