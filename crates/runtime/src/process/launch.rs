//! From a task's template to what its supervisor shall run.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use warren_core::{
    id::TaskId,
    spec::{TaskTemplate, Workload},
};

use super::{ProcessConfig, command, files::LaunchFile, state::TASK_ENV};
use crate::{logs, port::Launch, port::RuntimeError};

/// What a program of the node expects to find, and what the worker's own environment has for it.
const KEPT: [&str; 3] = ["PATH", "HOME", "LANG"];
/// Where the worker has none: what Debian's shells begin with.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Tasks are told apart by their last two bytes. Away from 127.0.0.0/16, where everybody listens.
const PREFIX: [u8; 2] = [127, 77];

/// An address on loopback that no other task has. The search begins at one that follows from the
/// id, so that two workers on one machine, who do not know of each other, seldom meet.
pub fn address(
    task: TaskId,
    taken: &mut BTreeMap<TaskId, Ipv4Addr>,
) -> Result<Ipv4Addr, RuntimeError> {
    if let Some(address) = taken.get(&task) {
        return Ok(*address);
    }
    let begin = task
        .as_u64()
        .to_be_bytes()
        .chunks(2)
        .fold([0, 0], |sum: [u8; 2], part| [sum[0] ^ part[0], sum[1] ^ part[1]]);
    let begin = u16::from_be_bytes(begin);
    let free = (0..=u16::MAX)
        .map(|step| begin.wrapping_add(step).to_be_bytes())
        // The first and the last of a network are no hosts to some programs.
        .filter(|[_, last]| !matches!(last, 0 | 255))
        .map(|[third, last]| Ipv4Addr::new(PREFIX[0], PREFIX[1], third, last))
        .find(|address| taken.values().all(|other| other != address));
    let Some(address) = free else {
        return Err(RuntimeError::Refused("every address in 127.77.0.0/16 is taken".to_owned()));
    };
    taken.insert(task, address);
    Ok(address)
}

/// An error is for the user: what cannot work however often it is tried.
pub fn file(
    config: &ProcessConfig,
    launch: &Launch,
    address: Ipv4Addr,
) -> Result<LaunchFile, RuntimeError> {
    let template = &launch.template;
    let argv = match &template.workload {
        Workload::Process { command } => [command.as_slice(), &template.args].concat(),
        Workload::Image { .. } => {
            let why = "the process driver runs commands of the node, not images";
            return Err(RuntimeError::Refused(why.to_owned()));
        }
    };
    let user = template.user.as_ref().map(command::user).transpose();
    let user = user.map_err(RuntimeError::Refused)?;
    let home = user.as_ref().and_then(|(_, home)| home.as_deref());
    Ok(LaunchFile {
        node: config.node.to_string(),
        task: launch.task.to_string(),
        argv,
        env: env(launch, home, address),
        cwd: workdir(template)?,
        user: user.as_ref().map(|(ids, _)| *ids),
        address,
        log: logs::path(&config.log_dir, launch.task),
    })
}

fn workdir(template: &TaskTemplate) -> Result<PathBuf, RuntimeError> {
    let dir = template.workdir.as_ref().map_or("/", |dir| dir.as_str());
    if Path::new(dir).is_dir() {
        Ok(dir.into())
    } else {
        Err(RuntimeError::Refused(format!("the node has no directory {dir:?} to work in")))
    }
}

/// The later ones replace the earlier ones; those by which a task is known come last.
fn env(launch: &Launch, home: Option<&Path>, address: Ipv4Addr) -> Vec<(String, String)> {
    let mut env = BTreeMap::from([("PATH".to_owned(), DEFAULT_PATH.to_owned())]);
    for name in KEPT {
        if let Ok(value) = std::env::var(name) {
            env.insert(name.to_owned(), value);
        }
    }
    if let Some(home) = home.and_then(Path::to_str) {
        env.insert("HOME".to_owned(), home.to_owned());
    }
    for var in &launch.template.env {
        env.insert(var.name().to_owned(), var.value().to_owned());
    }
    env.extend([
        (TASK_ENV.to_owned(), launch.task.to_string()),
        ("WARREN_TASK_IP".to_owned(), address.to_string()),
        ("WARREN_SERVICE".to_owned(), launch.service_name.to_string()),
        ("WARREN_SLOT".to_owned(), launch.slot.to_string()),
    ]);
    env.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_follow_from_the_id_and_are_never_given_twice() {
        let mut taken = BTreeMap::new();
        let first = address(TaskId::from_u64(0x0102), &mut taken).unwrap();
        assert_eq!(first, Ipv4Addr::new(127, 77, 1, 2));
        // The same two bytes at the end, by way of others.
        let second = address(TaskId::from_u64(0x0102_0000), &mut taken).unwrap();
        assert_eq!(second, Ipv4Addr::new(127, 77, 1, 3));
        assert_eq!(address(TaskId::from_u64(0x0102), &mut taken).unwrap(), first);
    }

    #[test]
    fn ends_of_a_network_are_not_given() {
        let mut taken = BTreeMap::new();
        let address = address(TaskId::from_u64(0x01ff), &mut taken).unwrap();
        assert_eq!(address, Ipv4Addr::new(127, 77, 2, 1));
    }
}
