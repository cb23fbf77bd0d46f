//! What a row or a report may not hold.

use warren_core::{
    assignment::Assignment,
    check::Role,
    event::Event,
    health::{AccusedRole, ExternalVerdict, Health, RoleHealth, Streak, TaskHealth},
    id::{NodeId, ServiceId},
    node::{Driver, Node},
    outcome::Attempt,
    report::TaskReport,
    service::Service,
    spec::{RestartPolicy, ServiceSpec},
    task::{Placement, Task, TaskEnd},
};
use warren_proto::v1 as pb;

use super::{changed, refused, span};
use crate::fixtures;

#[test]
fn a_service_row_names_the_field_that_is_wrong() {
    let service =
        |change: fn(&mut pb::Service)| refused::<Service, _>(changed(&fixtures::service(), change));
    let id = ServiceId::from_u64(0xabc).to_string();
    assert_eq!(service(|s| s.id.clear()), "id: is required");
    assert_eq!(
        refused::<Service, _>(changed(&fixtures::service(), |s: &mut pb::Service| {
            s.id = id.to_uppercase();
        })),
        "id: \"0000000000000ABC\" is not an id: sixteen hexadecimal digits in lower case"
    );
    assert_eq!(service(|s| s.spec.as_mut().unwrap().template = None), "spec.template: is required");
    let spec = |change: fn(&mut pb::ServiceSpec)| {
        refused::<ServiceSpec, _>(changed(&fixtures::service_spec(), change))
    };
    assert_eq!(
        spec(|s| s.constraints[1] = "zone=a".to_owned()),
        "constraints[1]: \"zone=a\" is not ATTRIBUTE==VALUE or !="
    );
    assert_eq!(
        spec(|s| s.spread = "zone".to_owned()),
        "spread: \"zone\" is not node.id, node.name or node.labels.KEY"
    );
    let restart = |change: fn(&mut pb::RestartPolicy)| {
        let mut wire = pb::RestartPolicy { max_attempts: 4, window: Some(span(60, 0)) };
        change(&mut wire);
        refused::<RestartPolicy, _>(wire)
    };
    assert_eq!(restart(|r| r.max_attempts = 101), "max_attempts: 101 is not in 1..=100");
    assert_eq!(restart(|r| r.max_attempts = 0), "window: needs max_attempts");
    assert_eq!(
        service(|s| s.older_templates[1].template = None),
        "older_templates[1].template: is required"
    );
    assert_eq!(
        service(|s| s.older_templates[1].revision = 4),
        "older_templates[1].revision: 4 is there twice"
    );
}

#[test]
fn a_task_row_names_the_field_that_is_wrong() {
    fn row(change: impl FnOnce(&mut pb::Task)) -> String {
        refused::<Task, _>(changed(&fixtures::task_row(), |row: &mut pb::TaskRow| {
            change(row.task.as_mut().unwrap());
        }))
    }
    fn status(change: impl FnOnce(&mut pb::TaskStatus)) -> String {
        row(|task| change(task.status.as_mut().unwrap()))
    }
    let id = "is not an id: sixteen hexadecimal digits in lower case";
    for (refusal, expected) in [
        (refused::<Task, _>(pb::TaskRow::default()), "task: is required".to_owned()),
        (row(|t| t.id = "1".to_owned()), format!("task.id: \"1\" {id}")),
        (row(|t| t.node_id = "n".to_owned()), format!("task.node_id: \"n\" {id}")),
        (row(|t| t.replaces = "r".to_owned()), format!("task.replaces: \"r\" {id}")),
        (row(|t| t.slot = 0), "task.slot: is required".to_owned()),
        (row(|t| t.waiting.push('x')), "task.waiting: a task with a node does not wait".to_owned()),
        (row(|t| t.status = None), "task.status: is required".to_owned()),
        (row(|t| t.stop.as_mut().unwrap().cause = 0), "task.stop.cause: is required".to_owned()),
        (status(|s| s.state = 0), "task.status.state: is required".to_owned()),
        (status(|s| s.state = 6), "task.status.state: 6 is not known here".to_owned()),
        (status(|s| s.end = None), "task.status.end: is required".to_owned()),
        (status(|s| s.state = 3), "task.status.end: is for ended tasks alone".to_owned()),
        (
            status(|s| s.address = "here".to_owned()),
            "task.status.address: \"here\" is not an IP address".to_owned(),
        ),
        (
            status(|s| s.end.as_mut().unwrap().kind = 5),
            "task.status.end.kind: 5 is not known here".to_owned(),
        ),
    ] {
        assert_eq!(refusal, expected);
    }
}

#[test]
fn health_names_the_field_that_is_wrong() {
    let health =
        |change: fn(&mut pb::Health)| refused::<Health, _>(changed(&fixtures::health(), change));
    let liveness = |change: fn(&mut pb::RoleHealth)| {
        refused::<Health, _>(changed(&fixtures::health(), |health: &mut pb::Health| {
            change(health.liveness.as_mut().unwrap());
        }))
    };
    for (refusal, expected) in [
        (health(|h| h.status = 0), "status: is required"),
        (health(|h| h.status = 6), "status: 6 is not known here"),
        (health(|h| h.ready_since = None), "ready_since: is required"),
        (
            liveness(|r| r.passes = 1),
            "liveness: only one of passes, failures and inconclusive may be set",
        ),
        (liveness(|r| r.verdict = 5), "liveness.verdict: 5 is not known here"),
        (
            liveness(|r| r.last.as_mut().unwrap().outcome = 7),
            "liveness.last.outcome: 7 is not known here",
        ),
        (
            liveness(|r| r.last.as_mut().unwrap().latency = None),
            "liveness.last.latency: is required",
        ),
        (
            liveness(|r| r.last.as_mut().unwrap().latency = Some(span(-1, 0))),
            "liveness.last.latency: -1 s and 0 ns are negative",
        ),
    ] {
        assert_eq!(refusal, expected);
    }
    let untried = pb::RoleHealth { passes: 0, ..(&fixtures::role_health()[0].1).into() };
    assert_eq!(RoleHealth::try_from(untried).unwrap().streak, Streak::None);
}

#[test]
fn another_controllers_verdict_is_bounded_and_accuses() {
    let verdict = |change: fn(&mut pb::ExternalVerdict)| {
        refused::<ExternalVerdict, _>(changed(&fixtures::external_verdict(), change))
    };
    let printable = "reporter: is not 1-128 printable characters";
    for (refusal, expected) in [
        (verdict(|v| v.reporter.clear()), printable),
        (verdict(|v| v.reporter = "x".repeat(129)), printable),
        (verdict(|v| v.reporter.push('\n')), printable),
        (verdict(|v| v.reason = "x".repeat(4097)), "reason: is longer than 4096 bytes"),
        (verdict(|v| v.role = 0), "role: is required"),
        (verdict(|v| v.role = 1), "role: startup is judged by the worker alone"),
        (verdict(|v| v.verdict = 2), "verdict: only what accuses is kept"),
        (verdict(|v| v.expires_at = None), "expires_at: is required"),
    ] {
        assert_eq!(refusal, expected);
    }
    assert_eq!(Role::from(AccusedRole::Readiness), Role::Readiness);
}

#[test]
fn the_verdicts_on_one_task_are_few_and_one_for_each_reporter_and_role() {
    let many = changed(&fixtures::health_row(), |row: &mut pb::HealthRow| {
        let health = row.health.as_mut().unwrap();
        health.external = (0..=TaskHealth::EXTERNAL_MAX)
            .map(|n| pb::ExternalVerdict {
                reporter: format!("reporter-{n}"),
                ..health.external[0].clone()
            })
            .collect();
    });
    assert_eq!(refused::<TaskHealth, _>(many), "health.external: has more than 8 verdicts");
    let twice = changed(&fixtures::health_row(), |row: &mut pb::HealthRow| {
        let health = row.health.as_mut().unwrap();
        health.external[2].reporter = "auditor".to_owned();
    });
    assert_eq!(
        refused::<TaskHealth, _>(twice),
        "health.external[2]: \"auditor\" has another verdict on this role"
    );
}

#[test]
fn nodes_events_assignments_and_reports_name_the_field_that_is_wrong() {
    let node = |change: fn(&mut pb::Node)| refused::<Node, _>(changed(&fixtures::node(), change));
    let event =
        |change: fn(&mut pb::Event)| refused::<Event, _>(changed(&fixtures::event(), change));
    let assignment = |change: fn(&mut pb::Assignment)| {
        refused::<Assignment, _>(changed(&fixtures::assignment(), change))
    };
    let report = |change: fn(&mut pb::TaskReport)| {
        refused::<TaskReport, _>(changed(&fixtures::task_report(), change))
    };
    for (refusal, expected) in [
        (node(|n| n.name.clear()), "name: is not 1-253 printable characters"),
        (node(|n| n.state = 4), "state: 4 is not known here"),
        (
            node(|n| n.labels[0].key = "-".to_owned()),
            "labels[0].key: \"-\" is not a label: 1-63 letters, digits, '.', '_', '-' and '/', \
             with a letter or digit at both ends",
        ),
        (node(|n| n.labels.push(n.labels[0].clone())), "labels[1].key: zone is there twice"),
        (
            node(|n| n.labels[0].value = "\n".to_owned()),
            "labels[0].value: is not 1-253 printable characters",
        ),
        (
            node(|n| n.operator_labels.push(n.operator_labels[0].clone())),
            "operator_labels[1].key: rack is there twice",
        ),
        (
            node(|n| n.availability.as_mut().unwrap().kind = 9),
            "availability.kind: 9 is not known here",
        ),
        (node(|n| n.accused.as_mut().unwrap().since = None), "accused.since: is required"),
        (node(|n| n.doubted.as_mut().unwrap().since = None), "doubted.since: is required"),
        (node(|n| n.drivers[1] = 0), "drivers[1]: is required"),
        (event(|e| e.kind = 99), "kind: 99 is not known here"),
        (event(|e| e.at = None), "at: is required"),
        (assignment(|a| a.slot = 0), "slot: is required"),
        (assignment(|a| a.stop.as_mut().unwrap().cause = 99), "stop.cause: 99 is not known here"),
        (
            assignment(|a| a.template.as_mut().unwrap().mounts[0].target.clear()),
            "template.mounts[0].target: \"\" is not an absolute path without '..'",
        ),
        (report(|r| r.status = None), "status: is required"),
        (
            report(|r| components(r).push("\n".to_owned())),
            "health.liveness.last.components[1]: is not 1-64 printable characters",
        ),
        (
            report(|r| components(r).resize(9, "db".to_owned())),
            "health.liveness.last.components: are more than 8",
        ),
        (report(|r| r.transitions[1].status = 0), "transitions[1].status: is required"),
    ] {
        assert_eq!(refusal, expected);
    }
    assert_eq!(Driver::set_from_wire("drivers", &[2, 2, 1]).unwrap().len(), 2);
}

fn components(report: &mut pb::TaskReport) -> &mut Vec<String> {
    let liveness = report.health.as_mut().unwrap().liveness.as_mut().unwrap();
    &mut liveness.last.as_mut().unwrap().components
}

#[test]
fn absent_references_of_an_event_are_none() {
    let bare = changed(&fixtures::event(), |event: &mut pb::Event| {
        event.service_id.clear();
        event.service_name.clear();
        event.task_id.clear();
        event.node_id.clear();
        event.slot = 0;
    });
    let event = Event::try_from(bare).unwrap();
    assert_eq!(event.service_name, None);
    let of = (event.service, event.slot, event.task, event.node);
    assert_eq!(of, (None, None, None, None));
}

#[test]
fn what_users_see_of_a_task_is_its_row_without_the_mark() {
    for (_, task) in fixtures::task_row() {
        let row = pb::TaskRow::from(&task);
        assert_eq!(row.task, Some(pb::Task::from(&task)));
        assert_eq!((row.epoch, row.sequence), (task.reported.epoch, task.reported.sequence));
        let node = matches!(task.placement, Placement::On(_)).then(|| NodeId::from_u64(0xde));
        assert_eq!(task.node(), node);
    }
}

#[test]
fn what_users_see_of_a_task_s_health_is_its_row_without_the_mark() {
    for (_, health) in fixtures::health_row() {
        let row = pb::HealthRow::from(&health);
        assert_eq!(row.health, Some(pb::TaskHealth::from(&health)));
        let mark = (health.reported.epoch, health.reported.sequence);
        assert_eq!((row.epoch, row.sequence), mark);
    }
}

#[test]
fn a_text_for_a_person_is_cut_between_two_characters() {
    let long = "a".to_owned() + &"é".repeat(3_000);
    let cut = "a".to_owned() + &"é".repeat(2_047);
    let message = changed(&fixtures::attempt(), |a: &mut pb::Attempt| a.message = long.clone());
    let attempt = Attempt::try_from(message).unwrap();
    assert_eq!(attempt.message, cut);
    assert!(attempt.message.len() <= Attempt::MESSAGE_MAX);

    let message = changed(&fixtures::task_end(), |end: &mut pb::TaskEnd| end.reason = long);
    assert_eq!(TaskEnd::try_from(message).unwrap().reason, cut);
}
