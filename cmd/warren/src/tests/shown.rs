//! What people see, word for word.

use super::fake::{Manager, State};
use crate::output::words;

async fn shown(words: &[&str]) -> String {
    let ended = Manager::start().run(words).await;
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{words:?}");
    ended.out
}

#[tokio::test]
async fn service_ls() {
    assert_eq!(shown(&["service", "ls"]).await, include_str!("golden/service_ls.txt"));
}

#[tokio::test]
async fn service_inspect() {
    assert_eq!(
        shown(&["service", "inspect", "web"]).await,
        include_str!("golden/service_inspect_web.txt")
    );
}

#[tokio::test]
async fn what_was_stored_stands_in_for_a_worker_that_cannot_be_asked() {
    let manager = Manager::start();
    manager.look(|state| state.blind = true);
    let ended = manager.run(&["service", "inspect", "web"]).await;
    assert_eq!(ended.code, 0);
    assert!(ended.out.contains("healthy     yes     1 pass "), "{}", ended.out);
    assert_eq!(
        ended.err,
        "note: no live view, this is what was stored last: node-a does not answer\n"
    );
}

#[tokio::test]
async fn task_ls() {
    assert_eq!(
        shown(&["task", "ls", "web", "--all"]).await,
        include_str!("golden/task_ls_web.txt")
    );
}

#[tokio::test]
async fn task_inspect_of_a_running_task() {
    assert_eq!(shown(&["task", "inspect", "a1"]).await, include_str!("golden/task_inspect_a1.txt"));
}

#[tokio::test]
async fn task_inspect_of_an_ended_task() {
    assert_eq!(shown(&["task", "inspect", "a2"]).await, include_str!("golden/task_inspect_a2.txt"));
}

// C-90
#[tokio::test]
async fn a_pause_is_shown_with_its_end_and_who_asked() {
    let manager = Manager::start();
    manager.look(|state| state.paused = true);
    let service = manager.run(&["service", "inspect", "web"]).await.out;
    let line = "\nChecks paused: until 2026-01-01T12:10:00Z (for 10m more), by ada\n";
    assert!(service.contains(line), "{service}");
    let services = manager.run(&["service", "ls"]).await.out;
    assert!(services.contains("1/2 healthy, 1/2 restarting, checks paused "), "{services}");
    let task = manager.run(&["task", "inspect", "a1"]).await.out;
    let line =
        "30 passed in a row; paused until 2026-01-01T12:10:00Z; the last one began 250ms late";
    assert!(task.contains(line), "{task}");
}

#[tokio::test]
async fn task_why() {
    assert_eq!(shown(&["task", "why", "a1"]).await, include_str!("golden/task_why_a1.txt"));
}

#[tokio::test]
async fn nodes_images_health_and_events() {
    assert_eq!(shown(&["node", "ls"]).await, include_str!("golden/node_ls.txt"));
    assert_eq!(shown(&["image", "ls"]).await, include_str!("golden/image_ls.txt"));
    assert_eq!(shown(&["health", "ls"]).await, include_str!("golden/health_ls.txt"));
    assert_eq!(shown(&["event", "ls"]).await, include_str!("golden/event_ls.txt"));
}

#[tokio::test]
async fn node_inspect() {
    assert_eq!(
        shown(&["node", "inspect", "node-a"]).await,
        include_str!("golden/node_inspect_node-a.txt")
    );
}

#[tokio::test]
async fn watches_print_a_line_for_each_change_until_they_end() {
    let manager = Manager::start();
    let ended = manager.run(&["health", "watch"]).await;
    assert_eq!(ended.out, include_str!("golden/health_watch.txt"));
    assert_eq!((ended.code, ended.err.as_str()), (3, "error: the manager ended the watch\n"));
    let ended = manager.run(&["event", "ls", "-f"]).await;
    assert_eq!(ended.out, include_str!("golden/event_ls_follow.txt"));
}

#[tokio::test]
async fn every_read_has_json_and_yaml() {
    let manager = Manager::start();
    for (words, top) in [
        (&["service", "ls"][..], "services"),
        (&["service", "inspect", "web"], "service"),
        (&["task", "ls"], "tasks"),
        (&["task", "inspect", "a1"], "task"),
        (&["node", "ls"], "nodes"),
        (&["node", "inspect", "x"], "id"),
        (&["image", "ls"], "images"),
        (&["health", "ls"], "entries"),
        (&["event", "ls"], "events"),
    ] {
        let json = manager.run(&[words, &["-o", "json"]].concat()).await.out;
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(value.get(top).is_some(), "{words:?}: {json}");
        let yaml = manager.run(&[words, &["-o", "yaml"]].concat()).await.out;
        let same: serde_json::Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(same, value, "{words:?}");
    }
}

#[tokio::test]
async fn watches_print_one_json_message_a_line() {
    let manager = Manager::start();
    for (words, lines) in [
        (&["health", "watch", "-o", "json"][..], 3),
        (&["event", "ls", "-f", "-o", "json"], 2),
        (&["task", "logs", "a1", "-o", "json"], 2),
    ] {
        let out = manager.run(words).await.out;
        let parsed: Vec<serde_json::Value> =
            out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(parsed.len(), lines, "{words:?}");
    }
}

#[tokio::test]
async fn live_streaks_are_in_the_json_too() {
    let out = shown(&["task", "inspect", "a1", "-o", "json"]).await;
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value["health"]["observed"]["liveness"]["passes"], 30);
    assert_eq!(value["effective"]["status"], "HEALTH_STATUS_HEALTHY");
}

#[tokio::test]
async fn a_service_without_checks_says_where_they_would_come_from() {
    let manager = Manager::with(State {
        summaries: [super::fixture::summary(2, "2/2 healthy")].into(),
        ..State::default()
    });
    let out = manager.run(&["service", "inspect", "web"]).await.out;
    assert!(out.contains("\nHealth: 2/2 healthy\n"), "{out}");
}

#[test]
fn a_flapping_task_says_so_beside_its_health() {
    let mut health = super::fixture::healthy(1);
    assert_eq!(words::health_status(&health), "healthy");
    if let Some(readiness) = &mut health.readiness {
        readiness.flapping_since = Some(super::fixture::before(7));
    }
    assert_eq!(words::health_status(&health), "healthy, flapping");
    assert_eq!(words::flapping_since(&health), Some(super::fixture::before(7)));
}
