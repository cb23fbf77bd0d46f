//! Which roles share attempts.

use warren_core::check::{Check, Checks, Role};

/// One loop of attempts: a check, and the roles that its outcomes feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckGroup {
    /// Stands for the group wherever one role is asked for.
    pub role: Role,
    /// In the order of [`Role::ALL`]; never empty.
    pub roles: &'static [Role],
    /// What to attempt. The thresholds are the verdicts' business and may differ by role.
    pub check: Check,
}

/// The loops that a task with these checks needs. Liveness and readiness share one when they ask
/// the same thing at the same times; startup runs alone first and has its own.
pub fn groups(checks: &Checks) -> Vec<CheckGroup> {
    let sharing = Sharing::of(checks);
    let leads = Role::ALL.into_iter().filter(|&role| sharing.lead(role) == role);
    leads
        .filter_map(|role| {
            let check = checks.get(role).clone()?;
            Some(CheckGroup { role, roles: sharing.fed_by(role), check })
        })
        .collect()
}

/// Whether liveness and readiness are one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    Together,
    Apart,
}

impl Sharing {
    pub(crate) fn of(checks: &Checks) -> Self {
        let (Some(liveness), Some(readiness)) = (&checks.liveness, &checks.readiness) else {
            return Self::Apart;
        };
        let (a, b) = (liveness.timing, readiness.timing);
        let same = liveness.kind == readiness.kind
            && (a.period, a.timeout, a.delay, a.start_interval)
                == (b.period, b.timeout, b.delay, b.start_interval);
        if same { Self::Together } else { Self::Apart }
    }

    /// The role that stands for the group that `role` is in.
    pub(crate) const fn lead(self, role: Role) -> Role {
        match (role, self) {
            (Role::Startup, _) => Role::Startup,
            (Role::Liveness, _) | (Role::Readiness, Self::Together) => Role::Liveness,
            (Role::Readiness, Self::Apart) => Role::Readiness,
        }
    }

    pub(crate) const fn fed_by(self, role: Role) -> &'static [Role] {
        match (role, self) {
            (Role::Startup, _) => &[Role::Startup],
            (Role::Liveness | Role::Readiness, Self::Together) => {
                &[Role::Liveness, Role::Readiness]
            }
            (Role::Liveness, Self::Apart) => &[Role::Liveness],
            (Role::Readiness, Self::Apart) => &[Role::Readiness],
        }
    }

    /// The role whose verdict the group's confirmation waits for: readiness where there is one.
    pub(crate) const fn confirmed_by(self, role: Role) -> Role {
        match (role, self) {
            (Role::Startup, _) => Role::Startup,
            (Role::Readiness, _) | (Role::Liveness, Self::Together) => Role::Readiness,
            (Role::Liveness, Self::Apart) => Role::Liveness,
        }
    }
}
