//! A service in words.

use warren_core::{check::PresetCheck, time::Timestamp};
use warren_proto::v1::{self as pb, health_config::Source};

use super::observe::Live;
use crate::output::{self, checks, words};

/// A row of `service ls`.
pub fn row(row: &pb::ServiceRow, now: Timestamp) -> [String; 5] {
    let service = row.service.clone().unwrap_or_default();
    let summary = row.summary.clone().unwrap_or_default();
    let spec = service.spec.unwrap_or_default();
    let removing = if service.removed_at.is_some() { "removing, " } else { "" };
    let paused = if service.checks_paused.is_some() { ", checks paused" } else { "" };
    [
        words::plain(&spec.name),
        format!("{}/{}", summary.ready, summary.replicas),
        format!("{removing}{}{paused}", words::plain(&summary.text)),
        words::cell(&runs(&spec.template.unwrap_or_default())),
        words::age(service.created_at.as_ref(), now),
    ]
}

/// The image, or the command where there is none.
pub fn runs(template: &pb::TaskTemplate) -> String {
    if template.image.is_empty() {
        let all: Vec<String> = template.command.iter().chain(&template.args).cloned().collect();
        words::command(&all)
    } else {
        words::plain(&template.image)
    }
}

/// All of `service inspect`.
pub fn detail(detail: &pb::ServiceDetail, live: &Live, now: Timestamp) -> String {
    let service = detail.service.clone().unwrap_or_default();
    let spec = service.spec.clone().unwrap_or_default();
    let template = spec.template.clone().unwrap_or_default();
    let mut lines = vec![
        format!("Name: {}", words::plain(&spec.name)),
        format!("Id: {}", service.id),
        format!("Revision: {}", service.revision),
        created("Created", service.created_at.as_ref(), now),
    ];
    if service.updated_at != service.created_at {
        lines.push(created("Updated", service.updated_at.as_ref(), now));
    }
    if service.removed_at.is_some() {
        lines.push(created("Removing since", service.removed_at.as_ref(), now));
    }
    lines.push(format!("Replicas: {}", spec.replicas));
    lines.extend(template_lines(&template));
    lines.extend(placement_lines(&spec));
    lines.extend(check_lines(&template, &detail.tasks));
    lines.extend(service.checks_paused.as_ref().map(|pause| pause_line(pause, now)));
    let summary = detail.summary.clone().unwrap_or_default();
    lines.push(format!("Health: {}", words::plain(&summary.text)));
    lines.extend(detail.held.iter().map(|held| held_words(held, now)));
    if service.released_at.is_some() {
        lines.push(created("Released", service.released_at.as_ref(), now));
    }
    let mut text = lines.join("\n");
    text.push_str("\n\n");
    text.push_str(&tasks(&detail.tasks, live, now));
    text
}

/// What holds replacements, and since when.
fn held_words(held: &pb::HeldTasks, now: Timestamp) -> String {
    let slots: Vec<String> = held.slots.iter().map(ToString::to_string).collect();
    format!(
        "Held by {}: {}, since {} ({}): slots {}",
        words::word("RULE_", held.rule().as_str_name()),
        words::plain(&held.reason),
        words::utc(held.since.as_ref()),
        words::ago(held.since.as_ref(), now),
        words::cell(&slots.join(", ")),
    )
}

/// What was not said is left out.
fn placement_lines(spec: &pb::ServiceSpec) -> Vec<String> {
    let constraint = |text: &String| format!("Constraint: {}", words::plain(text));
    let mut lines: Vec<String> = spec.constraints.iter().map(constraint).collect();
    if !spec.spread.is_empty() {
        lines.push(format!("Spread: {}", words::plain(&spec.spread)));
    }
    if let Some(restart) = spec.restart.as_ref().filter(|restart| restart.max_attempts > 0) {
        let window = restart.window.and_then(|span| std::time::Duration::try_from(span).ok());
        let within = window.map_or_else(String::new, |span| format!(" in {}", words::span(span)));
        lines.push(format!("Restarts: at most {}{within}", restart.max_attempts));
    }
    lines
}

fn pause_line(pause: &pb::ChecksPause, now: Timestamp) -> String {
    let by = if pause.by.is_empty() { String::new() } else { format!(", by {}", pause.by) };
    let left = pause.until.and_then(|until| Timestamp::try_from(until).ok());
    let left = left.map_or_else(String::new, |until| words::span(whole_seconds(until.since(now))));
    let until = words::utc(pause.until.as_ref());
    words::plain(&format!("Checks paused: until {until} (for {left} more){by}"))
}

fn whole_seconds(span: std::time::Duration) -> std::time::Duration {
    std::time::Duration::from_secs(span.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX))
}

fn created(label: &str, at: Option<&prost_types::Timestamp>, now: Timestamp) -> String {
    format!("{label}: {} ({})", words::utc(at), words::ago(at, now))
}

/// What the tasks run. What was not said is left out.
pub fn template_lines(template: &pb::TaskTemplate) -> Vec<String> {
    let mut lines = Vec::new();
    let mut tell = |label: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("{label}: {value}"));
        }
    };
    let pull = match template.pull() {
        pb::Pull::Unspecified | pb::Pull::Missing => String::new(),
        pb::Pull::Always | pb::Pull::Never => {
            format!(" (pull {})", words::word("PULL_", template.pull().as_str_name()))
        }
    };
    if !template.image.is_empty() {
        tell("Image", format!("{}{pull}", words::plain(&template.image)));
    }
    tell("Command", words::command(&template.command));
    tell("Args", words::command(&template.args));
    for var in &template.env {
        tell("Env", words::plain(&format!("{}={}", var.name, var.value)));
    }
    tell("User", words::plain(&template.user));
    tell("Workdir", words::plain(&template.workdir));
    tell("Hostname", words::plain(&template.hostname));
    if template.init {
        tell("Init", "reaps orphans and forwards signals".to_owned());
    }
    for mount in &template.mounts {
        tell("Mount", mount_words(mount));
    }
    if template.cpu_millis > 0 {
        let (whole, part) = (template.cpu_millis / 1000, template.cpu_millis % 1000);
        let cpus = format!("{whole}.{part:03}");
        tell("CPUs", cpus.trim_end_matches('0').trim_end_matches('.').to_owned());
    }
    if template.memory_bytes > 0 {
        tell("Memory", words::bytes(template.memory_bytes));
    }
    tell("Network", words::word("NETWORK_", template.network().as_str_name()));
    for publish in &template.publish {
        let protocol = words::word("PROTOCOL_", publish.protocol().as_str_name());
        tell("Publish", format!("{} -> {}/{protocol}", publish.host_port, publish.task_port));
    }
    tell("Stop", stop_words(template));
    lines
}

fn mount_words(mount: &pb::Mount) -> String {
    let source = match mount.kind() {
        pb::MountKind::Tmpfs => "tmpfs".to_owned(),
        pb::MountKind::Bind | pb::MountKind::Unspecified => words::plain(&mount.source),
    };
    let mode = if mount.read_only { " (read only)" } else { "" };
    format!("{source} -> {}{mode}", words::plain(&mount.target))
}

fn stop_words(template: &pb::TaskTemplate) -> String {
    let signal = match template.stop_signal.as_str() {
        "" => "the image's signal, else SIGTERM".to_owned(),
        signal => words::plain(signal),
    };
    let grace = template
        .stop_grace_period
        .and_then(|span| std::time::Duration::try_from(span).ok())
        .map_or_else(|| "10s".to_owned(), words::span);
    format!("{signal}, SIGKILL after {grace}")
}

/// Which preset it is, and what that comes to.
fn preset_lines(template: &pb::TaskTemplate, given: &pb::PresetCheck) -> Vec<String> {
    let image = template.image.parse().ok();
    let understood = PresetCheck::try_from(*given)
        .and_then(|check| Ok((check.chosen(image.as_ref())?, check.checks(image.as_ref())?)));
    match understood {
        Ok((preset, found)) => {
            let title = format!("Checks of the preset {}:", preset.name());
            section(&title, checks::lines(&(&found).into()))
        }
        Err(invalid) => vec![format!("Checks: of a preset that is not understood: {invalid}")],
    }
}

/// The health configuration as it was understood, and where nothing was said what that came to.
fn check_lines(template: &pb::TaskTemplate, tasks: &[pb::TaskDetail]) -> Vec<String> {
    let source = template.health.as_ref().and_then(|health| health.source.as_ref());
    match source {
        Some(Source::Checks(given)) => section("Checks:", checks::lines(given)),
        Some(Source::Preset(given)) => preset_lines(template, given),
        Some(Source::Disabled(_)) => {
            vec!["Checks: none wanted, only the process is watched".into()]
        }
        Some(Source::Auto(_)) | None => match found(tasks) {
            None => vec![
                "Checks: the image's HEALTHCHECK, else a TCP check of the first published port, \
                 else the process alone"
                    .to_owned(),
            ],
            Some(found) => {
                let lines = checks::lines(found);
                if lines.is_empty() {
                    vec!["Checks: none found, only the process is watched".to_owned()]
                } else {
                    section("Checks: found in the image or made from the published port", lines)
                }
            }
        },
    }
}

fn section(title: &str, lines: Vec<String>) -> Vec<String> {
    let indented = lines.into_iter().map(|line| format!("  {line}"));
    std::iter::once(title.to_owned()).chain(indented).collect()
}

/// What the newest task that knows its image's checks runs.
fn found(tasks: &[pb::TaskDetail]) -> Option<&pb::Checks> {
    tasks
        .iter()
        .filter_map(|detail| detail.task.as_ref())
        .filter_map(|task| Some((task.revision, task.status.as_ref()?.checks.as_ref()?)))
        .max_by_key(|(revision, _)| *revision)
        .map(|(_, checks)| checks)
}

/// A row per task; earlier tasks of a slot follow its newest one.
fn tasks(tasks: &[pb::TaskDetail], live: &Live, now: Timestamp) -> String {
    let mut previous = None;
    let rows = tasks.iter().map(|detail| {
        let view = live.view(detail);
        let slot = view.slot();
        let earlier = previous.replace(slot) == Some(slot);
        [
            if earlier { format!("\\_ {slot}") } else { slot.to_string() },
            view.id(),
            view.node(),
            view.state(),
            view.health(),
            view.ready(),
            view.streak(),
            view.since(now),
            view.last_output(now),
            detail.restarts.to_string(),
        ]
    });
    let header = [
        "SLOT",
        "TASK",
        "NODE",
        "STATE",
        "HEALTH",
        "READY",
        "STREAK",
        "SINCE",
        "LAST OUTPUT",
        "RESTARTS",
    ];
    output::table(header, rows)
}
