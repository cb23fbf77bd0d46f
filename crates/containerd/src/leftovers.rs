//! What a creation that was cut short may leave where containerd does not look for it: a shim that
//! it has forgotten, and the container that runc made for that.

use std::{fs, path::Path, process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{process::Command, time::timeout};
use warren_core::id::TaskId;

use crate::cni::path_with_sbin;

/// Where the shim keeps runc's state, by containerd's namespace.
pub const RUNC_ROOT: &str = "/run/containerd/runc";
/// It kills the container's processes and removes its cgroups.
const RUNC_MAX: Duration = Duration::from_secs(20);

/// Removes what is left of a task that containerd has no process of. As far as it can be done:
/// what is in the way after it is told by whatever it is in the way of.
pub async fn sweep(namespace: &str, task: TaskId) {
    let name = task.to_string();
    for pid in shims(namespace, &name) {
        tracing::info!(task.id = %task, pid = pid.as_raw(), "ending a shim that was left");
        if let Err(error) = kill(pid, Signal::SIGKILL) {
            tracing::debug!(task.id = %task, %error, "the shim is gone already");
        }
    }
    let root = Path::new(RUNC_ROOT).join(namespace);
    if !root.join(&name).exists() {
        return;
    }
    tracing::info!(task.id = %task, "removing a container that was left in runc");
    let mut runc = Command::new("runc");
    runc.arg("--root").arg(root).args(["delete", "--force", &name]).env("PATH", path_with_sbin());
    runc.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    match timeout(RUNC_MAX, runc.status()).await {
        Ok(Ok(status)) if status.success() => {}
        Ok(Ok(status)) => tracing::warn!(task.id = %task, %status, "runc did not remove it"),
        Ok(Err(error)) => tracing::warn!(task.id = %task, %error, "runc cannot be run"),
        Err(_) => tracing::warn!(task.id = %task, "runc does not end"),
    }
}

/// Those that serve the task. One that was only called to start or to delete does its work.
fn shims(namespace: &str, task: &str) -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        serves(&String::from_utf8_lossy(&command), namespace, task)
    })
    .map(Pid::from_raw)
    .collect()
}

fn serves(command: &str, namespace: &str, task: &str) -> bool {
    let arguments: Vec<&str> = command.trim_end_matches('\0').split('\0').collect();
    let has = |flag: &str, value: &str| arguments.windows(2).any(|pair| pair == [flag, value]);
    arguments[0].contains("containerd-shim")
        && has("-namespace", namespace)
        && has("-id", task)
        && !matches!(arguments.last(), Some(&("start" | "delete")))
}

#[cfg(test)]
mod tests {
    use super::serves;

    #[test]
    fn only_the_shim_of_the_very_task_is_found() {
        let command = |program: &str, id: &str, end: &str| {
            format!("{program}\0-namespace\0warren\0-id\0{id}\0-address\0/run/c.sock\0{end}")
        };
        let shim = "/usr/bin/containerd-shim-runc-v2";
        assert!(serves(&command(shim, "00aa", ""), "warren", "00aa"));
        assert!(!serves(&command(shim, "00aa", ""), "other", "00aa"));
        assert!(!serves(&command(shim, "00ab", ""), "warren", "00aa"));
        assert!(!serves(&command(shim, "00aa", "delete\0"), "warren", "00aa"));
        assert!(!serves(&command("/usr/bin/grep", "00aa", ""), "warren", "00aa"));
        assert!(!serves("", "warren", "00aa"));
    }
}
