//! For the tests of services: a clock and a check that do what they are told.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::watch;

use crate::check::{Check, CheckError, Context, Details};
pub use crate::clock::FakeClock;

/// A check that says what it is told to say. Clones are the same check.
///
/// ```
/// use vitals::{Status, Vitals, testing::{FakeCheck, FakeClock}};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let (clock, database) = (FakeClock::new(), FakeCheck::passing());
/// let health =
///     Vitals::new("payments", "1.0.0").clock(&clock).critical("database", database.clone());
/// database.fail("down");
/// let report = health.report().await;
/// assert_eq!(report.status, Status::Unhealthy);
/// assert_eq!(report.components[0].message.as_deref(), Some("down"));
/// assert_eq!(database.runs(), 1);
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct FakeCheck(Arc<Fake>);

#[derive(Debug)]
struct Fake {
    runs: AtomicU64,
    says: watch::Sender<Says>,
}

#[derive(Debug, Clone)]
enum Says {
    Healthy,
    Degraded(String),
    Failed(String),
    Panic(String),
    Nothing,
}

impl FakeCheck {
    /// A check that passes until it is told otherwise.
    pub fn passing() -> Self {
        Self(Arc::new(Fake { runs: AtomicU64::new(0), says: watch::Sender::new(Says::Healthy) }))
    }

    /// Passes from now on; runs that hang do too.
    pub fn pass(&self) {
        self.0.says.send_replace(Says::Healthy);
    }

    /// Is degraded from now on.
    pub fn degrade(&self, message: impl Into<String>) {
        self.0.says.send_replace(Says::Degraded(message.into()));
    }

    /// Fails from now on.
    pub fn fail(&self, message: impl Into<String>) {
        self.0.says.send_replace(Says::Failed(message.into()));
    }

    /// Panics from now on.
    pub fn panic(&self, message: impl Into<String>) {
        self.0.says.send_replace(Says::Panic(message.into()));
    }

    /// Does not answer until it is told something else.
    pub fn hang(&self) {
        self.0.says.send_replace(Says::Nothing);
    }

    /// How often it was run.
    pub fn runs(&self) -> u64 {
        self.0.runs.load(Ordering::SeqCst)
    }
}

impl Check for FakeCheck {
    async fn check(&self, _: Context) -> Result<Details, CheckError> {
        self.0.runs.fetch_add(1, Ordering::SeqCst);
        let mut says = self.0.says.subscribe();
        let said = says.wait_for(|says| !matches!(says, Says::Nothing)).await?.clone();
        match said {
            Says::Healthy => Ok(Details::healthy()),
            Says::Degraded(message) => Ok(Details::degraded(message)),
            Says::Failed(message) => Err(CheckError::new(message)),
            Says::Panic(message) => panic!("{message}"),
            Says::Nothing => Err(CheckError::new("told nothing")),
        }
    }
}
