//! What one attempt saw.

use std::time::Duration;

use crate::{
    Invalid,
    time::Timestamp,
    wire::{TEXT_MAX, printable},
};

/// The kind of a failure: what the observer holds in its hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Evidence {
    /// The task answered, and the answer was no: a bad status, a non-zero exit.
    Explicit,
    /// Nobody listens there, or the connection was reset.
    Refused,
    /// No full answer before the deadline.
    Timeout,
    /// The process is gone; no probe is needed to know.
    Gone,
}

/// What one attempt saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    Pass,
    Fail(Evidence),
    /// The observer was at fault and has seen nothing.
    Inconclusive,
}

/// One attempt, as it is remembered and shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub at: Timestamp,
    pub latency: Duration,
    pub outcome: Outcome,
    /// For a person; at most [`Attempt::MESSAGE_MAX`] bytes.
    pub message: String,
    /// Of a failure: what the task's own answer says is broken in it, by name; at most
    /// [`Attempt::COMPONENTS_MAX`].
    pub components: Box<[String]>,
}

impl Attempt {
    /// Enough for a stack trace's head and tail, little enough to keep a few for each task.
    pub const MESSAGE_MAX: usize = TEXT_MAX;
    /// Who fails in more ways than these fails in all of them.
    pub const COMPONENTS_MAX: usize = 8;
    /// A word or two.
    pub const COMPONENT_MAX: usize = 64;

    /// 1-64 printable characters.
    pub fn checked_component(name: String) -> Result<String, Invalid> {
        printable(name, Self::COMPONENT_MAX)
    }
}

mod wire {
    use warren_proto::v1 as pb;

    use super::{Attempt, Evidence, Outcome};
    use crate::{
        Invalid,
        invalid::At,
        wire::{duration_from_wire, duration_to_wire, enumerated, required, text},
    };

    impl From<Outcome> for pb::Outcome {
        fn from(outcome: Outcome) -> Self {
            match outcome {
                Outcome::Pass => Self::Pass,
                Outcome::Fail(Evidence::Explicit) => Self::FailExplicit,
                Outcome::Fail(Evidence::Refused) => Self::FailRefused,
                Outcome::Fail(Evidence::Timeout) => Self::FailTimeout,
                Outcome::Fail(Evidence::Gone) => Self::FailGone,
                Outcome::Inconclusive => Self::Inconclusive,
            }
        }
    }

    impl TryFrom<pb::Outcome> for Outcome {
        type Error = Invalid;

        fn try_from(wire: pb::Outcome) -> Result<Self, Invalid> {
            match wire {
                pb::Outcome::Unspecified => Err(Invalid::new("is required")),
                pb::Outcome::Pass => Ok(Self::Pass),
                pb::Outcome::FailExplicit => Ok(Self::Fail(Evidence::Explicit)),
                pb::Outcome::FailRefused => Ok(Self::Fail(Evidence::Refused)),
                pb::Outcome::FailTimeout => Ok(Self::Fail(Evidence::Timeout)),
                pb::Outcome::FailGone => Ok(Self::Fail(Evidence::Gone)),
                pb::Outcome::Inconclusive => Ok(Self::Inconclusive),
            }
        }
    }

    impl From<&Attempt> for pb::Attempt {
        fn from(attempt: &Attempt) -> Self {
            let Attempt { at, latency, outcome, message, components } = attempt;
            Self {
                at: Some((*at).into()),
                latency: Some(duration_to_wire(*latency)),
                outcome: pb::Outcome::from(*outcome).into(),
                message: message.clone(),
                components: components.to_vec(),
            }
        }
    }

    impl TryFrom<pb::Attempt> for Attempt {
        type Error = Invalid;

        fn try_from(wire: pb::Attempt) -> Result<Self, Invalid> {
            let pb::Attempt { at, latency, outcome, message, components } = wire;
            let latency = latency.ok_or_else(|| Invalid::missing("latency"))?;
            Ok(Self {
                at: required("at", at)?,
                latency: duration_from_wire(latency).at("latency")?,
                outcome: enumerated::<pb::Outcome, _>("outcome", outcome)?,
                message: text(message),
                components: components_from_wire(components)?,
            })
        }
    }

    fn components_from_wire(names: Vec<String>) -> Result<Box<[String]>, Invalid> {
        let most = Attempt::COMPONENTS_MAX;
        if names.len() > most {
            return Err(Invalid::new(format!("are more than {most}")).at("components"));
        }
        let checked = |(index, name)| {
            Attempt::checked_component(name).map_err(|why| why.at_index(index).at("components"))
        };
        names.into_iter().enumerate().map(checked).collect()
    }
}
