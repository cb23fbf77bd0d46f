//! Sends a task the signal that it is asked to stop with.

use std::{
    io,
    process::{Command, Stdio},
};

use rustix::process::Signal;
use warren_core::spec::StopSignal;

use super::proc::Identity;

/// To this one process.
pub fn send(process: Identity, signal: StopSignal) -> io::Result<()> {
    match Signal::from_named_raw(i32::from(signal.number())) {
        Some(signal) => process.signal(signal),
        None => send_unnamed(process, signal),
    }
}

/// Real-time signals, such as systemd's images have, can be sent by no safe call; by any shell.
fn send_unnamed(process: Identity, signal: StopSignal) -> io::Result<()> {
    if !process.is_alive() {
        return Ok(());
    }
    let kill = format!("kill -{} {}", signal.number(), process.pid);
    let sent = Command::new("/bin/sh")
        .args(["-c", &kill])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if sent.success() || !process.is_alive() {
        return Ok(());
    }
    Err(io::Error::other(format!("/bin/sh could not {kill}: {sent}")))
}
