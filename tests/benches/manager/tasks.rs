//! What runs, and what its workers say of it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use warren_core::{
    bounds::Port,
    check::{Check, CheckKind, Checks, HealthConfig, HttpCheck, Role, Timing},
    health::{Grounds, Health, HealthStatus, RoleHealth, Streak, Verdict},
    id::TaskId,
    outcome::{Attempt, Evidence, Outcome},
    report::TaskReport,
    spec::{PlacementRules, Pull, Replicas, RestartPolicy, ServiceSpec, TaskTemplate, Workload},
    task::{EndKind, Phase, TaskEnd, TaskStatus},
    time::Timestamp,
};

pub const PER_SERVICE: usize = 100;

pub fn service_name(number: usize) -> String {
    format!("service-{number}")
}

/// With a liveness and a readiness check, as most have.
pub fn spec(number: usize) -> ServiceSpec {
    let template = TaskTemplate {
        health: HealthConfig::Checks(checks().into()),
        ..TaskTemplate::new(Workload::Image {
            image: "web".parse().unwrap(),
            pull: Pull::Missing,
            command: Vec::new(),
        })
    };
    ServiceSpec {
        name: service_name(number).parse().unwrap(),
        replicas: Replicas::new(u32::try_from(PER_SERVICE).unwrap()).unwrap(),
        template: Arc::new(template),
        restart: RestartPolicy::default(),
        placement: PlacementRules::default(),
    }
}

fn checks() -> Checks {
    let check = |role| {
        let kind = CheckKind::Http(HttpCheck::new(Port::new(8080).unwrap()));
        Some(Check { kind, timing: Timing::default_for(role) })
    };
    let (liveness, readiness) = (check(Role::Liveness), check(Role::Readiness));
    Checks { liveness, readiness, ..Checks::NONE }
}

pub fn now() -> Timestamp {
    Timestamp::EPOCH.after(SystemTime::UNIX_EPOCH.elapsed().unwrap())
}

/// It runs, and takes traffic or not.
pub fn works(task: TaskId, sequence: u64, started_at: Timestamp, ready: bool) -> TaskReport {
    let now = now();
    let role = |passes: bool| {
        let (verdict, streak, outcome, message) = if passes {
            (Verdict::Passing, Streak::Passes(1), Outcome::Pass, "HTTP 200 OK")
        } else {
            let outcome = Outcome::Fail(Evidence::Explicit);
            (Verdict::Failing, Streak::Failures(3), outcome, "HTTP 503 Service Unavailable")
        };
        let (latency, message) = (Duration::from_millis(3), message.to_owned());
        let last = Some(Attempt { at: now, latency, outcome, message, components: Box::default() });
        Some(Box::new(RoleHealth {
            verdict,
            since: now,
            streak,
            last,
            flapping_since: None,
            grounds: Grounds::Seen,
            lasted_ms: 0,
        }))
    };
    let mut health = Health::starting(started_at);
    health.status = HealthStatus::Healthy;
    (health.ready, health.ready_since) = (ready, now);
    (health.roles.liveness, health.roles.readiness) = (role(true), role(ready));
    let status = TaskStatus {
        phase: Phase::Running,
        since: started_at,
        started_at: Some(started_at),
        address: Some([10, 77, 1, 2].into()),
        pid: Some(4711),
        checks: Some(Arc::new(checks())),
        message: String::new(),
    };
    report(task, sequence, status, Some(health))
}

pub fn ended(task: TaskId, sequence: u64, kind: EndKind) -> TaskReport {
    let (at, reason) = (now(), String::new());
    let end = TaskEnd { kind, at, exit_code: Some(1), oom_killed: false, reason };
    let status = TaskStatus { phase: Phase::Ended(Box::new(end)), ..TaskStatus::pending(at) };
    report(task, sequence, status, None)
}

fn report(task: TaskId, sequence: u64, status: TaskStatus, health: Option<Health>) -> TaskReport {
    let (transitions, transitions_dropped) = (Vec::new(), 0);
    TaskReport { task, sequence, status, health, transitions, transitions_dropped }
}
