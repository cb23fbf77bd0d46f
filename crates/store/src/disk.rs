//! The cluster in one file, `warren.redb`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use redb::{
    Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase, StorageBackend,
    StorageError,
};
use warren_core::{change::Change, cluster::Cluster};
use warren_proto::v1 as pb;

use crate::{
    CommitFault, OpenFault, Store,
    committer::{Committer, write},
    tables::{LoadFault, SCHEMA, load, load_meta},
};

const FILE: &str = "warren.redb";

/// Pages that redb keeps. Readers use the cluster in memory, so the cache only serves the writer.
const CACHE_BYTES: usize = 32 << 20;

/// A database file, open for this process alone.
pub struct RedbStore {
    committer: Committer,
}

impl RedbStore {
    /// Opens `warren.redb` in the directory, or makes both, and reads the cluster.
    pub fn open(directory: &Path) -> Result<(Self, Cluster), OpenFault> {
        fs::create_dir_all(directory)
            .map_err(|source| OpenFault::Directory { path: directory.to_owned(), source })?;
        let path = directory.join(FILE);
        let database = builder().create(&path).map_err(|error| cannot_open(&path, error))?;
        // For its owner alone: templates hold what people put into environments.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
            .map_err(|error| cannot_open(&path, DatabaseError::Storage(StorageError::Io(error))))?;
        Self::with_database(database, path)
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
        let tx = database.begin_read().map_err(|error| at.unreadable(error))?;
        let (meta, cluster) = match load_meta(&tx).map_err(|fault| at.fault(fault))? {
            Some(meta) if meta.schema > SCHEMA => {
                let At(path) = at;
                return Err(OpenFault::Newer { path, found: meta.schema, known: SCHEMA });
            }
            Some(meta) => {
                let cluster = load(&tx, meta.revision).map_err(|fault| at.fault(fault))?;
                (meta, cluster)
            }
            None => (at.found(&tx, &database)?, Cluster::default()),
        };
        drop(tx);
        let committer = Committer::start(database, meta).map_err(OpenFault::Thread)?;
        Ok((Self { committer }, cluster))
    }
}

#[async_trait]
impl Store for RedbStore {
    async fn commit(&mut self, batch: Arc<[Change]>) -> Result<u64, CommitFault> {
        self.committer.commit(batch).await
    }
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn cannot_open(path: &Path, error: DatabaseError) -> OpenFault {
    if matches!(error, DatabaseError::DatabaseAlreadyOpen) {
        OpenFault::InUse { path: path.to_owned() }
    } else {
        At(path.to_owned()).unreadable(error)
    }
}

/// The file that a fault is about.
struct At(PathBuf);

impl At {
    fn unreadable(&self, error: impl Into<redb::Error>) -> OpenFault {
        OpenFault::Unreadable { path: self.0.clone(), source: Box::new(error.into()) }
    }

    fn fault(&self, fault: LoadFault) -> OpenFault {
        match fault {
            LoadFault::Database(error) => self.unreadable(error),
            LoadFault::Row { table, key, source } => {
                OpenFault::Row { path: self.0.clone(), table, key: format!("{key:016x}"), source }
            }
        }
    }

    /// Begins an empty cluster, unless the file is somebody else's.
    fn found(&self, tx: &ReadTransaction, database: &Database) -> Result<pb::MetaRow, OpenFault> {
        let mut tables = tx.list_tables().map_err(|error| self.unreadable(error))?;
        if tables.next().is_some() {
            return Err(OpenFault::Foreign { path: self.0.clone() });
        }
        let id = getrandom::u64().map_err(OpenFault::Random)?;
        let meta = pb::MetaRow { schema: SCHEMA, revision: 0, cluster_id: format!("{id:016x}") };
        match write(database, &meta, &[]) {
            Ok(()) => Ok(meta),
            Err(CommitFault::Database(source)) => {
                Err(OpenFault::Unreadable { path: self.0.clone(), source })
            }
            Err(CommitFault::Ended) => Err(self.unreadable(redb::Error::DatabaseClosed)),
        }
    }
}
