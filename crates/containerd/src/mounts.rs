//! What is mounted into a task's root file system: the system's own, files of ours, and what the
//! template asks for.

use std::path::Path;

use serde_json::{Value, json};
use warren_core::spec::{Mount, MountKind, TaskTemplate};

use crate::files;

/// Parents come before what lies below them, and what the user asks for replaces ours.
pub fn mounts(template: &TaskTemplate, task_dir: &Path) -> Vec<Value> {
    let mut mounts = system();
    mounts.extend(files::sources(task_dir).map(|(source, target)| {
        let options = ["rbind", "rprivate", "rw"];
        json!({ "destination": target, "type": "bind", "source": source, "options": options })
    }));
    mounts.retain(|ours| {
        let target = |mount: &Mount| ours["destination"] == mount.target.as_str();
        !template.mounts.iter().any(target)
    });
    mounts.extend(template.mounts.iter().map(own));
    // Stable: the system's own keep their order.
    mounts.sort_by_key(|mount| depth(mount["destination"].as_str().unwrap_or_default()));
    mounts
}

/// The first bind source that is not there.
pub fn missing_source(template: &TaskTemplate) -> Option<&str> {
    template.mounts.iter().find_map(|mount| match &mount.kind {
        MountKind::Bind { source } => {
            (!Path::new(source.as_str()).exists()).then_some(source.as_str())
        }
        MountKind::Tmpfs => None,
    })
}

fn depth(path: &str) -> usize {
    path.split('/').filter(|part| !part.is_empty()).count()
}

fn own(mount: &Mount) -> Value {
    let access = if mount.read_only { "ro" } else { "rw" };
    let target = mount.target.as_str();
    match &mount.kind {
        MountKind::Bind { source } => {
            let options = ["rbind", "rprivate", access];
            let source = source.as_str();
            json!({ "destination": target, "type": "bind", "source": source, "options": options })
        }
        MountKind::Tmpfs => {
            let options = ["nosuid", "nodev", "noexec", "mode=1777", access];
            json!({
                "destination": target, "type": "tmpfs", "source": "tmpfs", "options": options
            })
        }
    }
}

/// As docker has them.
fn system() -> Vec<Value> {
    let mount = |target: &str, kind: &str, options: &[&str]| -> Value {
        json!({ "destination": target, "type": kind, "source": kind, "options": options })
    };
    let plain = ["nosuid", "noexec", "nodev"];
    let read_only = ["nosuid", "noexec", "nodev", "ro"];
    let pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    let shm = ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"];
    vec![
        mount("/proc", "proc", &plain),
        mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", &pts),
        mount("/dev/shm", "tmpfs", &shm),
        mount("/dev/mqueue", "mqueue", &plain),
        mount("/sys", "sysfs", &read_only),
        mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ]
}
