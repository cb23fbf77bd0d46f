//! What a task's own answer says is broken in it. Read for a failure alone, and never for the
//! outcome: the status has decided by then.

use std::borrow::Cow;

use serde_json::{Map, Value};
use warren_core::outcome::Attempt;

/// Words for what is broken: Warren's, those of `application/health+json` and Spring's.
const BROKEN: [&str; 5] = ["unhealthy", "fail", "error", "down", "out_of_service"];

/// A JSON object, by its beginning: what an answer calls itself is not looked at.
pub(crate) fn may_be_in(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"{")
}

/// The critical components that fail, in the order of the answer. None of one that is cut, is no
/// JSON, or says it in another way.
pub(crate) fn failing(body: &[u8]) -> Box<[String]> {
    if !may_be_in(body) {
        return Box::default();
    }
    let Ok(Value::Object(answer)) = serde_json::from_slice(body) else { return Box::default() };
    let parts = match (answer.get("components"), answer.get("checks")) {
        (Some(Value::Array(parts)), _) => parts.iter().filter_map(listed).collect(),
        (Some(Value::Object(parts)), _) => mapped(parts),
        (_, Some(Value::Object(checks))) => measured(checks),
        _ => Vec::new(),
    };
    let mut names: Vec<String> = Vec::new();
    for name in parts {
        if names.len() < Attempt::COMPONENTS_MAX
            && !names.iter().any(|known| *known == name)
            && let Ok(name) = Attempt::checked_component(name.into_owned())
        {
            names.push(name);
        }
    }
    names.into()
}

/// Warren's own form: `{"name": "postgres", "status": "unhealthy", "critical": true}`.
fn listed(part: &Value) -> Option<Cow<'_, str>> {
    let name = part.get("name")?.as_str()?;
    is_broken(part).then_some(Cow::Borrowed(name))
}

/// Spring's: `"db": {"status": "DOWN"}`.
fn mapped(parts: &Map<String, Value>) -> Vec<Cow<'_, str>> {
    parts.iter().filter(|(_, part)| is_broken(part)).map(|(name, _)| name.into()).collect()
}

/// `application/health+json`: `"postgres:responseTime": [{"status": "fail"}]`.
fn measured(checks: &Map<String, Value>) -> Vec<Cow<'_, str>> {
    let broken = |(_, measured): &(&String, &Value)| {
        let all = measured.as_array();
        is_broken(measured) || all.is_some_and(|all| all.iter().any(is_broken))
    };
    let name = |(key, _): (&'_ String, _)| key.split(':').next().unwrap_or_default().to_owned();
    checks.iter().filter(broken).map(|check| Cow::Owned(name(check))).collect()
}

fn is_broken(part: &Value) -> bool {
    let status = part.get("status").and_then(Value::as_str).unwrap_or_default();
    let counts = part.get("critical").and_then(Value::as_bool).unwrap_or(true);
    counts && BROKEN.iter().any(|word| status.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(body: &str) -> Vec<String> {
        failing(body.as_bytes()).into_vec()
    }

    // C-132
    #[test]
    fn the_failing_components_of_each_known_form_are_named() {
        for (body, expected) in [
            (
                r#"{"status":"unhealthy","components":[
                    {"name":"cache","status":"unhealthy","critical":false},
                    {"name":"disk","status":"healthy","critical":true},
                    {"name":"queue","status":"degraded","critical":true},
                    {"name":"postgres","status":"unhealthy","critical":true}]}"#,
                &["postgres"][..],
            ),
            (
                r#"{"status":"fail","checks":{"uptime":[{"status":"pass"}],
                    "postgres:responseTime":[{"status":"pass"},{"status":"fail"}],
                    "postgres:connections":[{"status":"fail"}],"s3":{"status":"error"}}}"#,
                &["postgres", "s3"],
            ),
            (
                r#"{"status":"DOWN","components":{"db":{"status":"DOWN"},
                    "ping":{"status":"UP"},"mail":{"status":"OUT_OF_SERVICE"}}}"#,
                &["db", "mail"],
            ),
            (r#"{"status":"unhealthy","version":"1"}"#, &[]),
            (r#"{"components":[1,{"status":"fail"},{"name":2,"status":"fail"}]}"#, &[]),
            (r#"{"components":[{"name":"cut","status":"unhe"#, &[]),
            ("[]", &[]),
            ("", &[]),
        ] {
            assert_eq!(names(body), expected, "{body}");
        }
    }

    // C-132
    #[test]
    fn names_are_bounded_printable_and_each_there_once() {
        let part = |name: &str| serde_json::json!({"name": name, "status": "down"});
        let body = |names: &[String]| {
            let parts: Vec<Value> = names.iter().map(|name| part(name)).collect();
            serde_json::json!({ "components": parts }).to_string()
        };
        let odd = ["a", "a", "", "b\u{7}", &"x".repeat(65)].map(str::to_owned);
        assert_eq!(names(&body(&odd)), ["a"]);
        let many: Vec<String> = (0..20).map(|n| format!("c{n}")).collect();
        assert_eq!(names(&body(&many)), many[..8]);
    }
}
