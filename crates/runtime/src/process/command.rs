//! From what a task asks for to a command of the node.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::{
    libc,
    unistd::{Group, User, getegid, geteuid},
};
use warren_core::spec::User as UserName;

use super::files::{LaunchFile, UserIds};

/// A command that shall run as the task does, in a process group of its own. An error says why it
/// cannot, for a person.
pub fn command(launch: &LaunchFile, argv: &[String]) -> Result<Command, String> {
    let Some((name, words)) = argv.split_first() else { return Err("no command".to_owned()) };
    // Found here: with a search of its own in another PATH, `std` would fork the whole worker.
    let program = find(launch, name).map_err(|why| format!("cannot run {name:?}: {why}"))?;
    let mut command = Command::new(program);
    command
        .arg0(name)
        .args(words)
        .env_clear()
        .envs(launch.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&launch.cwd)
        .stdin(Stdio::null())
        .process_group(0);
    if let Some(UserIds { uid, gid }) = launch.user {
        command.uid(uid).gid(gid);
    }
    Ok(command)
}

/// Why the command was not started, when it is the command's own fault; the error otherwise.
pub fn not_run(argv: &[String], error: io::Error) -> Result<String, io::Error> {
    let name = argv.first().map_or("", String::as_str);
    let why = match error.raw_os_error() {
        // The program itself was found.
        Some(libc::ENOENT) => "its interpreter or its working directory is not found",
        Some(libc::EACCES | libc::EPERM) => "not permitted",
        Some(libc::E2BIG) => "its arguments are too long",
        Some(libc::ENOEXEC) => "not a program for this machine, nor a script that begins with #!",
        Some(_) | None => return Err(error),
    };
    Ok(format!("cannot run {name:?}: {why}"))
}

fn find(launch: &LaunchFile, name: &str) -> Result<PathBuf, String> {
    if name.contains('/') {
        let path = launch.cwd.join(name);
        return executable(&path).map(|()| path);
    }
    let search = launch.var("PATH").unwrap_or_default();
    let mut why = None;
    for dir in search.split(':').filter(|dir| !dir.is_empty()) {
        let path = launch.cwd.join(dir).join(name);
        match executable(&path) {
            Ok(()) => return Ok(path),
            Err(_) if !path.exists() => {}
            Err(reason) => why = Some(reason),
        }
    }
    Err(why.unwrap_or_else(|| format!("not found in PATH ({search})")))
}

fn executable(path: &Path) -> Result<(), String> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_file() && meta.permissions().mode() & 0o111 != 0 => Ok(()),
        Ok(meta) if meta.is_file() => Err(format!("{} is not executable", path.display())),
        Ok(_) => Err(format!("{} is not a file", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(format!("{} is not found", path.display()))
        }
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// The numbers of a user, and the user's home. An error is for a person.
pub fn user(name: &UserName) -> Result<(UserIds, Option<PathBuf>), String> {
    let (user, group) = match name.as_str().split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (name.as_str(), None),
    };
    let look_up = |error| format!("cannot look up user {user:?}: {error}");
    let number = user.parse::<u32>().ok();
    let entry = match number {
        Some(uid) => User::from_uid(uid.into()).map_err(look_up)?,
        None => User::from_name(user).map_err(look_up)?,
    };
    let Some(uid) = number.or(entry.as_ref().map(|entry| entry.uid.as_raw())) else {
        return Err(format!("the node has no user {user:?}"));
    };
    let gid = match (group, &entry) {
        (Some(group), _) => group_id(group)?,
        (None, Some(entry)) => entry.gid.as_raw(),
        (None, None) => return Err(format!("user {uid} has no group here: say {uid}:GROUP")),
    };
    let own = uid == geteuid().as_raw() && gid == getegid().as_raw();
    if !own && !geteuid().is_root() {
        return Err(format!("to run as user {user:?}, the worker must run as root"));
    }
    Ok((UserIds { uid, gid }, entry.map(|entry| entry.dir)))
}

fn group_id(group: &str) -> Result<u32, String> {
    if let Ok(gid) = group.parse() {
        return Ok(gid);
    }
    match Group::from_name(group) {
        Ok(Some(entry)) => Ok(entry.gid.as_raw()),
        Ok(None) => Err(format!("the node has no group {group:?}")),
        Err(error) => Err(format!("cannot look up group {group:?}: {error}")),
    }
}
