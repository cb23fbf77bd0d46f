//! A task in words.

use std::cmp::Reverse;

use warren_core::time::Timestamp;
use warren_proto::v1 as pb;

use super::service_show;
use crate::output::{
    self, checks,
    task::{View, end_words, joined},
    words,
};

/// `task ls`: by service and slot, the newest first.
pub fn rows(tasks: &[pb::TaskDetail], now: Timestamp) -> String {
    let mut views: Vec<View<'_>> = tasks.iter().map(|detail| View { detail, live: None }).collect();
    views.sort_by_key(|view| (&view.detail.service_name, view.slot(), Reverse(view.created())));
    let rows = views.into_iter().map(|view| {
        let detail = view.detail;
        [
            view.id(),
            words::plain(&detail.service_name),
            view.slot().to_string(),
            view.node(),
            view.state(),
            view.health(),
            view.ready(),
            view.since(now),
            detail.restarts.to_string(),
            view.reason(now),
        ]
    });
    let header = [
        "TASK", "SERVICE", "SLOT", "NODE", "STATE", "HEALTH", "READY", "SINCE", "RESTARTS",
        "REASON",
    ];
    output::table(header, rows)
}

/// All of `task inspect`.
pub fn detail(view: View<'_>, now: Timestamp) -> String {
    let mut lines = record(view, now);
    lines.extend(health(view, now));
    let mut text = lines.join("\n") + "\n";
    for role in [pb::Role::Startup, pb::Role::Liveness, pb::Role::Readiness] {
        if let Some(section) = role_section(view, role, now) {
            text.push('\n');
            text.push_str(&section);
        }
    }
    text
}

/// What it is, what it runs, and how far it has come.
fn record(view: View<'_>, now: Timestamp) -> Vec<String> {
    let task = view.task().cloned().unwrap_or_default();
    let status = task.status.unwrap_or_default();
    let template = view.detail.template.clone().unwrap_or_default();
    let mut lines = vec![
        format!("Task: {}", task.id),
        format!("Service: {}", words::plain(&view.detail.service_name)),
        format!("Slot: {}", task.slot),
        format!("Revision: {}", task.revision),
        format!("Restarts: {}", view.detail.restarts),
    ];
    let mut tell = |label: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("{label}: {value}"));
        }
    };
    tell("Replaces", task.replaces);
    tell("Node", view.node());
    tell("Waiting", words::plain(&task.waiting));
    tell("Runs", service_show::runs(&template));
    tell("Created", at(task.created_at.as_ref(), now));
    tell("Started", at(status.started_at.as_ref(), now));
    tell("State", format!("{}, since {}", view.state(), at(status.since.as_ref(), now)));
    tell("Doing", words::plain(&status.message));
    if status.end.is_none() {
        tell("Address", words::plain(&status.address));
        tell("Pid", if status.pid == 0 { String::new() } else { status.pid.to_string() });
    }
    if let Some(stop) = &task.stop {
        let cause = words::word("STOP_CAUSE_", stop.cause().as_str_name());
        let why = words::plain(&joined(&cause, &stop.reason));
        tell("Stop", format!("{why}, {}", at(stop.at.as_ref(), now)));
    }
    if let Some(end) = view.end() {
        let how = words::plain(&joined(&end_words(end), &end.reason));
        tell("End", format!("{how}, {}", at(end.at.as_ref(), now)));
    }
    lines
}

fn at(at: Option<&prost_types::Timestamp>, now: Timestamp) -> String {
    match words::utc(at).as_str() {
        "" => String::new(),
        utc => format!("{utc} ({})", words::ago(at, now)),
    }
}

fn health(view: View<'_>, now: Timestamp) -> Vec<String> {
    let Some(health) = view.effective() else { return Vec::new() };
    let mut lines = vec![
        format!("Health: {}, since {}", view.health(), at(health.since.as_ref(), now)),
        format!("Ready: {}, since {}", view.ready(), at(health.ready_since.as_ref(), now)),
    ];
    if let Some(since) = words::flapping_since(health) {
        lines.push(format!("Flapping: since {}", at(Some(&since), now)));
    }
    if !health.reason.is_empty() {
        lines.push(format!("Reason: {}", words::plain(&health.reason)));
    }
    let external = view.detail.health.iter().flat_map(|health| &health.external);
    for verdict in external {
        lines.push(format!(
            "Accused: {} of {} by {}, until {}: {}",
            words::verdict(verdict.verdict()),
            words::role(verdict.role()),
            words::plain(&verdict.reporter),
            words::utc(verdict.expires_at.as_ref()),
            words::plain(&verdict.reason),
        ));
    }
    lines
}

/// Attempts begin within this of their due time on a machine that has time for them.
const LATE_MIN: std::time::Duration = std::time::Duration::from_millis(10);

/// A role's check, its verdict and its last results. None where there is no such check.
fn role_section(view: View<'_>, role: pb::Role, now: Timestamp) -> Option<String> {
    let checks = view.task().and_then(|task| task.status.as_ref()?.checks.as_ref());
    let check = checks.and_then(|checks| line_of(checks, role));
    let health = view.observed().and_then(|health| match role {
        pb::Role::Startup => health.startup.as_ref(),
        pb::Role::Liveness => health.liveness.as_ref(),
        pb::Role::Readiness => health.readiness.as_ref(),
        pb::Role::Unspecified => None,
    });
    if check.is_none() && health.is_none() {
        return None;
    }
    let attempts =
        view.live.and_then(|live| live.attempts.iter().find(|attempts| attempts.role() == role));
    let paused = view.live.and_then(|live| live.paused_until.as_ref());
    let late = attempts.and_then(|attempts| attempts.late.as_ref());
    let late = match late.and_then(|late| std::time::Duration::try_from(*late).ok()) {
        // Below that it is the clock's own grain.
        Some(late) if late >= LATE_MIN => {
            format!("; the last one began {} late", words::span(late))
        }
        Some(_) | None => String::new(),
    };
    let next = match attempts.and_then(|attempts| attempts.next) {
        _ if paused.is_some() => format!("; paused until {}", words::utc(paused)),
        Some(next) => format!("; next attempt {}", next_words(next, now)),
        None => String::new(),
    };
    let mut lines =
        vec![format!("{}: {}{next}{late}", words::role(role), verdict_words(health, now))];
    lines.extend(check.map(|check| format!("  check: {check}")));
    let stored = health.and_then(|health| health.last.clone());
    let results = match attempts {
        Some(attempts) if !attempts.attempts.is_empty() => attempts.attempts.clone(),
        Some(_) | None => stored.into_iter().collect(),
    };
    lines.extend(results_table(&results).lines().map(|line| format!("  {line}")));
    Some(lines.join("\n") + "\n")
}

/// The role's line of `checks`, without its name.
fn line_of(checks: &pb::Checks, role: pb::Role) -> Option<String> {
    let name = words::role(role);
    let line = |line: String| line.strip_prefix(&format!("{name}: ")).map(ToOwned::to_owned);
    checks::lines(checks).into_iter().find_map(line)
}

fn verdict_words(health: Option<&pb::RoleHealth>, now: Timestamp) -> String {
    let Some(health) = health else { return "no verdict yet".to_owned() };
    let since = match words::ago(health.since.as_ref(), now).as_str() {
        "" => String::new(),
        ago => format!(" since {ago}"),
    };
    let counts = [
        (health.passes, "passed"),
        (health.failures, "failed"),
        (health.inconclusive, "inconclusive"),
    ];
    let counted = counts.into_iter().filter(|(count, _)| *count > 0);
    let streak = counted.map(|(count, name)| format!("{count} {name} in a row"));
    let flaps = if health.flapping_since.is_some() { ", flapping" } else { "" };
    let verdict = format!("{}{since}{flaps}", words::verdict(health.verdict()));
    std::iter::once(verdict).chain(streak).collect::<Vec<_>>().join(", ")
}

fn next_words(next: prost_types::Timestamp, now: Timestamp) -> String {
    match Timestamp::try_from(next) {
        Ok(next) if next > now => format!("in {}", words::span(next.since(now))),
        Ok(_) | Err(_) => "now".to_owned(),
    }
}

fn results_table(results: &[pb::Attempt]) -> String {
    if results.is_empty() {
        return String::new();
    }
    let row = |attempt: &pb::Attempt| {
        [
            words::utc(attempt.at.as_ref()),
            words::outcome(attempt.outcome()),
            words::latency(attempt.latency.as_ref()),
            words::plain(&attempt.message),
        ]
    };
    output::table(["AT", "OUTCOME", "LATENCY", "MESSAGE"], results.iter().map(row))
}

/// All of `task why`: each decision with its rule and what it saw, then what comes next.
pub fn why(why: &pb::WhyTaskResponse, _: Timestamp) -> String {
    let rows = why.events.iter().map(|event| {
        let decided = event.rule() != pb::Rule::Unspecified;
        let word = || words::word("RULE_", event.rule().as_str_name());
        let rule = if decided { word() } else { String::new() };
        [
            words::utc(event.at.as_ref()),
            rule,
            words::plain(&event.seen),
            words::plain(&event.message),
        ]
    });
    let table = output::table(["TIME", "RULE", "SEEN", "DONE"], rows);
    let detail = why.task.clone().unwrap_or_default();
    let task = detail.task.unwrap_or_default();
    let name = format!("{}.{} ({})", words::plain(&detail.service_name), task.slot, task.id);
    format!("{table}\nNext for task {name}: {}\n", words::plain(&why.next))
}
