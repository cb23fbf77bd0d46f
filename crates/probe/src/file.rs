//! One attempt at a file check.

use std::time::{Duration, SystemTime};

use nix::sys::stat::fstat;
use warren_core::{check::FileCheck, outcome::Evidence};

use crate::{Target, clause, end::End};

pub(crate) async fn look(target: &Target, check: &FileCheck) -> Result<End, End> {
    let FileCheck { path, max_age } = check;
    let path_name = path.as_str();
    let explicit = |clause, message| End::fail(clause, Evidence::Explicit, message);
    let Some(file) = target.files.find(path).await? else {
        return Err(explicit(clause::FILE, format!("{path_name} is not there")));
    };
    let Some(max_age) = max_age else {
        return Ok(End::pass(clause::FILE, format!("{path_name} is there")));
    };
    let stat = fstat(&file).map_err(|errno| {
        End::inconclusive(clause::OBSERVER, format!("cannot look at {path_name}: {errno}"))
    })?;
    let written = Duration::new(
        u64::try_from(stat.st_mtime).unwrap_or_default(),
        u32::try_from(stat.st_mtime_nsec).unwrap_or_default(),
    );
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // A file from the future is as wrong as one from the past, or it would be fresh for ever.
    let (age, word) = match now.checked_sub(written) {
        Some(age) => (age, "ago"),
        None => (written.saturating_sub(now), "in the future"),
    };
    let message = format!("{path_name} was last written {age:.1?} {word}");
    if age <= max_age.get() {
        Ok(End::pass(clause::FILE_AGE, message))
    } else {
        let message = format!("{message}, more than {max_age}");
        Err(explicit(clause::FILE_AGE, message))
    }
}
