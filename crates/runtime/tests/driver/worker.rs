//! A worker that starts a task and is then killed.

use std::{path::Path, process::ExitCode};

use warren_runtime::{Runtime, process::ProcessDriver};

use crate::support;

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
