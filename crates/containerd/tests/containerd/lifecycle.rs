//! A task from its creation to its end.

use std::{fs, path::Path, process::Command};

use warren_core::{
    id::TaskId,
    spec::{MemoryBytes, Network, StopSignal},
};
use warren_runtime::{FoundState, Runtime, RuntimeError};

use crate::lab::{Lab, cgroups, eventually, files_below, image, leftover_processes, script};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_adopted_as_it_was_started_and_its_deletion_leaves_nothing() {
    let Some((lab, first)) = Lab::with_image().await else { return };
    let snapshots_before = lab.ctr(&["snapshots", "ls"]);
    let launch = lab.launch(|template| {
        template.network = Network::Bridge;
        template.args = script("echo hello; echo there >&2; trap 'exit 7' TERM; sleep 600 & wait");
    });
    let task = launch.task;
    first.create(&launch).await.unwrap();
    first.create(&launch).await.unwrap();
    assert_eq!(first.list().await.unwrap()[0].state, FoundState::Created);
    let running = first.start(task).await.unwrap();
    assert_eq!(first.start(task).await.unwrap(), running);
    eventually("the log has both streams", async || {
        lab.log(task).contains("hello") && lab.log(task).contains("there")
    })
    .await;

    let second = lab.connect().await;
    let found = second.list().await.unwrap();
    assert_eq!((found.len(), found[0].task), (1, task));
    assert_eq!(found[0].state, FoundState::Running(running.clone()));
    assert!(Path::new(&format!("/proc/{}", running.pid)).exists());

    let stop = second.signal(task, StopSignal::TERM);
    let (one, other, stopped) = tokio::join!(first.wait(task), second.wait(task), stop);
    stopped.unwrap();
    let exit = one.unwrap();
    assert_eq!((exit.code, exit.oom_killed), (Some(7), false));
    assert_eq!(other.unwrap(), exit);
    assert_eq!(second.wait(task).await.unwrap(), exit);
    assert_eq!(second.list().await.unwrap()[0].state, FoundState::Exited(exit));
    second.signal(task, StopSignal::TERM).await.unwrap();

    second.delete(task).await.unwrap();
    second.delete(task).await.unwrap();
    assert_eq!(lab.ctr(&["snapshots", "ls"]), snapshots_before);
    assert_nothing_left(&lab, task);
    assert!(lab.log(task).contains("hello"), "the log stays");
    assert!(matches!(first.wait(task).await, Err(RuntimeError::NoSuchTask(_))));
    assert!(matches!(first.start(task).await, Err(RuntimeError::NoSuchTask(_))));
    assert_eq!(first.list().await.unwrap(), []);
}

fn assert_nothing_left(lab: &Lab, task: TaskId) {
    assert_eq!(lab.ctr(&["containers", "ls", "-q"]), "");
    assert_eq!(lab.ctr(&["tasks", "ls", "-q"]), "");
    assert_eq!(lab.ctr(&["leases", "ls", "-q"]), "");
    assert_eq!(files_below(&lab.path("state/tasks")), Vec::<std::path::PathBuf>::new());
    assert_eq!(files_below(&lab.path("state/netns")), Vec::<std::path::PathBuf>::new());
    let addresses = files_below(&lab.path("cni"));
    let is_address = |path: &&std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.parse::<std::net::IpAddr>().is_ok()
    };
    assert_eq!(addresses.iter().find(is_address), None);
    let ports = Path::new("/sys/class/net").join(&lab.bridge).join("brif");
    assert_eq!(files_below(&ports), Vec::<std::path::PathBuf>::new());
    assert_eq!(leftover_processes(&lab.path("c.sock")), []);
    assert_nothing_left_of(lab, task);
}

/// Where there are other tasks.
pub fn assert_nothing_left_of(lab: &Lab, task: TaskId) {
    let name = task.to_string();
    for list in [&["containers", "ls", "-q"][..], &["tasks", "ls", "-q"], &["leases", "ls", "-q"]] {
        let listed = lab.ctr(list);
        assert!(!listed.contains(&name), "{list:?}: {listed}");
    }
    assert!(!lab.ctr(&["snapshots", "ls"]).contains(&name));
    let files = files_below(&lab.path("state")).into_iter().chain(files_below(&lab.path("run")));
    let of_task = |path: &std::path::PathBuf| path.display().to_string().contains(&name);
    assert_eq!(files.filter(of_task).collect::<Vec<_>>(), Vec::<std::path::PathBuf>::new());
    let rules = Command::new("iptables-save").output().unwrap().stdout;
    assert!(!String::from_utf8(rules).unwrap().contains(&name));
    assert_eq!(cgroups(task), Vec::<std::path::PathBuf>::new());
    let commands = Command::new("ps").args(["-eo", "args"]).output().unwrap().stdout;
    let commands = String::from_utf8_lossy(&commands).into_owned();
    let shim = commands.lines().find(|line| line.contains("shim") && line.contains(&name));
    assert_eq!(shim, None);
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(&name), "{mounts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_task_can_be_deleted_outright() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let (task, _) = lab.run(&driver, |t| t.args = script("sleep 600 & sleep 600")).await;
    driver.delete(task).await.unwrap();
    assert_nothing_left(&lab, task);
}

/// As after a crash: each time one step further.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_part_of_a_task_exists_is_listed_and_deleted() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let task_dir = |task: TaskId| lab.path("state/tasks").join(task.to_string());

    let files = lab.launch(|_| {}).task;
    fs::create_dir_all(task_dir(files)).unwrap();
    assert_eq!(driver.list().await.unwrap()[0].state, FoundState::Created);
    driver.delete(files).await.unwrap();
    assert_nothing_left(&lab, files);

    // Refused after the snapshot, the namespace and the network were there.
    let launch = lab.launch(|template| template.network = Network::Bridge);
    fs::create_dir_all(task_dir(launch.task).join("hosts")).unwrap();
    driver.create(&launch).await.unwrap_err();
    assert_eq!(driver.list().await.unwrap()[0].state, FoundState::Created);
    assert!(lab.ctr(&["leases", "ls", "-q"]).contains(&launch.task.to_string()));
    driver.delete(launch.task).await.unwrap();
    assert_nothing_left(&lab, launch.task);

    let launch = lab.launch(|template| template.network = Network::Bridge);
    driver.create(&launch).await.unwrap();
    driver.delete(launch.task).await.unwrap();
    assert_nothing_left(&lab, launch.task);

    // The container's record is gone, and the directory is not.
    let (task, _) = lab.run(&driver, |_| {}).await;
    lab.ctr(&["tasks", "kill", "-s", "9", &task.to_string()]);
    driver.wait(task).await.unwrap();
    lab.ctr(&["tasks", "rm", &task.to_string()]);
    lab.ctr(&["containers", "rm", &task.to_string()]);
    assert_eq!(driver.list().await.unwrap()[0].state, FoundState::Created);
    driver.delete(task).await.unwrap();
    assert_nothing_left(&lab, task);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_was_cut_short_is_completed_by_the_next() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let launch = lab.launch(|template| template.network = Network::Bridge);
    let in_the_way = lab.path("state/tasks").join(launch.task.to_string()).join("hosts");
    fs::create_dir_all(&in_the_way).unwrap();
    driver.create(&launch).await.unwrap_err();
    fs::remove_dir(in_the_way).unwrap();
    driver.create(&launch).await.unwrap();
    driver.start(launch.task).await.unwrap();
    driver.delete(launch.task).await.unwrap();
    assert_nothing_left(&lab, launch.task);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_nodes_tasks_are_not_ours() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let (task, _) = lab.run(&driver, |_| {}).await;
    let mut config = lab.config();
    config.node = warren_core::id::NodeId::from_u64(1);
    config.state_dir = lab.path("other");
    let other = warren_containerd::Containerd::connect(config).await.unwrap();
    assert_eq!(other.list().await.unwrap(), []);
    assert!(matches!(other.start(task).await, Err(RuntimeError::NoSuchTask(_))));
    other.delete(task).await.unwrap();
    assert_eq!(driver.list().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_runs_out_of_memory_says_so() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let (task, _) = lab
        .run(&driver, |template| {
            template.memory_bytes = Some(MemoryBytes::new(16 << 20).unwrap());
            template.args = script("exec tail /dev/zero");
        })
        .await;
    let exit = driver.wait(task).await.unwrap();
    assert_eq!((exit.code, exit.oom_killed), (Some(137), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_run_is_refused_with_its_reason() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let refusal = async |launch: warren_runtime::Launch| {
        let refused = match driver.create(&launch).await {
            Ok(()) => driver.start(launch.task).await.map(drop),
            Err(error) => Err(error),
        };
        driver.delete(launch.task).await.unwrap();
        assert_nothing_left(&lab, launch.task);
        match refused.unwrap_err() {
            RuntimeError::Refused(reason) => reason,
            other @ (RuntimeError::Unavailable { .. } | RuntimeError::NoSuchTask(_)) => {
                panic!("{other}")
            }
        }
    };
    let absent = refusal(lab.launch(|t| t.workload = image("absent"))).await;
    assert!(absent.contains("docker.io/library/absent:latest is not on this node"), "{absent}");
    let program = refusal(lab.launch(|t| t.args = vec!["nope".to_owned()])).await;
    assert!(program.contains("\"nope\": executable file not found"), "{program}");
    let user = refusal(lab.launch(|t| {
        t.user = Some(warren_core::spec::User::new("nobody").unwrap());
    }))
    .await;
    assert!(user.contains("no user \"nobody\""), "{user}");
}
