//! The files that a task finds in its /etc and that are not of its image: names and addresses.

use std::{
    fs, io,
    net::IpAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use warren_core::spec::Network;

/// systemd-resolved's list of the real servers; /etc/resolv.conf names only its own listener on
/// loopback, which a task in another network namespace does not reach.
const UPSTREAM_RESOLV_CONF: &str = "/run/systemd/resolve/resolv.conf";

/// Each file's name in the task's directory, and where the task finds it.
pub const FILES: [(&str, &str); 3] =
    [("hosts", "/etc/hosts"), ("hostname", "/etc/hostname"), ("resolv.conf", "/etc/resolv.conf")];

/// Writes them, or writes them again.
pub fn write(dir: &Path, hostname: &str, network: Network, address: IpAddr) -> io::Result<()> {
    let resolv_conf = read("/etc/resolv.conf")?;
    let (hosts, resolv_conf) = match network {
        Network::Host => (read("/etc/hosts")?, resolv_conf),
        Network::None => (hosts(hostname, address), resolv_conf),
        Network::Bridge => {
            let upstream = || read(UPSTREAM_RESOLV_CONF);
            let reachable = match without_loopback(&resolv_conf) {
                Some(reachable) => reachable,
                None => without_loopback(&upstream()?).unwrap_or_default(),
            };
            (hosts(hostname, address), reachable)
        }
    };
    for ((name, _), text) in FILES.iter().zip([hosts, format!("{hostname}\n"), resolv_conf]) {
        let path = dir.join(name);
        fs::write(&path, text)?;
        // Whatever the worker's umask: the task may run as anyone.
        fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
    }
    Ok(())
}

/// Where the task's directory has them.
pub fn sources(dir: &Path) -> impl Iterator<Item = (PathBuf, &'static str)> {
    FILES.iter().map(move |(name, target)| (dir.join(name), *target))
}

fn read(path: &str) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other,
    }
}

fn hosts(hostname: &str, address: IpAddr) -> String {
    format!(
        "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         {address}\t{hostname}\n"
    )
}

/// The configuration without servers on the node's loopback. `None`: it has no other ones.
fn without_loopback(resolv_conf: &str) -> Option<String> {
    let server = |line: &str| -> Option<Option<IpAddr>> {
        let rest = line.trim_start().strip_prefix("nameserver")?;
        Some(rest.trim().split(['%', ' ']).next().and_then(|address| address.parse().ok()))
    };
    let unreachable = |line: &str| server(line).is_some_and(|a| a.is_none_or(|a| a.is_loopback()));
    let kept: Vec<&str> = resolv_conf.lines().filter(|line| !unreachable(line)).collect();
    let any = kept.iter().any(|line| server(line).is_some());
    any.then(|| kept.iter().flat_map(|line| [*line, "\n"]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_on_loopback_are_left_out() {
        let mixed = "search a.b\nnameserver 127.0.0.53\nnameserver 10.0.0.1\noptions edns0\n";
        let kept = "search a.b\nnameserver 10.0.0.1\noptions edns0\n";
        assert_eq!(without_loopback(mixed).as_deref(), Some(kept));
        assert_eq!(without_loopback("nameserver ::1\nsearch x\n"), None);
        assert_eq!(without_loopback(""), None);
    }
}
