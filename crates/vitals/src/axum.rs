//! Routes for axum.

use std::net::SocketAddr;

use axum::{
    Router,
    extract::{ConnectInfo, Request},
    http::Response,
    routing::any,
};

use crate::{answer::PATHS, vitals::Vitals};

impl Vitals {
    /// The endpoints, to be merged into the service's own router:
    ///
    /// ```
    /// use vitals::Vitals;
    ///
    /// let health = Vitals::new("payments", env!("CARGO_PKG_VERSION"));
    /// let app: axum::Router = axum::Router::new().merge(health.routes());
    /// # drop(app);
    /// ```
    ///
    /// Who asks is known, and so who may see details, when the router is served by
    /// `into_make_service_with_connect_info::<SocketAddr>()`; else everybody is a stranger.
    pub fn routes<S>(&self) -> Router<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        self.start();
        PATHS.into_iter().fold(Router::new(), |router, path| {
            let vitals = self.clone();
            router.route(path, any(move |request: Request| respond(vitals.clone(), request)))
        })
    }
}

async fn respond(vitals: Vitals, request: Request) -> Response<String> {
    let (parts, _) = request.into_parts();
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    vitals.answer(&parts, peer).await
}
