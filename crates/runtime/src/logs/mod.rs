//! A task's log: files of lines that a small process writes and that anyone may read meanwhile.
//!
//! The lines are those of the kubelet's container logs, so that log shippers know them:
//! `2026-11-21T10:00:00.123456789Z stdout F text`, and P for F where more of the line follows.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::Arc,
};

use nix::sys::signal::{SigSet, Signal};
use warren_core::{id::TaskId, time::Timestamp};

mod cursor;
mod logger;
mod reader;
mod record;
mod writer;

pub use logger::logger_main;
pub use reader::{Lines, read};
pub use writer::Writer;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    Stdout,
    Stderr,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub at: Timestamp,
    pub stream: Stream,
    /// Without its newline.
    pub bytes: Vec<u8>,
}

/// How much is kept of a task's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    max_bytes: u64,
    files: u32,
}

impl Limits {
    /// Files beyond this are not looked for by readers, each of whom holds them open.
    pub const MAX_FILES: u32 = 10;
    /// Below this a file would hold less than a few of the longest records.
    pub const MIN_BYTES: u64 = 128 * 1024;

    /// Brought within what makes sense.
    pub fn new(max_bytes: u64, files: u32) -> Self {
        Self { max_bytes: max_bytes.max(Self::MIN_BYTES), files: files.clamp(1, Self::MAX_FILES) }
    }

    /// `WARREN_LOG_MAX_BYTES` and `WARREN_LOG_FILES`; the default for what is not there.
    pub fn from_env() -> Self {
        fn var<T: std::str::FromStr>(name: &str) -> Option<T> {
            std::env::var(name).ok()?.trim().parse().ok()
        }
        let default = Self::default();
        Self::new(
            var("WARREN_LOG_MAX_BYTES").unwrap_or(default.max_bytes),
            var("WARREN_LOG_FILES").unwrap_or(default.files),
        )
    }
}

impl Default for Limits {
    /// Three files of 10 MiB: what the kubelet keeps for a container is much the same, and a
    /// thousand tasks fill at most 30 GB of a disk.
    fn default() -> Self {
        Self { max_bytes: 10 * 1024 * 1024, files: 3 }
    }
}

/// Where the log of a task lies; older parts have `.1`, `.2` after it.
pub fn path(log_dir: &Path, task: TaskId) -> PathBuf {
    log_dir.join(format!("{task}.log"))
}

/// Whose log the file is part of, by its name. `None`: it is something else.
pub fn task_of(file_name: &str) -> Option<TaskId> {
    let (task, rest) = file_name.split_once(".log")?;
    let is_number = |n: &str| n.parse::<u32>().is_ok();
    let is_part = rest.is_empty() || rest.strip_prefix('.').is_some_and(is_number);
    task.parse().ok().filter(|_| is_part)
}

/// Removes the log of a task. One that is not there is removed already.
pub async fn remove(log_dir: &Path, task: TaskId) -> io::Result<()> {
    let path = path(log_dir, task);
    for index in 0..Limits::MAX_FILES {
        match tokio::fs::remove_file(numbered(&path, index)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// The file itself, and with `.1` the one that it followed.
fn numbered(path: &Path, index: u32) -> PathBuf {
    if index == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{index}"));
    name.into()
}

/// What ends a worker, a shim or a terminal. A process that writes a task's log is not meant: it
/// ends when the task does.
fn polite_signals() -> SigSet {
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT].into_iter().collect()
}

/// Handled as well as blocked: a handler is not inherited, while what a background job or nohup
/// ignores would be, and then a task could not be stopped by it.
pub(crate) fn outlive_signals() -> io::Result<()> {
    for signal in &polite_signals() {
        signal_hook::flag::register(signal as i32, Arc::default())?;
    }
    Ok(polite_signals().thread_block()?)
}

/// Starts a process that does end by those signals: what is blocked is inherited.
pub(crate) fn spawn_mortal(command: &mut Command) -> io::Result<Child> {
    polite_signals().thread_unblock()?;
    let spawned = command.spawn();
    polite_signals().thread_block()?;
    spawned
}
