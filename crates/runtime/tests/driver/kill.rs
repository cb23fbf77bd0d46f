//! Nothing of a task is left when it ends, however it hides.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use warren_core::{id::TaskId, spec::StopSignal};
use warren_runtime::{FoundState, Runtime};

use crate::support::{Bench, kill9, processes_of, stat, trials, until};

trials!(
    kill_reaches_processes_in_sessions_of_their_own,
    what_the_first_process_leaves_behind_ends_with_it,
    a_task_whose_supervisor_is_killed_ends_without_a_code,
    a_supervisor_outlives_a_polite_signal_and_its_task_does_not,
    delete_ends_all_of_a_running_task,
    a_process_without_its_environment_is_found_by_its_session,
);

/// Six processes, some orphaned and away in sessions of their own.
const FAMILY: &str = "setsid sleep 300 & (setsid sh -c 'sleep 300 & wait' &) ; \
                      trap '' TERM; sleep 300 & echo ready; wait; wait; sleep 300";

async fn family(bench: &Bench) -> TaskId {
    let task = bench.start(FAMILY).await;
    bench.until_log_has(task, "ready").await;
    until(|| processes_of(task).len() == 5).await;
    task
}

async fn kill_reaches_processes_in_sessions_of_their_own() {
    let bench = Bench::new();
    let task = family(&bench).await;
    bench.driver().signal(task, StopSignal::KILL).await.unwrap();
    assert_eq!(processes_of(task), [0_u32; 0]);
    assert_eq!(bench.driver().wait(task).await.unwrap().code, Some(137));
}

async fn what_the_first_process_leaves_behind_ends_with_it() {
    let bench = Bench::new();
    let task = bench.start("setsid sleep 300 & (sleep 300 &); exit 3").await;
    assert_eq!(bench.driver().wait(task).await.unwrap().code, Some(3));
    assert_eq!(processes_of(task), [0_u32; 0]);
}

async fn a_task_whose_supervisor_is_killed_ends_without_a_code() {
    let mut bench = Bench::new();
    for adopt in [false, true] {
        let task = family(&bench).await;
        let running = bench.driver().start(task).await.unwrap();
        let (_, supervisor) = stat(running.pid).unwrap();
        kill9(supervisor);
        if adopt {
            bench.replace_driver();
            while is_listed_as_running(&bench, task).await {
                tokio::task::yield_now().await;
            }
        }
        let exit = bench.driver().wait(task).await.unwrap();
        assert_eq!((exit.code, processes_of(task)), (None, vec![]));
        assert_eq!(bench.driver().wait(task).await.unwrap(), exit);
    }
}

async fn a_supervisor_outlives_a_polite_signal_and_its_task_does_not() {
    let bench = Bench::new();
    let task = bench.start("exec sleep 300").await;
    let running = bench.driver().start(task).await.unwrap();
    let (_, supervisor) = stat(running.pid).unwrap();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        kill(Pid::from_raw(supervisor.try_into().unwrap()), signal).unwrap();
    }
    kill(Pid::from_raw(running.pid.try_into().unwrap()), Signal::SIGINT).unwrap();
    // Its supervisor took note.
    assert_eq!(bench.driver().wait(task).await.unwrap().code, Some(130));
}

async fn is_listed_as_running(bench: &Bench, task: TaskId) -> bool {
    let found = bench.driver().list().await.unwrap();
    match found.into_iter().find(|found| found.task == task).unwrap().state {
        FoundState::Running(_) => true,
        FoundState::Exited(exit) if exit.code.is_none() => false,
        state @ (FoundState::Created | FoundState::Exited(_)) => panic!("{state:?}"),
    }
}

async fn delete_ends_all_of_a_running_task() {
    let bench = Bench::new();
    let task = family(&bench).await;
    bench.driver().delete(task).await.unwrap();
    assert_eq!(processes_of(task), [0_u32; 0]);
    assert_eq!(bench.driver().list().await.unwrap(), []);
}

async fn a_process_without_its_environment_is_found_by_its_session() {
    let bench = Bench::new();
    let task = bench.start("(exec env -i sleep 31415 &) ; echo ready; exec sleep 300").await;
    bench.until_log_has(task, "ready").await;
    let running = bench.driver().start(task).await.unwrap();
    let (_, supervisor) = stat(running.pid).unwrap();
    let mut orphan = None;
    until(|| {
        let children = format!("/proc/{supervisor}/task/{supervisor}/children");
        let children = std::fs::read_to_string(children).unwrap();
        let pids = children.split_whitespace().map(|pid| pid.parse::<u32>().unwrap());
        orphan = pids.into_iter().find(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line == b"sleep\x0031415\0"
        });
        orphan.is_some()
    })
    .await;
    kill9(supervisor);
    assert_eq!(bench.driver().wait(task).await.unwrap().code, None);
    assert!(!crate::support::is_alive(orphan.unwrap()));
}
