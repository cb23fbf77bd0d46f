//! What the commands ask of the manager, and how they end.

use warren_proto::v1 as pb;

use super::{
    fake::{Ended, Manager, State, run_at},
    fixture,
};

fn ended(code: u8, out: &str, err: &str) -> Ended {
    Ended { code, out: out.to_owned(), err: err.to_owned() }
}

#[tokio::test]
async fn create_prints_the_name_and_warns_on_stderr() {
    let manager = Manager::start();
    let result = manager.run(&["service", "create", "api", "--image", "nginx"]).await;
    assert_eq!(result, ended(0, "api\n", "warning: only its process is watched\n"));
    let created = manager.look(|state| state.created.pop()).unwrap();
    assert_eq!(created.template.unwrap().image, "docker.io/library/nginx:latest");
}

#[tokio::test]
async fn what_the_manager_refuses_has_its_exit_code() {
    let manager = Manager::start();
    let create = |name| ["service", "create", name, "--image", "nginx"];
    assert_eq!(
        manager.run(&create("taken")).await,
        ended(5, "", "error: there is a service \"taken\"\n")
    );
    assert_eq!(
        manager.run(&create("refused")).await,
        ended(2, "", "error: spec.template.image: is not wanted\n")
    );
    assert_eq!(
        manager.run(&["service", "inspect", "api"]).await,
        ended(4, "", "error: there is no service \"api\"\n")
    );
    assert_eq!(
        manager.run(&["task", "rm", "ended"]).await,
        ended(5, "", "error: the task has ended\n")
    );
}

#[tokio::test]
async fn an_unreachable_manager_is_told_with_where_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("warren.sock");
    let result = run_at(socket.clone(), &["service", "ls"]).await;
    let error = format!(
        "error: cannot reach the manager at unix://{}: No such file or directory (os error 2); \
         is it running? Start one with 'warren run', or say where it is with --host\n",
        socket.display()
    );
    assert_eq!(result, ended(3, "", &error));
}

#[tokio::test]
async fn wrong_usage_is_found_before_the_manager_is_asked() {
    let nowhere = std::path::PathBuf::from("/nonexistent/warren.sock");
    for words in [
        &["service", "create", "web", "--image", "nginx", "--health-tcp", "0"][..],
        &["service", "create", "web", "--image", "x", "--wait", "--wait-timeout", "-1"],
        &["service", "scale", "web=-1"],
        &["image", "import", "/nonexistent.tar"],
    ] {
        assert_eq!(run_at(nowhere.clone(), words).await.code, 2, "{words:?}");
    }
}

#[tokio::test]
async fn create_wait_tells_each_step_and_returns_when_all_take_traffic() {
    let manager = Manager::with(State {
        summaries: [
            fixture::summary(0, "0/2 healthy, 2 starting"),
            fixture::summary(1, "1/2 healthy, 1 starting"),
            pb::ServiceSummary { ready: 1, ..fixture::summary(2, "2/2 healthy") },
            fixture::summary(2, "2/2 healthy"),
        ]
        .into(),
        ..State::default()
    });
    let result = manager.run(&["service", "create", "web", "--image", "nginx", "--wait"]).await;
    assert_eq!(
        result,
        ended(
            0,
            "web\n",
            "warning: only its process is watched\nweb: 0/2 healthy, 2 starting\n\
             web: 1/2 healthy, 1 starting\nweb: 2/2 healthy, 1/2 not ready\nweb: 2/2 healthy\n"
        )
    );
}

#[tokio::test]
async fn create_wait_ends_in_vain_when_time_is_up() {
    let manager = Manager::start();
    let words = ["service", "create", "web", "--image", "nginx", "--wait", "--wait-timeout", "0ms"];
    let result = manager.run(&words).await;
    assert_eq!((result.code, result.out.as_str()), (1, "web\n"));
    let lines: Vec<&str> = result.err.lines().rev().take(2).collect();
    let error = "error: web is not healthy after 0s: 1/2 healthy, 1/2 restarting; see 'warren \
                 service inspect web'";
    assert_eq!(lines, [error, "web.2: pending: starts in 5s"]);
}

#[tokio::test]
async fn scale_changes_the_number_alone_and_yields_to_nobody() {
    let manager = Manager::start();
    manager.look(|state| state.aborts = 2);
    let result = manager.run(&["service", "scale", "web=5"]).await;
    assert_eq!(result, ended(0, "web scaled to 5\n", ""));
    assert_eq!(manager.look(|state| state.updated.clone()), [(5, Some(1))]);
    manager.look(|state| state.aborts = 99);
    assert_eq!(manager.run(&["service", "scale", "web", "6"]).await.code, 5);
}

#[tokio::test]
async fn rm_removes_all_it_can_and_fails_as_the_first_failure() {
    let manager = Manager::start();
    let result = manager.run(&["service", "rm", "--wait", "api", "web", "db"]).await;
    assert_eq!(
        result,
        ended(
            4,
            "web\n",
            "error: there is no service \"db\"\nerror: there is no service \"api\"\n"
        )
    );
    assert_eq!(manager.look(|state| state.deleted.clone()), ["web"]);
}

#[tokio::test]
async fn rm_waits_no_longer_than_it_was_told() {
    let manager = Manager::with(State {
        summaries: vec![fixture::summary(2, "2/2 healthy"); 5].into(),
        ..State::default()
    });
    let result = manager.run(&["service", "rm", "web", "--wait", "--wait-timeout", "0s"]).await;
    assert_eq!(result.code, 1);
    assert_eq!(result.err, "error: web is still there after 0s\n");
}

#[tokio::test]
async fn rm_says_what_may_still_run_on_a_node_that_is_down() {
    let manager = Manager::with(State {
        summaries: vec![fixture::summary(2, "2/2 healthy")].into(),
        node_down: true,
        ..State::default()
    });
    let result = manager.run(&["service", "rm", "web", "--wait"]).await;
    let error = "error: web is removed, but what it had on nodes that are down may still run there \
                 until they are back: web.1 (task 00000000000000a1) on node-a, \
                 web.2 (task 00000000000000a3) on node-a\n";
    assert_eq!(result, ended(1, "", error));
}

#[tokio::test]
async fn image_ls_shows_what_there_is_and_fails_for_what_is_missing() {
    let manager = Manager::with(State { blind: true, ..State::default() });
    let result = manager.run(&["image", "ls"]).await;
    assert_eq!(result.code, 1);
    assert_eq!(result.out, include_str!("golden/image_ls.txt"));
    let error = "error: images are missing in this list: node node-b: it is not connected now\n";
    assert_eq!(result.err, error);
}

#[tokio::test]
async fn logs_keep_the_streams_apart() {
    let manager = Manager::start();
    assert_eq!(manager.run(&["task", "logs", "a1"]).await, ended(0, "out\n", "err\n"));
    assert_eq!(
        manager.run(&["task", "logs", "a1", "--timestamps", "--tail", "2"]).await,
        ended(0, "2026-01-01T11:59:55Z out\n", "2026-01-01T11:59:55Z err\n")
    );
}

#[tokio::test]
async fn import_sends_the_whole_file_in_pieces() {
    let manager = Manager::start();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("web.tar");
    let archive: Vec<u8> = (0..2_500_000_u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(&file, &archive).unwrap();
    let words = ["image", "import", file.to_str().unwrap(), "--node", "node-a"];
    assert_eq!(manager.run(&words).await, ended(0, "docker.io/library/nginx:latest\n", ""));
    assert!(manager.look(|state| state.imported == archive));
}

#[tokio::test]
async fn tasks_and_nodes_are_removed_by_name() {
    let manager = Manager::start();
    assert_eq!(manager.run(&["task", "rm", "web.1", "web.2"]).await.out, "web.1\nweb.2\n");
    assert_eq!(manager.run(&["node", "rm", "node-a"]).await.out, "node-a\n");
    assert_eq!(manager.look(|state| state.deleted.clone()), ["web.1", "web.2", "node-a"]);
}

/// C-153.
#[tokio::test]
async fn a_check_by_hand_tells_what_was_seen_and_exits_by_it() {
    let manager = Manager::start();
    let note = "note: this counts in no verdict of the task\n";
    let seen = manager.run(&["task", "check", "a1"]).await;
    let report = "\
Role: liveness, readiness
Check: GET http://:80/health, timeout 2s
Outcome: pass
Seen: HTTP 200 from GET /health on port 80
       [2Jmore
Latency: connect 1.0ms, first byte 2.0ms, total 4.0ms
Clause: C-51: The expected statuses pass, 200-399 by default. Any other is an explicit failure.
";
    assert_eq!(seen, ended(0, report, note));
    for (role, code, outcome) in [("readiness", 1, "fail (timeout)"), ("liveness", 125, "inconc")] {
        let seen = manager.run(&["task", "check", "a1", "--role", role]).await;
        assert_eq!((seen.code, seen.err.as_str()), (code, note), "{seen:?}");
        assert!(seen.out.contains(&format!("Outcome: {outcome}")), "{seen:?}");
    }
    let json = manager.run(&["task", "check", "a1", "-o", "json"]).await;
    assert!(json.out.contains("\"clause\": 51"), "{}", json.out);
}

/// C-152.
#[tokio::test]
async fn what_keeps_a_check_from_being_made_is_no_failure_of_the_task() {
    let manager = Manager::start();
    let none = manager.run(&["task", "check", "a1", "--role", "startup"]).await;
    let error = "error: task a1 has no startup check; it has liveness\n";
    assert_eq!(none, ended(4, "", error));
    manager.look(|state| state.blind = true);
    let away = manager.run(&["task", "check", "a1"]).await;
    assert_eq!(away, ended(125, "", "error: node-a is not connected now\n"));
    let nowhere = std::path::PathBuf::from("/nonexistent/warren.sock");
    assert_eq!(run_at(nowhere, &["task", "check", "a1"]).await.code, 3);
}

#[tokio::test]
async fn nodes_are_cordoned_drained_and_opened_again() {
    let manager = Manager::start();
    let cordon = ["node", "cordon", "node-a", "--reason", "noisy disk"];
    assert_eq!(manager.run(&cordon).await, ended(0, "node-a\n", ""));
    let drain = ["node", "drain", "node-a", "--wait"];
    let told = "2 tasks are left\n1 tasks are left\n0 tasks are left\n";
    assert_eq!(manager.run(&drain).await, ended(0, "node-a\n", told));
    assert_eq!(manager.run(&["node", "uncordon", "node-a"]).await, ended(0, "node-a\n", ""));
    let asked: Vec<_> = manager.look(|state| {
        let asked = state.availability.iter();
        asked.map(|request| (request.kind(), request.reason.clone())).collect()
    });
    let expected = [
        (pb::AvailabilityKind::Cordoned, "noisy disk".to_owned()),
        (pb::AvailabilityKind::Drained, String::new()),
        (pb::AvailabilityKind::Active, String::new()),
    ];
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn labels_of_a_node_are_set_and_removed_and_bad_ones_named() {
    let manager = Manager::start();
    let label = ["node", "label", "node-a", "zone=a-", "note=x=y", "rack-", "empty="];
    assert_eq!(manager.run(&label).await, ended(0, "node-a\n", ""));
    let asked = manager.look(|state| state.labels.remove(0));
    let set: Vec<(&str, &str)> = asked.set.iter().map(|l| (&*l.key, &*l.value)).collect();
    assert_eq!(set, [("empty", ""), ("note", "x=y"), ("zone", "a-")]);
    assert_eq!((asked.node.as_str(), asked.remove), ("node-a", vec!["rack".to_owned()]));
    for (wrong, why) in [
        (&["zone"][..], "zone: is neither KEY=VALUE nor KEY-"),
        (&["a=1", "a-"], "a-: a is there twice"),
        (&["a=\u{7}"], "a=\u{7}: is not 1-253 printable characters"),
        (
            &["a b=c"],
            "a b=c: \"a b\" is not a label: 1-63 letters, digits, '.', '_', '-' and '/', with a \
             letter or digit at both ends",
        ),
    ] {
        let words: Vec<&str> = ["node", "label", "node-a"].iter().chain(wrong).copied().collect();
        assert_eq!(manager.run(&words).await, ended(2, "", &format!("error: {why}\n")));
    }
}

#[tokio::test]
async fn release_says_what_was_held() {
    let manager = Manager::start();
    let result = manager.run(&["service", "release", "web"]).await;
    assert_eq!(result, ended(0, "web\n", "web: 3 of its tasks were held\n"));
    assert_eq!(manager.run(&["service", "release", "api"]).await.code, 4);
}

#[tokio::test]
async fn a_pause_has_a_length_and_a_name_and_is_ended_by_resume() {
    let manager = Manager::start();
    let pause = ["service", "health", "pause", "web", "--for", "10m", "--by", "ada"];
    let result = manager.run(&pause).await;
    assert_eq!((result.code, result.err.as_str()), (0, ""));
    assert!(result.out.starts_with("web is not checked until 20"), "{}", result.out);
    let asked = manager.look(|state| state.pauses.pop()).unwrap();
    assert_eq!((asked.r#for.unwrap().seconds, asked.by.as_str()), (600, "ada"));
    let result = manager.run(&["service", "health", "resume", "web"]).await;
    assert_eq!(result, ended(0, "web is checked again\n", ""));
    assert_eq!(manager.look(|state| state.resumed.clone()), ["web"]);
    let long = ["service", "health", "pause", "web", "--for", "25h"];
    let refused = ended(2, "", "error: --for: 90000s is not in 1s..=86400s\n");
    assert_eq!(manager.run(&long).await, refused);
}

#[tokio::test]
async fn an_update_changes_what_was_named_and_nothing_else() {
    let manager = Manager::start();
    let words = ["service", "update", "web", "--health-tcp", "81", "--replicas", "4"];
    assert_eq!(manager.run(&words).await, ended(0, "web\n", ""));
    let spec = manager.look(|state| state.specs.pop()).unwrap();
    let before = fixture::service().spec.unwrap();
    let (is, was) = (spec.template.unwrap(), before.template.unwrap());
    assert_eq!(spec.replicas, 4);
    assert_ne!(is.health, was.health);
    assert_eq!(is, warren_proto::v1::TaskTemplate { health: is.health.clone(), ..was.clone() });
    let words = ["service", "update", "web", "--image", "other:2"];
    assert_eq!(manager.run(&words).await, ended(0, "web\n", ""));
    let spec = manager.look(|state| state.specs.pop()).unwrap();
    let is = spec.template.unwrap();
    assert_eq!(is.image, "docker.io/library/other:2");
    assert_eq!(is, warren_proto::v1::TaskTemplate { image: is.image.clone(), ..was });
    for (flag, init) in [("--init", true), ("--init=false", false)] {
        assert_eq!(manager.run(&["service", "update", "web", flag]).await, ended(0, "web\n", ""));
        let spec = manager.look(|state| state.specs.pop()).unwrap();
        assert_eq!(spec.template.unwrap().init, init, "{flag}");
    }
    let nothing = manager.run(&["service", "update", "web"]).await;
    assert_eq!(nothing.code, 2);
    assert!(nothing.err.starts_with("error: nothing to change"), "{}", nothing.err);
}
