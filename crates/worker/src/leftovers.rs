//! Files of a worker that was killed in the middle of something.

use std::{fs, io, path::Path};

use warren_core::id::TaskId;
use warren_runtime::logs;

/// How the file begins that an archive is kept in while it is imported.
pub const ARCHIVE_PREFIX: &str = "import-";

/// Removes archives whose import was cut short, and the logs of tasks that nobody holds any more.
/// What cannot be removed takes room and does no other harm. Blocks: nothing runs yet that it could
/// keep waiting.
pub fn sweep(log_dir: &Path, is_held: impl Fn(TaskId) -> bool) {
    if let Err(error) = try_sweep(log_dir, is_held) {
        let path = log_dir.display();
        tracing::warn!(%path, %error, "cannot look for files that were left");
    }
}

fn try_sweep(log_dir: &Path, is_held: impl Fn(TaskId) -> bool) -> io::Result<()> {
    let files = match fs::read_dir(log_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        files => files?,
    };
    for file in files {
        let file = file?;
        let name = file.file_name();
        let name = name.to_str().unwrap_or_default();
        let task = logs::task_of(name);
        if !name.starts_with(ARCHIVE_PREFIX) && task.is_none_or(&is_held) {
            continue;
        }
        let path = file.path();
        match fs::remove_file(&path) {
            Ok(()) => tracing::info!(path = %path.display(), "removed a file that was left"),
            Err(error) => {
                let path = path.display();
                tracing::warn!(%path, %error, "cannot remove a file that was left");
            }
        }
    }
    Ok(())
}
