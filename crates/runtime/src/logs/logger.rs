//! The program that a containerd shim starts for each task to take its output.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::{fcntl::OFlag, unistd};

use super::{Limits, Writer, outlive_signals};

/// Where containerd's `binary://` protocol puts the task's two streams, and the pipe that the
/// logger closes when it is ready.
const STDOUT: i32 = 3;
const STDERR: i32 = 4;
const READY: i32 = 5;

/// Writes what comes on descriptors 3 and 4 to `log`, until both have ended. What goes wrong with
/// the log never ends it, for that would break the task's pipes.
pub fn logger_main(log: &Path) -> io::Result<()> {
    outlive_signals()?;
    let (stdout, stderr) = (inherited(STDOUT)?, inherited(STDERR)?);
    let writer = Writer::new(log, Limits::from_env());
    unistd::close(READY)?;
    writer.pump(stdout, stderr)
}

/// Opens the pipe behind an inherited descriptor anew, which takes no `unsafe`. Without blocking:
/// whoever wrote to a named pipe may have gone already.
fn inherited(descriptor: i32) -> io::Result<File> {
    let pipe = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(format!("/proc/self/fd/{descriptor}"))?;
    unistd::close(descriptor)?;
    Ok(pipe)
}
