//! What people see, word for word.

use super::fake::{Manager, State};

async fn shown(words: &[&str]) -> String {
    let ended = Manager::start().run(words).await;
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{words:?}");
    ended.out
}

#[tokio::test]
async fn service_ls() {
    assert_eq!(
        shown(&["service", "ls"]).await,
        "\
NAME   READY   HEALTH                        IMAGE OR COMMAND                 AGE
web    1/2     1/2 healthy, 1/2 restarting   docker.io/library/nginx:latest   10m
"
    );
}

#[tokio::test]
async fn service_inspect() {
    assert_eq!(
        shown(&["service", "inspect", "web"]).await,
        "\
Name: web
Id: 00000000000000f1
Revision: 1
Created: 2026-01-01T11:50:00Z (10m ago)
Replicas: 2
Image: docker.io/library/nginx:latest
Env: MODE=a b
CPUs: 1.5
Memory: 64 MiB
Network: bridge
Publish: 8080 -> 80/tcp
Stop: the image's signal, else SIGTERM, SIGKILL after 10s
Checks:
  liveness: GET http://:80/health every 10s, timeout 5s, fails after 3, recovers after 1
  readiness: GET http://:80/health every 10s, timeout 5s, fails after 3, recovers after 1
Health: 1/2 healthy, 1/2 restarting

SLOT   TASK               NODE     STATE                       HEALTH      READY   STREAK       SINCE     LAST OUTPUT                          RESTARTS
1      00000000000000a1   node-a   running                     healthy     yes     30 passes    5m ago    200 OK                               0
2      00000000000000a3   node-a   pending                     starting    no      -            10s ago   starts in 5s                         1
\\_ 2   00000000000000a2   node-a   ended (stopped, exit 137)   unhealthy   no      3 failures   20s ago   unhealthy: liveness failed 3 times   0
"
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
        "\
TASK               SERVICE   SLOT   NODE     STATE                       HEALTH      READY   SINCE     RESTARTS   REASON
00000000000000a1   web       1      node-a   running                     healthy     yes     5m ago    0          -
00000000000000a3   web       2      node-a   pending                     starting    no      10s ago   1          starts in 5s
00000000000000a2   web       2      node-a   ended (stopped, exit 137)   unhealthy   no      20s ago   0          unhealthy: liveness failed 3 times
"
    );
}

#[tokio::test]
async fn task_inspect_of_a_running_task() {
    assert_eq!(
        shown(&["task", "inspect", "a1"]).await,
        "\
Task: 00000000000000a1
Service: web
Slot: 1
Revision: 1
Restarts: 0
Node: node-a
Runs: docker.io/library/nginx:latest
Created: 2026-01-01T11:50:00Z (10m ago)
Started: 2026-01-01T11:50:01Z (9m ago)
State: running, since 2026-01-01T11:50:01Z (9m ago)
Address: 10.77.0.2
Pid: 4242
Health: healthy, since 2026-01-01T11:55:00Z (5m ago)
Ready: yes, since 2026-01-01T11:55:10Z (4m ago)

liveness: passing since 5m ago, 30 passed in a row; next attempt in 6s
  check: GET http://:80/health every 10s, timeout 5s, fails after 3, recovers after 1
  AT                     OUTCOME   LATENCY   MESSAGE
  2026-01-01T11:59:46Z   timeout   12ms      no answer within 5s
  2026-01-01T11:59:56Z   pass      12ms      200 OK

readiness: passing since 5m ago, 30 passed in a row
  check: GET http://:80/health every 10s, timeout 5s, fails after 3, recovers after 1
  AT                     OUTCOME   LATENCY   MESSAGE
  2026-01-01T11:59:56Z   pass      12ms      200 OK
"
    );
}

#[tokio::test]
async fn task_inspect_of_an_ended_task() {
    assert_eq!(
        shown(&["task", "inspect", "a2"]).await,
        "\
Task: 00000000000000a2
Service: web
Slot: 2
Revision: 1
Restarts: 0
Node: node-a
Runs: docker.io/library/nginx:latest
Created: 2026-01-01T11:50:00Z (10m ago)
Started: 2026-01-01T11:50:01Z (9m ago)
State: ended (stopped, exit 137), since 2026-01-01T11:59:40Z (20s ago)
Stop: unhealthy: liveness failed 3 times, 2026-01-01T11:59:30Z (30s ago)
End: stopped, exit 137: killed after the grace period, 2026-01-01T11:59:40Z (20s ago)
Health: unhealthy, since 2026-01-01T11:59:30Z (30s ago)
Ready: no, since 2026-01-01T11:59:20Z (40s ago)
Reason: liveness failed 3 times in a row: 500 Internal Server Error

liveness: failing since 5m ago, 3 failed in a row
  check: GET http://:80/health every 10s, timeout 5s, fails after 3, recovers after 1
  AT                     OUTCOME   LATENCY   MESSAGE
  2026-01-01T11:59:58Z   fail      12ms      500 Internal Server Error oops

readiness: failing since 5m ago, 3 failed in a row
  check: GET http://:80/health every 10s, timeout 5s, fails after 3, recovers after 1
  AT                     OUTCOME   LATENCY   MESSAGE
  2026-01-01T11:59:58Z   fail      12ms      500 Internal Server Error oops
"
    );
}

#[tokio::test]
async fn nodes_images_health_and_events() {
    assert_eq!(
        shown(&["node", "ls"]).await,
        "\
NAME     ID                 STATE   SINCE     DRIVERS              TASKS   CPUS   MEMORY   VERSION
node-a   00000000000000e1   up      60m ago   containerd,process   2       4      8 GiB    0.1.0
"
    );
    assert_eq!(
        shown(&["image", "ls"]).await,
        "\
IMAGE                            DIGEST         SIZE     UPDATED   NODE
docker.io/library/nginx:latest   abababababab   70 MiB   90s ago   node-a
"
    );
    assert_eq!(
        shown(&["health", "ls"]).await,
        "\
SERVICE   SLOT   TASK               NODE     STATE     HEALTH    READY   SINCE    REASON
web       1      00000000000000a1   node-a   running   healthy   yes     5m ago   -
"
    );
    assert_eq!(
        shown(&["event", "ls"]).await,
        "\
TIME                   EVENT            SERVICE   TASK               NODE     MESSAGE
2026-01-01T11:59:30Z   health changed   web.2     00000000000000a2   node-a   unhealthy: liveness failed 3 times
"
    );
}

#[tokio::test]
async fn node_inspect() {
    assert_eq!(
        shown(&["node", "inspect", "node-a"]).await,
        "\
Name: node-a
Id: 00000000000000e1
State: up, since 2026-01-01T11:00:00Z (60m ago)
Registered: 2026-01-01T10:00:00Z (2h ago)
Drivers: containerd,process
CPUs: 4
Memory: 8 GiB
Version: 0.1.0
Starts: 3
"
    );
}

#[tokio::test]
async fn watches_print_a_line_for_each_change_until_they_end() {
    let manager = Manager::start();
    let ended = manager.run(&["health", "watch"]).await;
    assert_eq!(
        ended.out,
        "\
41  web.1  00000000000000a1  running  healthy  ready
42  web.1  00000000000000a1  running  unhealthy  not ready  liveness failed 3 times in a row: 500 Internal Server Error
43  00000000000000a1  gone
"
    );
    assert_eq!((ended.code, ended.err.as_str()), (3, "error: the manager ended the watch\n"));
    let ended = manager.run(&["event", "ls", "-f"]).await;
    assert_eq!(
        ended.out,
        "\
2026-01-01T11:59:30Z  health changed  web.2  00000000000000a2  node-a  unhealthy: liveness failed 3 times
2026-01-01T12:00:00Z  node down  node-a  silent for 15s
"
    );
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
