//! An init as the first process: it reaps what nobody else does, and otherwise nobody notices it.

use std::time::Duration;

use warren_containerd::{Config, Containerd};
use warren_core::spec::User;
use warren_runtime::{ExecEnd, Runtime, RuntimeError};

use crate::{
    hammer::{defunct, in_cgroup},
    lab::{Lab, eventually, script, shell},
};

/// C-76
#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_leaves_is_reaped_though_the_tasks_own_program_does_not() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    // Both run `sleep`, which takes note of nobody.
    let (plain, sleep) = lab.run(&driver, |_| {}).await;
    let (task, init) = lab.run(&driver, |template| template.init = true).await;
    let limit = Duration::from_secs(30);
    for task in [plain, task] {
        let leaves = shell("sleep 0.1 >/dev/null 2>&1 &");
        let end = driver.exec(task, &leaves, None, limit).await.unwrap();
        assert!(matches!(end, ExecEnd::Exited { code: 0, .. }), "{end:?}");
    }
    eventually("it stays where nobody reaps it", async || defunct(sleep.pid) > 0).await;
    eventually("an init and its `sleep` are left", async || in_cgroup(task).len() == 2).await;
    eventually("and nothing defunct", async || defunct(init.pid) == 0).await;
    assert!(in_cgroup(task).contains(&init.pid));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_signal_reaches_the_program_and_its_exit_code_is_the_tasks() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let waits = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    for (user, text) in [(None, waits), (Some("app"), waits)] {
        let (task, _) = lab
            .run(&driver, |template| {
                template.init = true;
                template.args = script(text);
                template.user = user.map(|user| User::new(user).unwrap());
            })
            .await;
        eventually("it listens", async || lab.log(task) == "ready\n").await;
        driver.signal(task, "TERM".parse().unwrap()).await.unwrap();
        assert_eq!(driver.wait(task).await.unwrap().code, Some(7), "as {user:?}");
    }
    let (task, _) = lab
        .run(&driver, |template| {
            template.init = true;
            template.args = script("exit 3");
        })
        .await;
    assert_eq!(driver.wait(task).await.unwrap().code, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_the_program_says_so_and_runs_all_that_want_none() {
    let Some((lab, _)) = Lab::with_image().await else { return };
    let config = Config { init: "/nowhere/init".into(), ..lab.config() };
    let driver = Containerd::connect(config).await.unwrap();
    let refused = driver.create(&lab.launch(|template| template.init = true)).await;
    let Err(RuntimeError::Refused(why)) = refused else { panic!("{refused:?}") };
    assert_eq!(
        why,
        "init: /nowhere/init on this node is no program: install it (Debian's package is tini), or \
         name another one with the worker's --init-path"
    );
    lab.run(&driver, |_| {}).await;
}
