//! A disk that fails on demand.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use redb::{StorageBackend, backends::InMemoryBackend};

/// A disk in memory that outlives its database, and whose sync fails when told.
#[derive(Debug, Clone)]
pub struct Disk {
    bytes: Arc<InMemoryBackend>,
    pub broken: Arc<AtomicBool>,
    /// So many more writes, and then it is full.
    room: Arc<AtomicI64>,
    /// What would be read after a power failure.
    synced: Arc<Mutex<Vec<u8>>>,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            bytes: Arc::default(),
            broken: Arc::default(),
            room: Arc::new(AtomicI64::new(i64::MAX)),
            synced: Arc::default(),
        }
    }
}

impl Disk {
    /// The writes and syncs after so many more fail.
    pub fn fills_after(&self, writes: i64) {
        self.room.store(writes, Ordering::Relaxed);
    }

    /// There is room again.
    pub fn make_room(&self) {
        self.room.store(i64::MAX, Ordering::Relaxed);
    }

    /// What was written since the last sync is gone.
    pub fn lose_power(&self) {
        let synced = self.synced.lock().unwrap();
        self.bytes.set_len(0).unwrap();
        self.bytes.set_len(synced.len() as u64).unwrap();
        self.bytes.write(0, &synced).unwrap();
    }

    fn takes(&self) -> io::Result<()> {
        if self.room.fetch_sub(1, Ordering::Relaxed) <= 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.bytes.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.bytes.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.takes()?;
        self.bytes.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.broken.swap(false, Ordering::Relaxed) {
            return Err(io::Error::other("the disk has a bad day"));
        }
        self.takes()?;
        let mut bytes = vec![0; usize::try_from(self.bytes.len()?).unwrap()];
        self.bytes.read(0, &mut bytes)?;
        *self.synced.lock().unwrap() = bytes;
        self.bytes.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.takes()?;
        self.bytes.write(offset, data)
    }
}
