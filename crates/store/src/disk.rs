//! The cluster in one file, `warren.redb`.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use redb::{
    Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase, StorageBackend,
    StorageError,
};
use warren_core::{change::Change, cluster::Cluster, id::ClusterId};
use warren_proto::v1 as pb;

use crate::{
    CommitFault, OpenFault, Store,
    committer::{Committer, write},
    fault::RowFault,
    migrate::migrate,
    tables::{LoadFault, SCHEMA, load, load_meta},
};

/// The database, in the data directory.
pub const FILE: &str = "warren.redb";

/// Pages that redb keeps. Readers use the cluster in memory, so the cache only serves the writer,
/// and what it lacks is with the kernel: four times as much gained a twentieth.
const CACHE_BYTES: usize = 8 << 20;

/// A database file, open for this process alone.
pub struct RedbStore {
    committer: Committer,
    cluster_id: ClusterId,
}

impl RedbStore {
    /// Opens `warren.redb` in the directory, or makes both, and reads the cluster.
    pub fn open(directory: &Path) -> Result<(Self, Cluster), OpenFault> {
        fs::create_dir_all(directory)
            .map_err(|source| OpenFault::Directory { path: directory.to_owned(), source })?;
        let path = directory.join(FILE);
        // redb panics on some kinds of damage. What it had in hand is dropped with it.
        catch_unwind(AssertUnwindSafe(|| Self::open_file(&path)))
            .unwrap_or_else(|_| Err(OpenFault::Damaged { path }))
    }

    fn open_file(path: &Path) -> Result<(Self, Cluster), OpenFault> {
        let disk_fault = |error| cannot_open(path, DatabaseError::Storage(StorageError::Io(error)));
        match fs::metadata(path) {
            // redb would begin a new cluster in it, and every node's tasks would be unknown.
            Ok(file) if file.len() == 0 => {
                return Err(OpenFault::Empty { path: path.to_owned() });
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => begin(path)?,
            Err(error) => return Err(disk_fault(error)),
        }
        let database = builder().open(path).map_err(|error| cannot_open(path, error))?;
        // For its owner alone: templates hold what people put into environments.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(disk_fault)?;
        Self::with_database(database, path.to_owned())
    }

    /// Over any storage, for tests that make it fail.
    pub fn with_backend(backend: impl StorageBackend) -> Result<(Self, Cluster), OpenFault> {
        let path = PathBuf::from("a storage backend");
        let database =
            builder().create_with_backend(backend).map_err(|error| cannot_open(&path, error))?;
        Self::with_database(database, path)
    }

    fn with_database(database: Database, path: PathBuf) -> Result<(Self, Cluster), OpenFault> {
        let at = At(path);
        let (meta, cluster) = at.read(&database)?;
        let cluster_id = meta.cluster_id.parse().map_err(|invalid| at.bad_meta(invalid))?;
        let committer = Committer::start(database, meta).map_err(OpenFault::Thread)?;
        Ok((Self { committer, cluster_id }, cluster))
    }
}

#[async_trait]
impl Store for RedbStore {
    fn cluster_id(&self) -> ClusterId {
        self.cluster_id
    }

    async fn commit(&mut self, batch: Arc<[Change]>) -> Result<u64, CommitFault> {
        self.committer.commit(batch).await
    }
}

/// An empty cluster, made under another name: what is cut short is never taken for a database.
fn begin(path: &Path) -> Result<(), OpenFault> {
    let disk_fault = |error| cannot_open(path, DatabaseError::Storage(StorageError::Io(error)));
    let directory = path.parent().unwrap_or(Path::new("."));
    let new = tempfile::Builder::new().prefix(FILE).tempfile_in(directory).map_err(disk_fault)?;
    let database = builder().create(new.path()).map_err(|error| cannot_open(path, error))?;
    At(path.to_owned()).fill(&database)?;
    drop(database);
    match new.persist_noclobber(path) {
        // Another manager was quicker; the lock on the file says which one stays.
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(disk_fault(error.error));
        }
        Ok(_) | Err(_) => {}
    }
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(disk_fault)
}

pub fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

pub fn cannot_open(path: &Path, error: DatabaseError) -> OpenFault {
    if matches!(error, DatabaseError::DatabaseAlreadyOpen) {
        OpenFault::InUse { path: path.to_owned() }
    } else {
        At(path.to_owned()).unreadable(error)
    }
}

/// The file that a fault is about.
pub struct At(pub PathBuf);

impl At {
    pub fn unreadable(&self, error: impl Into<redb::Error>) -> OpenFault {
        OpenFault::Unreadable { path: self.0.clone(), source: Box::new(error.into()) }
    }

    pub fn bad_meta(&self, invalid: warren_core::Invalid) -> OpenFault {
        let source = RowFault::Invalid(invalid.at("cluster_id"));
        self.fault(LoadFault::Row { table: "meta-1", key: 0, source })
    }

    pub fn fault(&self, fault: LoadFault) -> OpenFault {
        match fault {
            LoadFault::Database(error) => self.unreadable(error),
            LoadFault::Row { table, key, source } => {
                OpenFault::Row { path: self.0.clone(), table, key: format!("{key:016x}"), source }
            }
        }
    }

    /// What is in it, in this version's schema.
    pub fn read(&self, database: &Database) -> Result<(pb::MetaRow, Cluster), OpenFault> {
        let begin = || database.begin_read().map_err(|error| self.unreadable(error));
        let mut tx = begin()?;
        let Some(mut meta) = load_meta(&tx).map_err(|fault| self.fault(fault))? else {
            return Ok((self.found(&tx, database)?, Cluster::default()));
        };
        if meta.schema > SCHEMA {
            let (path, found) = (self.0.clone(), meta.schema);
            return Err(OpenFault::Newer { path, found, known: SCHEMA });
        }
        if meta.schema < SCHEMA {
            drop(tx);
            migrate(database, &mut meta).map_err(|fault| self.fault(fault))?;
            tx = begin()?;
        }
        let cluster = load(&tx, meta.revision).map_err(|fault| self.fault(fault))?;
        Ok((meta, cluster))
    }

    /// Begins an empty cluster, unless the file is somebody else's.
    fn found(&self, tx: &ReadTransaction, database: &Database) -> Result<pb::MetaRow, OpenFault> {
        let mut tables = tx.list_tables().map_err(|error| self.unreadable(error))?;
        if tables.next().is_some() {
            return Err(OpenFault::Foreign { path: self.0.clone() });
        }
        self.fill(database)
    }

    /// Draws the cluster's id.
    fn fill(&self, database: &Database) -> Result<pb::MetaRow, OpenFault> {
        let id = getrandom::u64().map_err(OpenFault::Random)?;
        let cluster_id = ClusterId::from_u64(id).to_string();
        let meta = pb::MetaRow { schema: SCHEMA, revision: 0, cluster_id };
        match write(database, &meta, &[]) {
            Ok(()) => Ok(meta),
            Err(CommitFault::Database(source)) => {
                Err(OpenFault::Unreadable { path: self.0.clone(), source })
            }
            Err(CommitFault::Died | CommitFault::Ended) => {
                Err(self.unreadable(redb::Error::DatabaseClosed))
            }
        }
    }
}
