//! Health as messages.

use std::collections::BTreeSet;

use warren_proto::v1 as pb;

use super::{
    AccusedRole, ExternalVerdict, Grounds, Health, HealthStatus, RoleHealth, Streak, TaskHealth,
    Verdict,
};
use crate::{
    Invalid,
    check::ByRole,
    invalid::At,
    task::ReportMark,
    wire::{enumerated, enumerated_or, optional, repeated, required, text, wire_enum},
};

wire_enum!(Verdict: Pending, Passing, Failing, Unknown);
wire_enum!(Grounds: None, Assumed, Seen);
wire_enum!(HealthStatus: Starting, Healthy, Unhealthy, Unknown, Unchecked);

impl From<&RoleHealth> for pb::RoleHealth {
    fn from(health: &RoleHealth) -> Self {
        let RoleHealth { verdict, since, streak, last, flapping_since, grounds, lasted_ms } =
            health;
        let (passes, failures, inconclusive) = match *streak {
            Streak::None => (0, 0, 0),
            Streak::Passes(count) => (count, 0, 0),
            Streak::Failures(count) => (0, count, 0),
            Streak::Inconclusive(count) => (0, 0, count),
        };
        Self {
            verdict: pb::Verdict::from(*verdict).into(),
            since: Some((*since).into()),
            passes,
            failures,
            inconclusive,
            last: last.as_ref().map(Into::into),
            flapping_since: flapping_since.map(Into::into),
            grounds: pb::Grounds::from(*grounds).into(),
            lasted_ms: *lasted_ms,
        }
    }
}

impl TryFrom<pb::RoleHealth> for RoleHealth {
    type Error = Invalid;

    fn try_from(wire: pb::RoleHealth) -> Result<Self, Invalid> {
        let pb::RoleHealth {
            verdict,
            since,
            // At most one of the three is not zero.
            passes,
            failures,
            inconclusive,
            last,
            flapping_since,
            grounds,
            lasted_ms,
        } = wire;
        let streak = match (passes, failures, inconclusive) {
            (0, 0, 0) => Streak::None,
            (count, 0, 0) => Streak::Passes(count),
            (0, count, 0) => Streak::Failures(count),
            (0, 0, count) => Streak::Inconclusive(count),
            _ => {
                let why = "only one of passes, failures and inconclusive may be set";
                return Err(Invalid::new(why));
            }
        };
        Ok(Self {
            verdict: enumerated::<pb::Verdict, _>("verdict", verdict)?,
            since: required("since", since)?,
            streak,
            last: optional("last", last)?,
            flapping_since: optional("flapping_since", flapping_since)?,
            grounds: enumerated_or::<pb::Grounds, _>("grounds", grounds, Grounds::None)?,
            lasted_ms,
        })
    }
}

impl From<&Health> for pb::Health {
    fn from(health: &Health) -> Self {
        let Health { status, since, ready, ready_since, was_ready, reason, roles } = health;
        let ByRole { startup, liveness, readiness } = roles;
        Self {
            status: pb::HealthStatus::from(*status).into(),
            since: Some((*since).into()),
            ready: *ready,
            ready_since: Some((*ready_since).into()),
            reason: reason.clone(),
            startup: startup.as_deref().map(Into::into),
            liveness: liveness.as_deref().map(Into::into),
            readiness: readiness.as_deref().map(Into::into),
            was_ready: *was_ready,
        }
    }
}

impl TryFrom<pb::Health> for Health {
    type Error = Invalid;

    fn try_from(wire: pb::Health) -> Result<Self, Invalid> {
        let pb::Health {
            status,
            since,
            ready,
            ready_since,
            reason,
            startup,
            liveness,
            readiness,
            was_ready,
        } = wire;
        Ok(Self {
            status: enumerated::<pb::HealthStatus, _>("status", status)?,
            since: required("since", since)?,
            ready,
            ready_since: required("ready_since", ready_since)?,
            was_ready,
            reason: text(reason),
            roles: ByRole {
                startup: optional("startup", startup)?.map(Box::new),
                liveness: optional("liveness", liveness)?.map(Box::new),
                readiness: optional("readiness", readiness)?.map(Box::new),
            },
        })
    }
}

impl From<AccusedRole> for pb::Role {
    fn from(role: AccusedRole) -> Self {
        match role {
            AccusedRole::Liveness => Self::Liveness,
            AccusedRole::Readiness => Self::Readiness,
        }
    }
}

impl TryFrom<pb::Role> for AccusedRole {
    type Error = Invalid;

    fn try_from(wire: pb::Role) -> Result<Self, Invalid> {
        match wire {
            pb::Role::Unspecified => Err(Invalid::new("is required")),
            pb::Role::Startup => Err(Invalid::new("startup is judged by the worker alone")),
            pb::Role::Liveness => Ok(Self::Liveness),
            pb::Role::Readiness => Ok(Self::Readiness),
        }
    }
}

impl From<&ExternalVerdict> for pb::ExternalVerdict {
    fn from(external: &ExternalVerdict) -> Self {
        let ExternalVerdict { reporter, role, reason, reported_at, expires_at } = external;
        Self {
            reporter: reporter.clone(),
            role: pb::Role::from(*role).into(),
            verdict: pb::Verdict::Failing.into(),
            reason: reason.clone(),
            reported_at: Some((*reported_at).into()),
            expires_at: Some((*expires_at).into()),
        }
    }
}

impl TryFrom<pb::ExternalVerdict> for ExternalVerdict {
    type Error = Invalid;

    fn try_from(wire: pb::ExternalVerdict) -> Result<Self, Invalid> {
        let pb::ExternalVerdict { reporter, role, verdict, reason, reported_at, expires_at } = wire;
        match enumerated::<pb::Verdict, Verdict>("verdict", verdict)? {
            Verdict::Failing => {}
            Verdict::Passing | Verdict::Pending | Verdict::Unknown => {
                return Err(Invalid::new("only what accuses is kept").at("verdict"));
            }
        }
        Ok(Self {
            reporter: Self::checked_reporter(reporter).at("reporter")?,
            role: enumerated::<pb::Role, _>("role", role)?,
            reason: Self::checked_reason(reason).at("reason")?,
            reported_at: required("reported_at", reported_at)?,
            expires_at: required("expires_at", expires_at)?,
        })
    }
}

impl From<&TaskHealth> for pb::HealthRow {
    fn from(health: &TaskHealth) -> Self {
        let ReportMark { epoch, sequence } = health.reported;
        Self { health: Some(health.into()), epoch, sequence }
    }
}

impl TryFrom<pb::HealthRow> for TaskHealth {
    type Error = Invalid;

    fn try_from(wire: pb::HealthRow) -> Result<Self, Invalid> {
        let pb::HealthRow { health, epoch, sequence } = wire;
        let health = health.ok_or_else(|| Invalid::missing("health"))?;
        from_wire(health, ReportMark { epoch, sequence }).at("health")
    }
}

/// Leaves out the report mark, which is between the manager and the worker.
impl From<&TaskHealth> for pb::TaskHealth {
    fn from(health: &TaskHealth) -> Self {
        let TaskHealth { observed, external, reported: _ } = health;
        Self {
            observed: Some(observed.into()),
            external: external.iter().map(Into::into).collect(),
        }
    }
}

fn from_wire(wire: pb::TaskHealth, reported: ReportMark) -> Result<TaskHealth, Invalid> {
    let pb::TaskHealth { observed, external } = wire;
    let observed = required("observed", observed)?;
    let external: Vec<ExternalVerdict> = repeated::<_, ExternalVerdict, _>("external", external)?;
    if external.len() > TaskHealth::EXTERNAL_MAX {
        let why = format!("has more than {} verdicts", TaskHealth::EXTERNAL_MAX);
        return Err(Invalid::new(why).at("external"));
    }
    let mut seen = BTreeSet::new();
    for (index, verdict) in external.iter().enumerate() {
        if !seen.insert((&verdict.reporter, verdict.role)) {
            let why = format!("{:?} has another verdict on this role", verdict.reporter);
            return Err(Invalid::new(why).at_index(index).at("external"));
        }
    }
    Ok(TaskHealth { observed, external, reported })
}
