//! Commands that go on until Ctrl-C end well by it.

use anyhow::Context;

use crate::failure::Failure;

/// Runs `work` until it ends by itself or the user interrupts it.
pub async fn until(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::select! {
        biased;
        signal = tokio::signal::ctrl_c() => Ok(signal.context("cannot wait for Ctrl-C")?),
        result = work => result,
    }
}
