//! A background worker that has no HTTP of its own: one call gives it health endpoints, on a thread
//! that answers whatever the worker does.
//!
//! Its loop beats at each turn. When it does not, liveness fails and Warren replaces the task; a
//! message `deadlock` shows that. On SIGTERM it takes no more mail and ends its last turn.

use std::{env, time::Duration};

use anyhow::{Context, Result};
use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;
use vitals::{Heartbeat, Vitals};

/// Longer than a turn ever takes when all is well.
const TURN_MAX: Duration = Duration::from_secs(4);
/// How long the queue is waited on before the loop turns, mail or none.
const PATIENCE_SECONDS: f64 = 1.0;

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().with_ansi(false).init();
    let queue = env::var("QUEUE").unwrap_or_else(|_| "redis://127.0.0.1/".to_owned());
    let client = redis::Client::open(queue).context("QUEUE is no address")?;

    let beat = Heartbeat::new(TURN_MAX);
    let health = Vitals::new("mailer", env!("CARGO_PKG_VERSION"))
        .critical("queue", vitals::redis(client.clone()))
        .internal("loop", &beat);
    let address = env::var("WARREN_TASK_IP").unwrap_or_else(|_| "127.0.0.1".to_owned());
    let _endpoints = health.listen((address, 8080)).context("cannot serve health")?;

    let delivering = JoinSet::from_iter([deliver(client, beat, health.clone())]);
    health.drain_on_signal(Duration::ZERO)?.await;
    // A mail that was taken is delivered before the end.
    if health.idle(TURN_MAX).await > 0 {
        tracing::error!("the last turn did not end: a mail may be lost");
    }
    drop(delivering);
    Ok(())
}

async fn deliver(client: redis::Client, beat: Heartbeat, health: Vitals) {
    while !health.is_draining() {
        beat.beat();
        if let Err(error) = turns(&client, &beat, &health).await {
            tracing::warn!(%error, "no mail, and no queue");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

/// Mail until the queue fails, or the end has begun.
async fn turns(
    client: &redis::Client,
    beat: &Heartbeat,
    health: &Vitals,
) -> redis::RedisResult<()> {
    let mut queue: MultiplexedConnection = client.get_multiplexed_async_connection().await?;
    queue.set_response_timeout(Duration::from_secs(3));
    while !health.is_draining() {
        let _turn = health.in_flight();
        beat.beat();
        let mut next = redis::cmd("BLPOP");
        let mail: Option<(String, String)> =
            next.arg("mails").arg(PATIENCE_SECONDS).query_async(&mut queue).await?;
        match mail.as_ref().map(|(_, mail)| mail.as_str()) {
            Some("deadlock") => std::future::pending().await,
            Some(mail) => tracing::info!(mail, "delivered"),
            None => {}
        }
    }
    Ok(())
}
