//! A worker takes up what the one before it left.

use std::{fs, time::Duration};

use tokio::time::sleep;
use warren_core::{
    check::{Checks, Role},
    health::{HealthStatus, Streak},
    node::Driver,
    report::TaskReport,
    spec::StopSignal,
    task::{EndKind, Phase},
    time::Timestamp,
};
use warren_runtime::FoundState;
use warren_worker::{Drivers, WorkerFault};

use crate::support::{
    OTHER, TASK, World, assignment, both, failures_of, has_ended, how, is, is_ready, is_running,
    liveness,
    runtime::{Finds, NOBODY, Step, Trouble, running},
    stopping, timing,
};

/// The first report after a restart.
async fn restarted(world: &mut World, meanwhile: impl FnOnce(&World)) -> TaskReport {
    world.stop().await;
    meanwhile(world);
    let before = world.manager.count();
    world.start();
    world.manager.report_after(before, TASK, |_| true).await
}

#[tokio::test(start_paused = true)]
async fn tasks_outlive_the_worker_and_are_adopted_as_they_are() {
    let mut world = World::running(liveness(timing())).await;
    let before = world.manager.report(TASK, is_ready).await;
    let after = restarted(&mut world, |world| {
        assert!(matches!(world.runtime.found(TASK), Some(FoundState::Running(_))));
    })
    .await;
    assert_eq!(world.manager.hello(2).await.epoch, 2);
    assert_eq!(after.status.started_at, before.status.started_at);
    assert_eq!((after.status.phase.clone(), is_ready(&after)), (Phase::Running, true));
    assert_eq!(after.health.unwrap().since, before.health.unwrap().since);
    let attempts = world.runtime.execs().len();
    world.runtime.until(|runtime| runtime.execs().len() > attempts + 2).await;
    assert_eq!(world.runtime.steps(TASK), [Step::Create, Step::Start], "nothing was done to it");
}

#[tokio::test(start_paused = true)]
async fn files_that_a_killed_worker_left_are_removed_and_logs_of_held_tasks_are_not() {
    let mut world = World::running(Checks::NONE).await;
    world.write_log(TASK, &["kept"]);
    let older = world.log(TASK).with_extension("log.1");
    let file = |name: &str| world.log(TASK).with_file_name(name);
    let (forgotten, archive) = (world.log(OTHER), file("import-Ab12"));
    let (part, other) = (forgotten.with_extension("log.2"), file("notes.log"));
    for path in [&older, &forgotten, &part, &archive, &other] {
        fs::write(path, "x").unwrap();
    }
    restarted(&mut world, |_| ()).await;
    let are_there =
        |paths: &[&std::path::PathBuf]| paths.iter().map(|path| path.exists()).collect::<Vec<_>>();
    assert_eq!(are_there(&[&world.log(TASK), &older, &other]), [true; 3]);
    assert_eq!(are_there(&[&forgotten, &part, &archive]), [false; 3]);
}

#[tokio::test(start_paused = true)]
async fn failures_before_a_restart_count_after_it() {
    let mut world = World::running(both(timing())).await;
    world.manager.report(TASK, is_ready).await;
    world.runtime.find(Finds::Bad);
    let good = world.runtime.execs().len();
    world.runtime.until(|runtime| runtime.execs().len() == good + 2).await;
    // The second attempt takes ten milliseconds.
    sleep(Duration::from_millis(100)).await;
    let after = restarted(&mut world, |_| ()).await;
    assert_eq!(failures_of(&after, Role::Liveness), Streak::Failures(2));
    assert!(is(HealthStatus::Healthy)(&after) && is_ready(&after));
    let seen = world.manager.count();
    let out = world.manager.report_after(seen, TASK, |report| !is_ready(report)).await;
    assert_eq!(failures_of(&out, Role::Readiness), Streak::Failures(3));
    assert_eq!(world.runtime.execs().len(), good + 3);
    // Liveness is as patient as ever, since it cannot know how long ago the first failure was.
    world.manager.report(TASK, is(HealthStatus::Unhealthy)).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_gone_after_a_restart_is_lost_and_not_started_again() {
    let mut world = World::running(liveness(timing())).await;
    world.manager.report(TASK, is_ready).await;
    restarted(&mut world, |world| world.runtime.lose(TASK)).await;
    let ended = world.manager.report(TASK, has_ended).await;
    assert_eq!(how(&ended), (EndKind::Lost, None));
    assert!(is(HealthStatus::Unhealthy)(&ended) && !is_ready(&ended));
    assert_eq!(world.runtime.count(TASK, Step::Start), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_task_that_ran_is_removed_and_never_started_again() {
    let mut world = World::running(Checks::NONE).await;
    restarted(&mut world, |world| world.runtime.put(TASK, FoundState::Created)).await;
    let ended = world.manager.report(TASK, has_ended).await;
    assert_eq!(how(&ended), (EndKind::Lost, None));
    assert_eq!(world.runtime.count(TASK, Step::Start), 1);
    assert_eq!(world.runtime.found(TASK), None);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_exited_meanwhile_has_ended_as_it_did_and_is_unhealthy() {
    let mut world = World::running(liveness(timing())).await;
    world.manager.report(TASK, is_ready).await;
    restarted(&mut world, |world| world.runtime.exit(TASK, 9)).await;
    let ended = world.manager.report(TASK, has_ended).await;
    assert_eq!(how(&ended), (EndKind::Exited, Some(9)));
    assert!(is(HealthStatus::Unhealthy)(&ended) && !is_ready(&ended));
    assert_eq!(world.runtime.found(TASK), None);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_was_created_is_started() {
    let mut world = World::new();
    world.runtime.set_trouble(Step::Start, Trouble::Hangs);
    world.manager.assign([assignment(TASK, Checks::NONE)]);
    world.runtime.until(|runtime| runtime.count(TASK, Step::Start) == 1).await;
    assert_eq!(world.runtime.found(TASK), Some(FoundState::Created));
    restarted(&mut world, |world| world.runtime.end_trouble()).await;
    world.manager.report(TASK, is_running).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_started_while_the_worker_died_is_adopted() {
    let mut world = World::new();
    world.runtime.set_trouble(Step::Start, Trouble::Hangs);
    world.manager.assign([assignment(TASK, Checks::NONE)]);
    world.runtime.until(|runtime| runtime.count(TASK, Step::Start) == 1).await;
    let started_at = Timestamp::from_millis(1_700_000_000_000);
    restarted(&mut world, |world| {
        world.runtime.put(TASK, FoundState::Running(running(started_at)));
    })
    .await;
    let adopted = world.manager.report(TASK, is_running).await;
    assert_eq!(adopted.status.started_at, Some(started_at));
    assert_eq!(world.runtime.count(TASK, Step::Start), 1);
}

#[tokio::test(start_paused = true)]
async fn without_the_manager_a_worker_goes_on_all_the_same() {
    let mut world = World::running(liveness(timing())).await;
    world.manager.go_offline();
    world.stop().await;
    world.start();
    let attempts = world.runtime.execs().len();
    world.runtime.until(|runtime| runtime.execs().len() > attempts + 2).await;
    world.runtime.exit(TASK, 4);
    world.runtime.until(|runtime| runtime.found(TASK).is_none()).await;
    world.manager.go_online();
    let ended = world.manager.report(TASK, has_ended).await;
    assert_eq!(how(&ended), (EndKind::Exited, Some(4)));
}

#[tokio::test(start_paused = true)]
async fn how_a_task_ended_is_on_disk_before_the_runtime_forgets_it() {
    let mut world = World::running(Checks::NONE).await;
    world.manager.go_offline();
    world.runtime.set_trouble(Step::Delete, Trouble::Hangs);
    world.runtime.exit(TASK, 3);
    world.runtime.until(|runtime| runtime.count(TASK, Step::Delete) == 1).await;
    // Killed now: what it writes later was never written.
    let then = fs::read(world.state_file()).unwrap();
    world.stop().await;
    fs::write(world.state_file(), then).unwrap();
    world.runtime.lose(TASK);
    world.runtime.end_trouble();
    world.manager.go_online();
    world.start();
    let ended = world.manager.report(TASK, has_ended).await;
    assert_eq!(how(&ended), (EndKind::Exited, Some(3)));
}

#[tokio::test(start_paused = true)]
async fn what_runs_is_in_the_state_file() {
    let mut world = World::new();
    world.runtime.set_trouble(Step::EnsureImage, Trouble::Hangs);
    world.manager.assign([assignment(TASK, Checks::NONE)]);
    let asked = Step::EnsureImage;
    world.runtime.until(|runtime| runtime.count(NOBODY, asked) == 1).await;
    let then = fs::read(world.state_file()).unwrap();
    world.stop().await;
    fs::write(world.state_file(), then).unwrap();
    world.manager.go_offline();
    world.runtime.end_trouble();
    world.start();
    world.runtime.until(|runtime| runtime.count(TASK, Step::Start) == 1).await;
}

#[tokio::test(start_paused = true)]
async fn leftovers_of_a_task_that_has_ended_are_removed() {
    let mut world = World::running(Checks::NONE).await;
    world.runtime.set_trouble(Step::Delete, Trouble::Unavailable);
    world.runtime.exit(TASK, 3);
    world.manager.report(TASK, has_ended).await;
    let after = restarted(&mut world, |world| world.runtime.end_trouble()).await;
    assert_eq!(how(&after), (EndKind::Exited, Some(3)));
    world.runtime.until(|runtime| runtime.found(TASK).is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_was_being_stopped_goes_on_being_stopped() {
    let mut world = World::running(liveness(timing())).await;
    world.manager.report(TASK, is_ready).await;
    world.runtime.make_deaf(TASK);
    world.manager.assign([stopping(assignment(TASK, liveness(timing())))]);
    world.manager.report(TASK, |report| report.status.phase == Phase::Stopping).await;
    let before = world.manager.count();
    let attempts = world.runtime.execs().len();
    let after = restarted(&mut world, |_| ()).await;
    assert!(!is_ready(&after));
    let ended = world.manager.report(TASK, has_ended).await;
    assert_eq!(how(&ended), (EndKind::Stopped, Some(137)));
    assert!(!world.manager.reports(TASK)[before..].iter().any(is_running));
    assert_eq!(world.runtime.execs().len(), attempts, "nobody looks any more");
    assert_eq!(world.runtime.count(TASK, Step::Signal(StopSignal::TERM)), 2);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_assigned_is_kept_until_the_manager_has_spoken() {
    let mut world = World::without_worker();
    world.manager.go_offline();
    world.runtime.put(TASK, FoundState::Running(running(Timestamp::EPOCH)));
    world.runtime.put(OTHER, FoundState::Running(running(Timestamp::EPOCH)));
    world.write_log(OTHER, &["hello"]);
    world.start();
    sleep(Duration::from_mins(5)).await;
    assert!(world.runtime.found(TASK).is_some() && world.runtime.found(OTHER).is_some());

    world.manager.assign([assignment(TASK, Checks::NONE)]);
    world.manager.go_online();
    let adopted = world.manager.report(TASK, is_running).await;
    assert_eq!(adopted.status.started_at, Some(Timestamp::EPOCH));
    assert_eq!(world.runtime.steps(TASK), []);
    world.runtime.until(|runtime| runtime.found(OTHER).is_none()).await;
    world.manager.heartbeats(1).await;
    assert!(!world.log(OTHER).exists());
}

/// C-72.
#[tokio::test(start_paused = true)]
async fn a_worker_ends_the_commands_that_were_left_before_it_does_anything_else() {
    let mut world = World::running(Checks::NONE).await;
    assert_eq!(world.runtime.count(NOBODY, Step::EndCommands), 1);
    world.stop().await;
    world.runtime.set_trouble(Step::EndCommands, Trouble::Hangs);
    world.start();
    world.runtime.until(|runtime| runtime.count(NOBODY, Step::EndCommands) == 2).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(world.runtime.count(NOBODY, Step::List), 1);
    world.runtime.end_trouble();
    world.runtime.until(|runtime| runtime.count(NOBODY, Step::List) == 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_does_not_start_while_a_runtime_cannot_say_what_it_holds() {
    let mut world = World::running(Checks::NONE).await;
    world.stop().await;
    world.runtime.set_trouble(Step::List, Trouble::Unavailable);
    world.start();
    assert!(matches!(world.ended().await, Err(WorkerFault::Runtime(_))));
    world.start_with(Drivers::new([]));
    let fault = world.ended().await;
    assert!(matches!(fault, Err(WorkerFault::NoDriver(Driver::Containerd))), "{fault:?}");
    assert!(world.runtime.found(TASK).is_some());

    world.runtime.end_trouble();
    world.start();
    world.manager.hello(2).await;
    assert!(!world.manager.reports(TASK).iter().any(has_ended));
}

#[tokio::test(start_paused = true)]
async fn a_node_without_the_driver_says_that_a_task_cannot_start() {
    let mut world = World::without_worker();
    world.start_with(Drivers::new([]));
    world.manager.assign([assignment(TASK, Checks::NONE)]);
    let ended = world.manager.report(TASK, has_ended).await;
    assert_eq!(how(&ended), (EndKind::NotStarted, None));
}
