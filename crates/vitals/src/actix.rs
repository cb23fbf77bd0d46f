//! Routes for actix-web, whose HTTP types are older ones of their own.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{self, ServiceConfig},
};

use crate::{answer::PATHS, vitals::Vitals};

impl Vitals {
    /// The endpoints, for `App::configure`:
    ///
    /// ```
    /// use vitals::Vitals;
    ///
    /// let health = Vitals::new("payments", env!("CARGO_PKG_VERSION"));
    /// let app = actix_web::App::new().configure(health.actix());
    /// # drop(app);
    /// ```
    pub fn actix(&self) -> impl FnOnce(&mut ServiceConfig) + use<> {
        let vitals = self.clone();
        move |config| {
            for path in PATHS {
                let vitals = vitals.clone();
                let respond = move |request: HttpRequest| respond(vitals.clone(), request);
                config.service(web::resource(path).to(respond));
            }
        }
    }
}

async fn respond(vitals: Vitals, request: HttpRequest) -> HttpResponse {
    let Some(parts) = parts(&request) else { return HttpResponse::BadRequest().finish() };
    let peer = request.peer_addr().map(|peer| peer.ip());
    drop(request);
    let (head, body) = vitals.answer(&parts, peer).await.into_parts();
    let status = StatusCode::from_u16(head.status.as_u16());
    let mut response = HttpResponse::build(status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE));
    for (name, value) in &head.headers {
        response.insert_header((name.as_str(), value.as_bytes()));
    }
    response.body(body)
}

fn parts(request: &HttpRequest) -> Option<http::request::Parts> {
    let mut copy =
        http::Request::builder().method(request.method().as_str()).uri(request.uri().to_string());
    for (name, value) in request.headers() {
        copy = copy.header(name.as_str(), value.as_bytes());
    }
    Some(copy.body(()).ok()?.into_parts().0)
}
