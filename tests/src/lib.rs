//! What the end-to-end tests stand on: the built binary, and machines of their own to run it on.
//!
//! A [`Machine`] is a directory with a private containerd; on it run any number of Warren
//! processes, which tests start, kill and start again. All of it is gone when it is dropped.

mod certificates;
mod disk;
pub mod http;
mod machine;
pub mod manual;
mod process;
mod threads;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

pub use certificates::Certificates;
pub use disk::SmallDisk;
pub use machine::Machine;
pub use process::{Daemon, Warren};
pub use threads::StoppedThreads;

/// The binary under test, built by `make test` beside the tests.
pub fn binary() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.ancestors().nth(2).unwrap().join("warren");
    assert!(path.exists(), "{} is not there; run `cargo build -p warren`", path.display());
    path
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// An image archive of `tests/images`, built if need be.
pub fn image(name: &str) -> PathBuf {
    let archives = repository().join("target/test-images/archives");
    std::fs::create_dir_all(&archives).unwrap();
    let archive = archives.join(format!("{name}.tar"));
    let mut script = Command::new(repository().join("tests/images/build.sh"));
    let output = script.args([name, archive.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    archive
}

/// Containers need root. Elsewhere these tests say that they were skipped.
pub fn have_root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped: {test} needs root, for containerd");
    }
    root
}

/// Waits until `done` says so. Panics with what was last seen after `limit`.
pub fn eventually<T>(
    what: &str,
    limit: Duration,
    mut done: impl FnMut() -> Result<T, String>,
) -> T {
    let begun = Instant::now();
    loop {
        match done() {
            Ok(value) => return value,
            Err(seen) if begun.elapsed() > limit => {
                panic!("waited {limit:?} for {what}; last seen:\n{seen}")
            }
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Both streams of a command, for messages.
pub fn text(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
