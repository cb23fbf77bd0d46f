//! The forms of an answer: simple and detailed JSON, `application/health+json`, and text.

use std::{collections::BTreeMap, fmt::Write, time::SystemTime};

use serde::Serialize;

use crate::{
    report::{ComponentReport, Report},
    state::millis,
    status::{Status, Weight},
};

/// For strangers.
pub(crate) fn simple(report: &Report) -> String {
    #[derive(Serialize)]
    struct Simple<'a> {
        status: Status,
        version: &'a str,
    }
    json(&Simple { status: report.status, version: &report.version })
}

#[derive(Serialize)]
struct Detailed<'a> {
    status: Status,
    version: &'a str,
    service: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
    timestamp: String,
    uptime_s: u64,
    total_latency_ms: f64,
    components: Vec<Part<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    unknown_exclusions: &'a [String],
}

#[derive(Serialize)]
struct Part<'a> {
    name: &'a str,
    status: Status,
    latency_ms: Option<f64>,
    critical: bool,
    message: Option<&'a str>,
    weight: Weight,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success: Option<String>,
    consecutive_failures: u32,
    stale: bool,
}

/// For those who may see more.
pub(crate) fn detailed(report: &Report) -> String {
    json(&Detailed {
        status: report.status,
        version: &report.version,
        service: &report.service,
        instance: report.instance.as_deref(),
        timestamp: date(report.timestamp),
        uptime_s: report.uptime.as_secs(),
        total_latency_ms: millis(report.total_latency),
        components: report.components.iter().map(part).collect(),
        unknown_exclusions: &report.unknown_exclusions,
    })
}

fn part(part: &ComponentReport) -> Part<'_> {
    Part {
        name: &part.name,
        status: part.status,
        latency_ms: part.latency.map(millis),
        critical: part.is_critical(),
        message: part.message.as_deref(),
        weight: part.weight,
        target: part.target.as_deref(),
        last_run: part.last_run.map(date),
        last_success: part.last_success.map(date),
        consecutive_failures: part.consecutive_failures,
        stale: part.stale,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HealthJson<'a> {
    status: &'static str,
    version: &'a str,
    service_id: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    checks: BTreeMap<String, [HealthJsonCheck<'a>; 1]>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HealthJsonCheck<'a> {
    component_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_unit: Option<&'static str>,
    status: &'static str,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a str>,
}

/// As draft-inadarei-api-health-check-06 has it.
pub(crate) fn health_json(report: &Report, details: bool) -> String {
    let checks = report.components.iter().filter(|_| details).map(|part| {
        let check = HealthJsonCheck {
            component_type: "component",
            observed_value: part.latency.map(millis),
            observed_unit: part.latency.map(|_| "ms"),
            status: pass_warn_fail(part.status),
            time: date(part.last_run.unwrap_or(report.timestamp)),
            output: part.message.as_deref(),
        };
        (format!("{}:responseTime", part.name), [check])
    });
    json(&HealthJson {
        status: pass_warn_fail(report.status),
        version: &report.version,
        service_id: &report.service,
        checks: checks.collect(),
    })
}

fn pass_warn_fail(status: Status) -> &'static str {
    match status {
        Status::Healthy => "pass",
        Status::Degraded => "warn",
        Status::Unhealthy => "fail",
    }
}

/// One line for each component, as Kubernetes' own endpoints have it, and one for the whole.
pub(crate) fn text(report: &Report, details: bool) -> String {
    let mut text = String::new();
    for part in report.components.iter().filter(|_| details) {
        let (mark, word) = match part.status {
            Status::Healthy => ('+', "ok"),
            Status::Degraded => ('~', "degraded"),
            Status::Unhealthy => ('-', "failed"),
        };
        let said = part.message.as_deref().map(|said| format!(": {said}")).unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "[{mark}]{} {word}{said}", part.name);
    }
    for name in report.unknown_exclusions.iter().filter(|_| details) {
        let _ = writeln!(text, "warn: cannot exclude {name}: no such component");
    }
    let _ = writeln!(text, "{} {} is {}", report.service, report.version, report.status.word());
    text
}

fn date(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

fn json(value: &impl Serialize) -> String {
    // Strings, numbers and lists cannot fail; a broken promise here must not pass for health.
    serde_json::to_string(value)
        .unwrap_or_else(|error| format!("{{\"status\":\"unhealthy\",\"error\":\"{error}\"}}"))
}
