//! A cluster at noon: one service of two slots whose second one has failed once.

use warren_core::time::Timestamp;
use warren_proto::v1 as pb;

/// 2026-01-01T12:00:00Z.
const NOON: i64 = 1_767_268_800;

pub fn noon() -> Timestamp {
    Timestamp::from_millis(1000 * u64::try_from(NOON).unwrap_or_default())
}

/// So many seconds before noon.
pub fn before(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: NOON - seconds, nanos: 0 }
}

fn millis(millis: i32) -> prost_types::Duration {
    prost_types::Duration { seconds: 0, nanos: millis * 1_000_000 }
}

fn http_check() -> pb::HttpCheck {
    pb::HttpCheck {
        endpoint: Some(pb::http_check::Endpoint::Port(80)),
        path: "/health".to_owned(),
        ..Default::default()
    }
}

pub fn checks() -> pb::Checks {
    let http = http_check();
    let timing = pb::Timing {
        period: Some(prost_types::Duration { seconds: 10, nanos: 0 }),
        start_period: None,
        ..Default::default()
    };
    let check = pb::Check { kind: Some(pb::check::Kind::Http(http)), timing: Some(timing) };
    pb::Checks { startup: None, liveness: Some(check.clone()), readiness: Some(check) }
}

pub fn template() -> pb::TaskTemplate {
    pb::TaskTemplate {
        image: "docker.io/library/nginx:latest".to_owned(),
        pull: pb::Pull::Missing.into(),
        env: vec![pb::EnvVar { name: "MODE".into(), value: "a b".into() }],
        init: true,
        cpu_millis: 1500,
        memory_bytes: 64 << 20,
        network: pb::Network::Bridge.into(),
        publish: vec![pb::Publish {
            host_port: 8080,
            task_port: 80,
            protocol: pb::Protocol::Tcp.into(),
        }],
        stop_grace_period: Some(prost_types::Duration { seconds: 10, nanos: 0 }),
        health: Some(pb::HealthConfig {
            source: Some(pb::health_config::Source::Checks(checks())),
        }),
        ..Default::default()
    }
}

pub fn service() -> pb::Service {
    pb::Service {
        id: "00000000000000f1".to_owned(),
        spec: Some(pb::ServiceSpec {
            name: "web".to_owned(),
            replicas: 2,
            template: Some(template()),
            restart: Some(pb::RestartPolicy {
                max_attempts: 4,
                window: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
            }),
            constraints: vec!["node.labels.zone==a".to_owned()],
            spread: "node.labels.rack".to_owned(),
        }),
        revision: 1,
        template_revision: 1,
        created_at: Some(before(600)),
        updated_at: Some(before(600)),
        removed_at: None,
        released_at: Some(before(300)),
        older_templates: Vec::new(),
        checks_paused: None,
    }
}

pub fn summary(healthy: u32, text: &str) -> pb::ServiceSummary {
    pb::ServiceSummary {
        replicas: 2,
        healthy,
        ready: healthy,
        text: text.to_owned(),
        ..Default::default()
    }
}

pub fn attempt(seconds: i64, outcome: pb::Outcome, message: &str) -> pb::Attempt {
    pb::Attempt {
        at: Some(before(seconds)),
        latency: Some(millis(12)),
        outcome: outcome.into(),
        message: message.to_owned(),
        components: Vec::new(),
    }
}

fn role(verdict: pb::Verdict, passes: u32, failures: u32, last: pb::Attempt) -> pb::RoleHealth {
    pb::RoleHealth {
        verdict: verdict.into(),
        since: Some(before(300)),
        passes,
        failures,
        inconclusive: 0,
        last: Some(last),
        flapping_since: None,
        grounds: pb::Grounds::Seen.into(),
        lasted_ms: 0,
    }
}

/// As the manager stores it, with a streak from when its health changed last.
pub fn healthy(passes: u32) -> pb::Health {
    let last = attempt(4, pb::Outcome::Pass, "200 OK");
    let role = role(pb::Verdict::Passing, passes, 0, last);
    pb::Health {
        status: pb::HealthStatus::Healthy.into(),
        since: Some(before(300)),
        ready: true,
        ready_since: Some(before(290)),
        reason: String::new(),
        startup: None,
        liveness: Some(role.clone()),
        readiness: Some(role),
        was_ready: true,
    }
}

pub fn unhealthy() -> pb::Health {
    let last = attempt(2, pb::Outcome::FailExplicit, "500 Internal Server Error\noops\u{7}");
    let role = role(pb::Verdict::Failing, 0, 3, last);
    pb::Health {
        status: pb::HealthStatus::Unhealthy.into(),
        since: Some(before(30)),
        ready: false,
        ready_since: Some(before(40)),
        reason: "liveness failed 3 times in a row: 500 Internal Server Error".to_owned(),
        liveness: Some(role.clone()),
        readiness: Some(role),
        ..Default::default()
    }
}

fn detail(task: pb::Task, health: pb::Health, restarts: u32) -> pb::TaskDetail {
    pb::TaskDetail {
        task: Some(task),
        service_name: "web".to_owned(),
        node_name: "node-a".to_owned(),
        health: Some(pb::TaskHealth { observed: Some(health.clone()), external: Vec::new() }),
        effective: Some(health),
        template: Some(template()),
        restarts,
    }
}

fn task(id: &str, slot: u32, status: pb::TaskStatus) -> pb::Task {
    pb::Task {
        id: id.to_owned(),
        service_id: "00000000000000f1".to_owned(),
        slot,
        revision: 1,
        node_id: "00000000000000e1".to_owned(),
        created_at: Some(before(600)),
        not_before: Some(before(600)),
        status: Some(status),
        ..Default::default()
    }
}

pub fn running_status() -> pb::TaskStatus {
    pb::TaskStatus {
        state: pb::TaskState::Running.into(),
        since: Some(before(599)),
        started_at: Some(before(599)),
        address: "10.77.0.2".to_owned(),
        pid: 4242,
        checks: Some(checks()),
        ..Default::default()
    }
}

pub fn tasks() -> Vec<pb::TaskDetail> {
    let first = task("00000000000000a1", 1, running_status());
    let waiting = pb::TaskStatus {
        state: pb::TaskState::Pending.into(),
        since: Some(before(10)),
        ..Default::default()
    };
    let mut second = task("00000000000000a3", 2, waiting);
    second.not_before = Some(before(-5));
    second.replaces = "00000000000000a2".to_owned();
    let starting = pb::Health {
        status: pb::HealthStatus::Starting.into(),
        since: Some(before(10)),
        ..Default::default()
    };
    let ended = pb::TaskStatus {
        state: pb::TaskState::Ended.into(),
        since: Some(before(20)),
        started_at: Some(before(599)),
        checks: Some(checks()),
        end: Some(pb::TaskEnd {
            kind: pb::EndKind::Stopped.into(),
            at: Some(before(20)),
            exit_code: Some(137),
            oom_killed: false,
            reason: "killed after the grace period".to_owned(),
        }),
        ..Default::default()
    };
    let mut replaced = task("00000000000000a2", 2, ended);
    replaced.stop = Some(pb::Stop {
        cause: pb::StopCause::Unhealthy.into(),
        reason: "liveness failed 3 times".to_owned(),
        at: Some(before(30)),
    });
    vec![
        detail(first, healthy(1), 0),
        detail(second, starting, 1),
        detail(replaced, unhealthy(), 0),
    ]
}

/// What the worker of the first task sees: more passes than were stored.
pub fn observation() -> pb::Observation {
    pb::Observation {
        task_id: "00000000000000a1".to_owned(),
        health: Some(healthy(30)),
        attempts: vec![pb::RoleAttempts {
            role: pb::Role::Liveness.into(),
            attempts: vec![
                attempt(14, pb::Outcome::FailTimeout, "no answer within 5s"),
                attempt(4, pb::Outcome::Pass, "200 OK"),
            ],
            next: Some(before(-6)),
            late: Some(millis(2)),
        }],
        paused_until: None,
    }
}

/// For ten minutes from now on.
pub fn pause(by: &str) -> pb::ChecksPause {
    let (since, until) = (Some(before(0)), Some(before(-600)));
    pb::ChecksPause { since, until, by: by.to_owned() }
}

/// The same while the checks are paused, after an attempt that began late.
pub fn paused_observation() -> pb::Observation {
    let mut seen = observation();
    seen.paused_until = pause("").until;
    for role in &mut seen.attempts {
        (role.next, role.late) = (None, Some(millis(250)));
    }
    seen
}

pub fn trial(outcome: pb::Outcome) -> pb::Trial {
    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let http = http_check();
    let timing = pb::Timing { timeout: seconds(2), ..Default::default() };
    pb::Trial {
        roles: vec![pb::Role::Liveness.into(), pb::Role::Readiness.into()],
        check: Some(pb::Check { kind: Some(pb::check::Kind::Http(http)), timing: Some(timing) }),
        attempt: Some(pb::Attempt {
            latency: Some(millis(4)),
            ..attempt(1, outcome, "HTTP 200 from GET /health on port 80\n\u{1b}[2Jmore")
        }),
        phases: Some(pb::Phases {
            connect: Some(millis(1)),
            tls: None,
            first_byte: Some(millis(3)),
            earlier: None,
        }),
        waited: seconds(0),
        clause: 51,
    }
}

fn label(key: &str, value: &str) -> pb::Label {
    pb::Label { key: key.to_owned(), value: value.to_owned() }
}

pub fn node() -> pb::Node {
    pb::Node {
        id: "00000000000000e1".to_owned(),
        name: "node-a".to_owned(),
        state: pb::NodeState::Up.into(),
        since: Some(before(3600)),
        registered_at: Some(before(7200)),
        drivers: vec![pb::Driver::Containerd.into(), pb::Driver::Process.into()],
        version: "0.1.0".to_owned(),
        epoch: 3,
        cpus: 4,
        memory_bytes: 8 << 30,
        labels: vec![label("disk", "ssd"), label("zone", "b")],
        operator_labels: vec![label("rack", "r7"), label("zone", "a")],
        availability: Some(pb::Availability {
            kind: pb::AvailabilityKind::Cordoned.into(),
            since: Some(before(60)),
            automatic: true,
            reason: "tasks of 3 services failed on node node-a and nowhere else".to_owned(),
        }),
        accused: Some(pb::Accusation {
            since: Some(before(90)),
            reason: "3 of 4 tasks on node node-a fail since one moment: one at a time".to_owned(),
            canary: String::new(),
        }),
        doubted: Some(pb::Doubt { since: Some(before(30)), score: 5 }),
        observer_score: Some(3),
    }
}

pub fn image() -> pb::Image {
    pb::Image {
        name: "docker.io/library/nginx:latest".to_owned(),
        digest: format!("sha256:{}", "ab".repeat(32)),
        size_bytes: 70 << 20,
        updated_at: Some(before(90)),
        node_id: "00000000000000e1".to_owned(),
    }
}

pub fn held() -> Vec<pb::HeldTasks> {
    vec![pb::HeldTasks {
        rule: pb::Rule::Dependency.into(),
        since: Some(before(120)),
        reason: "4 of 4 slots fail since one moment".to_owned(),
        slots: vec![2, 3, 4],
    }]
}

pub fn event() -> pb::Event {
    pb::Event {
        sequence: 7,
        at: Some(before(30)),
        kind: pb::EventKind::HealthChanged.into(),
        service_id: "00000000000000f1".to_owned(),
        slot: 2,
        task_id: "00000000000000a2".to_owned(),
        node_id: "00000000000000e1".to_owned(),
        message: "unhealthy: liveness failed 3 times".to_owned(),
        service_name: "web".to_owned(),
        ..pb::Event::default()
    }
}

pub fn entry() -> pb::HealthEntry {
    pb::HealthEntry {
        task_id: "00000000000000a1".to_owned(),
        service_id: "00000000000000f1".to_owned(),
        service_name: "web".to_owned(),
        slot: 1,
        node_id: "00000000000000e1".to_owned(),
        state: pb::TaskState::Running.into(),
        health: Some(healthy(1)),
    }
}
