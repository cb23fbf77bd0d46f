//! What is known of a service at one moment.

use std::time::{Duration, SystemTime};

use crate::status::{Status, Weight};

/// The whole and its parts at one moment.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The worst that the components add up to.
    pub status: Status,
    /// The service's name.
    pub service: String,
    /// The service's version.
    pub version: String,
    /// Which of the service's instances this is, where that is known.
    pub instance: Option<String>,
    /// When this was put together.
    pub timestamp: SystemTime,
    /// How long the service has been up.
    pub uptime: Duration,
    /// How long it took to put this together, checks included.
    pub total_latency: Duration,
    /// The parts, in the order in which they were added.
    pub components: Vec<ComponentReport>,
    /// Names that were to be excluded and that no component has.
    pub unknown_exclusions: Vec<String>,
}

/// One part.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ComponentReport {
    /// Its name.
    pub name: String,
    /// Its state, thresholds and age considered.
    pub status: Status,
    /// What its failure means for the whole.
    pub weight: Weight,
    /// How long the last run took.
    pub latency: Option<Duration>,
    /// What the last run said, without secrets.
    pub message: Option<String>,
    /// What it depends on, without secrets.
    pub target: Option<String>,
    /// When the last run ended.
    pub last_run: Option<SystemTime>,
    /// When the last good run ended.
    pub last_success: Option<SystemTime>,
    /// How many runs in a row have failed.
    pub consecutive_failures: u32,
    /// Whether the last result is too old to be believed.
    pub stale: bool,
}

impl ComponentReport {
    /// A part that is not checked by a run.
    pub(crate) fn internal(name: impl Into<String>, complaint: Option<String>) -> Self {
        Self {
            name: name.into(),
            status: if complaint.is_some() { Status::Unhealthy } else { Status::Healthy },
            weight: Weight::Critical,
            latency: None,
            message: complaint,
            target: None,
            last_run: None,
            last_success: None,
            consecutive_failures: 0,
            stale: false,
        }
    }

    /// Whether the whole cannot work without it.
    pub fn is_critical(&self) -> bool {
        self.weight == Weight::Critical
    }
}

/// The state of the whole.
pub(crate) fn overall(components: &[ComponentReport]) -> Status {
    let counted = components.iter().map(|part| part.weight.counts(part.status));
    counted.max().unwrap_or(Status::Healthy)
}
