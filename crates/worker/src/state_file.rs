//! The worker's own file: who it is, what it must run and what it knows of it.
//!
//! Written whole, to a temporary file that then takes the name, so that a crash leaves the old
//! one or the new one. It changes with assignments and with health, not with attempts.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use prost::Message;
use tonic::async_trait;
use warren_core::{
    Invalid,
    assignment::Assignment,
    health::Health,
    id::{ClusterId, NodeId, TaskId},
    report::HealthTransition,
    task::TaskStatus,
    time::Timestamp,
};
use warren_proto::v1 as pb;

use crate::{Identity, task::Heeded};

/// Where the file's bytes are put, so that a simulation can keep and lose them in its own way.
#[async_trait]
pub trait Keeper: std::fmt::Debug + Send + Sync + 'static {
    /// Returns once they would be read after a power failure, in the place of those before.
    async fn write(&self, bytes: Vec<u8>) -> Result<(), StateFault>;
}

#[derive(Debug)]
pub struct StateFile {
    keeper: Arc<dyn Keeper>,
    identity: Identity,
    remembered: Vec<Remembered>,
}

/// One task, as the worker last knew it.
#[derive(Debug, Clone, PartialEq)]
pub struct Remembered {
    pub assignment: Assignment,
    pub status: TaskStatus,
    pub health: Option<Health>,
    /// Those that the manager has not acknowledged, the oldest first.
    pub transitions: Vec<HealthTransition>,
    /// So many more were not kept.
    pub dropped: u64,
    pub heeded: Heeded,
}

#[derive(Debug, thiserror::Error)]
pub enum StateFault {
    #[error("cannot use the worker's directory {path}; see that it exists and is writable")]
    Directory { path: PathBuf, source: io::Error },
    #[error("another worker uses {0}; stop it or choose another --data-dir")]
    Locked(PathBuf),
    #[error("cannot read {0}; restore it: a new node in its place would leave its tasks running")]
    Unreadable(PathBuf, #[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("cannot write {0}; see that the disk has space")]
    Unwritable(PathBuf, #[source] io::Error),
}

impl StateFile {
    /// Opens or creates `<dir>/worker.pb` and begins a new epoch. `fresh` is the identity of a
    /// node that has none yet.
    pub fn open(dir: &Path, fresh: NodeId) -> Result<Self, StateFault> {
        let at = |source| StateFault::Directory { path: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(at)?;
        let lock = File::create(dir.join("worker.lock")).map_err(at)?;
        lock.try_lock().map_err(|_| StateFault::Locked(dir.to_owned()))?;
        let path = dir.join("worker.pb");
        let bytes = match fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(StateFault::Unreadable(path, e.into())),
        };
        let (identity, remembered) = next_epoch(bytes.as_deref(), fresh)
            .map_err(|invalid| StateFault::Unreadable(path.clone(), invalid))?;
        let writer = Writer { path, _lock: Arc::new(lock) };
        writer.write_now(&encode(identity, &remembered))?;
        Ok(Self { keeper: Arc::new(writer), identity, remembered })
    }

    /// Likewise, over what a keeper has.
    pub async fn kept_by(
        keeper: Arc<dyn Keeper>,
        bytes: Option<Vec<u8>>,
        fresh: NodeId,
    ) -> Result<Self, StateFault> {
        let (identity, remembered) = next_epoch(bytes.as_deref(), fresh)
            .map_err(|invalid| StateFault::Unreadable(PathBuf::from("what was kept"), invalid))?;
        keeper.write(encode(identity, &remembered)).await?;
        Ok(Self { keeper, identity, remembered })
    }

    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// Gives the node to this cluster, whichever it belonged to. What that one does not know of
    /// its tasks ends with the next session.
    pub async fn join_for_good(&mut self, cluster: ClusterId) -> Result<(), StateFault> {
        self.identity.cluster = Some(cluster);
        self.keeper.write(encode(self.identity, &self.remembered)).await
    }

    /// The first cluster that welcomes the node is its own. Says whether it was this one.
    pub(crate) const fn join(&mut self, cluster: ClusterId) -> bool {
        let is_first = self.identity.cluster.is_none();
        if is_first {
            self.identity.cluster = Some(cluster);
        }
        is_first
    }

    /// What the worker before this one left; once.
    pub(crate) fn take_remembered(&mut self) -> Vec<Remembered> {
        std::mem::take(&mut self.remembered)
    }

    /// Writes who the worker is and what it has.
    pub(crate) async fn save(
        &self,
        records: impl IntoIterator<Item = &Record>,
    ) -> Result<(), StateFault> {
        self.keeper.write(join(self.identity, records)).await
    }
}

/// One task as the file has it: what a state with this task and nothing else is encoded to. Two
/// such states one after the other decode to one with both, so the file is made of records that
/// were encoded when their tasks last changed.
#[derive(Debug, PartialEq, Eq)]
pub struct Record(Box<[u8]>);

impl Record {
    pub fn of(
        assignment: &Assignment,
        status: &TaskStatus,
        health: Option<&Health>,
        transitions: impl IntoIterator<Item = pb::HealthTransition>,
        dropped: u64,
        heeded: Heeded,
    ) -> Self {
        let Heeded { paused_until } = heeded;
        let task = pb::WorkerTask {
            task_id: assignment.task.to_string(),
            status: Some(status.into()),
            health: health.map(Into::into),
            transitions: transitions.into_iter().collect(),
            transitions_dropped: dropped,
            paused_until: paused_until.map(Into::into),
        };
        let assignments = vec![assignment.into()];
        let state = pb::WorkerState { assignments, tasks: vec![task], ..Default::default() };
        Self(state.encode_to_vec().into())
    }
}

impl From<&Remembered> for Record {
    fn from(task: &Remembered) -> Self {
        let Remembered { assignment, status, health, transitions, dropped, heeded } = task;
        let transitions = transitions.iter().map(Into::into);
        Self::of(assignment, status, health.as_ref(), transitions, *dropped, *heeded)
    }
}

fn encode(identity: Identity, tasks: &[Remembered]) -> Vec<u8> {
    join(identity, &tasks.iter().map(Record::from).collect::<Vec<_>>())
}

fn join<'a>(identity: Identity, records: impl IntoIterator<Item = &'a Record>) -> Vec<u8> {
    let who = pb::WorkerState {
        node_id: identity.node.to_string(),
        epoch: identity.epoch,
        cluster_id: identity.cluster.map(|id| id.to_string()).unwrap_or_default(),
        ..Default::default()
    };
    let mut bytes = who.encode_to_vec();
    // In one piece: grown bit by bit, megabytes leave holes in the memory of the worker.
    let records: Vec<_> = records.into_iter().collect();
    bytes.reserve_exact(records.iter().map(|Record(record)| record.len()).sum());
    for Record(record) in records {
        bytes.extend_from_slice(record);
    }
    bytes
}

/// Writes the file, from a thread that may block.
#[derive(Debug, Clone)]
struct Writer {
    path: PathBuf,
    /// Two workers on one data directory would fight for its tasks.
    _lock: Arc<File>,
}

#[async_trait]
impl Keeper for Writer {
    async fn write(&self, bytes: Vec<u8>) -> Result<(), StateFault> {
        let writer = self.clone();
        match tokio::task::spawn_blocking(move || writer.write_now(&bytes)).await {
            Ok(written) => written,
            // Only when the runtime itself is shutting down.
            Err(_) => Ok(()),
        }
    }
}

impl Writer {
    fn write_now(&self, bytes: &[u8]) -> Result<(), StateFault> {
        let temporary = self.path.with_extension("pb.new");
        let write = || {
            // For its owner alone: templates hold what people put into environments.
            let mut options = File::options();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(bytes)?;
            file.sync_data()?;
            fs::rename(&temporary, &self.path)?;
            // An epoch that a power failure took back would be used twice.
            self.path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
        };
        write().map_err(|e| StateFault::Unwritable(self.path.clone(), e))
    }
}

type Undecodable = Box<dyn std::error::Error + Send + Sync>;

/// The same node, or the fresh one where there was none, and what it had.
fn next_epoch(
    bytes: Option<&[u8]>,
    fresh: NodeId,
) -> Result<(Identity, Vec<Remembered>), Undecodable> {
    let before = bytes.map(decode).transpose()?;
    let new = Identity { node: fresh, epoch: 0, cluster: None };
    let (identity, tasks) = before.unwrap_or((new, Vec::new()));
    Ok((Identity { epoch: identity.epoch + 1, ..identity }, tasks))
}

fn decode(bytes: &[u8]) -> Result<(Identity, Vec<Remembered>), Undecodable> {
    let pb::WorkerState { node_id, epoch, assignments, tasks, cluster_id } =
        pb::WorkerState::decode(bytes)?;
    let cluster = Some(cluster_id).filter(|id| !id.is_empty());
    let cluster = cluster.map(|id| id.parse::<ClusterId>()).transpose();
    let cluster = cluster.map_err(|invalid| invalid.at("cluster_id"))?;
    let node = node_id.parse::<NodeId>().map_err(|invalid| invalid.at("node_id"))?;
    let mut known = std::collections::BTreeMap::new();
    for task in tasks {
        let pb::WorkerTask {
            task_id,
            status,
            health,
            transitions,
            transitions_dropped: dropped,
            paused_until,
        } = task;
        let id = task_id.parse::<TaskId>().map_err(|invalid| invalid.at("tasks.task_id"))?;
        let status = status.ok_or_else(|| Invalid::missing("status"))?.try_into()?;
        let health = health.map(Health::try_from).transpose()?;
        let transitions = transitions.into_iter().map(HealthTransition::try_from);
        let transitions = transitions.collect::<Result<Vec<_>, _>>()?;
        let paused_until = paused_until.map(Timestamp::try_from).transpose();
        let paused_until = paused_until.map_err(|invalid| invalid.at("tasks.paused_until"))?;
        known.insert(id, (status, health, transitions, dropped, Heeded { paused_until }));
    }
    let mut remembered = Vec::with_capacity(assignments.len());
    for assignment in assignments {
        let assignment = Assignment::try_from(assignment)?;
        if let Some((status, health, transitions, dropped, heeded)) = known.remove(&assignment.task)
        {
            remembered.push(Remembered {
                assignment,
                status,
                health,
                transitions,
                dropped,
                heeded,
            });
        }
    }
    Ok((Identity { node, epoch, cluster }, remembered))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::held;

    #[test]
    fn each_start_is_a_new_epoch_of_the_same_node() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateFile::open(dir.path(), NodeId::from_u64(7)).unwrap();
        assert_eq!((first.identity().node, first.identity().epoch), (NodeId::from_u64(7), 1));
        drop(first);
        let second = StateFile::open(dir.path(), NodeId::from_u64(8)).unwrap();
        assert_eq!((second.identity().node, second.identity().epoch), (NodeId::from_u64(7), 2));
    }

    #[test]
    fn a_second_worker_on_the_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let _first = StateFile::open(dir.path(), NodeId::from_u64(7)).unwrap();
        let second = StateFile::open(dir.path(), NodeId::from_u64(7));
        assert!(matches!(second, Err(StateFault::Locked(_))));
    }

    #[test]
    fn records_joined_are_the_state_with_all_of_them() {
        let identity = Identity { node: NodeId::from_u64(7), epoch: 3, cluster: None };
        let tasks = [1, 2, 3].map(|id| Remembered {
            assignment: Assignment {
                task: TaskId::from_u64(id),
                ..held::tests::held().assignment().clone()
            },
            status: TaskStatus::pending(Timestamp::from_millis(id)),
            health: (id > 1).then(|| Health::starting(Timestamp::from_millis(id))),
            transitions: Vec::new(),
            dropped: id,
            heeded: Heeded { paused_until: (id > 2).then_some(Timestamp::from_millis(id)) },
        });
        let (known, read) = decode(&encode(identity, &tasks)).unwrap();
        assert_eq!((known.node, known.epoch, read), (identity.node, 3, tasks.to_vec()));
    }

    #[test]
    fn a_damaged_file_is_an_error_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("worker.pb"), b"\xff\xff\xff").unwrap();
        let opened = StateFile::open(dir.path(), NodeId::from_u64(7));
        assert!(matches!(opened, Err(StateFault::Unreadable(..))));
        assert_eq!(std::fs::read(dir.path().join("worker.pb")).unwrap(), b"\xff\xff\xff");
    }
}
