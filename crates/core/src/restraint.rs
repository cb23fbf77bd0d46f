//! What restrains the cluster as a whole: one row.

use crate::{rule::Hold, time::Timestamp};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restraint {
    /// When the bucket of replacements is full again. None: it never was less.
    pub pace_full_at: Option<Timestamp>,
    /// When the manager started last, or ended to suspect itself.
    pub started_at: Option<Timestamp>,
    /// Set while too many nodes are silent at once; since the first of them was lost.
    pub silence: Option<Hold>,
}

mod wire {
    use warren_proto::v1 as pb;

    use super::Restraint;
    use crate::{Invalid, wire::optional};

    impl From<&Restraint> for pb::RestraintRow {
        fn from(restraint: &Restraint) -> Self {
            let Restraint { pace_full_at, started_at, silence } = restraint;
            Self {
                pace_full_at: pace_full_at.map(Into::into),
                started_at: started_at.map(Into::into),
                silence: silence.as_ref().map(Into::into),
            }
        }
    }

    impl TryFrom<pb::RestraintRow> for Restraint {
        type Error = Invalid;

        fn try_from(wire: pb::RestraintRow) -> Result<Self, Invalid> {
            let pb::RestraintRow { pace_full_at, started_at, silence } = wire;
            Ok(Self {
                pace_full_at: optional("pace_full_at", pace_full_at)?,
                started_at: optional("started_at", started_at)?,
                silence: optional("silence", silence)?,
            })
        }
    }
}
