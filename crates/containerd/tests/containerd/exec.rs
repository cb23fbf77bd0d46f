//! Commands in tasks.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use warren_core::{
    check::Command,
    id::TaskId,
    spec::{EnvVar, TaskTemplate, User},
};
use warren_runtime::{ExecEnd, Output, Runtime, RuntimeError};

use crate::lab::{Lab, command, eventually, output, shell, words};

const PATIENT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_command_gives_its_code_and_both_streams() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let (task, _) = lab.run(&driver, |_| {}).await;
    let end =
        driver.exec(task, &shell("echo out; echo err >&2; exit 3"), None, PATIENT).await.unwrap();
    let ExecEnd::Exited { code: 3, output: Output { shown: text, .. } } = end else {
        panic!("{end:?}")
    };
    assert!(text.contains("out\n") && text.contains("err\n"), "{text:?}");
    let silent = driver.exec(task, &command("true"), None, PATIENT).await.unwrap();
    assert_eq!(silent, ExecEnd::Exited { code: 0, output: Output::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_as_the_task_does() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let (task, _) = lab
        .run(&driver, |template| {
            template.user = Some(User::new("app").unwrap());
            template.env = vec![warren_core::spec::EnvVar::new("COLOUR", "red").unwrap()];
            template.workdir = Some(warren_core::spec::AbsolutePath::new("/tmp").unwrap());
        })
        .await;
    let text =
        output(&driver, task, "id -u; id -G; pwd; echo $COLOUR; cat /proc/self/status").await;
    assert!(text.starts_with("1000\n1001 50 51\n/tmp\nred\n"), "{text}");
    assert!(text.contains("NoNewPrivs:\t1"), "{text}");
    assert!(text.contains("CapBnd:\t00000000a80425fb"), "{text}");
    assert!(text.contains("CapEff:\t0000000000000000"), "{text}");
}

/// C-72 and C-76.
#[tokio::test(flavor = "multi_thread")]
async fn past_its_time_a_command_is_killed_with_all_that_it_started() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let (task, _) = lab.run(&driver, |_| {}).await;
    let began = Instant::now();
    let limit = Duration::from_millis(700);
    // In sessions of their own too, and as orphans.
    for text in [
        "echo begun; sleep 300 & sleep 300",
        "echo begun; setsid sleep 300 & sleep 300",
        "echo begun; trap '' TERM; setsid sh -c '(setsid sleep 300 &) ; sleep 300' & sleep 300; :",
    ] {
        let end = driver.exec(task, &shell(text), None, limit).await.unwrap();
        assert_eq!(end, ExecEnd::TimedOut { output: Output::from("begun\n") });
        assert_eq!(processes(task).len(), 1, "only the task's own process is left");
    }
    assert!(began.elapsed() < 3 * limit + Duration::from_secs(5), "{:?}", began.elapsed());
    eventually("no FIFO is left", async || fifos(&lab, task) == 0).await;
    assert_eq!(output(&driver, task, "echo alive").await, "alive");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_stays_behind_does_not_hold_up_the_answer() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let (task, _) = lab.run(&driver, |_| {}).await;
    let began = Instant::now();
    let end = driver.exec(task, &shell("sleep 300 & echo done"), None, PATIENT).await.unwrap();
    assert_eq!(end, ExecEnd::Exited { code: 0, output: Output::from("done\n") });
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn however_much_a_command_writes_its_ends_are_kept() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let (task, _) = lab.run(&driver, |_| {}).await;
    let much = shell("echo first; yes | head -c 5000000; echo last");
    let end = driver.exec(task, &much, None, PATIENT).await.unwrap();
    let ExecEnd::Exited { code: 0, output: Output { shown: text, .. } } = end else {
        panic!("{end:?}")
    };
    assert!(text.len() <= Output::MAX, "{}", text.len());
    assert!(text.starts_with("first\n") && text.ends_with("last\n"), "{text}");

    let before = memory();
    let endless = driver.exec(task, &command("yes"), None, Duration::from_secs(2)).await.unwrap();
    let ExecEnd::TimedOut { output: Output { shown: text, .. } } = endless else {
        panic!("{endless:?}")
    };
    assert!(text.len() <= Output::MAX && text.starts_with("y\ny\n"), "{text}");
    let grown = memory().saturating_sub(before);
    assert!(grown < 20_000, "memory grew by {grown} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_cannot_be_run_says_why() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let (task, _) = lab.run(&driver, |_| {}).await;
    for (text, expected) in [
        ("nope", "executable file not found"),
        ("/bin/nope", "no such file or directory"),
        ("/etc/passwd", "permission denied"),
        ("/etc", "permission denied"),
    ] {
        let end = driver.exec(task, &command(text), None, PATIENT).await.unwrap();
        let ExecEnd::NotRun { reason } = end else { panic!("{text}: {end:?}") };
        assert!(reason.contains(expected) && reason.contains(text), "{reason}");
    }
    eventually("no FIFO is left", async || fifos(&lab, task) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_running_task_there_is_no_command() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let gone = TaskId::from_u64(1);
    let error = driver.exec(gone, &command("true"), None, PATIENT).await.unwrap_err();
    assert!(matches!(error, RuntimeError::NoSuchTask(_)), "{error}");
    let (task, _) = lab.run(&driver, |_| {}).await;
    driver.exec(task, &command("true"), None, PATIENT).await.unwrap();
    driver.delete(task).await.unwrap();
    let error = driver.exec(task, &command("true"), None, PATIENT).await.unwrap_err();
    assert!(matches!(error, RuntimeError::NoSuchTask(_)), "{error}");
    let (task, _) = lab.run(&driver, |template| template.args = words("true")).await;
    driver.wait(task).await.unwrap();
    let error = driver.exec(task, &command("true"), None, PATIENT).await.unwrap_err();
    assert!(matches!(error, RuntimeError::NoSuchTask(_)), "{error}");
}

/// C-9, C-74 and C-76. Long before its own deadline, and never beside the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_goes_away_leaves_no_command_behind() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let (task, _) = lab.run(&driver, |_| {}).await;
    let limit = Duration::from_hours(1);
    let command = shell("sleep 7777 & setsid sleep 7777 & sleep 7777; :");
    for _ in 0..3 {
        let running = eventually("it runs", async || processes(task).len() == 5);
        tokio::select! {
            end = driver.exec(task, &command, None, limit) => panic!("{end:?}"),
            () = running => {}
        }
        // The next one comes when the last one is dead.
        assert_eq!(output(&driver, task, "ps | grep -c '[7]777'; :").await, "0");
        assert_eq!(processes(task).len(), 1);
    }
    driver.settle().await;
    assert_eq!(fifos(&lab, task), 0);
}

/// Whenever it is called off.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_called_off_before_it_has_begun_ends_too() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let (task, _) = lab.run(&driver, |_| {}).await;
    let command = shell("sleep 7777");
    for millis in [0, 1, 2, 5, 10, 15, 20, 25, 30, 40] {
        let exec = driver.exec(task, &command, None, Duration::from_hours(1));
        assert!(tokio::time::timeout(Duration::from_millis(millis), exec).await.is_err());
    }
    driver.settle().await;
    assert_eq!((processes(task).len(), fifos(&lab, task)), (1, 0));
}

/// Of this process, in KiB.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

pub fn fifos(lab: &Lab, task: TaskId) -> usize {
    let dir = lab.path("state/tasks").join(task.to_string());
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("exec-")).count()
}

/// Those in the task's cgroup.
fn processes(task: TaskId) -> Vec<String> {
    let groups = crate::lab::cgroups(task);
    let group =
        groups.iter().find(|path| path.to_string_lossy().contains("pids")).or(groups.first());
    let processes = fs::read_to_string(group.unwrap().join("cgroup.procs")).unwrap();
    processes.lines().map(str::to_owned).collect()
}

/// C-117 and C-118.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_has_the_tasks_variables_and_the_user_that_it_names() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let add = |template: &mut TaskTemplate| {
        template.env = vec![EnvVar::new("COLOUR", "deep blue").unwrap()];
    };
    let (task, _) = lab.run(&driver, add).await;
    let run = async |command: &Command, user: Option<&str>| {
        let user = user.map(|user| User::new(user).unwrap());
        driver.exec(task, command, user.as_ref(), PATIENT).await.unwrap()
    };
    let said =
        |text: &str| ExecEnd::Exited { code: 0, output: Output::from(&*format!("{text}\n")) };
    let words = ["echo", "$(COLOUR)", "$$(COLOUR)", "$(NOWHERE)"].map(str::to_owned).to_vec();
    let words = Command::argv(words).unwrap();
    assert_eq!(run(&words, None).await, said("deep blue $(COLOUR) $(NOWHERE)"));
    assert_eq!(run(&shell("echo $(echo $COLOUR)"), None).await, said("deep blue"));
    assert_eq!(run(&shell("id -u; id -g"), Some("123:456")).await, said("123\n456"));
    // By a name that the task itself has made since it began.
    run(&shell("echo 'late:x:77:88::/:/bin/sh' >>/etc/passwd"), None).await;
    assert_eq!(run(&shell("id -u; id -g"), Some("late")).await, said("77\n88"));
    let reason = "the image's /etc/passwd has no user \"nope\"".to_owned();
    assert_eq!(run(&shell("id"), Some("nope")).await, ExecEnd::NotRun { reason });
    // And no link of the task's leads to the users of the node.
    run(&shell("ln -sf /proc/1/root/../../etc/passwd /etc/passwd"), None).await;
    let end = run(&shell("id"), Some("daemon")).await;
    assert!(matches!(end, ExecEnd::NotRun { .. }), "{end:?}");
}

/// C-118 and C-122: a file system that hangs holds up its own task, one thread and nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_users_cannot_be_read_has_one_look_at_a_time_and_a_deadline() {
    if !Path::new("/dev/fuse").exists() {
        eprintln!("SKIPPED: needs /dev/fuse, for a file system that hangs");
        return;
    }
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let (task, running) = lab.run(&driver, |_| {}).await;
    let user = User::new("app").unwrap();
    let limit = Duration::from_millis(500);
    let run = async || driver.exec(task, &command("true"), Some(&user), limit).await;
    let end = driver.exec(task, &command("true"), Some(&user), PATIENT).await.unwrap();
    assert_eq!(end, ExecEnd::Exited { code: 0, output: Output::default() });

    let hangs = hang(running.pid, "/etc");
    let error = run().await.unwrap_err().to_string();
    assert!(error.contains("the task's users were not read in time"), "{error}");
    // Again and again, and no look beside the first one.
    for _ in 0..3 {
        let patient = driver.exec(task, &command("true"), Some(&user), PATIENT).await;
        let error = patient.unwrap_err().to_string();
        assert!(error.contains("the last look at the task's users has not ended"), "{error}");
    }
    drop(hangs);
    eventually("the look ends when its file system does", async || {
        matches!(run().await, Ok(ExecEnd::NotRun { .. }))
    })
    .await;
}

/// Mounts a file system over the directory of a container that answers nothing until it is dropped.
fn hang(pid: u32, dir: &str) -> fs::File {
    let fuse = fs::File::options().read(true).write(true).open("/dev/fuse").unwrap();
    let mount = ["mount", "-t", "fuse", "-o", "fd=0,rootmode=40000,user_id=0,group_id=0", "none"];
    let mut nsenter = std::process::Command::new("nsenter");
    nsenter.args(["-m", "-t", &pid.to_string(), "/bin/busybox"]).args(mount).arg(dir);
    assert!(nsenter.stdin(fuse.try_clone().unwrap()).status().unwrap().success());
    fuse
}
