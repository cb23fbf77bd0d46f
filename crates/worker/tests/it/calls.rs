//! What the manager asks a worker besides its reports.

use std::time::Duration;

use tokio::time::sleep;
use tonic::Code;
use warren_core::check::{Checks, Role};
use warren_proto::v1::{self as pb, call::Ask, call_output::Output};

use crate::support::{
    OTHER, TASK, World, append_log, assignment, both, has_ended, is_ready, next_millisecond, now,
    runtime::{Step, Trouble},
    stopping, timing,
};

fn logs(task: warren_core::id::TaskId, follow: bool) -> Ask {
    Ask::Logs(pb::LogsCall { task_id: task.to_string(), tail: None, follow })
}

fn observe_all() -> Ask {
    Ask::Observe(pb::ObserveCall { task_ids: Vec::new() })
}

fn lines(outputs: &[Output]) -> Vec<String> {
    let line = |output: &Output| {
        let Output::Log(line) = output else { panic!("{output:?}") };
        String::from_utf8(line.line.clone()).unwrap()
    };
    outputs.iter().map(line).collect()
}

fn failure(outputs: &[Output]) -> Code {
    match outputs {
        [.., Output::Failure(failure)] => Code::from(failure.code),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_observation_shows_the_last_attempts_and_the_next_one() {
    let world = World::running(both(timing())).await;
    world.manager.report(TASK, is_ready).await;
    world.runtime.until(|runtime| runtime.execs().len() == 3).await;
    // The third attempt takes ten milliseconds.
    sleep(Duration::from_millis(100)).await;
    let call = world.manager.ask(observe_all());
    let outputs = world.manager.answer(call).await;
    let [Output::Observation(observation)] = &outputs[..] else {
        panic!("{outputs:?}");
    };
    assert_eq!(observation.task_id, TASK.to_string());
    let roles: Vec<_> = observation.attempts.iter().map(pb::RoleAttempts::role).collect();
    assert_eq!(roles, [pb::Role::from(Role::Liveness), pb::Role::from(Role::Readiness)]);
    for role in &observation.attempts {
        assert_eq!(role.attempts.len(), 3);
        assert_eq!(role.attempts[0].message, "fine");
    }
    next_millisecond();
    let call = world
        .manager
        .ask(Ask::Observe(pb::ObserveCall { task_ids: vec![TASK.to_string(), OTHER.to_string()] }));
    let outputs = world.manager.answer(call).await;
    let [Output::Observation(observation)] = &outputs[..] else {
        panic!("{outputs:?}");
    };
    let next = observation.attempts[0].next.unwrap();
    let next = warren_core::time::Timestamp::try_from(next).unwrap();
    let soon = now().after(timing().period.get() + Duration::from_secs(1));
    assert!(next <= soon, "{next:?} {soon:?}");
}

#[tokio::test(start_paused = true)]
async fn tasks_that_nobody_checks_now_do_not_keep_an_observation_waiting() {
    let world = World::running(Checks::NONE).await;
    world.runtime.make_deaf(TASK);
    world.runtime.set_trouble(Step::EnsureImage, Trouble::Hangs);
    world
        .manager
        .assign([stopping(assignment(TASK, Checks::NONE)), assignment(OTHER, Checks::NONE)]);
    world.manager.report(TASK, |report| report.status.phase.name() == "stopping").await;
    world.manager.report(OTHER, |report| report.status.phase.name() == "preparing").await;
    let call = world.manager.ask(observe_all());
    assert_eq!(world.manager.answer(call).await, []);
    assert!(!world.manager.reports(TASK).iter().any(has_ended));
}

#[tokio::test(start_paused = true)]
async fn a_log_is_read_and_followed_to_its_end() {
    let world = World::running(Checks::NONE).await;
    world.write_log(TASK, &["one"]);
    let once = world.manager.ask(logs(TASK, false));
    assert_eq!(lines(&world.manager.answer(once).await), ["one"]);

    let followed = world.manager.ask(logs(TASK, true));
    world.manager.pieces(followed, 1).await;
    world.write_log(TASK, &["two"]);
    world.manager.pieces(followed, 2).await;
    assert!(!world.manager.answer_so_far(followed).ended);
    append_log(&world.log(TASK), &["last words"]);
    world.runtime.exit(TASK, 0);
    assert_eq!(lines(&world.manager.answer(followed).await), ["one", "two", "last words"]);

    world.manager.report(TASK, has_ended).await;
    let afterwards = world.manager.ask(logs(TASK, true));
    assert_eq!(lines(&world.manager.answer(afterwards).await).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_followed_ends_with_an_error_when_the_worker_stops() {
    let mut world = World::running(Checks::NONE).await;
    world.write_log(TASK, &["one"]);
    let followed = world.manager.ask(logs(TASK, true));
    world.manager.pieces(followed, 1).await;
    world.stop().await;
    assert_eq!(failure(&world.manager.answer(followed).await), Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_call_about_a_task_of_another_node_is_not_found_and_nonsense_is_invalid() {
    let world = World::running(Checks::NONE).await;
    let call = world.manager.ask(logs(OTHER, false));
    assert_eq!(failure(&world.manager.answer(call).await), Code::NotFound);
    let nonsense = pb::LogsCall { task_id: "web".to_owned(), tail: None, follow: false };
    let call = world.manager.ask(Ask::Logs(nonsense));
    assert_eq!(failure(&world.manager.answer(call).await), Code::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn too_many_calls_are_refused_and_reports_still_come() {
    let world = World::running(Checks::NONE).await;
    world.write_log(TASK, &["one"]);
    let held: Vec<_> = (0..64).map(|_| world.manager.ask(logs(TASK, true))).collect();
    world.manager.answers(64).await;
    let one_more = world.manager.ask(observe_all());
    let outputs = world.manager.answer(one_more).await;
    assert_eq!(failure(&outputs), Code::ResourceExhausted);
    assert!(held.iter().all(|call| !world.manager.answer_so_far(*call).ended));

    world.runtime.exit(TASK, 0);
    world.manager.report(TASK, has_ended).await;
    for call in held {
        world.manager.answer(call).await;
    }
    let again = world.manager.ask(observe_all());
    assert_eq!(world.manager.answer(again).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_listens_to_any_more_makes_room() {
    let world = World::running(Checks::NONE).await;
    world.write_log(TASK, &["one"]);
    let held: Vec<_> = (0..64).map(|_| world.manager.ask(logs(TASK, true))).collect();
    for call in &held {
        world.manager.pieces(*call, 1).await;
    }
    world.manager.abandon(held[0]);
    world.manager.heartbeats(1).await;
    let again = world.manager.ask(logs(TASK, false));
    assert_eq!(lines(&world.manager.answer(again).await), ["one"]);
}

#[tokio::test(start_paused = true)]
async fn images_are_asked_of_containerd() {
    let world = World::running(Checks::NONE).await;
    let call = world.manager.ask(Ask::ListImages(pb::ListImagesCall {}));
    assert_eq!(world.manager.answer(call).await, []);
}
