//! What a worker tells the manager about one of its tasks.

use crate::{
    health::{Health, HealthStatus},
    id::TaskId,
    task::TaskStatus,
    time::Timestamp,
};

/// What changed about one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskReport {
    pub task: TaskId,
    /// Grows with each report of this task in the worker's epoch.
    pub sequence: u64,
    pub status: TaskStatus,
    /// None before the task runs.
    pub health: Option<Health>,
    /// Since the last acknowledged report, the oldest first.
    pub transitions: Vec<HealthTransition>,
    /// So many more transitions happened than the worker keeps.
    pub transitions_dropped: u64,
}

/// A change of a task's health, for the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthTransition {
    /// When it happened, however late it is reported.
    pub at: Timestamp,
    pub status: HealthStatus,
    pub ready: bool,
    pub reason: String,
    pub flapping: bool,
}

mod wire {
    use warren_proto::v1 as pb;

    use super::{HealthTransition, TaskReport};
    use crate::{
        Invalid,
        wire::{enumerated, optional, parsed, repeated, required, text},
    };

    impl From<&TaskReport> for pb::TaskReport {
        fn from(report: &TaskReport) -> Self {
            let TaskReport { task, sequence, status, health, transitions, transitions_dropped } =
                report;
            Self {
                task_id: task.to_string(),
                sequence: *sequence,
                status: Some(status.into()),
                health: health.as_ref().map(Into::into),
                transitions: transitions.iter().map(Into::into).collect(),
                transitions_dropped: *transitions_dropped,
            }
        }
    }

    impl TryFrom<pb::TaskReport> for TaskReport {
        type Error = Invalid;

        fn try_from(wire: pb::TaskReport) -> Result<Self, Invalid> {
            let pb::TaskReport {
                task_id,
                sequence,
                status,
                health,
                transitions,
                transitions_dropped,
            } = wire;
            Ok(Self {
                task: parsed("task_id", &task_id)?,
                sequence,
                status: required("status", status)?,
                health: optional("health", health)?,
                transitions: repeated("transitions", transitions)?,
                transitions_dropped,
            })
        }
    }

    impl From<&HealthTransition> for pb::HealthTransition {
        fn from(transition: &HealthTransition) -> Self {
            let HealthTransition { at, status, ready, reason, flapping } = transition;
            Self {
                at: Some((*at).into()),
                status: pb::HealthStatus::from(*status).into(),
                ready: *ready,
                reason: reason.clone(),
                flapping: *flapping,
            }
        }
    }

    impl TryFrom<pb::HealthTransition> for HealthTransition {
        type Error = Invalid;

        fn try_from(wire: pb::HealthTransition) -> Result<Self, Invalid> {
            let pb::HealthTransition { at, status, ready, reason, flapping } = wire;
            Ok(Self {
                at: required("at", at)?,
                status: enumerated::<pb::HealthStatus, _>("status", status)?,
                ready,
                reason: text(reason),
                flapping,
            })
        }
    }
}
