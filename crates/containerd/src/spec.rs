//! The OCI runtime spec of a task, from its template and its image. containerd and runc take it
//! as JSON.

use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};
use serde_json::{Value, json};
use warren_core::spec::{AbsolutePath, Network, TaskTemplate, User};
use warren_runtime::Launch;

use crate::{manifest::RunConfig, mounts, user::Ids};

/// What docker gives to a container that asks for nothing.
const CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];
const MASKED_PATHS: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];
const READONLY_PATHS: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What docker's own unit has. Programs that close every possible descriptor suffer from more.
const OPEN_FILES_MAX: u64 = 1_048_576;
/// Processes and threads of one task. Half of what a small machine has in all, so that no task
/// can take the worker's ability to start one.
const PIDS_MAX: i64 = 16_384;
/// One scheduling period in microseconds: the kernel's default.
const CPU_PERIOD: u64 = 100_000;
/// The longest name that the kernel takes.
const HOSTNAME_MAX: usize = 64;
/// Where the cgroups of all tasks are.
pub const CGROUP_PARENT: &str = "/warren";

/// What the spec is made of, besides the node itself.
#[derive(Debug)]
pub struct Parts<'a> {
    pub launch: &'a Launch,
    pub image: &'a RunConfig,
    pub argv: Vec<String>,
    pub hostname: String,
    pub ids: &'a Ids,
    /// `None`: the node's own.
    pub netns: Option<PathBuf>,
    pub task_dir: &'a Path,
    /// The program on the node, should the template want one.
    pub init: &'a Path,
}

/// ENTRYPOINT, CMD, the template's command and arguments, put together as docker does. `None`:
/// there is nothing to run.
pub fn argv(image: &RunConfig, command: &[String], args: &[String]) -> Option<Vec<String>> {
    let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let mut words = if command.is_empty() { list(&image.entrypoint) } else { command.to_vec() };
    if !args.is_empty() {
        words.extend_from_slice(args);
    } else if command.is_empty() {
        words.extend(list(&image.cmd));
    }
    words.first().is_some_and(|program| !program.is_empty()).then_some(words)
}

pub fn hostname(launch: &Launch) -> String {
    if let Some(hostname) = &launch.template.hostname {
        return hostname.as_str().to_owned();
    }
    let name = launch.display_name();
    let surplus = name.len().saturating_sub(HOSTNAME_MAX);
    if surplus == 0 {
        return name;
    }
    // The slot is what tells the tasks apart.
    let service = launch.service_name.as_str();
    let service = service[..service.len() - surplus].trim_end_matches('-');
    format!("{service}-{}", launch.slot)
}

pub fn workdir(template: &TaskTemplate, image: &RunConfig) -> String {
    let own = template.workdir.as_ref().map(AbsolutePath::as_str);
    let image = image.working_dir.as_deref().filter(|workdir| workdir.starts_with('/'));
    own.or(image).unwrap_or("/").to_owned()
}

pub fn user<'a>(template: &'a TaskTemplate, image: &'a RunConfig) -> &'a str {
    let own = template.user.as_ref().map(User::as_str);
    own.or(image.user.as_deref()).unwrap_or_default()
}

pub fn spec(parts: &Parts<'_>) -> Value {
    let template = &parts.launch.template;
    json!({
        "ociVersion": "1.0.2",
        "process": process(parts),
        "root": { "path": "rootfs", "readonly": false },
        "hostname": parts.hostname,
        "mounts": mounts::mounts(template, parts.task_dir, parts.init),
        "linux": {
            "cgroupsPath": format!("{CGROUP_PARENT}/{}", parts.launch.task),
            "namespaces": namespaces(parts),
            "resources": resources(template),
            "maskedPaths": MASKED_PATHS,
            "readonlyPaths": READONLY_PATHS,
        },
    })
}

fn process(parts: &Parts<'_>) -> Value {
    let template = &parts.launch.template;
    // Root's capabilities are permitted to whoever it may become; other users begin without.
    let granted: &[&str] = if parts.ids.uid == 0 { &CAPABILITIES } else { &[] };
    let open_files = open_files();
    json!({
        "terminal": false,
        "user": parts.ids,
        "args": first_process(template, &parts.argv),
        "env": env(template, parts.image, &parts.hostname),
        "cwd": workdir(template, parts.image),
        "capabilities": {
            "bounding": CAPABILITIES,
            "permitted": granted,
            "effective": granted,
        },
        "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": open_files, "hard": open_files }],
        "noNewPrivileges": true,
        "oomScoreAdj": 0,
    })
}

/// The init runs what follows `--`, whatever its words begin with.
fn first_process<'a>(template: &TaskTemplate, argv: &'a [String]) -> Vec<&'a str> {
    let init: &[&str] = if template.init { &[mounts::INIT, "--"] } else { &[] };
    init.iter().copied().chain(argv.iter().map(String::as_str)).collect()
}

/// No more than the worker itself may have: where it cannot raise its limit, neither can runc.
fn open_files() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(OPEN_FILES_MAX, |(_, hard)| hard.min(OPEN_FILES_MAX))
}

/// Later ones win.
fn env(template: &TaskTemplate, image: &RunConfig, hostname: &str) -> Vec<String> {
    let image = image.env.iter().flatten().cloned();
    let own = template.env.iter().map(|var| format!("{}={}", var.name(), var.value()));
    let mut env: Vec<String> = Vec::new();
    let hostname = format!("HOSTNAME={hostname}");
    for variable in [DEFAULT_PATH.to_owned()].into_iter().chain(image).chain([hostname]).chain(own)
    {
        let name = |variable: &str| variable.split('=').next().map(str::to_owned);
        match env.iter_mut().find(|before| name(before) == name(&variable)) {
            Some(before) => *before = variable,
            None => env.push(variable),
        }
    }
    env
}

fn namespaces(parts: &Parts<'_>) -> Vec<Value> {
    let mut namespaces: Vec<Value> =
        ["pid", "ipc", "uts", "mount"].iter().map(|kind| json!({ "type": kind })).collect();
    // With the first version a namespace would hide the controllers' own mount points.
    if is_cgroup_v2() {
        namespaces.push(json!({ "type": "cgroup" }));
    }
    match parts.launch.template.network {
        Network::Host => {}
        Network::Bridge | Network::None => {
            namespaces.push(json!({ "type": "network", "path": parts.netns }));
        }
    }
    namespaces
}

fn resources(template: &TaskTemplate) -> Value {
    // runc adds the harmless devices itself.
    let mut resources = json!({
        "devices": [{ "allow": false, "access": "rwm" }],
        "pids": { "limit": PIDS_MAX },
    });
    if let Some(cpu) = template.cpu_millis {
        let quota = u64::from(cpu.get()) * CPU_PERIOD / 1000;
        resources["cpu"] = json!({ "quota": quota, "period": CPU_PERIOD });
    }
    if let Some(memory) = template.memory_bytes {
        resources["memory"] = json!({ "limit": memory.get() });
        if limits_swap() {
            // Of both together, so no swap: a task that swaps is slow long before it is dead.
            resources["memory"]["swap"] = json!(memory.get());
        }
    }
    resources
}

/// Where a process competes for the processor as a task does. All workers of a machine share it.
pub fn observer_cgroups() -> Vec<PathBuf> {
    let root = if is_cgroup_v2() { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/cpu" };
    vec![PathBuf::from(format!("{root}{CGROUP_PARENT}/observer"))]
}

pub fn is_cgroup_v2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// With cgroup v1 the kernel may be built or booted without.
fn limits_swap() -> bool {
    is_cgroup_v2() || Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn command_and_args_replace_what_docker_would_replace() {
        let image = RunConfig {
            entrypoint: Some(words("entry point")),
            cmd: Some(words("cmd")),
            ..RunConfig::default()
        };
        for (command, args, expected) in [
            ("", "", "entry point cmd"),
            ("", "args", "entry point args"),
            ("own", "", "own"),
            ("own", "args", "own args"),
        ] {
            assert_eq!(argv(&image, &words(command), &words(args)), Some(words(expected)));
        }
        assert_eq!(argv(&RunConfig::default(), &[], &[]), None);
        assert_eq!(argv(&RunConfig::default(), &[], &words("sh")), Some(words("sh")));
    }
}
