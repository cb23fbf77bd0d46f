use std::net::IpAddr;

use http::{Request, Response, header};
use serde_json::Value;
use vitals::Vitals;

/// Asks as somebody on this machine does.
pub async fn ask(health: &Vitals, path: &str) -> Response<String> {
    ask_as(health, path, Some("127.0.0.1"), &[]).await
}

pub async fn ask_as(
    health: &Vitals,
    path: &str,
    peer: Option<&str>,
    headers: &[(&str, &str)],
) -> Response<String> {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let peer = peer.map(|peer| peer.parse::<IpAddr>().unwrap());
    health.answer(&parts, peer).await
}

pub async fn code(health: &Vitals, path: &str) -> u16 {
    ask(health, path).await.status().as_u16()
}

pub fn json(response: &Response<String>) -> Value {
    serde_json::from_str(response.body()).unwrap()
}

pub fn kind(response: &Response<String>) -> &str {
    response.headers()[header::CONTENT_TYPE].to_str().unwrap()
}
