//! From a request to an answer, for any HTTP server.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts};

use crate::{
    form,
    report::Report,
    shared::{Scope, Shared},
    status::Status,
    vitals::Vitals,
};

/// The paths that are answered, [`Vitals::answer`] knows no others; `{component}` is a name.
pub const PATHS: [&str; 11] = [
    "/health",
    "/healthz",
    "/health/ready",
    "/ready",
    "/readyz",
    "/liveness",
    "/livez",
    "/health/live",
    "/health/startup",
    "/startupz",
    "/health/{component}",
];

/// Names in the place of a component's that mean something else.
pub(crate) const RESERVED: [&str; 3] = ["ready", "live", "startup"];

const JSON: &str = "application/json";
const HEALTH_JSON: &str = "application/health+json";
const TEXT: &str = "text/plain; charset=utf-8";

impl Vitals {
    /// Answers a request to one of [`PATHS`]; an adapter for a server of one's own needs no more.
    /// `peer` is who asks, where that is known: see [`Disclosure`](crate::Disclosure).
    pub async fn answer(&self, request: &Parts, peer: Option<IpAddr>) -> Response<String> {
        let mut response = answer(self.shared(), request, peer).await;
        let no_store = HeaderValue::from_static("no-store");
        response.headers_mut().insert(header::CACHE_CONTROL, no_store);
        if request.method == Method::HEAD {
            response.body_mut().clear();
        }
        response
    }
}

async fn answer(
    shared: &std::sync::Arc<Shared>,
    request: &Parts,
    peer: Option<IpAddr>,
) -> Response<String> {
    if request.method != Method::GET && request.method != Method::HEAD {
        let mut refused = refusal(StatusCode::METHOD_NOT_ALLOWED, "use GET or HEAD");
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let Some(scope) = scope(request.uri.path()) else {
        return refusal(StatusCode::NOT_FOUND, "no such endpoint");
    };
    if let Scope::Component(name) = &scope
        && !shared.knows(name)
    {
        return refusal(StatusCode::NOT_FOUND, "no such component");
    }
    let query = request.uri.query().unwrap_or_default();
    let excluded: Vec<String> = values(query, "exclude").map(str::to_owned).collect();
    let verbose = values(query, "verbose").any(|value| value != "false" && value != "0");
    let report = shared.report(&scope, &excluded).await;
    let asked = verbose || matches!(scope, Scope::Health | Scope::Component(_));
    let details = asked && shared.config().disclosure.allows(&request.headers, peer);
    let (kind, body) = body(&report, details, wanted(&request.headers));
    said(report.status, kind, body)
}

fn scope(path: &str) -> Option<Scope> {
    Some(match path.strip_suffix('/').unwrap_or(path) {
        "/health" | "/healthz" => Scope::Health,
        "/health/ready" | "/ready" | "/readyz" => Scope::Ready,
        "/liveness" | "/livez" | "/health/live" => Scope::Live,
        "/health/startup" | "/startupz" => Scope::Startup,
        path => Scope::Component(path.strip_prefix("/health/")?.to_owned()),
    })
}

/// The values of a parameter. Components' names need no decoding.
fn values<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter_map(move |(key, value)| (key == name).then_some(value))
}

/// What the asker reads; JSON unless it names one of the others.
fn wanted(headers: &HeaderMap) -> &'static str {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for kind in accepted.flat_map(|value| value.split(',')) {
        match kind.split(';').next().unwrap_or_default().trim() {
            HEALTH_JSON => return HEALTH_JSON,
            "text/plain" => return TEXT,
            JSON | "*/*" => return JSON,
            _ => {}
        }
    }
    JSON
}

fn body(report: &Report, details: bool, kind: &'static str) -> (&'static str, String) {
    let body = match kind {
        HEALTH_JSON => form::health_json(report, details),
        TEXT => form::text(report, details),
        _ if details => form::detailed(report),
        _ => form::simple(report),
    };
    (kind, body)
}

fn said(status: Status, kind: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status.code();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

pub(crate) fn refusal(status: StatusCode, error: &str) -> Response<String> {
    let mut response = Response::new(serde_json::json!({ "error": error }).to_string());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}
