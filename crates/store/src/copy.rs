//! A database that is looked at and left as it is, and one that is written whole: what backups are
//! made of.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File, OpenOptions},
    io,
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use redb::{
    BackendError, Database, Durability, ReadableDatabase, StorageBackend, backends::FileBackend,
};
use thiserror::Error;
use warren_core::{change::Change, cluster::Cluster, id::ClusterId};
use warren_proto::v1 as pb;

use crate::{
    OpenFault,
    disk::{At, builder, cannot_open},
    tables::{SCHEMA, Tables, load_meta},
};

/// What a database file holds.
#[derive(Debug)]
pub struct Inspection {
    /// As the file has it; what is read is in this version's.
    pub schema: u32,
    pub cluster_id: ClusterId,
    pub cluster: Cluster,
}

/// Reads all of a database that no process uses, and verifies the checksum of every page. The file
/// stays as it is, also where a crash has left something to repair: that is done in memory.
pub fn inspect(path: &Path) -> Result<Inspection, OpenFault> {
    // redb panics on some kinds of damage. What it had in hand is dropped with it.
    catch_unwind(AssertUnwindSafe(|| inspect_file(path)))
        .unwrap_or_else(|_| Err(OpenFault::Damaged { path: path.to_owned() }))
}

fn inspect_file(path: &Path) -> Result<Inspection, OpenFault> {
    let at = At(path.to_owned());
    let unreadable = |error| at.unreadable(redb::Error::Io(error));
    if fs::metadata(path).map_err(unreadable)?.len() == 0 {
        return Err(OpenFault::Empty { path: path.to_owned() });
    }
    // For the lock that keeps others away, not to write.
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(unreadable)?;
    let backend = FileBackend::new(file).map_err(|error| cannot_open(path, error))?;
    let database = builder()
        .set_check_integrity_on_open(true)
        .create_with_backend(Overlay::new(backend).map_err(unreadable)?)
        .map_err(|error| cannot_open(path, error))?;
    let tx = database.begin_read().map_err(|error| at.unreadable(error))?;
    let found = load_meta(&tx).map_err(|fault| at.fault(fault))?;
    drop(tx);
    let Some(pb::MetaRow { schema, .. }) = found else {
        return Err(OpenFault::Foreign { path: path.to_owned() });
    };
    let (meta, cluster) = at.read(&database)?;
    let cluster_id = meta.cluster_id.parse().map_err(|invalid| at.bad_meta(invalid))?;
    Ok(Inspection { schema, cluster_id, cluster })
}

/// A database could not be written. What was there before still is.
#[derive(Debug, Error)]
pub enum CopyFault {
    #[error("{} is there already", path.display())]
    Exists { path: PathBuf },
    #[error(
        "cannot write {}: see that its directory is there, writable for this user, and has room",
        path.display()
    )]
    Write {
        path: PathBuf,
        #[source]
        source: Box<redb::Error>,
    },
}

/// Writes a whole database, for its owner alone, under another name and then gives it its own: what
/// is cut short is never taken for one.
pub fn write_whole(
    path: &Path,
    cluster_id: ClusterId,
    cluster: &Cluster,
    replace: bool,
) -> Result<(), CopyFault> {
    let fault =
        |error: redb::Error| CopyFault::Write { path: path.to_owned(), source: Box::new(error) };
    let io_fault = |error| fault(redb::Error::Io(error));
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let new = tempfile::Builder::new().prefix("warren.redb.").tempfile_in(directory);
    let new = new.map_err(io_fault)?;
    let database = builder().create(new.path()).map_err(|error| fault(error.into()))?;
    fill(&database, cluster_id, cluster).map_err(fault)?;
    drop(database);
    new.as_file().sync_all().map_err(io_fault)?;
    let named = if replace { new.persist(path) } else { new.persist_noclobber(path) };
    named.map_err(|error| {
        if error.error.kind() == io::ErrorKind::AlreadyExists {
            CopyFault::Exists { path: path.to_owned() }
        } else {
            io_fault(error.error)
        }
    })?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(io_fault)
}

/// One transaction.
fn fill(database: &Database, id: ClusterId, cluster: &Cluster) -> Result<(), redb::Error> {
    let mut tx = database.begin_write()?;
    tx.set_durability(Durability::Immediate)?;
    {
        let mut tables = Tables::open(&tx)?;
        for change in rows(cluster) {
            tables.apply(&change)?;
        }
        let (revision, cluster_id) = (cluster.revision, id.to_string());
        tables.put_meta(&pb::MetaRow { schema: SCHEMA, revision, cluster_id })?;
    }
    tx.commit()?;
    Ok(())
}

/// The changes that lead from an empty cluster to this one.
fn rows(cluster: &Cluster) -> impl Iterator<Item = Change> {
    let health = |id| Some(Change::PutHealth(id, Box::new((**cluster.health(id)?).clone())));
    let restraint = Change::PutRestraint(Box::new((**cluster.restraint()).clone()));
    let services = cluster.services().map(|row| Change::PutService(Box::new((**row).clone())));
    let tasks = cluster.tasks().map(|row| Change::PutTask(Box::new((**row).clone())));
    let nodes = cluster.nodes().map(|row| Change::PutNode(Box::new((**row).clone())));
    let events = cluster.events().map(|row| Change::PutEvent(Box::new((**row).clone())));
    services
        .chain(tasks)
        .chain(cluster.tasks().filter_map(move |task| health(task.id)))
        .chain(nodes)
        .chain([restraint])
        .chain(events)
}

/// A file that is only read: what is written on it stays in memory.
struct Overlay {
    file: FileBackend,
    written: Mutex<Written>,
}

/// By page, whole pages.
struct Written {
    pages: BTreeMap<u64, Vec<u8>>,
    len: u64,
    /// So much of the file is as it was: it was never shorter than this.
    kept: u64,
}

const PAGE: u64 = 4096;

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Overlay")
    }
}

impl Overlay {
    fn new(file: FileBackend) -> io::Result<Self> {
        let len = file.len()?;
        let written = Mutex::new(Written { pages: BTreeMap::new(), len, kept: len });
        Ok(Self { file, written })
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The page as it is now.
    fn page(&self, written: &Written, number: u64) -> io::Result<Vec<u8>> {
        if let Some(page) = written.pages.get(&number) {
            return Ok(page.clone());
        }
        let mut page = vec![0; to_usize(PAGE)];
        let begin = number * PAGE;
        let there = written.kept.saturating_sub(begin).min(PAGE);
        if there > 0 {
            self.file.read(begin, &mut page[..to_usize(there)])?;
        }
        Ok(page)
    }
}

/// The pages of a range, and of each the part that lies in it.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> {
    let end = offset + len as u64;
    (offset / PAGE..end.div_ceil(PAGE)).map(move |number| {
        let begin = number * PAGE;
        let (from, to) = (offset.max(begin) - begin, end.min(begin + PAGE) - begin);
        (number, to_usize(from)..to_usize(to))
    })
}

/// Within a page.
fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written().len)
    }

    fn read(&self, offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        let written = self.written();
        if offset.saturating_add(out.len() as u64) > written.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (number, part) in parts(offset, out.len()) {
            let page = self.page(&written, number)?;
            let (here, rest) = out.split_at_mut(part.len());
            here.copy_from_slice(&page[part]);
            out = rest;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut written = self.written();
        // What is cut off is zero when it comes back.
        let first = len.div_ceil(PAGE);
        written.pages.split_off(&first);
        if let Some(number) = len.checked_rem(PAGE).filter(|rest| *rest > 0).map(|_| len / PAGE) {
            let mut page = self.page(&written, number)?;
            page[to_usize(len % PAGE)..].fill(0);
            written.pages.insert(number, page);
        }
        written.kept = written.kept.min(len);
        written.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, mut data: &[u8]) -> io::Result<()> {
        let mut written = self.written();
        for (number, part) in parts(offset, data.len()) {
            let mut page = self.page(&written, number)?;
            let (here, rest) = data.split_at(part.len());
            page[part].copy_from_slice(here);
            written.pages.insert(number, page);
            data = rest;
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}
