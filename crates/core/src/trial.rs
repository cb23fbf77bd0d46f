//! An attempt that somebody asked for, told in full. It counts in no verdict.

use std::time::Duration;

use crate::{
    check::{Check, Role},
    clause::Clause,
    outcome::Attempt,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// Those of the task's roles that have this check. None: it is no task's.
    pub roles: Vec<Role>,
    pub check: Check,
    pub attempt: Attempt,
    pub phases: Phases,
    /// For a command's permit, before the attempt began.
    pub waited: Duration,
    /// That decided.
    pub clause: Clause,
}

/// When, counted from its start, each phase of a network attempt was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Phases {
    /// Of connections before the last one: redirects, and a kept one that had ended.
    pub earlier: Option<Duration>,
    pub connect: Option<Duration>,
    pub tls: Option<Duration>,
    pub first_byte: Option<Duration>,
}

mod wire {
    use warren_proto::v1 as pb;

    use super::{Phases, Trial};
    use crate::{
        Invalid,
        check::{Check, Role},
        clause::Clause,
        invalid::At,
        wire::{duration_from_wire, duration_to_wire, enumerated, required},
    };

    impl From<&Trial> for pb::Trial {
        fn from(trial: &Trial) -> Self {
            let Trial { roles, check, attempt, phases, waited, clause } = trial;
            Self {
                roles: roles.iter().map(|role| pb::Role::from(*role).into()).collect(),
                check: Some(check.into()),
                attempt: Some(attempt.into()),
                phases: Some(phases.into()),
                waited: Some(duration_to_wire(*waited)),
                clause: clause.number().into(),
            }
        }
    }

    impl TryFrom<pb::Trial> for Trial {
        type Error = Invalid;

        fn try_from(wire: pb::Trial) -> Result<Self, Invalid> {
            let pb::Trial { roles, check, attempt, phases, waited, clause } = wire;
            let roles = roles.into_iter().map(|role| enumerated::<pb::Role, Role>("roles", role));
            let roles = roles.collect::<Result<Vec<_>, _>>()?;
            let check = check.ok_or_else(|| Invalid::missing("check"))?;
            let waited = waited.ok_or_else(|| Invalid::missing("waited"))?;
            let clause = u16::try_from(clause)
                .map_err(|_| Invalid::new(format!("{clause} is not the number of a clause")));
            Ok(Self {
                // It has its whole timing, so it is the same for every role.
                check: Check::from_wire(roles.first().copied().unwrap_or(Role::Liveness), check)
                    .at("check")?,
                roles,
                attempt: required("attempt", attempt)?,
                phases: required("phases", phases)?,
                waited: duration_from_wire(waited).at("waited")?,
                clause: Clause::new(clause.at("clause")?),
            })
        }
    }

    impl From<&Phases> for pb::Phases {
        fn from(phases: &Phases) -> Self {
            let Phases { earlier, connect, tls, first_byte } = *phases;
            Self {
                connect: connect.map(duration_to_wire),
                tls: tls.map(duration_to_wire),
                first_byte: first_byte.map(duration_to_wire),
                earlier: earlier.map(duration_to_wire),
            }
        }
    }

    impl TryFrom<pb::Phases> for Phases {
        type Error = Invalid;

        fn try_from(wire: pb::Phases) -> Result<Self, Invalid> {
            let pb::Phases { connect, tls, first_byte, earlier } = wire;
            let span = |field: &str, wire: Option<prost_types::Duration>| {
                wire.map(duration_from_wire).transpose().at(field)
            };
            Ok(Self {
                earlier: span("earlier", earlier)?,
                connect: span("connect", connect)?,
                tls: span("tls", tls)?,
                first_byte: span("first_byte", first_byte)?,
            })
        }
    }
}
