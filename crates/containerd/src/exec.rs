//! A command beside a task's process, within a time and with an output that is bounded.
//!
//! The shim opens the FIFO for writing before the command starts and waits, deaf to all else of
//! the container, until somebody reads: so the reader is there first and stays to the end. A
//! command that is past its time is killed with its process group. Whatever is slow to clean up
//! is cleaned up behind the caller's back.

use std::{
    collections::HashMap,
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use containerd_client::services::v1::{
    DeleteProcessRequest, ExecProcessRequest, GetRequest, StartRequest, WaitRequest, WaitResponse,
};
use futures::{FutureExt, future::BoxFuture};
use nix::{errno::Errno, sys::stat::Mode, unistd::mkfifo};
use prost_types::Any;
use serde_json::{Value, json};
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe::{OpenOptions, Receiver},
    sync::oneshot,
    task::spawn_blocking,
    time::{Instant, sleep_until, timeout},
};
use tonic::{Response, Status};
use warren_core::{check::Command, id::TaskId, spec::User};
use warren_runtime::{
    ExecEnd, HeadTail, Output, Root, RootError, RuntimeError,
    exec::{self, Turn},
    expand,
};

use crate::{
    cgroup,
    client::{fault, found, unavailable, unique},
    reason, rootfs,
    shared::Shared,
    user::{self, Ids},
};

const PROCESS_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";
/// For output that is on its way when the command ends. A child that holds the pipe open would
/// keep us for ever.
const DRAIN_MAX: Duration = Duration::from_millis(100);
/// For a killed command to be seen dead.
const REAP_MAX: Duration = Duration::from_secs(1);
const SIGKILL: u32 = 9;

/// Of the names of commands, and of their FIFOs in the task's directory, by which the next worker
/// finds those that this one leaves when it is killed.
pub const PREFIX: &str = "exec-";

/// A command and what it takes to run it.
#[derive(Debug)]
pub struct Exec {
    pub shared: Arc<Shared>,
    pub task: TaskId,
    pub id: String,
    fifo: PathBuf,
}

impl Shared {
    pub async fn exec(
        self: &Arc<Self>,
        task: TaskId,
        command: &Command,
        user: Option<&User>,
        limit: Duration,
    ) -> Result<ExecEnd, RuntimeError> {
        let turn = self.turns.take(task).await.ok_or_else(|| {
            unavailable("the command before in the task has not ended yet".to_owned())
        })?;
        let deadline = Instant::now() + limit;
        let process = self.process_of(task).await?;
        let ids = match user {
            None => None,
            Some(user) => match self.look_up(task, user).await? {
                Ok(ids) => Some(ids),
                Err(reason) => return Ok(ExecEnd::NotRun { reason }),
            },
        };
        let exec = Exec::new(self, task, format!("{PREFIX}{}", unique()));
        let process = beside(&process, command, ids.as_ref(), &exec.id);
        let (caller, answer) = oneshot::channel();
        // On its own: a caller who goes away leaves no command behind.
        self.background.spawn(exec.run(process, deadline, caller, turn));
        let lost = |error| Err(unavailable(format!("a command was lost: {error}")));
        let end = answer.await.unwrap_or_else(lost);
        if matches!(end, Err(RuntimeError::NoSuchTask(_))) {
            self.processes.forget(task);
            self.turns.forget(task);
        }
        end
    }
}

/// Who wants to know how a command ends, for as long as it is not closed.
type Caller = oneshot::Sender<Result<ExecEnd, RuntimeError>>;

fn tell(caller: Caller, end: Result<ExecEnd, RuntimeError>) {
    // Nobody may want to know any more.
    drop(caller.send(end));
}

/// The `process` of the specs of tasks, which never changes. To ask containerd for it and to read
/// it anew for each command would take milliseconds.
#[derive(Debug, Default)]
pub struct Processes(Mutex<HashMap<TaskId, Arc<Value>>>);

impl Processes {
    pub fn forget(&self, task: TaskId) {
        self.known().remove(&task);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<TaskId, Arc<Value>>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    async fn process_of(&self, task: TaskId) -> Result<Arc<Value>, RuntimeError> {
        if let Some(process) = self.processes.known().get(&task) {
            return Ok(Arc::clone(process));
        }
        let spec = self.known(task).await?.spec.unwrap_or_default();
        let mut spec: Value = serde_json::from_slice(&spec.value).map_err(|error| {
            RuntimeError::Refused(format!("the spec of task {task} cannot be read: {error}"))
        })?;
        let process = Arc::new(spec["process"].take());
        self.processes.known().insert(task, Arc::clone(&process));
        Ok(process)
    }

    /// Who `user` is by the task's own files as they are now. The inner error is for a person.
    async fn look_up(
        &self,
        task: TaskId,
        user: &User,
    ) -> Result<Result<Ids, String>, RuntimeError> {
        let get = GetRequest { container_id: task.to_string(), exec_id: String::new() };
        let answer = found(self.client.tasks().get(self.client.request(get)).await)
            .map_err(fault(format!("cannot look up task {task}")))?;
        let Some(process) = answer.and_then(|answer| answer.process) else {
            return Err(RuntimeError::NoSuchTask(task));
        };
        let (pid, user) = (process.pid, user.as_str().to_owned());
        let look = move || {
            let root = Root::of(Some(pid));
            let read = |path| root.read(path, rootfs::USERS_MAX);
            let (passwd, group) = (read("/etc/passwd")?, read("/etc/group")?);
            Ok::<_, RootError>(user::resolve(&user, &passwd, &group))
        };
        // Its files may hang; whoever waits for the command does not wait longer than it may take.
        let looked = spawn_blocking(look).await;
        let looked = looked.map_err(|error| unavailable(format!("a look was lost: {error}")))?;
        match looked {
            Ok(ids) => Ok(ids),
            Err(RootError::Gone) => Err(RuntimeError::NoSuchTask(task)),
            // What the task has in the place of its users is its own doing.
            Err(RootError::File(error)) if !is_ours(&error) => {
                Ok(Err(format!("cannot read the task's users: {error}")))
            }
            Err(error @ (RootError::Unseen(_) | RootError::File(_))) => {
                Err(unavailable(format!("cannot read the task's users: {error}")))
            }
        }
    }
}

/// We are out of something.
fn is_ours(error: &io::Error) -> bool {
    const OURS: [Errno; 3] = [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM];
    error.raw_os_error().is_some_and(|raw| OURS.contains(&Errno::from_raw(raw)))
}

/// How far the command came.
enum Begun {
    Running(u32),
    Not(Result<ExecEnd, RuntimeError>),
    /// It may start yet.
    Late(Start),
}

/// Of its process number.
type Start = BoxFuture<'static, Result<u32, Status>>;

impl Exec {
    pub fn new(shared: &Arc<Shared>, task: TaskId, id: String) -> Self {
        let fifo = shared.task_dir(task).join(&id);
        Self { shared: Arc::clone(shared), task, id, fifo }
    }

    /// All of it, to the cleaning up. The turn ends when the command is dead.
    async fn run(self, process: Vec<u8>, deadline: Instant, mut caller: Caller, turn: Turn) {
        let mut pipe = match self.open() {
            Ok(pipe) => pipe,
            Err(error) => return tell(caller, Err(self.shared.disk_fault(&error))),
        };
        match self.begin(process, deadline, &mut caller).await {
            Begun::Running(pid) => {
                let end = self.attend(pid, &mut pipe, deadline, &mut caller).await;
                drop(turn);
                tell(caller, end);
            }
            Begun::Not(end) => {
                drop(turn);
                tell(caller, end);
            }
            Begun::Late(start) => {
                tell(caller, Err(unavailable("a command was not started in its time".to_owned())));
                // The pipe stays open meanwhile, or the shim would hang.
                if let Ok(pid) = start.await {
                    self.kill(Some(pid)).await;
                    drop(timeout(REAP_MAX, self.wait()).await);
                }
                drop(turn);
            }
        }
        self.clean_up(pipe).await;
    }

    async fn begin(&self, process: Vec<u8>, deadline: Instant, caller: &mut Caller) -> Begun {
        if let Err(status) = self.register(process).await {
            return Begun::Not(reason::exec_fault(self.task, status));
        }
        let mut start = self.start();
        let started = tokio::select! {
            started = &mut start => started,
            () = sleep_until(deadline) => return Begun::Late(start),
            () = caller.closed() => return Begun::Late(start),
        };
        match started {
            Ok(pid) => Begun::Running(pid),
            Err(status) => Begun::Not(reason::exec_fault(self.task, status)),
        }
    }

    /// From the start of the command to its end, which nobody may want to know any more.
    async fn attend(
        &self,
        pid: u32,
        pipe: &mut Receiver,
        deadline: Instant,
        caller: &mut Caller,
    ) -> Result<ExecEnd, RuntimeError> {
        let mut output = HeadTail::new();
        let mut wait = Box::pin(self.wait());
        let ended = tokio::select! {
            ended = &mut wait => Some(ended),
            never = drain(pipe, &mut output) => match never {},
            () = sleep_until(deadline) => None,
            () = caller.closed() => None,
        };
        match ended {
            Some(Ok(_)) => {}
            // Nobody will see its end.
            Some(Err(_)) => self.kill(Some(pid)).await,
            None => {
                self.kill(Some(pid)).await;
                // Bounded; what has not ended by then cannot be killed.
                drop(timeout(REAP_MAX, wait).await);
            }
        }
        drop(timeout(DRAIN_MAX, drain_to_end(pipe, &mut output)).await);
        self.end(ended, output.finish())
    }

    fn end(
        &self,
        ended: Option<Result<Response<WaitResponse>, Status>>,
        output: Output,
    ) -> Result<ExecEnd, RuntimeError> {
        match ended {
            None => Ok(ExecEnd::TimedOut { output }),
            Some(Ok(answer)) => {
                let code = i32::try_from(answer.into_inner().exit_status).unwrap_or(i32::MAX);
                Ok(ExecEnd::Exited { code, output })
            }
            Some(Err(status)) if status.code() == tonic::Code::NotFound => {
                Err(RuntimeError::NoSuchTask(self.task))
            }
            Some(Err(status)) => Err(fault("a command's end was not seen")(status)),
        }
    }

    fn open(&self) -> io::Result<Receiver> {
        mkfifo(&self.fifo, Mode::S_IRUSR | Mode::S_IWUSR)?;
        self.read()
    }

    /// Also where nobody writes yet.
    pub fn read(&self) -> io::Result<Receiver> {
        OpenOptions::new().open_receiver(&self.fifo)
    }

    async fn register(&self, process: Vec<u8>) -> Result<(), Status> {
        let output = self.fifo.to_string_lossy().into_owned();
        let exec = ExecProcessRequest {
            container_id: self.task.to_string(),
            exec_id: self.id.clone(),
            stdout: output.clone(),
            stderr: output,
            spec: Some(Any { type_url: PROCESS_TYPE.to_owned(), value: process }),
            ..ExecProcessRequest::default()
        };
        self.shared.client.tasks().exec(self.shared.client.request(exec)).await.map(drop)
    }

    fn start(&self) -> Start {
        let start = StartRequest { container_id: self.task.to_string(), exec_id: self.id.clone() };
        let start = self.shared.client.request(start);
        let mut tasks = self.shared.client.tasks();
        async move { Ok(tasks.start(start).await?.into_inner().pid) }.boxed()
    }

    fn wait(
        &self,
    ) -> impl Future<Output = Result<Response<WaitResponse>, Status>> + Send + 'static {
        let wait = WaitRequest { container_id: self.task.to_string(), exec_id: self.id.clone() };
        let wait = self.shared.client.endless(wait);
        let mut tasks = self.shared.client.tasks();
        async move { tasks.wait(wait).await }
    }

    /// All that the command started, and waits for it. `None`: it has not begun, or has ended.
    pub async fn kill(&self, pid: Option<u32>) {
        let (task, mark) = (self.task, self.id.clone());
        let group = pid.filter(|pid| *pid > 1);
        let all = spawn_blocking(move || exec::kill(group, &mark, || cgroup::pids(task)));
        // By name as well, where the pid is another namespace's.
        let by_name = async {
            match pid {
                Some(_) => self.shared.kill(&task.to_string(), &self.id, SIGKILL, false).await,
                None => Ok(()),
            }
        };
        let (all, by_name) = tokio::join!(all, by_name);
        if let Err(error) = all.map_err(io::Error::other).flatten() {
            tracing::warn!(task.id = %task, %error, "a command that was killed has not ended");
        }
        if let Err(error) = by_name {
            tracing::warn!(task.id = %task, %error, "cannot kill a command");
        }
    }

    async fn clean_up(self, pipe: Receiver) {
        if let Err(status) = self.delete().await {
            let error = status.message();
            tracing::debug!(task.id = %self.task, error, "containerd keeps a command");
        }
        self.remove_fifo();
        drop(pipe);
    }

    /// Makes containerd forget the command, which takes seconds while a child of it lives.
    pub async fn delete(&self) -> Result<(), Status> {
        let delete =
            DeleteProcessRequest { container_id: self.task.to_string(), exec_id: self.id.clone() };
        let delete = self.shared.client.request(delete);
        found(self.shared.client.tasks().delete_process(delete).await).map(drop)
    }

    pub fn remove_fifo(&self) {
        // The task's deletion removes what is left of it.
        drop(fs::remove_file(&self.fifo));
    }
}

/// Reads for as long as it is polled.
pub async fn drain(pipe: &mut Receiver, output: &mut HeadTail) -> std::convert::Infallible {
    drain_to_end(pipe, output).await;
    std::future::pending().await
}

/// Keeps reading when nothing more is kept: a writer must not be blocked, nor be told.
async fn drain_to_end(pipe: &mut Receiver, output: &mut HeadTail) {
    // What a pipe holds.
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        output.push(&buffer[..length]);
    }
}

/// The task's own process with other arguments: same user, directory and rights, and the same
/// environment with the command's mark.
fn beside(process: &Value, command: &Command, user: Option<&Ids>, mark: &str) -> Vec<u8> {
    let mut process = process.clone();
    let env = process["env"].as_array().map(Vec::as_slice).unwrap_or_default();
    let var = |name: &str| {
        let vars = env.iter().filter_map(|var| var.as_str()?.split_once('='));
        vars.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    };
    let argv = expand::words(command, var);
    let marked = env.iter().cloned().chain([json!(format!("{}={mark}", exec::ENV))]).collect();
    process["env"] = Value::Array(marked);
    process["args"] = json!(argv);
    if let Some(user) = user {
        process["user"] = json!(user);
    }
    process.to_string().into_bytes()
}
