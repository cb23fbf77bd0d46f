//! Checks that block their thread.

use std::{fmt, sync::Arc};

use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::check::{Check, CheckError, Context, Details};

/// A check that blocks, such as one with a client that is not async: it runs on a thread of its
/// own. Nothing can end it, so while one run does not return, the next ones fail and no further
/// thread is lost to it.
///
/// ```
/// use vitals::Vitals;
///
/// let config = vitals::blocking(|| Ok(drop(std::fs::read("/etc/hostname")?)));
/// let health = Vitals::new("payments", "1.0.0").critical("config", config);
/// # drop(health);
/// ```
pub fn blocking<F, Said>(look: F) -> Blocking<F>
where
    F: Fn() -> Result<Said, CheckError> + Send + Sync + 'static,
    Said: Into<Details> + Send + 'static,
{
    Blocking { look: Arc::new(look), thread: Thread::default() }
}

/// See [`blocking`].
pub struct Blocking<F> {
    look: Arc<F>,
    thread: Thread,
}

impl<F, Said> Check for Blocking<F>
where
    F: Fn() -> Result<Said, CheckError> + Send + Sync + 'static,
    Said: Into<Details> + Send + 'static,
{
    async fn check(&self, _: Context) -> Result<Details, CheckError> {
        let look = Arc::clone(&self.look);
        Ok(self.thread.run(move || look()).await?.into())
    }
}

impl<F> fmt::Debug for Blocking<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking").finish_non_exhaustive()
    }
}

/// One thread at a time.
#[derive(Debug, Clone)]
pub(super) struct Thread(Arc<Semaphore>);

impl Default for Thread {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Thread {
    pub async fn run<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> Result<T, CheckError> + Send + 'static,
    ) -> Result<T, CheckError> {
        let Ok(permit) = Arc::clone(&self.0).try_acquire_owned() else {
            return Err(CheckError::new("the run before still blocks its thread"));
        };
        spawn_blocking(move || {
            let _permit = permit;
            look()
        })
        .await?
    }
}
