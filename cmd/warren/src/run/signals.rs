//! SIGTERM and SIGINT.

use anyhow::{Context, Result};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use vitals::Vitals;

/// Says to the shell that the process did not end in order.
const ENDED_AT_ONCE: i32 = 1;

/// The first signal asks for an orderly end, the second one ends at once. Watches until the
/// result is dropped.
pub fn watch(end: CancellationToken, health: Vitals) -> Result<JoinSet<()>> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let (mut term, mut int) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let mut watcher = JoinSet::new();
    watcher.spawn(async move {
        next(&mut term, &mut int).await;
        tracing::info!("ending in order; another signal ends at once");
        health.drain();
        super::health::notify(&[sd_notify::NotifyState::Stopping]);
        end.cancel();
        next(&mut term, &mut int).await;
        tracing::warn!("ended at once, before all was in order");
        std::process::exit(ENDED_AT_ONCE);
    });
    Ok(watcher)
}

async fn next(term: &mut Signal, int: &mut Signal) {
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
