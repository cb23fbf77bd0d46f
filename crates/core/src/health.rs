//! What a task's outcomes add up to, and what others say of it.

mod wire;

use crate::{
    Invalid,
    check::{ByRole, Role},
    outcome::Attempt,
    task::ReportMark,
    time::Timestamp,
    wire::{TEXT_MAX, printable},
};

/// What a role's run of outcomes adds up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Too few outcomes to tell.
    Pending,
    Passing,
    Failing,
    /// Nobody could look for a while.
    Unknown,
}

/// A task's verdicts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HealthStatus {
    /// The startup check, or the first verdict of liveness, is still out.
    Starting,
    Healthy,
    Unhealthy,
    Unknown,
    /// The task runs, and nobody looks.
    Unchecked,
}

impl HealthStatus {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Unknown => "unknown",
            Self::Unchecked => "unchecked",
        }
    }

    /// As good as it gets: healthy, or running with nobody asked to look.
    pub const fn is_good(self) -> bool {
        match self {
            Self::Healthy | Self::Unchecked => true,
            Self::Starting | Self::Unhealthy | Self::Unknown => false,
        }
    }
}

/// A run of equal outcomes up to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Streak {
    /// No attempt yet.
    #[default]
    None,
    Passes(u32),
    Failures(u32),
    Inconclusive(u32),
}

/// On what it rests that a role passes, now or behind another verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Grounds {
    /// It has not passed.
    #[default]
    None,
    /// It is taken for passing until its check, which is new or asks something else now, says
    /// more.
    Assumed,
    /// Its check has passed.
    Seen,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleHealth {
    pub verdict: Verdict,
    pub since: Timestamp,
    pub streak: Streak,
    pub last: Option<Attempt>,
    /// Passes and failures alternate, though no threshold may be reached.
    pub flapping_since: Option<Timestamp>,
    pub grounds: Grounds,
    /// How long the streak has lasted where it is one of failures or inconclusive ones: from the
    /// start of its first attempt to that of the last. Whole milliseconds of 49 days at most, which
    /// is more than any patience.
    pub lasted_ms: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    pub status: HealthStatus,
    pub since: Timestamp,
    pub ready: bool,
    pub ready_since: Timestamp,
    /// It has been ready at least once; never unset. What never was is not worth keeping while
    /// its successor starts.
    pub was_ready: bool,
    /// Why the status is what it is, for a person. Empty when there is nothing to explain.
    pub reason: String,
    /// Most tasks have one or two of the three.
    pub roles: ByRole<Option<Box<RoleHealth>>>,
}

impl Health {
    /// Of a task that has not been looked at.
    pub fn starting(since: Timestamp) -> Self {
        Self {
            status: HealthStatus::Starting,
            since,
            ready: false,
            ready_since: since,
            was_ready: false,
            reason: String::new(),
            roles: ByRole::default(),
        }
    }

    /// Since when one of its roles flaps.
    pub fn flapping_since(&self) -> Option<Timestamp> {
        let roles = Role::ALL.into_iter().filter_map(|role| self.roles.get(role).as_ref());
        roles.filter_map(|role| role.flapping_since).min()
    }
}

/// What of a health decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub status: HealthStatus,
    pub since: Timestamp,
    pub ready: bool,
}

impl From<&Health> for Standing {
    fn from(health: &Health) -> Self {
        Self { status: health.status, since: health.since, ready: health.ready }
    }
}

/// Another controller's verdict on a task. Only accusations are kept; a pass withdraws one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalVerdict {
    pub reporter: String,
    pub role: AccusedRole,
    pub reason: String,
    pub reported_at: Timestamp,
    pub expires_at: Timestamp,
}

impl ExternalVerdict {
    /// A name in a table's column: more would not be read.
    pub const REPORTER_MAX: usize = 128;

    /// 1-128 printable characters.
    pub fn checked_reporter(reporter: String) -> Result<String, Invalid> {
        printable(reporter, Self::REPORTER_MAX)
    }

    /// At most 4 KiB. A controller that says more is told so, rather than quoted in part.
    pub fn checked_reason(reason: String) -> Result<String, Invalid> {
        if reason.len() <= TEXT_MAX {
            Ok(reason)
        } else {
            Err(Invalid::new(format!("is longer than {TEXT_MAX} bytes")))
        }
    }
}

/// The roles that another controller may judge: startup is the worker's alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AccusedRole {
    Liveness,
    Readiness,
}

impl From<AccusedRole> for Role {
    fn from(role: AccusedRole) -> Self {
        match role {
            AccusedRole::Liveness => Self::Liveness,
            AccusedRole::Readiness => Self::Readiness,
        }
    }
}

/// All that is known about a task's health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskHealth {
    /// As the worker saw it.
    pub observed: Health,
    /// One for each reporter and role.
    pub external: Vec<ExternalVerdict>,
    /// The last report that was taken, where it said nothing new of the task itself: most change
    /// its health alone, and one row is written for them.
    pub reported: ReportMark,
}

impl TaskHealth {
    /// More reporters than this for one task are refused: each costs memory in every snapshot.
    pub const EXTERNAL_MAX: usize = 8;

    pub fn starting(since: Timestamp) -> Self {
        Self {
            observed: Health::starting(since),
            external: Vec::new(),
            reported: ReportMark::default(),
        }
    }

    /// The health that counts at `now`: the worker's, and the accusations that have not expired.
    pub fn effective(&self, now: Timestamp) -> Health {
        let mut health = self.observed.clone();
        for accusation in self.external.iter().filter(|external| now < external.expires_at) {
            let reason = format!("{} reports: {}", accusation.reporter, accusation.reason);
            if health.ready {
                health.ready = false;
                health.ready_since = accusation.reported_at;
            }
            let alive = health.status != HealthStatus::Unhealthy;
            if accusation.role == AccusedRole::Liveness && alive {
                health.status = HealthStatus::Unhealthy;
                health.since = accusation.reported_at;
                health.reason = reason;
            } else if health.reason.is_empty() {
                health.reason = reason;
            }
        }
        health
    }

    /// Likewise, without what is only for a person to read: it is asked for far more often.
    pub fn standing(&self, now: Timestamp) -> Standing {
        if self.external.iter().any(|external| now < external.expires_at) {
            Standing::from(&self.effective(now))
        } else {
            Standing::from(&self.observed)
        }
    }

    /// When the next accusation expires.
    pub fn next_expiry(&self, now: Timestamp) -> Option<Timestamp> {
        self.external.iter().map(|external| external.expires_at).filter(|&at| now < at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> TaskHealth {
        let at = Timestamp::from_millis(1_000);
        let mut health = TaskHealth::starting(at);
        health.observed.status = HealthStatus::Healthy;
        health.observed.ready = true;
        health
    }

    fn accuse(role: AccusedRole) -> ExternalVerdict {
        ExternalVerdict {
            reporter: "auditor".to_owned(),
            role,
            reason: "ledger differs".to_owned(),
            reported_at: Timestamp::from_millis(2_000),
            expires_at: Timestamp::from_millis(3_000),
        }
    }

    #[test]
    fn an_accusation_counts_until_it_expires() {
        let mut health = healthy();
        health.external.push(accuse(AccusedRole::Liveness));
        let accused = health.effective(Timestamp::from_millis(2_999));
        assert_eq!((accused.status, accused.ready), (HealthStatus::Unhealthy, false));
        assert_eq!(accused.reason, "auditor reports: ledger differs");
        assert_eq!(health.effective(Timestamp::from_millis(3_000)), health.observed);
    }

    #[test]
    fn readiness_alone_takes_out_of_traffic_and_leaves_alive() {
        let mut health = healthy();
        health.external.push(accuse(AccusedRole::Readiness));
        let accused = health.effective(Timestamp::from_millis(2_500));
        assert_eq!((accused.status, accused.ready), (HealthStatus::Healthy, false));
    }
}
