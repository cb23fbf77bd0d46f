//! Why the planner did something, or left it. Each rule has a clause in `docs/replacement.md`.

use crate::time::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// A slot without a task gets one.
    Fill,
    /// An unhealthy task is replaced.
    Unhealthy,
    /// A task that ended by itself is replaced.
    Ended,
    /// A task whose node is lost is replaced.
    Lost,
    /// A task of an earlier revision is replaced.
    Outdated,
    /// A task moves: its node is drained, or no longer fits.
    Moved,
    /// The successor is ready, so the old task goes.
    HandedOver,
    /// The old task recovered, so its successor goes.
    CalledOff,
    /// The successor failed before it was ready.
    SuccessorFailed,
    ScaledDown,
    ServiceRemoved,
    Requested,
    Placed,

    /// So many of the service's tasks are in replacement as may be at once.
    Budget,
    /// So many of the cluster's tasks were replaced as may be for now.
    Pace,
    /// Much of the service failed at one moment: one task is tried first.
    Dependency,
    /// Tasks of the service fail for the same component: one is tried first.
    Component,
    /// Much of the node failed at one moment: one task is tried at a time.
    Node,
    /// The worker that saw it cannot trust its own eyes.
    Observer,
    /// Too many nodes are silent at once: the manager itself may be cut off.
    Silence,
    /// It failed as often as the service allows.
    GaveUp,
    /// The checks of its service are paused.
    Paused,
}

impl Rule {
    /// What holds replacements. The others make them.
    pub const GUARDS: [Self; 9] = [
        Self::Budget,
        Self::Pace,
        Self::Dependency,
        Self::Component,
        Self::Node,
        Self::Observer,
        Self::Silence,
        Self::GaveUp,
        Self::Paused,
    ];

    /// As it is shown, and as the metrics' label says it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fill => "fill",
            Self::Unhealthy => "unhealthy",
            Self::Ended => "ended",
            Self::Lost => "lost",
            Self::Outdated => "outdated",
            Self::Moved => "moved",
            Self::HandedOver => "handed-over",
            Self::CalledOff => "called-off",
            Self::SuccessorFailed => "successor-failed",
            Self::ScaledDown => "scaled-down",
            Self::ServiceRemoved => "service-removed",
            Self::Requested => "requested",
            Self::Placed => "placed",
            Self::Budget => "budget",
            Self::Pace => "pace",
            Self::Dependency => "dependency",
            Self::Component => "component",
            Self::Node => "node",
            Self::Observer => "observer",
            Self::Silence => "silence",
            Self::GaveUp => "gave-up",
            Self::Paused => "paused",
        }
    }
}

/// A replacement that is due and not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// What holds it.
    pub rule: Rule,
    pub since: Timestamp,
    /// For a person.
    pub reason: String,
}

mod wire {
    use warren_proto::v1 as pb;

    use super::{Hold, Rule};
    use crate::{
        Invalid,
        wire::{enumerated, required, text, wire_enum},
    };

    wire_enum!(Rule:
        Fill, Unhealthy, Ended, Lost, Outdated, Moved, HandedOver, CalledOff, SuccessorFailed,
        ScaledDown, ServiceRemoved, Requested, Placed,
        Budget, Pace, Dependency, Component, Node, Observer, Silence, GaveUp, Paused,
    );

    impl From<&Hold> for pb::Hold {
        fn from(hold: &Hold) -> Self {
            let Hold { rule, since, reason } = hold;
            Self {
                rule: pb::Rule::from(*rule).into(),
                since: Some((*since).into()),
                reason: reason.clone(),
            }
        }
    }

    impl TryFrom<pb::Hold> for Hold {
        type Error = Invalid;

        fn try_from(wire: pb::Hold) -> Result<Self, Invalid> {
            let pb::Hold { rule, since, reason } = wire;
            Ok(Self {
                rule: enumerated::<pb::Rule, _>("rule", rule)?,
                since: required("since", since)?,
                reason: text(reason),
            })
        }
    }
}
