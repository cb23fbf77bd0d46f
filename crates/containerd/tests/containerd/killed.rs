//! A worker that is killed while it creates tasks, or while commands run in them: the next one
//! takes them up, and they run.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use futures::future::join_all;
use warren_containerd::Containerd;
use warren_core::{id::TaskId, spec::Network};
use warren_runtime::{FoundState, Launch, Root, Running, Runtime, RuntimeError};

use crate::{
    exec::fifos,
    hammer::in_cgroup,
    lab::{Lab, output, shell},
    lifecycle::assert_nothing_left_of,
};

const CHILD: &str = "WARREN_CONTAINERD_TEST_CHILD";
/// How often it is killed, for those who want to be surer than every test run needs to be.
const KILLS: &str = "WARREN_TEST_KILLS";
const KILLS_USUALLY: u32 = 10;
/// Created side by side, as those of a service are.
const TASKS: usize = 4;

#[tokio::test]
#[ignore = "the next test runs it as a process of its own and kills it"]
async fn child_that_creates_tasks_and_may_be_killed_meanwhile() {
    let (lab, driver, tasks) = begin().await;
    join_all(tasks.into_iter().map(|task| run(&lab, &driver, task))).await;
    std::process::exit(0);
}

/// In the process that is killed. From here on it may be at any moment.
async fn begin() -> (Lab, Containerd, Vec<TaskId>) {
    let (lab, tasks) = Lab::of_parent(&env::var(CHILD).unwrap());
    let driver = lab.connect().await;
    println!("\nbegins");
    std::io::stdout().flush().unwrap();
    (lab, driver, tasks)
}

/// As the worker does: what is unavailable is asked again.
async fn run(lab: &Lab, driver: &Containerd, task: TaskId) -> Running {
    let launch = Launch { task, ..lab.launch(|template| template.network = Network::Bridge) };
    patiently(async || driver.create(&launch).await).await;
    patiently(async || driver.start(task).await).await
}

async fn patiently<T>(mut call: impl AsyncFnMut() -> Result<T, RuntimeError>) -> T {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        match call().await {
            Ok(done) => return done,
            Err(error @ RuntimeError::Unavailable { .. }) => {
                assert!(Instant::now() < deadline, "it never came to work: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => panic!("it failed for good: {error}"),
        }
    }
}

fn create_and_kill(lab: &Lab, tasks: &[TaskId], after: Duration) -> Duration {
    run_and_kill("child_that_creates_tasks_and_may_be_killed_meanwhile", lab, tasks, after)
}

/// Runs the child and kills it after so long, unless it has ended by itself. How long it took.
fn run_and_kill(child: &str, lab: &Lab, tasks: &[TaskId], after: Duration) -> Duration {
    let name = format!("killed::{child}");
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", &name]);
    child.args(["--ignored", "--nocapture"]).env(CHILD, lab.for_child(tasks));
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "begins"), "the child begins");
    let begun = Instant::now();
    while begun.elapsed() < after && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    // It may have ended already.
    child.kill().unwrap_or_default();
    child.wait().unwrap();
    begun.elapsed()
}

async fn take_up(lab: &Lab, driver: &Containerd, found: Option<FoundState>, task: TaskId) {
    let running = match found {
        Some(FoundState::Running(running)) => running,
        Some(FoundState::Created | FoundState::Exited(_)) | None => run(lab, driver, task).await,
    };
    assert!(Path::new(&format!("/proc/{}", running.pid)).exists());
    assert_eq!(output(driver, task, "ip -4 addr show eth0 | grep -c inet").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_whose_worker_is_killed_while_it_creates_them_run_all_the_same() {
    let Some((lab, _)) = Lab::with_image().await else { return };
    let kills = env::var(KILLS).map_or(KILLS_USUALLY, |kills| kills.parse().unwrap());
    let fresh = || -> Vec<TaskId> { (0..TASKS).map(|_| lab.launch(|_| {}).task).collect() };
    // The first time unpacks the image; how long the second one takes is what the others take.
    let mut whole = Duration::ZERO;
    for _ in 0..2 {
        whole = create_and_kill(&lab, &fresh(), Duration::from_mins(1));
    }
    println!("killing {kills} times within {whole:?}");
    for kill in 0..kills {
        let tasks = fresh();
        // Evenly over the whole of it, in an order without pattern.
        create_and_kill(&lab, &tasks, whole * (kill * 7 % kills) / kills);
        let driver = lab.connect().await;
        let found = driver.list().await.unwrap();
        let state = |task| found.iter().find(|found| found.task == task).map(|f| f.state.clone());
        join_all(tasks.iter().map(|task| take_up(&lab, &driver, state(*task), *task))).await;
        for task in tasks {
            patiently(async || driver.delete(task).await).await;
            assert_nothing_left_of(&lab, task);
        }
    }
}

#[tokio::test]
#[ignore = "the next test runs it as a process of its own and kills it"]
async fn child_that_runs_commands_and_is_killed_meanwhile() {
    let (_lab, driver, tasks) = begin().await;
    // One that hangs, as a check may, and others that come again and again.
    let commands = tasks.into_iter().enumerate().map(async |(number, task)| {
        let command = shell(if number == 0 { HANGS } else { "true" });
        while driver.exec(task, &command, None, Duration::from_hours(1)).await.is_ok() {}
    });
    join_all(commands).await;
}

const HANGS: &str = "sleep 7777 & setsid sleep 7777 & sleep 7777; :";

/// C-72, C-75, C-76 and C-122.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_leaves_no_command_and_no_task_that_is_deaf() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let mut tasks = Vec::new();
    for _ in 0..TASKS {
        tasks.push(lab.run(&driver, |_| {}).await);
    }
    let ids: Vec<TaskId> = tasks.iter().map(|(task, _)| *task).collect();
    let kills = env::var(KILLS).map_or(KILLS_USUALLY, |kills| kills.parse().unwrap());
    for kill in 0..kills {
        let after = Duration::from_millis(u64::from(200 + kill * 37 % 100));
        run_and_kill("child_that_runs_commands_and_is_killed_meanwhile", &lab, &ids, after);
        let driver = lab.connect().await;
        let asked = Instant::now();
        driver.end_commands().await;
        let found = driver.list().await.unwrap();
        println!("found all after {:.1?}", asked.elapsed());
        for (task, running) in &tasks {
            let state = found.iter().find(|found| found.task == *task).map(|found| &found.state);
            assert_eq!(state, Some(&FoundState::Running(running.clone())));
            // What a file check looks into.
            let root = Root::of(running.reach.root_of);
            assert!(root.read("/etc/passwd", 1000).unwrap().contains("root"));
            // The next command comes when the last one is dead.
            assert_eq!(output(&driver, *task, "ps | grep -c '[7]777'; :").await, "0");
            assert_eq!(in_cgroup(*task), [running.pid]);
        }
        driver.settle().await;
        for task in &ids {
            assert_eq!(fifos(&lab, *task), 0);
        }
    }
}
