//! The parent of a task's processes: a small program that outlives the worker, writes the task's
//! log and takes note of how it ended. It shall do little and wait for nobody.

use std::{
    io::{self, PipeReader, Write},
    os::fd::AsFd,
    path::Path,
    process::Stdio,
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::{Duration, Instant},
};

use nix::{errno::Errno, sys::prctl, unistd};
use rustix::process::{WaitOptions, WaitStatus, wait};

use crate::{
    logs::{Limits, Writer, outlive_signals, spawn_mortal},
    process::{
        command::{command, not_run},
        files::{Answer, ExitFile, LaunchFile, RunningFile, TaskDir, boot_id, now},
        proc::{Identity, all, kill_all, with_descendants},
    },
};

/// Killed processes end at once, unless the kernel holds them. Then they are left to the driver.
const KILL_WITHIN: Duration = Duration::from_secs(5);
/// With all writers dead, what is in the pipes is written in milliseconds. A disk that hangs must
/// not hide the exit.
const DRAIN_WITHIN: Duration = Duration::from_secs(1);
/// The log's thread keeps its buffers on the heap.
const LOG_STACK: usize = 128 * 1024;

/// Runs the task that `dir` describes, until it and all that it started have ended.
pub fn supervisor_main(dir: &Path) -> io::Result<()> {
    outlive_signals()?;
    // Away from the worker's terminal and group; already so when it leads a session.
    match unistd::setsid() {
        Ok(_) | Err(Errno::EPERM) => {}
        Err(error) => return Err(error.into()),
    }
    let dir = TaskDir::new(std::path::absolute(dir)?);
    std::env::set_current_dir("/")?;
    let Some(_alive) = dir.hold_alive()? else {
        return Err(io::Error::other("the task has a supervisor already"));
    };
    let Some(launch) = dir.launch()? else {
        return Err(io::Error::other("there is nothing to launch"));
    };
    dir.reserve_exit()?;
    prctl::set_child_subreaper(true)?;
    match start(&launch)? {
        Started::Running(process, drained) => supervise(&dir, process, &drained),
        Started::Refused(reason) => answer(&Answer::Refused(reason)),
    }
}

enum Started {
    /// The receiver ends with the log.
    Running(Identity, Receiver<()>),
    Refused(String),
}

fn start(launch: &LaunchFile) -> io::Result<Started> {
    let mut command = match command(launch, &launch.argv) {
        Ok(command) => command,
        Err(reason) => return Ok(Started::Refused(reason)),
    };
    let (stdout, stdout_writer) = io::pipe()?;
    let (stderr, stderr_writer) = io::pipe()?;
    let drained = write_log(&launch.log, stdout, stderr)?;
    command.stdout(Stdio::from(stdout_writer)).stderr(Stdio::from(stderr_writer));
    match spawn_mortal(&mut command) {
        // Nobody has waited for it, so it is there even if it has ended.
        Ok(child) => match Identity::of(child.id()) {
            Some(process) => Ok(Started::Running(process, drained)),
            None => Err(io::Error::other("/proc does not show the task's process")),
        },
        Err(error) => not_run(&launch.argv, error).map(Started::Refused),
    }
}

/// In a thread of its own, for the main one waits for the processes.
fn write_log(log: &Path, stdout: PipeReader, stderr: PipeReader) -> io::Result<Receiver<()>> {
    let writer = Writer::new(log, Limits::from_env());
    let (done, drained) = sync_channel(1);
    thread::Builder::new().name("log".to_owned()).stack_size(LOG_STACK).spawn(move || {
        let pumped = writer.pump(stdout, stderr);
        // The other end waits only once the task has ended.
        drop((pumped, done));
    })?;
    Ok(drained)
}

fn supervise(dir: &TaskDir, process: Identity, drained: &Receiver<()>) -> io::Result<()> {
    let noted = note_running(dir, process);
    if noted.is_err() {
        // Nobody would ever find the task.
        end_the_rest()?;
        return noted;
    }
    let code = wait_for(process.pid)?;
    let at_ms = now().as_millis();
    let ended = end_the_rest();
    // Nothing is sent: it is over when the sender is gone, or when it took too long.
    let _ = drained.recv_timeout(DRAIN_WITHIN);
    dir.put_exit(ExitFile { code, at_ms })?;
    ended
}

fn note_running(dir: &TaskDir, process: Identity) -> io::Result<()> {
    let started_at_ms = now().as_millis();
    let supervisor = Identity::of(std::process::id())
        .ok_or_else(|| io::Error::other("/proc does not show this process"))?;
    dir.put_running(&RunningFile { supervisor, process, started_at_ms, boot: boot_id()? })?;
    // A worker that is gone meanwhile finds the record.
    let _ = answer(&Answer::Running);
    let null = std::fs::File::options().write(true).open("/dev/null")?;
    Ok(unistd::dup2_stdout(null.as_fd())?)
}

fn answer(answer: &Answer) -> io::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(&serde_json::to_vec(answer)?)?;
    stdout.flush()
}

/// Takes note of every process that ends, until the first one has.
fn wait_for(pid: u32) -> io::Result<Option<i32>> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if ended.as_raw_pid().unsigned_abs() == pid => {
                return Ok(code(status));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn code(status: WaitStatus) -> Option<i32> {
    status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal))
}

/// A container ends with its first process, and so does a task here. All of them are descendants,
/// whatever session they moved to: this process inherits orphans.
fn end_the_rest() -> io::Result<()> {
    let own = std::process::id();
    let deadline = Instant::now() + KILL_WITHIN;
    loop {
        match wait(WaitOptions::NOHANG) {
            Err(rustix::io::Errno::CHILD) => return Ok(()),
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => continue,
            Ok(None) => {}
            Err(error) => return Err(error.into()),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        kill_all(left, || {
            let mut family = with_descendants(&all(), |process| process.identity.pid == own);
            family.retain(|process| process.pid != own);
            family
        })?;
    }
}
