//! Workers that are going to be killed.

use std::{path::Path, process::ExitCode};

use warren_runtime::{ExecEnd, Runtime, process::ProcessDriver};

use crate::support::{self, LONG, argv};

/// Starts a task.
pub fn main(root: &Path) -> ExitCode {
    support::run(async {
        let driver = ProcessDriver::new(support::config(root)).unwrap();
        let launch = support::shell("while :; do echo tick; sleep 0.02; done");
        driver.create(&launch).await.unwrap();
        let running = driver.start(launch.task).await.unwrap();
        println!("{} {} {}", launch.task, running.pid, running.started_at.as_millis());
        std::future::pending::<()>().await;
    });
    ExitCode::SUCCESS
}

/// Starts a task, and a command beside it that hangs, after one that left something behind.
pub fn main_with_command(root: &Path) -> ExitCode {
    support::run(async {
        let driver = ProcessDriver::new(support::config(root)).unwrap();
        let launch = support::shell("setsid sleep 900 & exec sleep 900");
        driver.create(&launch).await.unwrap();
        driver.start(launch.task).await.unwrap();
        let leaves = argv(&["sh", "-c", "sleep 901 >/dev/null 2>&1 &"]);
        let end = driver.exec(launch.task, &leaves, None, LONG).await.unwrap();
        assert!(matches!(end, ExecEnd::Exited { code: 0, .. }), "{end:?}");
        println!("{}", launch.task);
        let hangs = argv(&["sh", "-c", "(setsid sleep 902 &); sleep 902 & sleep 902; true"]);
        driver.exec(launch.task, &hangs, None, 2 * LONG).await.unwrap();
    });
    ExitCode::SUCCESS
}
