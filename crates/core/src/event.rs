//! A row of history: what was seen or decided, and why.

use crate::{
    id::{NodeId, ServiceId, TaskId},
    rule::Rule,
    spec::ServiceName,
    time::Timestamp,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Grows by one with each event of the cluster.
    pub sequence: u64,
    pub at: Timestamp,
    pub kind: EventKind,
    pub service: Option<ServiceId>,
    /// Kept, since the service may be gone when somebody asks.
    pub service_name: Option<ServiceName>,
    pub slot: Option<u32>,
    pub task: Option<TaskId>,
    pub node: Option<NodeId>,
    /// A sentence for a person.
    pub message: String,
    /// Of decisions of the planner.
    pub decision: Option<Decision>,
}

/// Why the planner did what the message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub rule: Rule,
    /// What the rule saw.
    pub seen: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    ServiceCreated,
    ServiceUpdated,
    ServiceRemoved,
    TaskCreated,
    TaskPlaced,
    TaskStarted,
    TaskStopping,
    TaskEnded,
    HealthChanged,
    ReadyChanged,
    NodeUp,
    NodeLost,
    NodeRemoved,
    ExternalVerdict,
    FlappingChanged,
    ReplacementHeld,
    ReplacementReleased,
    GaveUp,
    NodeSuspect,
    NodeAvailability,
    NodeAccused,
    NodeCleared,
    ChecksPaused,
    ChecksResumed,
    NodeLabelled,
}

mod wire {
    use warren_proto::v1 as pb;

    use super::{Decision, Event, EventKind};
    use crate::{
        Invalid,
        wire::{enumerated, parsed_or_none, required, text, wire_enum},
    };

    wire_enum!(EventKind:
        ServiceCreated, ServiceUpdated, ServiceRemoved,
        TaskCreated, TaskPlaced, TaskStarted, TaskStopping, TaskEnded,
        HealthChanged, ReadyChanged,
        NodeUp, NodeLost, NodeRemoved,
        ExternalVerdict, FlappingChanged,
        ReplacementHeld, ReplacementReleased, GaveUp,
        NodeSuspect, NodeAvailability, NodeAccused, NodeCleared,
        ChecksPaused, ChecksResumed,
        NodeLabelled,
    );

    impl From<&Event> for pb::Event {
        fn from(event: &Event) -> Self {
            let Event {
                sequence,
                at,
                kind,
                service,
                service_name,
                slot,
                task,
                node,
                message,
                decision,
            } = event;
            let rule = decision.as_ref().map(|decision| pb::Rule::from(decision.rule));
            Self {
                sequence: *sequence,
                at: Some((*at).into()),
                kind: pb::EventKind::from(*kind).into(),
                service_id: service.map(|id| id.to_string()).unwrap_or_default(),
                slot: slot.unwrap_or_default(),
                task_id: task.map(|id| id.to_string()).unwrap_or_default(),
                node_id: node.map(|id| id.to_string()).unwrap_or_default(),
                message: message.clone(),
                service_name: service_name.as_ref().map(ToString::to_string).unwrap_or_default(),
                rule: rule.unwrap_or_default().into(),
                seen: decision.as_ref().map(|decision| decision.seen.clone()).unwrap_or_default(),
            }
        }
    }

    impl TryFrom<pb::Event> for Event {
        type Error = Invalid;

        fn try_from(wire: pb::Event) -> Result<Self, Invalid> {
            let pb::Event {
                sequence,
                at,
                kind,
                service_id,
                slot,
                task_id,
                node_id,
                message,
                service_name,
                rule,
                seen,
            } = wire;
            let decision = if rule == 0 {
                None
            } else {
                let rule = enumerated::<pb::Rule, _>("rule", rule)?;
                Some(Decision { rule, seen: text(seen) })
            };
            Ok(Self {
                sequence,
                at: required("at", at)?,
                kind: enumerated::<pb::EventKind, _>("kind", kind)?,
                service: parsed_or_none("service_id", &service_id)?,
                service_name: parsed_or_none("service_name", &service_name)?,
                slot: (slot != 0).then_some(slot),
                task: parsed_or_none("task_id", &task_id)?,
                node: parsed_or_none("node_id", &node_id)?,
                message: text(message),
                decision,
            })
        }
    }
}
