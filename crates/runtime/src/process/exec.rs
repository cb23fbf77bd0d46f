//! Runs a command beside a task.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe,
    process::{Child, Command},
    sync::oneshot,
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

use warren_core::id::TaskId;

use super::{
    ProcessDriver,
    command::{command, not_run},
    files::{LaunchFile, TaskDir, now},
    unavailable,
};
use crate::{
    exec,
    output::HeadTail,
    port::{ExecEnd, Output, RuntimeError},
};

/// Read at once; of a flood only head and tail are kept.
const READ: usize = 16 * 1024;

/// What a command wrote before it ended is in the pipe already; who still holds the pipe open is
/// not waited for.
const DRAIN_WITHIN: Duration = Duration::from_millis(100);

impl ProcessDriver {
    pub(super) async fn run_command(
        &self,
        task: TaskId,
        launch: LaunchFile,
        argv: Vec<String>,
        limit: Duration,
    ) -> Result<ExecEnd, RuntimeError> {
        let turn = self.turns.take(task).await;
        let turn = turn.ok_or_else(|| unavailable("the command before has not ended yet"))?;
        let (mark, dir) = (mark(&launch.task), self.dir(task));
        let (mut caller, answer) = oneshot::channel();
        // On its own: a caller who goes away leaves no command behind.
        self.commands.spawn(async move {
            let note = Note::write(dir, mark.clone()).await;
            let end = run(&launch, &argv, mark, limit, caller.closed()).await;
            drop(turn);
            // Nobody may want to know any more.
            drop(caller.send(end));
            note.remove().await;
        });
        let end = answer.await.map_err(io::Error::other).and_then(|end| end);
        end.map_err(unavailable)
    }

    /// Kills the commands of a driver that was killed itself. Blocking.
    pub(super) fn end_commands_in(dir: &TaskDir) -> io::Result<()> {
        for mark in dir.commands()? {
            tracing::info!(path = %dir.path().display(), mark, "ending a command that was left");
            exec::kill(None, &mark, exec::pids)?;
            dir.forget_command(&mark)?;
        }
        Ok(())
    }
}

/// That a command runs, for the next driver, should this one be killed. A disk that is full must
/// not make every check fail: a command that is not noted runs all the same.
struct Note {
    dir: TaskDir,
    mark: String,
}

impl Note {
    async fn write(dir: TaskDir, mark: String) -> Self {
        let note = Self { dir, mark };
        let written = note.on_disk(TaskDir::note_command).await;
        if let Err(error) = written {
            let path = note.dir.path().display();
            tracing::debug!(%path, %error, "a command is not noted");
        }
        note
    }

    async fn remove(self) {
        // The task's deletion removes what is left of it.
        drop(self.on_disk(TaskDir::forget_command).await);
    }

    async fn on_disk(&self, work: fn(&TaskDir, &str) -> io::Result<()>) -> io::Result<()> {
        let (dir, mark) = (self.dir.clone(), self.mark.clone());
        spawn_blocking(move || work(&dir, &mark)).await.map_err(io::Error::other).flatten()
    }
}

/// Ends the command at the deadline, or when nobody wants to know any more how it ends. An error is
/// the node's fault, not the command's.
pub async fn run(
    launch: &LaunchFile,
    argv: &[String],
    mark: String,
    limit: Duration,
    unwanted: impl Future<Output = ()>,
) -> io::Result<ExecEnd> {
    let deadline = Instant::now() + limit;
    let mut exec = match Exec::start(launch, argv, mark)? {
        Ok(exec) => exec,
        Err(reason) => return Ok(ExecEnd::NotRun { reason }),
    };
    tokio::select! {
        followed = exec.follow(deadline) => followed?,
        () = unwanted => {}
    }
    let Some(status) = exec.ended else {
        exec.kill().await?;
        return Ok(ExecEnd::TimedOut { output: exec.output() });
    };
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    match code {
        Some(code) => Ok(ExecEnd::Exited { code, output: exec.output() }),
        None => Err(io::Error::other("the command ended neither by itself nor by a signal")),
    }
}

/// A command that runs. Its process group is killed when it is dropped before its end, which only
/// a worker that stops does.
#[derive(Debug)]
struct Exec {
    child: Child,
    pid: u32,
    /// By which all that it started is found.
    mark: String,
    /// One pipe for both streams keeps them in order.
    pipe: pipe::Receiver,
    open: bool,
    kept: HeadTail,
    ended: Option<ExitStatus>,
}

enum Step {
    Read(io::Result<usize>),
    Ended(io::Result<ExitStatus>),
    Late,
}

impl Exec {
    /// The inner error says why the command cannot be run.
    fn start(
        launch: &LaunchFile,
        argv: &[String],
        mark: String,
    ) -> io::Result<Result<Self, String>> {
        let mut command = match command(launch, argv) {
            Ok(command) => command,
            Err(reason) => return Ok(Err(reason)),
        };
        let (reader, writer) = io::pipe()?;
        command.env(exec::ENV, &mark).stdout(writer.try_clone()?).stderr(writer);
        let pipe = pipe::Receiver::from_owned_fd(reader.into())?;
        let mut command = Command::from(command);
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return not_run(argv, error).map(Err),
        };
        let Some(pid) = child.id() else {
            return Err(io::Error::other("the command has no process number"));
        };
        let kept = HeadTail::new();
        Ok(Ok(Self { child, pid, mark, pipe, open: true, kept, ended: None }))
    }

    /// Until it has ended and its output too, but no longer than `until`.
    async fn follow(&mut self, mut until: Instant) -> io::Result<()> {
        let mut buffer = vec![0; READ];
        while self.open || self.ended.is_none() {
            let step = tokio::select! {
                read = self.pipe.read(&mut buffer), if self.open => Step::Read(read),
                ended = self.child.wait(), if self.ended.is_none() => Step::Ended(ended),
                () = sleep_until(until) => Step::Late,
            };
            match step {
                Step::Read(Ok(0) | Err(_)) => self.open = false,
                Step::Read(Ok(count)) => self.kept.push(&buffer[..count]),
                Step::Ended(status) => {
                    self.ended = Some(status?);
                    until = Instant::now() + DRAIN_WITHIN;
                }
                Step::Late => break,
            }
        }
        Ok(())
    }

    /// And waits. What the kernel does not let go of is left behind, with a warning.
    async fn kill(&mut self) -> io::Result<()> {
        let (pid, mark) = (self.pid, self.mark.clone());
        self.kill_group();
        let killed = spawn_blocking(move || exec::kill(Some(pid), &mark, exec::pids));
        // The group's number cannot go to another one before its leader is waited for.
        if let Err(error) = killed.await.map_err(io::Error::other)? {
            tracing::warn!(%error, "a command that was killed has not ended");
            return Ok(());
        }
        self.ended = Some(self.child.wait().await?);
        self.follow(Instant::now() + DRAIN_WITHIN).await
    }

    fn kill_group(&self) {
        if let Ok(pid) = i32::try_from(self.pid) {
            // One that has just ended needs no signal.
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    fn output(&mut self) -> Output {
        std::mem::take(&mut self.kept).finish()
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.kill_group();
        }
    }
}

/// Never the same twice, not even for the next worker.
pub fn mark(task: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{task}-{}-{count}", now().as_millis())
}
