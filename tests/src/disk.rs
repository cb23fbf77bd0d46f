//! A disk that can be full, or hang.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use crate::text;

/// A file system of a few MiB in a file.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    pub fn mount(directory: &Path) -> Self {
        let image = directory.with_extension("img");
        File::create(&image).unwrap().set_len(12 << 20).unwrap();
        fs::create_dir_all(directory).unwrap();
        run(Command::new("mkfs.ext4").arg("-q").arg(&image));
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(directory));
        Self(directory.to_owned())
    }

    /// Until nothing more fits.
    pub fn fill(&self) {
        let mut filler = File::create(self.filler()).unwrap();
        while filler.write_all(&[1; 4096]).and_then(|()| filler.sync_data()).is_ok() {}
    }

    pub fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    /// Whoever writes waits from now on.
    pub fn freeze(&self) {
        run(Command::new("fsfreeze").arg("--freeze").arg(&self.0));
    }

    pub fn thaw(&self) {
        run(Command::new("fsfreeze").arg("--unfreeze").arg(&self.0));
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A test that failed may have left it frozen, and then nothing that writes can end.
        let _ = Command::new("fsfreeze").arg("--unfreeze").arg(&self.0).output();
        // At once, also where something of it is still open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output));
}
