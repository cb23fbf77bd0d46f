//! The manager over its real database, in real time.

use crate::support::{FakeWorker, Running, TIMING, healthy, hello};
use warren_manager::{Manager, ManagerConfig, ManagerFault, Policy};

async fn open(dir: &std::path::Path) -> Running {
    let config =
        ManagerConfig { data_dir: dir.to_owned(), timing: TIMING, policy: Policy::default() };
    Running::serve(Manager::open(config).unwrap()).await
}

#[tokio::test]
async fn a_killed_manager_comes_back_with_everything_and_replaces_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let running = open(dir.path()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    running.create("web", 2).await;
    let tasks = worker.run_healthy(2).await;
    let (before, history) = (running.detail("web").await, running.messages().await);
    drop(worker);
    running.kill().await;

    let running = open(dir.path()).await;
    assert_eq!(running.detail("web").await, before);
    let known = tasks.iter().map(|task| healthy(task, 1)).collect();
    let worker = FakeWorker::rejoin(&running, hello(1, 1, known)).await.unwrap();
    assert_eq!(worker.wanted(), tasks);
    assert_eq!(running.messages().await, history);
    running.shutdown.cancel();
    running.ended().await.unwrap();
}

#[tokio::test]
async fn two_managers_never_share_a_database() {
    let dir = tempfile::tempdir().unwrap();
    let _running = open(dir.path()).await;
    let config = ManagerConfig {
        data_dir: dir.path().to_owned(),
        timing: TIMING,
        policy: Policy::default(),
    };
    let fault = Manager::open(config).map(drop).unwrap_err();
    assert!(matches!(fault, ManagerFault::Open(_)), "{fault}");
}
