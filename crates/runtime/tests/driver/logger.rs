//! The logger as a containerd shim starts it: streams on descriptors 3 and 4, ready on 5.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use nix::{
    sys::{
        signal::{Signal, kill},
        stat::Mode,
    },
    unistd::{Pid, mkfifo},
};

use crate::support::{own_program, read_log, trials, until};

trials!(
    the_logger_says_when_it_is_ready_and_ends_with_the_streams,
    the_logger_outlives_a_polite_signal,
    streams_that_ended_before_the_logger_looked_are_read,
    a_log_that_cannot_be_opened_does_not_end_the_logger,
);

/// Runs a shell script in the directory, with the logger's program as `$0`.
fn script(dir: &Path, script: &str) -> Child {
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(own_program()).current_dir(dir);
    shell.stdin(Stdio::null()).spawn().unwrap()
}

fn pipes(names: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in names {
        mkfifo(&dir.path().join(name), Mode::S_IRWXU).unwrap();
    }
    dir
}

async fn the_logger_says_when_it_is_ready_and_ends_with_the_streams() {
    let dir = pipes(&["out", "err", "ready"]);
    let path = dir.path().join("logs/task.log");
    let mut logger =
        script(dir.path(), "exec \"$0\" task-logger logs/task.log 3<out 4<err 5>ready");
    // The end of `ready` comes while both streams are open.
    let mut task =
        script(dir.path(), "exec 3>out 4>err; cat ready; echo one >&3; echo two >&4; exec 3>&-");
    assert!(task.wait().unwrap().success());
    assert!(logger.wait().unwrap().success());
    let mut log = read_log(&path, None).await;
    log.sort();
    assert_eq!(log, ["stderr two", "stdout one"]);
}

async fn the_logger_outlives_a_polite_signal() {
    let dir = pipes(&["out", "ready", "go"]);
    let path = dir.path().join("task.log");
    let mut logger =
        script(dir.path(), "exec \"$0\" task-logger task.log 3<out 4</dev/null 5>ready");
    let mut task =
        script(dir.path(), "exec 3>out; cat ready; echo before >&3; cat go; echo after >&3");
    let first = || fs::read_to_string(&path).is_ok_and(|log| log.contains("before"));
    until(first).await;
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        kill(Pid::from_raw(logger.id().try_into().unwrap()), signal).unwrap();
    }
    fs::write(dir.path().join("go"), "").unwrap();
    assert!(task.wait().unwrap().success());
    assert!(logger.wait().unwrap().success());
    assert_eq!(read_log(&path, None).await, ["stdout before", "stdout after"]);
}

async fn streams_that_ended_before_the_logger_looked_are_read() {
    let dir = pipes(&[]);
    let unnamed = "(echo early; touch gone) | \
                   { while ! [ -e gone ]; do :; done; \
                     exec \"$0\" task-logger unnamed.log 3<&0 4</dev/null 5>/dev/null; }";
    assert!(script(dir.path(), unnamed).wait().unwrap().success());
    let log = read_log(&dir.path().join("unnamed.log"), None).await;
    assert_eq!(log, ["stdout early"]);
    let named = "mkfifo pipe; exec 9<>pipe; exec 3<pipe; echo early >&9; exec 9>&-; \
                 exec \"$0\" task-logger named.log 4</dev/null 5>/dev/null";
    assert!(script(dir.path(), named).wait().unwrap().success());
    assert_eq!(read_log(&dir.path().join("named.log"), None).await, ["stdout early"]);
}

async fn a_log_that_cannot_be_opened_does_not_end_the_logger() {
    let dir = pipes(&["out", "ready"]);
    // A file in the place of the log's directory.
    fs::write(dir.path().join("logs"), "").unwrap();
    let mut logger =
        script(dir.path(), "exec \"$0\" task-logger logs/task.log 3<out 4</dev/null 5>ready");
    // Far more than the pipe holds: the logger has to take it.
    let mut task = script(dir.path(), "exec 3>out; cat ready; seq 1 100000 >&3");
    let (task, logger) =
        thread::spawn(move || (task.wait().unwrap(), logger.wait().unwrap())).join().unwrap();
    assert!(task.success() && logger.success());
}
