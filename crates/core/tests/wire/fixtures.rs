//! Values with every field set, each to something of its own, so that no two fields can be
//! exchanged without a test that sees it. Where fields exclude each other there are several.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use warren_core::{
    assignment::Assignment,
    bounds::{Age, Attempts, Delay, Period, Port, RestartWindow, StopGrace, Threshold, Timeout},
    check::{
        ByRole, Ca, Check, CheckKind, Checks, Command, Endpoint, ExecCheck, ExitCodes, FileCheck,
        Flapping, GrpcCheck, GrpcHost, GrpcService, HealthConfig, HttpCheck, HttpHeader,
        HttpMethod, HttpPath, HttpVersion, NamedPort, Parts, Payload, PortRef, Preset, PresetCheck,
        Role, ServerName, StatusSet, TcpCheck, TextMatch, Timing, Tls, Trust,
    },
    clause::Clause,
    event::{Decision, Event, EventKind},
    health::{
        AccusedRole, ExternalVerdict, Grounds, Health, HealthStatus, RoleHealth, Streak,
        TaskHealth, Verdict,
    },
    id::{NodeId, ServiceId, TaskId},
    node::{Accusation, Availability, AvailabilityKind, Doubt, Driver, Node, NodeState},
    outcome::{Attempt, Evidence, Outcome},
    report::{HealthTransition, TaskReport},
    restraint::Restraint,
    rule::{Hold, Rule},
    service::{ChecksPause, Service},
    spec::{
        AbsolutePath, CpuMillis, EnvVar, Hostname, MemoryBytes, Mount, MountKind, Network,
        PlacementRules, Protocol, Publish, Pull, Replicas, RestartPolicy, ServiceSpec,
        TaskTemplate, User, Workload,
    },
    task::{EndKind, Phase, Placement, ReportMark, Stop, StopCause, Task, TaskEnd, TaskStatus},
    time::Timestamp,
    trial::{Phases, Trial},
};

use crate::support::Fixture;

/// So many milliseconds into 2026.
fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_767_225_600_000 + millis)
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().copied().map(String::from).collect()
}

fn path(text: &str) -> AbsolutePath {
    AbsolutePath::new(text).unwrap()
}

fn port(number: u32) -> Port {
    Port::new(number).unwrap()
}

/// Without what means nothing to the role.
fn timing(role: Role, millis: u64) -> Timing {
    let timing = Timing {
        period: Period::new(Duration::from_millis(millis + 1)).unwrap(),
        timeout: Timeout::new(Duration::from_millis(millis + 2)).unwrap(),
        delay: Delay::new(Duration::from_millis(millis + 3)).unwrap(),
        start_period: Delay::new(Duration::from_millis(millis + 4)).unwrap(),
        confirm_interval: Period::new(Duration::from_millis(millis + 5)).unwrap(),
        failures: Threshold::new(6).unwrap(),
        successes: Threshold::new(7).unwrap(),
        start_interval: Period::new(Duration::from_millis(millis + 8)).unwrap(),
        min_failing: Delay::new(Duration::from_millis(millis + 9)).unwrap(),
        flapping: Some(Flapping::new(10, 11).unwrap()),
        stop_grace_period: Some(StopGrace::new(Duration::from_millis(millis + 12)).unwrap()),
    };
    timing.kept_by(role)
}

fn http_check() -> HttpCheck {
    HttpCheck {
        tls: Some(Tls {
            trust: Trust::Ca(a_ca()),
            server_name: Some(ServerName::new("tls.example").unwrap()),
        }),
        endpoint: Endpoint::Port(PortRef::Number(port(8443))),
        version: HttpVersion::Http1,
        path: HttpPath::new("/health?deep=1").unwrap(),
        method: HttpMethod::new("PUT").unwrap(),
        headers: vec![
            HttpHeader::new("Host", "web.example").unwrap(),
            HttpHeader::new("User-Agent", "").unwrap(),
        ],
        send: Payload::new(*b"{\"deep\":1}").unwrap(),
        expect: StatusSet::new(vec![(200, 204), (301, 302)]).unwrap(),
        body: Some(TextMatch::regex("^(?i)ready").unwrap()),
        body_not: Some(TextMatch::contains("degraded").unwrap()),
        keep_alive: true,
    }
}

fn tcp_check() -> TcpCheck {
    TcpCheck {
        tls: Some(Tls { trust: Trust::Node, server_name: None }),
        send: Payload::new(*b"PING\r\n").unwrap(),
        expect: Some(TextMatch::contains("+PONG").unwrap()),
        ..TcpCheck::new(port(6379))
    }
}

fn exec_check() -> ExecCheck {
    let command = Command::argv(texts(&["pg_isready", "-U", "postgres"])).unwrap();
    ExecCheck {
        command,
        user: Some(User::new("postgres").unwrap()),
        exits: ExitCodes::new(&[0, 3], &[75]).unwrap(),
        expect: Some(TextMatch::contains("accepting").unwrap()),
    }
}

fn grpc_check() -> GrpcCheck {
    GrpcCheck {
        endpoint: Endpoint::Port(PortRef::Name("admin".parse().unwrap())),
        service: GrpcService::new("shop.Cart").unwrap(),
        tls: Some(Tls { trust: Trust::Node, server_name: None }),
        host: Some(GrpcHost::new("cart.example:443").unwrap()),
    }
}

fn file_check() -> FileCheck {
    FileCheck {
        path: path("/run/ready"),
        max_age: Some(Age::new(Duration::from_millis(90_001)).unwrap()),
    }
}

/// The kinds that [`all_checks`] has not.
fn more_checks() -> Checks {
    let check = |role, kind| Some(Check { kind, timing: timing(role, 4_000) });
    let shell = ExecCheck::new(Command::shell("test -f /ready || exit 1").unwrap());
    let socket = HttpCheck {
        endpoint: Endpoint::Socket(path("/run/http.sock")),
        version: HttpVersion::Http2,
        ..HttpCheck::new(port(80))
    };
    let named = Endpoint::Port(PortRef::Name("admin".parse().unwrap()));
    let named = TcpCheck { endpoint: named, ..tcp_check() };
    ByRole {
        startup: check(Role::Startup, CheckKind::File(file_check())),
        liveness: check(
            Role::Liveness,
            CheckKind::Any(
                Parts::new(vec![CheckKind::Grpc(grpc_check()), CheckKind::Exec(shell)]).unwrap(),
            ),
        ),
        readiness: check(
            Role::Readiness,
            CheckKind::All(
                Parts::new(vec![CheckKind::Http(socket), CheckKind::Tcp(named)]).unwrap(),
            ),
        ),
    }
}

fn a_ca() -> Ca {
    Ca::new(include_str!("ca.pem")).unwrap()
}

fn all_checks() -> Checks {
    ByRole {
        startup: Some(Check {
            kind: CheckKind::Http(http_check()),
            timing: timing(Role::Startup, 1_000),
        }),
        liveness: Some(Check {
            kind: CheckKind::Tcp(tcp_check()),
            timing: timing(Role::Liveness, 2_000),
        }),
        readiness: Some(Check {
            kind: CheckKind::Exec(exec_check()),
            timing: timing(Role::Readiness, 3_000),
        }),
    }
}

pub fn checks() -> Vec<Fixture<Checks>> {
    vec![("checks", all_checks()), ("checks.more", more_checks())]
}

pub fn health_config() -> Vec<Fixture<HealthConfig>> {
    vec![
        ("health_config", HealthConfig::Checks(Arc::new(all_checks()))),
        ("health_config.auto", HealthConfig::Auto),
        ("health_config.disabled", HealthConfig::Disabled),
        (
            "health_config.preset",
            HealthConfig::Preset(PresetCheck {
                preset: Some(Preset::Redis),
                port: Some(port(6380)),
                period: Some(Period::from_millis_const(1_101)),
                timeout: Some(Timeout::from_millis_const(1_102)),
                start_period: Some(Delay::from_millis_const(1_103)),
                failures: Some(Threshold::new_const(4)),
            }),
        ),
    ]
}

fn image_template() -> TaskTemplate {
    TaskTemplate {
        workload: Workload::Image {
            image: "registry.example:5000/team/web:1.2".parse().unwrap(),
            pull: Pull::Always,
            command: texts(&["/bin/web", "--serve"]),
        },
        args: texts(&["--port", "8080"]),
        env: vec![EnvVar::new("A", "env value").unwrap(), EnvVar::new("EMPTY", "").unwrap()],
        user: Some(User::new("www:data").unwrap()),
        workdir: Some(path("/srv/work")),
        hostname: Some(Hostname::new("host-1.example").unwrap()),
        mounts: vec![
            Mount {
                target: path("/data"),
                read_only: true,
                kind: MountKind::Bind { source: path("/var/data") },
            },
            Mount { target: path("/scratch"), read_only: false, kind: MountKind::Tmpfs },
        ],
        cpu_millis: Some(CpuMillis::new(1_500).unwrap()),
        memory_bytes: Some(MemoryBytes::new(64 << 20).unwrap()),
        stop_signal: Some("SIGQUIT".parse().unwrap()),
        stop_grace_period: StopGrace::new(Duration::from_millis(2_500)).unwrap(),
        network: Network::Bridge,
        publish: vec![
            Publish { host_port: port(8080), task_port: port(80), protocol: Protocol::Tcp },
            Publish { host_port: port(5353), task_port: port(53), protocol: Protocol::Udp },
        ],
        health: HealthConfig::Checks(Arc::new(all_checks())),
        ports: vec![NamedPort { name: "admin".parse().unwrap(), port: port(9090) }],
        init: true,
    }
}

fn process_template() -> TaskTemplate {
    TaskTemplate {
        workload: Workload::Process { command: texts(&["/usr/bin/env"]) },
        args: texts(&["sleep", "inf"]),
        env: vec![EnvVar::new("B", "process value").unwrap()],
        user: None,
        workdir: Some(path("/tmp")),
        hostname: None,
        mounts: Vec::new(),
        cpu_millis: None,
        memory_bytes: None,
        stop_signal: Some("SIGRTMIN+3".parse().unwrap()),
        stop_grace_period: StopGrace::MIN,
        network: Network::Host,
        publish: Vec::new(),
        health: HealthConfig::Disabled,
        ports: Vec::new(),
        init: false,
    }
}

pub fn task_template() -> Vec<Fixture<TaskTemplate>> {
    // As it was written before there was a word for an init.
    let before = TaskTemplate { init: false, ..image_template() };
    vec![
        ("task_template", image_template()),
        ("task_template.process", process_template()),
        ("task_template.before_init", before),
    ]
}

fn a_spec() -> ServiceSpec {
    ServiceSpec {
        name: "web-front".parse().unwrap(),
        replicas: Replicas::new(3).unwrap(),
        template: Arc::new(image_template()),
        restart: RestartPolicy {
            max_attempts: Some(Attempts::new(4).unwrap()),
            window: Some(RestartWindow::new(Duration::from_millis(120_005)).unwrap()),
        },
        placement: PlacementRules {
            constraints: vec![
                "node.labels.zone==a".parse().unwrap(),
                "node.name!=machine-2".parse().unwrap(),
            ],
            spread: Some("node.labels.rack".parse().unwrap()),
        },
    }
}

pub fn service_spec() -> Vec<Fixture<ServiceSpec>> {
    vec![("service_spec", a_spec())]
}

pub fn service() -> Vec<Fixture<Service>> {
    let older = BTreeMap::from([
        (4, Arc::new(process_template())),
        (5, Arc::new(TaskTemplate { args: texts(&["--older"]), ..image_template() })),
    ]);
    let service = Service {
        id: ServiceId::from_u64(0x5e),
        spec: a_spec(),
        revision: 7,
        template_revision: 6,
        created_at: at(101),
        updated_at: at(102),
        removed_at: Some(at(103)),
        released_at: Some(at(104)),
        older_templates: older,
        checks_paused: Some(ChecksPause {
            since: at(105),
            until: at(106),
            by: Some("who asked".to_owned()),
        }),
    };
    vec![("service", service)]
}

fn a_stop() -> Stop {
    Stop { cause: StopCause::CalledOff, reason: "why it stops".to_owned(), at: at(201) }
}

pub fn stop() -> Vec<Fixture<Stop>> {
    vec![("stop", a_stop())]
}

fn an_end() -> TaskEnd {
    TaskEnd {
        kind: EndKind::Exited,
        at: at(301),
        exit_code: Some(-1),
        oom_killed: true,
        reason: "why it ended".to_owned(),
    }
}

pub fn task_end() -> Vec<Fixture<TaskEnd>> {
    let zero = TaskEnd { exit_code: Some(0), ..an_end() };
    let lost = TaskEnd { exit_code: None, kind: EndKind::Lost, ..an_end() };
    vec![("task_end", an_end()), ("task_end.zero", zero), ("task_end.lost", lost)]
}

fn a_status() -> TaskStatus {
    TaskStatus {
        phase: Phase::Ended(an_end().into()),
        since: at(401),
        started_at: Some(at(402)),
        address: Some("10.88.0.7".parse().unwrap()),
        pid: Some(4_711),
        checks: Some(Arc::new(all_checks())),
        message: "what is being done".to_owned(),
    }
}

pub fn task_status() -> Vec<Fixture<TaskStatus>> {
    let six = Some("fd00::7".parse().unwrap());
    let running = TaskStatus { phase: Phase::Running, address: six, ..a_status() };
    vec![
        ("task_status", a_status()),
        ("task_status.running", running),
        ("task_status.pending", TaskStatus::pending(at(403))),
    ]
}

pub fn task_row() -> Vec<Fixture<Task>> {
    let placed = Task {
        id: TaskId::from_u64(0x7a01),
        service: ServiceId::from_u64(0x5e),
        slot: 2,
        revision: 6,
        attempt: 3,
        placement: Placement::On(NodeId::from_u64(0x0de)),
        created_at: at(501),
        not_before: at(502),
        replaces: Some(TaskId::from_u64(0x7a00)),
        stop: Some(a_stop().into()),
        held: Some(a_hold().into()),
        status: a_status(),
        reported: ReportMark { epoch: 11, sequence: 12 },
    };
    let waiting =
        Task { placement: Placement::Waiting("no node is up".to_owned()), ..placed.clone() };
    vec![("task_row", placed), ("task_row.waiting", waiting)]
}

pub fn node() -> Vec<Fixture<Node>> {
    let node = Node {
        id: NodeId::from_u64(0x0de),
        name: "machine-1".to_owned(),
        state: NodeState::Lost,
        since: at(601),
        registered_at: at(602),
        drivers: [Driver::Containerd, Driver::Process].into(),
        version: "0.1.0".to_owned(),
        epoch: 13,
        cpus: 8,
        memory_bytes: 16 << 30,
        labels: [("zone".parse().unwrap(), "a".to_owned())].into(),
        availability: Availability {
            kind: AvailabilityKind::Drained,
            since: at(603),
            automatic: true,
            reason: "why it is drained".to_owned(),
        },
        accused: Some(Accusation {
            since: at(604),
            reason: "why it is accused".to_owned(),
            canary: Some(TaskId::from_u64(0x7a05)),
        }),
        doubted: Some(Doubt { since: at(605), score: 5 }),
        operator_labels: [("rack".parse().unwrap(), "r7".to_owned())].into(),
    };
    vec![("node", node)]
}

fn a_hold() -> Hold {
    Hold { rule: Rule::Budget, since: at(651), reason: "why it is held".to_owned() }
}

pub fn hold() -> Vec<Fixture<Hold>> {
    vec![("hold", a_hold())]
}

pub fn restraint() -> Vec<Fixture<Restraint>> {
    let restraint = Restraint {
        pace_full_at: Some(at(661)),
        started_at: Some(at(662)),
        silence: Some(a_hold()),
    };
    vec![("restraint", restraint)]
}

pub fn event() -> Vec<Fixture<Event>> {
    let event = Event {
        sequence: 21,
        at: at(701),
        kind: EventKind::ExternalVerdict,
        service: Some(ServiceId::from_u64(0x5e)),
        service_name: Some("web".parse().unwrap()),
        slot: Some(2),
        task: Some(TaskId::from_u64(0x7a01)),
        node: Some(NodeId::from_u64(0x0de)),
        message: "what happened".to_owned(),
        decision: Some(Decision { rule: Rule::Dependency, seen: "what was seen".to_owned() }),
    };
    vec![("event", event)]
}

fn an_attempt(millis: u64, outcome: Outcome) -> Attempt {
    Attempt {
        at: at(millis),
        latency: Duration::from_micros(1_234_567),
        outcome,
        message: format!("attempt at {millis}"),
        components: ["postgres".to_owned()].into(),
    }
}

pub fn attempt() -> Vec<Fixture<Attempt>> {
    vec![("attempt", an_attempt(801, Outcome::Fail(Evidence::Timeout)))]
}

pub fn trial() -> Vec<Fixture<Trial>> {
    let check =
        Check { kind: CheckKind::Http(http_check()), timing: timing(Role::Liveness, 2_000) };
    let trial = Trial {
        roles: vec![Role::Liveness, Role::Readiness],
        check,
        attempt: an_attempt(821, Outcome::Fail(Evidence::Explicit)),
        phases: Phases {
            earlier: Some(Duration::from_micros(826)),
            connect: Some(Duration::from_micros(822)),
            tls: Some(Duration::from_micros(823)),
            first_byte: Some(Duration::from_micros(824)),
        },
        waited: Duration::from_micros(825),
        clause: Clause::new(51),
    };
    vec![("trial", trial)]
}

pub fn role_health() -> Vec<Fixture<RoleHealth>> {
    let passing = RoleHealth {
        verdict: Verdict::Passing,
        since: at(901),
        streak: Streak::Passes(31),
        last: Some(an_attempt(902, Outcome::Pass)),
        flapping_since: Some(at(907)),
        grounds: Grounds::Seen,
        lasted_ms: 0,
    };
    let failing = RoleHealth {
        verdict: Verdict::Failing,
        since: at(903),
        streak: Streak::Failures(32),
        last: Some(an_attempt(904, Outcome::Fail(Evidence::Explicit))),
        flapping_since: None,
        grounds: Grounds::None,
        lasted_ms: 908,
    };
    let unknown = RoleHealth {
        verdict: Verdict::Unknown,
        since: at(905),
        streak: Streak::Inconclusive(33),
        last: Some(an_attempt(906, Outcome::Inconclusive)),
        flapping_since: None,
        grounds: Grounds::Assumed,
        lasted_ms: u32::MAX,
    };
    vec![
        ("role_health", passing),
        ("role_health.failing", failing),
        ("role_health.unknown", unknown),
    ]
}

fn a_health() -> Health {
    let mut roles = role_health().into_iter().map(|(_, role)| Box::new(role));
    Health {
        status: HealthStatus::Unhealthy,
        since: at(1_001),
        ready: true,
        ready_since: at(1_002),
        was_ready: true,
        reason: "why it is unhealthy".to_owned(),
        roles: ByRole { startup: roles.next(), liveness: roles.next(), readiness: roles.next() },
    }
}

pub fn health() -> Vec<Fixture<Health>> {
    vec![("health", a_health())]
}

fn an_accusation(reporter: &str, role: AccusedRole) -> ExternalVerdict {
    ExternalVerdict {
        reporter: reporter.to_owned(),
        role,
        reason: "ledger differs".to_owned(),
        reported_at: at(1_101),
        expires_at: at(1_102),
    }
}

pub fn external_verdict() -> Vec<Fixture<ExternalVerdict>> {
    vec![
        ("external_verdict", an_accusation("auditor", AccusedRole::Liveness)),
        ("external_verdict.readiness", an_accusation("auditor", AccusedRole::Readiness)),
    ]
}

pub fn health_row() -> Vec<Fixture<TaskHealth>> {
    let external = vec![
        an_accusation("auditor", AccusedRole::Liveness),
        an_accusation("auditor", AccusedRole::Readiness),
        an_accusation("billing", AccusedRole::Liveness),
    ];
    let reported = ReportMark { epoch: 13, sequence: 14 };
    vec![("health_row", TaskHealth { observed: a_health(), external, reported })]
}

pub fn assignment() -> Vec<Fixture<Assignment>> {
    let assignment = Assignment {
        task: TaskId::from_u64(0x7a01),
        service: ServiceId::from_u64(0x5e),
        service_name: "web-front".parse().unwrap(),
        slot: 2,
        template: Arc::new(image_template()),
        not_before: at(1_201),
        stop: Some(a_stop()),
        checks_paused_until: Some(at(1_202)),
    };
    vec![("assignment", assignment)]
}

fn a_transition(millis: u64, status: HealthStatus) -> HealthTransition {
    HealthTransition {
        at: at(millis),
        status,
        ready: true,
        reason: format!("at {millis}"),
        flapping: true,
    }
}

pub fn health_transition() -> Vec<Fixture<HealthTransition>> {
    vec![("health_transition", a_transition(1_301, HealthStatus::Unknown))]
}

pub fn task_report() -> Vec<Fixture<TaskReport>> {
    let report = TaskReport {
        task: TaskId::from_u64(0x7a01),
        sequence: 41,
        status: a_status(),
        health: Some(a_health()),
        transitions: vec![
            a_transition(1_302, HealthStatus::Starting),
            a_transition(1_303, HealthStatus::Healthy),
        ],
        transitions_dropped: 42,
    };
    vec![("task_report", report)]
}
