//! What is mounted into a task's root file system: the system's own, files of ours, and what the
//! template asks for.

use std::{os::unix::fs::MetadataExt, path::Path};

use serde_json::{Value, json};
use warren_core::spec::{Mount, MountKind, TaskTemplate};

use crate::files;

/// Where a task finds its init. Every container has a /dev of its own in memory, so that nothing is
/// made among the image's files, and nothing of them is in the way.
pub const INIT: &str = "/dev/warren-init";

/// Parents come before what lies below them, and what the user asks for replaces ours.
pub fn mounts(template: &TaskTemplate, task_dir: &Path, init: &Path) -> Vec<Value> {
    let mut mounts = system();
    if template.init {
        let options = ["bind", "rprivate", "ro", "nosuid", "nodev"];
        mounts.push(json!({
            "destination": INIT, "type": "bind", "source": init, "options": options
        }));
    }
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

/// Why the template's init cannot be had, where it wants one.
pub fn missing_init(template: &TaskTemplate, init: &Path) -> Option<String> {
    let is_program = |file: std::fs::Metadata| file.is_file() && file.mode() & 0o111 != 0;
    let is_there = std::fs::metadata(init).is_ok_and(is_program);
    (template.init && !is_there).then(|| {
        format!(
            "init: {} on this node is no program: install it (Debian's package is tini), or name \
             another one with the worker's --init-path",
            init.display()
        )
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
