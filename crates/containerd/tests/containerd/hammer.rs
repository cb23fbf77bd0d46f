//! C-76: commands that overrun, again and again. A few dozen here; `make hammer-exec` makes the
//! thousand, by the variable `WARREN_HAMMER_RUNS`.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use futures::future::join_all;
use warren_core::id::TaskId;
use warren_runtime::{ExecEnd, Runtime, RuntimeError};

use crate::lab::{Lab, eventually, shell};

const LIMIT: Duration = Duration::from_millis(200);
/// A machine may be busy with other tests; the distribution says how it was.
const GENEROUS: Duration = Duration::from_secs(5);

pub fn runs() -> usize {
    std::env::var("WARREN_HAMMER_RUNS").map_or(24, |runs| runs.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_overrun_leave_no_process() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let plain = lab.run(&driver, |_| {}).await;
    // A shell takes note of the orphans that end in its container, as an init does, and `sleep`
    // does not.
    let args = || vec!["sh".to_owned(), "-c".to_owned(), "while :; do sleep 1; done".to_owned()];
    let reaping = lab.run(&driver, |task| task.args = args()).await;
    let init = lab.run(&driver, |task| task.init = true).await;
    let tasks = [plain, reaping, init];
    let each = runs().div_ceil(tasks.len());
    let (driver, late) = (&driver, &AtomicUsize::new(0));
    let lanes = tasks.iter().map(async |(task, _)| {
        let mut over = Vec::new();
        for _ in 0..each {
            let begun = Instant::now();
            match driver.exec(*task, &shell("sleep 300 & sleep 300"), None, LIMIT).await {
                Ok(ExecEnd::TimedOut { .. }) => {}
                // The machine was too busy to start it in time; it must end all the same.
                Err(RuntimeError::Unavailable { .. }) => {
                    late.fetch_add(1, Ordering::Relaxed);
                }
                other => panic!("{other:?}"),
            }
            over.push(begun.elapsed().saturating_sub(LIMIT));
        }
        over
    });
    let mut over: Vec<_> = join_all(lanes).await.concat();
    over.sort_unstable();
    let at = |percent: usize| over[(over.len() - 1) * percent / 100];
    println!(
        "{} commands past {LIMIT:?}, {late:?} of them not started by then: returned after {:.1?} \
         (50 %), {:.1?} (90 %), {:.1?} (99 %), {:.1?} (all)",
        over.len(),
        at(50),
        at(90),
        at(99),
        at(100)
    );
    assert!(at(100) < GENEROUS, "{:?}", at(100));
    let [(plain, first), (reaping, shell), (reaped, init)] = &tasks;
    eventually("only the first process is left", async || in_cgroup(*plain) == [first.pid]).await;
    eventually("and where it is a shell, what that runs", async || {
        let left = in_cgroup(*reaping);
        left.contains(&shell.pid) && left.len() <= 2
    })
    .await;
    eventually("nothing is defunct here", async || defunct(std::process::id()) == 0).await;
    eventually("nor in the container of a shell", async || defunct(shell.pid) == 0).await;
    eventually("an init is left with its program", async || {
        let left = in_cgroup(*reaped);
        left.contains(&init.pid) && left.len() == 2
    })
    .await;
    eventually("nor with an init", async || defunct(init.pid) == 0).await;
}

/// Those that run; what has ended is not among them.
pub fn in_cgroup(task: TaskId) -> Vec<u32> {
    let groups = crate::lab::cgroups(task);
    let group = groups.iter().find(|path| path.to_string_lossy().contains("pids"));
    let group = group.or(groups.first()).unwrap();
    let processes = fs::read_to_string(group.join("cgroup.procs")).unwrap();
    processes.lines().map(|pid| pid.parse().unwrap()).collect()
}

/// Children of this process that have ended and that it takes no note of.
pub fn defunct(parent: u32) -> usize {
    let parent = parent.to_string();
    let all = fs::read_dir("/proc").unwrap().flatten();
    let stats = all.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    let is_defunct = |stat: &String| {
        let mut fields =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace();
        fields.next() == Some("Z") && fields.next() == Some(&*parent)
    };
    stats.filter(is_defunct).count()
}
