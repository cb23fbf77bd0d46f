//! A service with HTTP and a database, and the health endpoints that belong to it.
//!
//! - It has started when its cache is warm: a gate.
//! - It takes traffic while its database answers: a critical component.
//! - It is replaced only when it itself does not work: liveness knows of no database.
//! - On SIGTERM it is unready at once, and ends when nobody sends to it any more.

use std::{env, net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use axum::{Router, extract::State, http::StatusCode, routing::get};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tokio::net::TcpListener;
use vitals::{Gate, Vitals};

/// As long as those who send traffic take to see that this is not ready any more.
const DRAIN: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().with_ansi(false).init();
    let database = env::var("DATABASE").unwrap_or_else(|_| "redis://127.0.0.1/".to_owned());
    let client = redis::Client::open(database).context("DATABASE is no address")?;
    let ledger =
        ConnectionManager::new_lazy_with_config(client.clone(), ConnectionManagerConfig::new())?;

    let health = Vitals::new("payments", env!("CARGO_PKG_VERSION"))
        .critical("ledger", vitals::redis(ledger.clone()));
    let warming = tokio::task::JoinSet::from_iter([warm_up(health.gate("cache"))]);

    let app = Router::new().route("/", get(pay)).with_state(ledger).merge(health.routes());
    let address = env::var("WARREN_TASK_IP").unwrap_or_else(|_| "127.0.0.1".to_owned());
    let listener = TcpListener::bind((address, 8080)).await.context("cannot listen")?;
    // Whoever asks from this machine, as Warren does, is told which component is broken.
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).with_graceful_shutdown(health.drain_on_signal(DRAIN)?).await?;
    drop(warming);
    Ok(())
}

/// What a service does before it can serve.
async fn warm_up(gate: Gate) {
    let millis = env::var("WARM_UP_MS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(millis)).await;
    gate.open();
}

async fn pay(State(mut ledger): State<ConnectionManager>) -> Result<String, StatusCode> {
    let count: Result<u64, _> = redis::cmd("INCR").arg("payments").query_async(&mut ledger).await;
    match count {
        Ok(count) => Ok(format!("payment {count}\n")),
        Err(error) => {
            tracing::warn!(%error, "no payment");
            Err(StatusCode::SERVICE_UNAVAILABLE)
        }
    }
}
