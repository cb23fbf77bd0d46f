//! What the manager asks a worker besides its reports.

use std::time::Duration;

use tokio::time::sleep;
use tonic::Code;
use warren_core::check::{Checks, Role};
use warren_proto::v1::{self as pb, call::Ask, call_output::Output};

use crate::support::{
    OTHER, TASK, World, append_log, assignment, both, has_ended, is_ready, next_millisecond, now,
    runtime::{Finds, NOBODY, Step, Trouble},
    stopping, timing,
};

fn logs(task: warren_core::id::TaskId, follow: bool) -> Ask {
    Ask::Logs(pb::LogsCall { task_id: task.to_string(), tail: None, follow })
}

fn observe_all() -> Ask {
    Ask::Observe(pb::ObserveCall { task_ids: Vec::new() })
}

fn check(task: warren_core::id::TaskId, role: pb::Role) -> Ask {
    Ask::Check(pb::CheckCall { task_id: task.to_string(), role: role.into() })
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

fn trials(outputs: &[Output]) -> Vec<&pb::Trial> {
    let mut trials = Vec::new();
    for output in outputs {
        let Output::Trial(trial) = output else { panic!("{output:?}") };
        trials.push(trial);
    }
    trials
}

/// C-150.
#[tokio::test(start_paused = true)]
async fn a_check_by_hand_is_made_at_once_and_counts_in_no_verdict() {
    let world = World::running(both(timing())).await;
    world.manager.report(TASK, is_ready).await;
    world.runtime.find(Finds::Bad);
    let call = world.manager.ask(check(TASK, pb::Role::Unspecified));
    let outputs = world.manager.answer(call).await;
    let [trial] = trials(&outputs)[..] else { panic!("{outputs:?}") };
    let roles: Vec<_> = trial.roles().collect();
    assert_eq!(roles, [pb::Role::Liveness, pb::Role::Readiness], "they share one check");
    let attempt = trial.attempt.as_ref().unwrap();
    assert_eq!(attempt.outcome(), pb::Outcome::FailExplicit);
    assert_eq!((attempt.message.as_str(), trial.clause), ("exit code 1: broken", 70));
    world.runtime.find(Finds::Good);

    let call = world.manager.ask(observe_all());
    let outputs = world.manager.answer(call).await;
    let [Output::Observation(seen)] = &outputs[..] else { panic!("{outputs:?}") };
    let liveness = seen.health.as_ref().unwrap().liveness.as_ref().unwrap();
    assert_eq!(liveness.failures, 0);
    assert!(seen.attempts.iter().flat_map(|role| &role.attempts).all(|a| a.message == "fine"));
}

/// C-151.
#[tokio::test(start_paused = true)]
async fn checks_of_one_task_by_hand_come_one_after_the_other() {
    let world = World::running(both(timing())).await;
    world.manager.report(TASK, is_ready).await;
    let begun = tokio::time::Instant::now();
    let calls: Vec<_> =
        (0..5).map(|_| world.manager.ask(check(TASK, pb::Role::Readiness))).collect();
    for call in calls {
        assert_eq!(trials(&world.manager.answer(call).await).len(), 1);
    }
    assert!(begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
}

/// C-152.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_checked_by_hand_says_why() {
    let world = World::running(both(timing())).await;
    world.manager.report(TASK, is_ready).await;
    let ask = async |task, role| {
        let call = world.manager.ask(check(task, role));
        match world.manager.answer(call).await.pop() {
            Some(Output::Failure(failure)) => (Code::from(failure.code), failure.message),
            other => panic!("{other:?}"),
        }
    };
    let none = format!("task {TASK} has no startup check; it has liveness and readiness");
    assert_eq!(ask(TASK, pb::Role::Startup).await, (Code::NotFound, none));
    let foreign = format!("the node does not hold task {OTHER}");
    assert_eq!(ask(OTHER, pb::Role::Liveness).await, (Code::NotFound, foreign));
    world.runtime.exit(TASK, 0);
    world.manager.report(TASK, has_ended).await;
    let (code, why) = ask(TASK, pb::Role::Unspecified).await;
    assert_eq!(code, Code::FailedPrecondition);
    assert!(why.ends_with("does not run, it is ended: nothing to check"), "{why}");

    let world = World::running(Checks::NONE).await;
    world.manager.report(TASK, |report| report.status.phase.name() == "running").await;
    let call = world.manager.ask(check(TASK, pb::Role::Unspecified));
    assert_eq!(failure(&world.manager.answer(call).await), Code::FailedPrecondition);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_does_not_run_yet_does_not_keep_an_observation_waiting() {
    let world = World::running(Checks::NONE).await;
    world.runtime.make_deaf(TASK);
    world.runtime.set_trouble(Step::EnsureImage, Trouble::Hangs);
    world
        .manager
        .assign([stopping(assignment(TASK, Checks::NONE)), assignment(OTHER, Checks::NONE)]);
    world.manager.report(TASK, |report| report.status.phase.name() == "stopping").await;
    world.manager.report(OTHER, |report| report.status.phase.name() == "preparing").await;
    let call = world.manager.ask(observe_all());
    // The one that stops is still looked at.
    assert_eq!(world.manager.answer(call).await.len(), 1);
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

fn list_images() -> Ask {
    Ask::ListImages(pb::ListImagesCall {})
}

fn import() -> Ask {
    Ask::ImportImage(pb::ImportImageCall {})
}

fn archives(world: &World) -> usize {
    let files = std::fs::read_dir(world.log(TASK).parent().unwrap()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("import-")).count()
}

#[tokio::test(start_paused = true)]
async fn an_archive_that_is_too_large_is_refused_and_not_kept() {
    let world = World::running(Checks::NONE).await;
    let call = world.manager.ask(import());
    world.manager.give(call, &vec![0; 1 << 20]).await;
    world.manager.give(call, b"and more").await;
    assert_eq!(failure(&world.manager.answer(call).await), Code::ResourceExhausted);
    assert_eq!(archives(&world), 0);
    assert_eq!(world.runtime.count(NOBODY, Step::Import), 0);
}

#[tokio::test(start_paused = true)]
async fn an_import_or_a_list_of_images_ends_with_the_one_who_asked() {
    let world = World::running(Checks::NONE).await;
    world.runtime.set_trouble(Step::Import, Trouble::Hangs);
    world.runtime.set_trouble(Step::Images, Trouble::Hangs);
    let importing = world.manager.ask(import());
    world.manager.give(importing, b"archive").await;
    world.manager.end_inputs(importing);
    world.runtime.until(|runtime| runtime.count(NOBODY, Step::Import) == 1).await;
    assert_eq!(archives(&world), 1);
    let listing: Vec<_> = (0..63).map(|_| world.manager.ask(list_images())).collect();
    world.runtime.until(|runtime| runtime.count(NOBODY, Step::Images) == 63).await;
    world.manager.abandon(importing);
    for call in listing {
        world.manager.abandon(call);
    }
    world.manager.heartbeats(1).await;
    let again = world.manager.ask(observe_all());
    let outputs = world.manager.answer(again).await;
    assert!(matches!(outputs[..], [Output::Observation(_)]), "there is no room: {outputs:?}");
    assert_eq!(archives(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn images_are_asked_of_containerd() {
    let world = World::running(Checks::NONE).await;
    let call = world.manager.ask(Ask::ListImages(pb::ListImagesCall {}));
    assert_eq!(world.manager.answer(call).await, []);
}
