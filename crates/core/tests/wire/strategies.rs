//! Arbitrary valid values of every noun.

mod check;
mod spec;

use std::{sync::Arc, time::Duration};

use proptest::{
    collection::{btree_map, btree_set, vec},
    option,
    prelude::*,
    sample::select,
};
use warren_core::{
    assignment::Assignment,
    bounds::Span,
    check::{ByRole, Role},
    clause::Clause,
    event::{Decision, Event, EventKind},
    health::{
        AccusedRole, ExternalVerdict, Grounds, Health, HealthStatus, RoleHealth, Streak,
        TaskHealth, Verdict,
    },
    id::{NodeId, ServiceId, TaskId},
    node::{Accusation, Availability, AvailabilityKind, Doubt, Driver, Labels, Node, NodeState},
    outcome::{Attempt, Evidence, Outcome},
    report::{HealthTransition, TaskReport},
    restraint::Restraint,
    rule::{Hold, Rule},
    task::{EndKind, Phase, Placement, ReportMark, Stop, StopCause, Task, TaskEnd, TaskStatus},
    time::Timestamp,
    trial::{Phases, Trial},
};

use self::{check::a_check, spec::service_name};
pub use self::{
    check::{checks, health_config},
    spec::{service, service_spec, task_template},
};

fn timestamp() -> impl Strategy<Value = Timestamp> {
    (0..=Timestamp::MAX.as_millis()).prop_map(Timestamp::from_millis)
}

fn span<const MIN: u64, const MAX: u64>() -> impl Strategy<Value = Span<MIN, MAX>> {
    (MIN..=MAX).prop_map(|millis| Span::new(Duration::from_millis(millis)).unwrap())
}

fn text() -> impl Strategy<Value = String> {
    ".{0,40}"
}

fn word() -> impl Strategy<Value = String> {
    "[^\\x00]{0,12}"
}

fn program() -> impl Strategy<Value = Vec<String>> {
    ("[^\\x00]{1,12}", vec(word(), 0..4)).prop_map(|(program, mut args)| {
        args.insert(0, program);
        args
    })
}

fn task_id() -> impl Strategy<Value = TaskId> {
    any::<u64>().prop_map(TaskId::from_u64)
}

fn service_id() -> impl Strategy<Value = ServiceId> {
    any::<u64>().prop_map(ServiceId::from_u64)
}

fn node_id() -> impl Strategy<Value = NodeId> {
    any::<u64>().prop_map(NodeId::from_u64)
}

pub fn stop() -> impl Strategy<Value = Stop> {
    let cause = select(vec![
        StopCause::Unhealthy,
        StopCause::Updated,
        StopCause::ScaledDown,
        StopCause::ServiceRemoved,
        StopCause::Requested,
        StopCause::CalledOff,
        StopCause::NodeRemoved,
        StopCause::NodeLost,
        StopCause::Moved,
    ]);
    (cause, text(), timestamp()).prop_map(|(cause, reason, at)| Stop { cause, reason, at })
}

pub fn task_end() -> impl Strategy<Value = TaskEnd> {
    let kind = select(vec![EndKind::Exited, EndKind::Stopped, EndKind::NotStarted, EndKind::Lost]);
    (kind, timestamp(), any::<Option<i32>>(), any::<bool>(), text()).prop_map(
        |(kind, at, exit_code, oom_killed, reason)| TaskEnd {
            kind,
            at,
            exit_code,
            oom_killed,
            reason,
        },
    )
}

pub fn task_status() -> impl Strategy<Value = TaskStatus> {
    let phase = prop_oneof![
        Just(Phase::Pending),
        Just(Phase::Preparing),
        Just(Phase::Running),
        Just(Phase::Stopping),
        task_end().prop_map(|end| Phase::Ended(Box::new(end))),
    ];
    (
        phase,
        timestamp(),
        option::of(timestamp()),
        any::<Option<std::net::IpAddr>>(),
        option::of(1..=u32::MAX),
        option::of(checks().prop_map(Arc::new)),
        text(),
    )
        .prop_map(|(phase, since, started_at, address, pid, checks, message)| TaskStatus {
            phase,
            since,
            started_at,
            address,
            pid,
            checks,
            message,
        })
}

pub fn task_row() -> impl Strategy<Value = Task> {
    let placement =
        prop_oneof![text().prop_map(Placement::Waiting), node_id().prop_map(Placement::On)];
    (
        (task_id(), service_id(), option::of(task_id())),
        (1..=u32::MAX, any::<u64>(), any::<u32>()),
        placement,
        (timestamp(), timestamp()),
        option::of(stop()),
        option::of(hold()),
        task_status(),
        any::<(u64, u64)>(),
    )
        .prop_map(|(ids, numbers, placement, times, stop, held, status, reported)| Task {
            id: ids.0,
            service: ids.1,
            slot: numbers.0,
            revision: numbers.1,
            attempt: numbers.2,
            placement,
            created_at: times.0,
            not_before: times.1,
            replaces: ids.2,
            stop: stop.map(Box::new),
            held: held.map(Box::new),
            status,
            reported: ReportMark { epoch: reported.0, sequence: reported.1 },
        })
}

pub fn node() -> impl Strategy<Value = Node> {
    (
        (node_id(), "[a-zA-Z0-9.-]{1,60}"),
        select(vec![NodeState::Up, NodeState::Suspect, NodeState::Lost]),
        (timestamp(), timestamp()),
        btree_set(select(vec![Driver::Containerd, Driver::Process]), 0..=2),
        text(),
        any::<(u64, u32, u64)>(),
        (labels(), availability(), option::of(accusation()), option::of(doubt()), labels()),
    )
        .prop_map(|((id, name), state, times, drivers, version, numbers, more)| Node {
            id,
            name,
            state,
            since: times.0,
            registered_at: times.1,
            drivers,
            version,
            epoch: numbers.0,
            cpus: numbers.1,
            memory_bytes: numbers.2,
            labels: more.0,
            availability: more.1,
            accused: more.2,
            doubted: more.3,
            operator_labels: more.4,
        })
}

fn labels() -> impl Strategy<Value = Labels> {
    let key = "[a-zA-Z0-9]([a-z._/-]{0,20}[a-zA-Z0-9])?".prop_map(|key| key.parse().unwrap());
    btree_map(key, "[a-z 0-9]{0,12}", 0..4)
}

fn availability() -> impl Strategy<Value = Availability> {
    let kinds = [AvailabilityKind::Active, AvailabilityKind::Cordoned, AvailabilityKind::Drained];
    (select(kinds.to_vec()), timestamp(), any::<bool>(), text()).prop_map(
        |(kind, since, automatic, reason)| Availability { kind, since, automatic, reason },
    )
}

fn accusation() -> impl Strategy<Value = Accusation> {
    (timestamp(), text(), option::of(task_id())).prop_map(|(since, reason, canary)| Accusation {
        since,
        reason,
        canary,
    })
}

fn doubt() -> impl Strategy<Value = Doubt> {
    (timestamp(), any::<u32>()).prop_map(|(since, score)| Doubt { since, score })
}

fn rule() -> impl Strategy<Value = Rule> {
    let others = [
        Rule::Fill,
        Rule::Unhealthy,
        Rule::Ended,
        Rule::Lost,
        Rule::Outdated,
        Rule::Moved,
        Rule::HandedOver,
        Rule::CalledOff,
        Rule::SuccessorFailed,
        Rule::ScaledDown,
        Rule::ServiceRemoved,
        Rule::Requested,
        Rule::Placed,
    ];
    select([&others[..], &Rule::GUARDS].concat())
}

pub fn hold() -> impl Strategy<Value = Hold> {
    (rule(), timestamp(), text()).prop_map(|(rule, since, reason)| Hold { rule, since, reason })
}

pub fn restraint() -> impl Strategy<Value = Restraint> {
    (option::of(timestamp()), option::of(timestamp()), option::of(hold())).prop_map(
        |(pace_full_at, started_at, silence)| Restraint { pace_full_at, started_at, silence },
    )
}

pub fn event() -> impl Strategy<Value = Event> {
    let kind = select(vec![
        EventKind::ServiceCreated,
        EventKind::ServiceUpdated,
        EventKind::ServiceRemoved,
        EventKind::TaskCreated,
        EventKind::TaskPlaced,
        EventKind::TaskStarted,
        EventKind::TaskStopping,
        EventKind::TaskEnded,
        EventKind::HealthChanged,
        EventKind::ReadyChanged,
        EventKind::NodeUp,
        EventKind::NodeLost,
        EventKind::NodeRemoved,
        EventKind::ExternalVerdict,
        EventKind::FlappingChanged,
        EventKind::ReplacementHeld,
        EventKind::ReplacementReleased,
        EventKind::GaveUp,
        EventKind::NodeSuspect,
        EventKind::NodeAvailability,
        EventKind::NodeLabelled,
        EventKind::NodeAccused,
        EventKind::NodeCleared,
        EventKind::ChecksPaused,
        EventKind::ChecksResumed,
    ]);
    (
        any::<u64>(),
        timestamp(),
        kind,
        option::of(service_id()),
        option::of(service_name()),
        option::of(1..=u32::MAX),
        option::of(task_id()),
        option::of(node_id()),
        text(),
        option::of((rule(), text()).prop_map(|(rule, seen)| Decision { rule, seen })),
    )
        .prop_map(|fields| {
            let (sequence, at, kind, service, service_name, slot, task, node, message, decision) =
                fields;
            Event { sequence, at, kind, service, service_name, slot, task, node, message, decision }
        })
}

pub fn attempt() -> impl Strategy<Value = Attempt> {
    let outcome = select(vec![
        Outcome::Pass,
        Outcome::Fail(Evidence::Explicit),
        Outcome::Fail(Evidence::Refused),
        Outcome::Fail(Evidence::Timeout),
        Outcome::Fail(Evidence::Gone),
        Outcome::Inconclusive,
    ]);
    let components = vec("[a-z0-9 -]{1,64}", 0..=8);
    (timestamp(), nanos(), outcome, text(), components).prop_map(
        |(at, latency, outcome, message, components)| Attempt {
            at,
            latency,
            outcome,
            message,
            components: components.into(),
        },
    )
}

fn nanos() -> impl Strategy<Value = Duration> {
    (0..=86_400_000_000_000_u64).prop_map(Duration::from_nanos)
}

fn phases() -> impl Strategy<Value = Phases> {
    let some = || option::of(nanos());
    (some(), some(), some(), some()).prop_map(|(earlier, connect, tls, first_byte)| Phases {
        earlier,
        connect,
        tls,
        first_byte,
    })
}

pub fn trial() -> impl Strategy<Value = Trial> {
    let roles = vec(select(vec![Role::Liveness, Role::Readiness]), 0..3);
    (roles, a_check(Role::Readiness), attempt(), phases(), nanos(), any::<u16>()).prop_map(
        |(roles, check, attempt, phases, waited, clause)| Trial {
            roles,
            check,
            attempt,
            phases,
            waited,
            clause: Clause::new(clause),
        },
    )
}

pub fn role_health() -> impl Strategy<Value = RoleHealth> {
    let verdict =
        select(vec![Verdict::Pending, Verdict::Passing, Verdict::Failing, Verdict::Unknown]);
    let streak = prop_oneof![
        Just(Streak::None),
        (1..=u32::MAX).prop_map(Streak::Passes),
        (1..=u32::MAX).prop_map(Streak::Failures),
        (1..=u32::MAX).prop_map(Streak::Inconclusive),
    ];
    let grounds = select(vec![Grounds::None, Grounds::Assumed, Grounds::Seen]);
    let parts = (verdict, timestamp(), streak, option::of(attempt()), option::of(timestamp()));
    (parts, grounds, any::<u32>()).prop_map(|(parts, grounds, lasted_ms)| {
        let (verdict, since, streak, last, flapping_since) = parts;
        RoleHealth { verdict, since, streak, last, flapping_since, grounds, lasted_ms }
    })
}

fn health_status() -> impl Strategy<Value = HealthStatus> {
    select(vec![
        HealthStatus::Starting,
        HealthStatus::Healthy,
        HealthStatus::Unhealthy,
        HealthStatus::Unknown,
        HealthStatus::Unchecked,
    ])
}

pub fn health() -> impl Strategy<Value = Health> {
    let role = || option::of(role_health().prop_map(Box::new));
    (
        health_status(),
        (timestamp(), timestamp()),
        any::<(bool, bool)>(),
        text(),
        (role(), role(), role()),
    )
        .prop_map(|(status, times, (ready, was_ready), reason, roles)| Health {
            status,
            since: times.0,
            ready,
            ready_since: times.1,
            was_ready,
            reason,
            roles: ByRole { startup: roles.0, liveness: roles.1, readiness: roles.2 },
        })
}

fn accused_role() -> impl Strategy<Value = AccusedRole> {
    select(vec![AccusedRole::Liveness, AccusedRole::Readiness])
}

pub fn external_verdict() -> impl Strategy<Value = ExternalVerdict> {
    ("\\PC{1,128}", accused_role(), text(), timestamp(), timestamp()).prop_map(
        |(reporter, role, reason, reported_at, expires_at)| ExternalVerdict {
            reporter,
            role,
            reason,
            reported_at,
            expires_at,
        },
    )
}

pub fn health_row() -> impl Strategy<Value = TaskHealth> {
    let external =
        vec(external_verdict(), 0..=TaskHealth::EXTERNAL_MAX).prop_map(|mut verdicts| {
            verdicts.sort_by(|a, b| (&a.reporter, a.role).cmp(&(&b.reporter, b.role)));
            verdicts.dedup_by(|a, b| (&a.reporter, a.role) == (&b.reporter, b.role));
            verdicts
        });
    (health(), external, any::<(u64, u64)>()).prop_map(|(observed, external, mark)| {
        let reported = ReportMark { epoch: mark.0, sequence: mark.1 };
        TaskHealth { observed, external, reported }
    })
}

pub fn assignment() -> impl Strategy<Value = Assignment> {
    (
        (task_id(), service_id(), service_name()),
        1..=u32::MAX,
        task_template(),
        (timestamp(), option::of(timestamp())),
        option::of(stop()),
    )
        .prop_map(
            |((task, service, service_name), slot, template, (not_before, paused), stop)| {
                Assignment {
                    task,
                    service,
                    service_name,
                    slot,
                    template: Arc::new(template),
                    not_before,
                    stop,
                    checks_paused_until: paused,
                }
            },
        )
}

pub fn health_transition() -> impl Strategy<Value = HealthTransition> {
    (timestamp(), health_status(), any::<bool>(), text(), any::<bool>()).prop_map(
        |(at, status, ready, reason, flapping)| HealthTransition {
            at,
            status,
            ready,
            reason,
            flapping,
        },
    )
}

pub fn task_report() -> impl Strategy<Value = TaskReport> {
    (
        task_id(),
        any::<(u64, u64)>(),
        task_status(),
        option::of(health()),
        vec(health_transition(), 0..4),
    )
        .prop_map(|(task, numbers, status, health, transitions)| TaskReport {
            task,
            sequence: numbers.0,
            status,
            health,
            transitions,
            transitions_dropped: numbers.1,
        })
}
