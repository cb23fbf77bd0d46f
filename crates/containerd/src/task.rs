//! A task's process: started, waited for, signalled, found again.

use std::{
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use containerd_client::{
    services::v1::{
        Container, CreateTaskRequest, GetRequest, KillRequest, ListContainersRequest, StartRequest,
        UpdateContainerRequest, WaitRequest, snapshots::MountsRequest,
    },
    types::{
        Mount,
        v1::{Process, Status as State},
    },
};
use futures::{StreamExt, TryStreamExt, stream};
use prost_types::FieldMask;
use tokio::time::Instant;
use tonic::Code;
use warren_core::{id::TaskId, spec::StopSignal, time::Timestamp};
use warren_runtime::{Exit, Found, FoundState, Reach, Running, RuntimeError};

use crate::{
    client::{fault, found, is_down, made, unavailable},
    container::label,
    deaf::is_unknown,
    image::timestamp,
    leftovers, logger, netns,
    reason::{self, StartFault},
    shared::Shared,
    spec::{CGROUP_PARENT, is_cgroup_v2},
};

/// A start that something is in the way of is tried for so long.
const START_MAX: Duration = Duration::from_secs(3);
/// And for so long where it is the same task: containerd is still undoing what a worker began that
/// died, which takes it seconds on a machine that is short of time.
const UNDONE_MAX: Duration = Duration::from_secs(15);
/// After the first try; doubled after each further one, up to a second.
const START_AGAIN: Duration = Duration::from_millis(100);
const START_AGAIN_MAX: Duration = Duration::from_secs(1);
/// How long containerd may be silent before that is said. A restart of it takes about a second.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Between two questions to a containerd that is silent: long enough to be no burden to it.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// A wait that lasted so long was a conversation; what ended it begins a new silence.
const CONVERSATION_MIN: Duration = Duration::from_secs(1);

/// Tasks that are looked at side by side. Each look is a call to a shim.
const LOOKS_AT_ONCE: usize = 16;

impl Shared {
    pub async fn start(&self, task: TaskId) -> Result<Running, RuntimeError> {
        let (begun, mut pause) = (Instant::now(), START_AGAIN);
        loop {
            let reason = match self.try_to_start(task).await {
                Ok(running) => return Ok(running),
                Err(StartFault::InTheWay(reason)) => reason,
                Err(fault @ StartFault::Other(_)) => return Err(fault.into()),
            };
            let patience = if reason::is_the_same(&reason) { UNDONE_MAX } else { START_MAX };
            if patience <= begun.elapsed() {
                return Err(StartFault::InTheWay(reason).into());
            }
            tracing::info!(task.id = %task, reason, "clearing the way for a task");
            self.clear_the_way(task).await?;
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(START_AGAIN_MAX);
        }
    }

    /// Whatever there is of a process that does not run.
    async fn clear_the_way(&self, task: TaskId) -> Result<(), RuntimeError> {
        match self.process(task).await?.as_ref().map(Process::status) {
            None => {}
            Some(State::Created) => self.end_process(task).await?,
            Some(
                State::Unknown | State::Running | State::Stopped | State::Paused | State::Pausing,
            ) => return Ok(()),
        }
        leftovers::sweep(&self.config.namespace, task).await;
        Ok(())
    }

    async fn try_to_start(&self, task: TaskId) -> Result<Running, StartFault> {
        let container = self.known(task).await?;
        let process = self.process(task).await?;
        match process.as_ref().map(Process::status) {
            None => self.create_process(task, &container).await?,
            Some(State::Created) => {}
            // It runs, or it did and wait tells how it ended.
            Some(
                State::Unknown | State::Running | State::Stopped | State::Paused | State::Pausing,
            ) => {
                let process = process.unwrap_or_default();
                if is_unknown(&process) {
                    let reason = format!("the shim of task {task} does not answer");
                    return Err(unavailable(reason).into());
                }
                return Ok(self.running(task, &container, process.pid)?);
            }
        }
        // Written first: what runs always has its time.
        let container = self.note_start(container).await?;
        let start = StartRequest { container_id: task.to_string(), exec_id: String::new() };
        let started = self.client.tasks().start(self.client.request(start)).await;
        let pid = started.map_err(reason::start_fault)?.into_inner().pid;
        Ok(self.running(task, &container, pid)?)
    }

    pub async fn signal(&self, task: TaskId, signal: StopSignal) -> Result<(), RuntimeError> {
        let container = self.known(task).await?;
        let all = signal == StopSignal::KILL;
        // Nothing left to signal is what a signal to stop wants.
        self.kill(&container.id, "", signal.number().into(), all).await
    }

    /// A process that has ended takes any signal.
    pub async fn kill(
        &self,
        container_id: &str,
        exec_id: &str,
        signal: u32,
        all: bool,
    ) -> Result<(), RuntimeError> {
        let kill = KillRequest {
            container_id: container_id.to_owned(),
            exec_id: exec_id.to_owned(),
            signal,
            all,
        };
        match self.client.tasks().kill(self.client.request(kill)).await {
            Ok(_) => Ok(()),
            Err(status) if status.code() == Code::NotFound => Ok(()),
            Err(status) if status.message().contains("already finished") => Ok(()),
            Err(status) => Err(fault(format!("cannot signal task {container_id}"))(status)),
        }
    }

    pub async fn wait(&self, task: TaskId) -> Result<Exit, RuntimeError> {
        let mut silent_since = None;
        loop {
            let asked = Instant::now();
            let wait = WaitRequest { container_id: task.to_string(), exec_id: String::new() };
            let status = match self.client.tasks().wait(self.client.endless(wait)).await {
                Ok(answer) => {
                    let answer = answer.into_inner();
                    let at = answer.exited_at.as_ref().map_or_else(now, timestamp);
                    return Ok(exit(task, answer.exit_status, at));
                }
                Err(status) => status,
            };
            if status.code() == Code::NotFound {
                return self.gone(task).await;
            }
            if !is_down(&status) {
                return Err(fault(format!("cannot wait for task {task}"))(status));
            }
            if asked.elapsed() > CONVERSATION_MIN {
                silent_since = None;
            }
            if silent_since.get_or_insert(asked).elapsed() > SILENCE_MAX {
                return Err(fault(format!("cannot wait for task {task}"))(status));
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    pub async fn list(&self) -> Result<Vec<Found>, RuntimeError> {
        let failed = || fault("cannot list the tasks");
        let filters = vec![format!("labels.\"{}\"=={}", label::NODE, self.config.node)];
        let request = self.client.request(ListContainersRequest { filters });
        let mut containers =
            self.client.containers().list_stream(request).await.map_err(failed())?.into_inner();
        let mut known = Vec::new();
        while let Some(message) = containers.message().await.map_err(failed())? {
            let Some(container) = message.container else { continue };
            if let Ok(task) = container.id.parse() {
                known.push((task, container));
            }
        }
        // Side by side: one whose shim is slow must not make all others wait.
        let look = async |(task, container)| {
            Ok::<_, RuntimeError>(Found { task, state: self.state(task, container).await? })
        };
        let looks = stream::iter(known).map(look).buffered(LOOKS_AT_ONCE);
        let mut all: Vec<Found> = looks.try_collect().await?;
        self.add_unfinished(&mut all)?;
        Ok(all)
    }

    /// Tasks whose creation or deletion was cut short and that have no container: only files, a
    /// network, a snapshot. They are there to be deleted, or to be created again.
    fn add_unfinished(&self, all: &mut Vec<Found>) -> Result<(), RuntimeError> {
        let entries = match fs::read_dir(self.tasks_dir()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.disk_fault(&error)),
        };
        for entry in entries {
            let name = entry.map_err(|error| self.disk_fault(&error))?.file_name();
            let task = name.to_str().and_then(|name| name.parse::<TaskId>().ok());
            if let Some(task) = task.filter(|task| all.iter().all(|found| found.task != *task)) {
                all.push(Found { task, state: FoundState::Created });
            }
        }
        Ok(())
    }

    /// A record that is damaged must not hide all others: its task is there to be deleted.
    async fn state(&self, task: TaskId, container: Container) -> Result<FoundState, RuntimeError> {
        let Some(process) = self.true_process(task).await? else {
            let ended = || FoundState::Exited(Exit { code: None, at: now(), oom_killed: false });
            return Ok(started_at(&container).map_or(FoundState::Created, |_| ended()));
        };
        match process.status() {
            State::Created => Ok(FoundState::Created),
            State::Stopped => {
                let at = process.exited_at.as_ref().map_or_else(now, timestamp);
                Ok(FoundState::Exited(exit(task, process.exit_status, at)))
            }
            State::Unknown | State::Running | State::Paused | State::Pausing => {
                Ok(self.running(task, &container, process.pid).map_or_else(
                    |error| {
                        tracing::warn!(task.id = %task, %error, "cannot adopt what runs");
                        FoundState::Created
                    },
                    FoundState::Running,
                ))
            }
        }
    }

    pub async fn known(&self, task: TaskId) -> Result<Container, RuntimeError> {
        self.container(task).await?.ok_or(RuntimeError::NoSuchTask(task))
    }

    pub async fn process(&self, task: TaskId) -> Result<Option<Process>, RuntimeError> {
        let get = GetRequest { container_id: task.to_string(), exec_id: String::new() };
        let answer = found(self.client.tasks().get(self.client.request(get)).await);
        let answer = answer.map_err(fault(format!("cannot look at task {task}")))?;
        Ok(answer.and_then(|answer| answer.process))
    }

    pub async fn snapshot_mounts(
        &self,
        snapshotter: &str,
        key: &str,
    ) -> Result<Vec<Mount>, RuntimeError> {
        let mounts = MountsRequest { snapshotter: snapshotter.to_owned(), key: key.to_owned() };
        let answer = self.client.snapshots().mounts(self.client.request(mounts)).await;
        Ok(answer.map_err(fault("cannot mount a root file system"))?.into_inner().mounts)
    }

    /// Everything but the start: the shim, the logger, and a process that waits for its word.
    async fn create_process(&self, task: TaskId, container: &Container) -> Result<(), StartFault> {
        let (netns, _) = self.network(task, container)?;
        if netns.is_some_and(|path| !netns::exists(&path)) {
            let reason = "the task's network namespace is gone, as after a reboot";
            return Err(RuntimeError::Refused(reason.to_owned()).into());
        }
        fs::create_dir_all(&self.config.log_dir).map_err(|error| self.disk_fault(&error))?;
        let log = logger::uri(&self.config.logger, &self.log(task));
        let create = CreateTaskRequest {
            container_id: task.to_string(),
            rootfs: self.snapshot_mounts(&container.snapshotter, &container.snapshot_key).await?,
            stdout: log.clone(),
            stderr: log,
            ..CreateTaskRequest::default()
        };
        made(self.client.tasks().create(self.client.request(create)).await)
            .map_err(reason::start_fault)?;
        Ok(())
    }

    async fn note_start(&self, mut container: Container) -> Result<Container, RuntimeError> {
        let key = label::STARTED_AT.to_owned();
        let path = format!("labels.{key}");
        container.labels.insert(key, now().as_millis().to_string());
        let update = UpdateContainerRequest {
            container: Some(container),
            update_mask: Some(FieldMask { paths: vec![path] }),
        };
        let updated = self.client.containers().update(self.client.request(update)).await;
        let updated = updated.map_err(fault("cannot note a task's start"))?.into_inner();
        updated.container.ok_or_else(|| unavailable("containerd lost a container".to_owned()))
    }

    fn running(
        &self,
        task: TaskId,
        container: &Container,
        pid: u32,
    ) -> Result<Running, RuntimeError> {
        let started_at = started_at(container).ok_or_else(|| {
            RuntimeError::Refused(format!("the container of task {task} has lost its start"))
        })?;
        let (netns, address) = self.network(task, container)?;
        Ok(Running { pid, started_at, reach: Reach { netns, address, root_of: Some(pid) } })
    }

    /// containerd has no process for it: it never started, or its shim was lost, or the node was
    /// started again meanwhile.
    async fn gone(&self, task: TaskId) -> Result<Exit, RuntimeError> {
        match started_at(&self.known(task).await?) {
            Some(_) => Ok(Exit { code: None, at: now(), oom_killed: false }),
            None => Err(RuntimeError::NoSuchTask(task)),
        }
    }
}

pub fn started_at(container: &Container) -> Option<Timestamp> {
    container.labels.get(label::STARTED_AT)?.parse().ok().map(Timestamp::from_millis)
}

fn exit(task: TaskId, status: u32, at: Timestamp) -> Exit {
    let code = i32::try_from(status).ok();
    // One who ends well was not ended by a lack of memory, whatever its children met.
    Exit { code, at, oom_killed: status != 0 && was_oom_killed(task) }
}

/// The kernel counts, until the cgroup ends with the task's deletion.
fn was_oom_killed(task: TaskId) -> bool {
    let file = if is_cgroup_v2() {
        format!("/sys/fs/cgroup{CGROUP_PARENT}/{task}/memory.events")
    } else {
        format!("/sys/fs/cgroup/memory{CGROUP_PARENT}/{task}/memory.oom_control")
    };
    let count = |line: &str| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok();
    fs::read_to_string(file).is_ok_and(|text| text.lines().filter_map(count).any(|n| n > 0))
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::EPOCH.after(since)
}
