//! A task's cgroup, which none of its processes leaves.

use std::{
    fs,
    path::{Path, PathBuf},
};

use warren_core::id::TaskId;
use warren_runtime::exec;

use crate::spec::{CGROUP_PARENT, is_cgroup_v2};

/// All processes of the task and of the commands beside it. Blocking.
pub fn pids(task: TaskId) -> Vec<u32> {
    let root = if is_cgroup_v2() { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/pids" };
    let dir = PathBuf::from(format!("{root}{CGROUP_PARENT}/{task}"));
    let mut pids = Vec::new();
    if dir.is_dir() {
        add_below(&dir, &mut pids);
    } else {
        // Whoever is in a cgroup namespace of its own sees the groups of others only by name.
        pids = exec::pids();
        pids.retain(|pid| is_in(*pid, task));
    }
    pids
}

/// A container may have groups of its own within.
fn add_below(dir: &Path, pids: &mut Vec<u32>) {
    let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    pids.extend(procs.lines().filter_map(|line| line.parse::<u32>().ok()));
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    dirs.for_each(|entry| add_below(&entry.path(), pids));
}

fn is_in(pid: u32, task: TaskId) -> bool {
    names(&fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default(), task)
}

fn names(groups: &str, task: TaskId) -> bool {
    let task = task.to_string();
    groups.lines().any(|line| line.split('/').any(|part| part == task))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_of_a_process_name_its_task() {
        let (task, other) = (TaskId::from_u64(1), TaskId::from_u64(2));
        for groups in [
            format!("12:pids:/warren/{task}\n1:name=systemd:/warren/{task}\n0::/\n"),
            format!("0::/warren/{task}\n"),
            format!("0::/../../warren/{task}/within\n"),
        ] {
            assert!(names(&groups, task) && !names(&groups, other), "{groups}");
        }
        assert!(!is_in(std::process::id(), task));
    }
}
