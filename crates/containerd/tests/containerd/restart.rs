//! containerd goes away, and comes back.

use std::{fs, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use warren_core::spec::{Network, StopSignal};
use warren_runtime::{FoundState, Runtime, RuntimeError};

use crate::lab::{Lab, command, eventually, output, script};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_outlives_containerd_and_is_watched_on() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let (task, running) = lab
        .run(&driver, |template| {
            template.network = Network::Bridge;
            template.args = script("trap 'exit 5' TERM; while :; do sleep 0.1; done");
        })
        .await;
    let wait = driver.wait(task);
    let meanwhile = async {
        // The wait must have reached containerd, or there would be nothing to break.
        eventually("a command runs", async || output(&driver, task, "echo 1").await == "1").await;
        lab.kill_containerd();
        let error =
            driver.exec(task, &command("true"), None, Duration::from_secs(5)).await.unwrap_err();
        assert!(matches!(error, RuntimeError::Unavailable { .. }), "{error}");
        let error = driver.list().await.unwrap_err();
        assert!(matches!(error, RuntimeError::Unavailable { .. }), "{error}");
        lab.start_containerd();
        eventually("containerd answers again", async || driver.ping().await.is_ok()).await;
        let found = driver.list().await.unwrap();
        assert_eq!(found[0].state, FoundState::Running(running));
        assert_eq!(output(&driver, task, "echo still here").await, "still here");
        driver.signal(task, StopSignal::TERM).await.unwrap();
    };
    let (exit, ()) = tokio::join!(wait, meanwhile);
    assert_eq!(exit.unwrap().code, Some(5));
}

/// C-122: whatever its shim waits for, the task is found with the process that its files are of.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_shim_does_not_answer_is_found_with_its_process() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let (good, running) = lab.run(&driver, |_| {}).await;
    let (deaf, behind) = lab.run(&driver, |_| {}).await;
    let stat = fs::read_to_string(format!("/proc/{}/stat", behind.pid)).unwrap();
    let parent = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap();
    let shim = Pid::from_raw(parent.parse().unwrap());
    kill(shim, Signal::SIGSTOP).unwrap();
    let found = driver.list().await.unwrap();
    let state = |task| &found.iter().find(|found| found.task == task).unwrap().state;
    assert_eq!(*state(good), FoundState::Running(running));
    assert_eq!(*state(deaf), FoundState::Running(behind.clone()));
    let error = driver.start(deaf).await.unwrap_err();
    assert!(matches!(error, RuntimeError::Unavailable { .. }), "{error}");
    kill(shim, Signal::SIGCONT).unwrap();
    assert_eq!(driver.start(deaf).await.unwrap(), behind);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_hides_no_other_task_and_can_be_deleted() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let (good, running) = lab.run(&driver, |_| {}).await;
    let (damaged, _) = lab.run(&driver, |_| {}).await;
    lab.ctr(&["containers", "label", &damaged.to_string(), "warren.io/address="]);
    let found = driver.list().await.unwrap();
    let state = |task| &found.iter().find(|found| found.task == task).unwrap().state;
    assert_eq!(*state(good), FoundState::Running(running));
    assert_eq!(*state(damaged), FoundState::Created);
    driver.delete(damaged).await.unwrap();
    assert_eq!(driver.list().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_says_so_when_containerd_stays_away() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let (task, _) = lab.run(&driver, |_| {}).await;
    lab.kill_containerd();
    let error = driver.wait(task).await.unwrap_err();
    assert!(matches!(error, RuntimeError::Unavailable { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_containerd_the_sentence_says_what_to_do() {
    let Some(lab) = Lab::start().await else { return };
    let mut config = lab.config();
    config.socket = lab.path("nothing.sock");
    let error = warren_containerd::Containerd::connect(config).await.unwrap_err().to_string();
    assert!(error.contains("nothing.sock") && error.contains("is containerd running"), "{error}");
}

/// A node that was started again: shims, processes and namespaces are gone, records are not.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_reboot_tasks_have_ended_and_can_be_deleted() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let (ran, _) = lab.run(&driver, |template| template.network = Network::Bridge).await;
    let created = lab.launch(|template| template.network = Network::Bridge);
    driver.create(&created).await.unwrap();
    lab.reboot();
    eventually("containerd answers again", async || driver.ping().await.is_ok()).await;

    let found = driver.list().await.unwrap();
    let state = |task| &found.iter().find(|found| found.task == task).unwrap().state;
    let FoundState::Exited(exit) = state(ran) else { panic!("{found:?}") };
    assert_eq!(exit.code, None);
    assert_eq!(driver.wait(ran).await.unwrap().code, None);
    assert_eq!(*state(created.task), FoundState::Created);
    let error = driver.start(created.task).await.unwrap_err().to_string();
    assert!(error.contains("reboot"), "{error}");
    driver.delete(ran).await.unwrap();
    driver.delete(created.task).await.unwrap();
    assert_eq!(driver.list().await.unwrap(), []);
    let (again, _) = lab.run(&driver, |template| template.network = Network::Bridge).await;
    assert_eq!(output(&driver, again, "echo up").await, "up");
}
