//! The disk without a database.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

/// As the database's are.
const PAGE: usize = 4096;
/// That a decision changes: of rows, of what leads to them, and of what is free.
const PAGES: usize = 14;
const FILE_PAGES: usize = 4096;

/// A file whose pages are all written already.
pub struct Disk(File);

impl Disk {
    pub fn new(dir: &Path) -> Self {
        let file = File::create(dir.join("bare")).unwrap();
        file.write_all_at(&vec![0; FILE_PAGES * PAGE], 0).unwrap();
        file.sync_all().unwrap();
        Self(file)
    }

    /// Writes pages here and there, other ones each time, until they are durable.
    pub fn sync(&self, number: usize) -> Duration {
        let begun = Instant::now();
        for page in number * PAGES..(number + 1) * PAGES {
            // A prime, so that no two are neighbours and none comes twice soon.
            let at = (page * 1009) % FILE_PAGES * PAGE;
            self.0.write_all_at(&[number.to_le_bytes()[0]; PAGE], at as u64).unwrap();
        }
        self.0.sync_data().unwrap();
        begun.elapsed()
    }
}
