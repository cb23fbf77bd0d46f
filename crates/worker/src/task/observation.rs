//! What a worker sees of a task right now.

use std::time::Duration;

use warren_core::{
    check::{ByRole, Role},
    health::Health,
    id::TaskId,
    outcome::Attempt,
    time::Timestamp,
    wire::duration_to_wire,
};
use warren_proto::v1 as pb;

/// A worker's live view of one task.
#[derive(Debug, Clone)]
pub struct Observation {
    pub(super) task: TaskId,
    pub(super) health: Health,
    pub(super) attempts: ByRole<Vec<Attempt>>,
    pub(super) next: ByRole<Option<Timestamp>>,
    pub(super) late: ByRole<Option<Duration>>,
    pub(super) paused_until: Option<Timestamp>,
}

impl From<Observation> for pb::Observation {
    fn from(observation: Observation) -> Self {
        let Observation { task, health, attempts, next, late, paused_until } = observation;
        let roles = Role::ALL.into_iter().filter(|role| health.roles.get(*role).is_some());
        let attempts = roles.map(|role| pb::RoleAttempts {
            role: pb::Role::from(role).into(),
            attempts: attempts.get(role).iter().map(Into::into).collect(),
            next: next.get(role).map(Into::into),
            late: late.get(role).map(duration_to_wire),
        });
        Self {
            task_id: task.to_string(),
            attempts: attempts.collect(),
            health: Some((&health).into()),
            paused_until: paused_until.map(Into::into),
        }
    }
}
