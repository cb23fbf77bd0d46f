//! Where a task's output goes: to a process of its own, which the shim starts and which outlives
//! the worker.

use std::{os::unix::ffi::OsStrExt, path::Path};

/// Makes the shim start `<program> task-logger <log>`, with the task's stdout as its descriptor 3
/// and stderr as 4.
pub fn uri(program: &Path, log: &Path) -> String {
    format!("binary://{}?task-logger={}", escaped(program), escaped(log))
}

/// As a URI has it: what is not a letter, a digit or one of a few marks goes by number.
fn escaped(path: &Path) -> String {
    let mut text = String::new();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
            text.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_any_kind_survive_the_uri() {
        let uri = uri(Path::new("/opt/a b/warren"), Path::new("/logs/100%?&=.log"));
        assert_eq!(uri, "binary:///opt/a%20b/warren?task-logger=/logs/100%25%3f%26%3d.log");
    }
}
