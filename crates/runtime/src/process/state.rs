//! What has become of a task, from its directory and the machine's processes alone.

use std::{io, time::Duration};

use warren_core::{id::TaskId, time::Timestamp};

use super::{
    files::{ExitFile, LaunchFile, RunningFile, TaskDir, boot_id, now},
    proc::{Identity, Process, all, has_env, kill_all, with_descendants},
};
use crate::port::{Exit, Reach, Running};

/// In the environment of every process of a task, by which it is found again.
pub const TASK_ENV: &str = "WARREN_TASK_ID";
/// The same for the task's supervisor.
pub const SUPERVISOR_ENV: &str = "WARREN_SUPERVISOR_OF";

/// Killed processes end at once, unless the kernel holds them.
const KILL_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Created,
    Running(RunningFile),
    Exited { exit: ExitFile, running: Option<RunningFile> },
}

/// `None`: there is no such task. Ends what is left of a task that lost its supervisor, whose
/// exit nobody has seen.
pub fn settle(dir: &TaskDir, task: TaskId) -> io::Result<Option<State>> {
    if !dir.exists() {
        return Ok(None);
    }
    let running = dir.running()?;
    if let Some(exit) = dir.exit()? {
        return Ok(Some(State::Exited { exit, running }));
    }
    let Some(running) = running else { return Ok(Some(State::Created)) };
    if dir.is_alive()? {
        return Ok(Some(State::Running(running)));
    }
    // It may have written the record just before it ended.
    let exit = match dir.exit()? {
        Some(exit) => exit,
        None => give_up(dir, task, &running)?,
    };
    Ok(Some(State::Exited { exit, running: Some(running) }))
}

fn give_up(dir: &TaskDir, task: TaskId, running: &RunningFile) -> io::Result<ExitFile> {
    tracing::warn!(task.id = %task, "the supervisor of a task is gone; what is left is killed");
    kill(task, Some(running))?;
    let exit = ExitFile { code: None, at_ms: now().as_millis() };
    dir.put_exit(exit)?;
    Ok(exit)
}

/// Kills every process of the task, and not its supervisor.
pub fn kill(task: TaskId, running: Option<&RunningFile>) -> io::Result<()> {
    // Numbers from before the machine was started again mean nothing.
    let boot = boot_id()?;
    let running = running.filter(|running| running.boot == boot);
    let variable = format!("{TASK_ENV}={task}");
    kill_all(KILL_WITHIN, || members(&all(), &variable, running))
}

/// Kills every process of the task, and its supervisor too.
pub fn sweep(task: TaskId) -> io::Result<()> {
    kill(task, None)?;
    let variable = format!("{SUPERVISOR_ENV}={task}");
    kill_all(KILL_WITHIN, || {
        with_descendants(&all(), |process| has_env(process.identity.pid, &variable))
    })
}

/// By the environment that they began with; by the session, in which a program that writes over
/// its environment stays; and by descent.
fn members(all: &[Process], variable: &str, running: Option<&RunningFile>) -> Vec<Identity> {
    let certain = |process: &Process| {
        running.is_some_and(|running| running.process == process.identity)
            || has_env(process.identity.pid, variable)
    };
    let certain: Vec<_> = all.iter().filter(|process| certain(process)).collect();
    let session = running.map(|running| running.supervisor).filter(|supervisor| {
        // Without any of them, the number may be another session's by now.
        let is_there = |process: &Process| process.identity == *supervisor;
        all.iter().any(is_there) || certain.iter().any(|p| p.session == supervisor.pid)
    });
    let mut family = with_descendants(all, |process| {
        certain.contains(&process)
            || session.is_some_and(|s| process.session == s.pid || process.identity == s)
    });
    family.retain(|identity| Some(*identity) != session);
    family
}

pub fn exit(file: ExitFile) -> Exit {
    let ExitFile { code, at_ms } = file;
    // Without a container of its own, nothing says who the kernel killed for want of memory.
    Exit { code, at: Timestamp::from_millis(at_ms), oom_killed: false }
}

pub fn running(launch: &LaunchFile, file: &RunningFile) -> Running {
    Running {
        pid: file.process.pid,
        started_at: Timestamp::from_millis(file.started_at_ms),
        reach: Reach { netns: None, address: launch.address.into(), root_of: None },
    }
}
