//! What the machine shows of tasks, beside what the driver says.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use nix::unistd::Pid;
use warren_core::id::TaskId;

/// Everything below a directory.
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut all = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            all.extend(files_below(&path));
        }
        all.push(path);
    }
    all
}

/// A port that nobody has at the moment.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// The cgroups of a task, one for each controller with the first version.
pub fn cgroups(task: TaskId) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let controllers = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let own = |path: PathBuf| path.join("warren").join(task.to_string());
    controllers.chain([root.to_owned()]).map(own).filter(|path| path.is_dir()).collect()
}

/// Shims of this containerd and all that they started.
pub fn leftover_processes(socket: &Path) -> Vec<Pid> {
    let mut parents = Vec::new();
    let mut ours = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).into_owned();
        if command.contains("containerd-shim") && command.contains(&*socket.to_string_lossy()) {
            ours.push(pid);
        }
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let after = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        if let Some(Ok(parent)) = after.split(' ').nth(1).map(str::parse::<i32>) {
            parents.push((pid, parent));
        }
    }
    let mut next = 0;
    while let Some(parent) = ours.get(next).copied() {
        ours.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    ours.into_iter().map(Pid::from_raw).collect()
}
