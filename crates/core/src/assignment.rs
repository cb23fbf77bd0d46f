//! What a worker is asked to run.

use std::sync::Arc;

use crate::{
    id::{ServiceId, TaskId},
    spec::{ServiceName, TaskTemplate},
    task::Stop,
    time::Timestamp,
};

/// All that a node needs to know of one of its tasks, so that it can run it without the manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pub task: TaskId,
    pub service: ServiceId,
    pub service_name: ServiceName,
    /// 1..n.
    pub slot: u32,
    pub template: Arc<TaskTemplate>,
    /// It is not started before this.
    pub not_before: Timestamp,
    /// Set: end the task.
    pub stop: Option<Stop>,
    /// Its checks attempt nothing until then.
    pub checks_paused_until: Option<Timestamp>,
}

mod wire {
    use std::sync::Arc;

    use warren_proto::v1 as pb;

    use super::Assignment;
    use crate::{
        Invalid,
        wire::{optional, parsed, required, slot as slot_from_wire},
    };

    impl From<&Assignment> for pb::Assignment {
        fn from(assignment: &Assignment) -> Self {
            let Assignment {
                task,
                service,
                service_name,
                slot,
                template,
                not_before,
                stop,
                checks_paused_until,
            } = assignment;
            Self {
                task_id: task.to_string(),
                service_id: service.to_string(),
                service_name: service_name.to_string(),
                slot: *slot,
                template: Some((&**template).into()),
                not_before: Some((*not_before).into()),
                stop: stop.as_ref().map(Into::into),
                checks_paused_until: checks_paused_until.map(Into::into),
            }
        }
    }

    impl TryFrom<pb::Assignment> for Assignment {
        type Error = Invalid;

        fn try_from(wire: pb::Assignment) -> Result<Self, Invalid> {
            let pb::Assignment {
                task_id,
                service_id,
                service_name,
                slot,
                template,
                not_before,
                stop,
                checks_paused_until,
            } = wire;
            Ok(Self {
                task: parsed("task_id", &task_id)?,
                service: parsed("service_id", &service_id)?,
                service_name: parsed("service_name", &service_name)?,
                slot: slot_from_wire("slot", slot)?,
                template: Arc::new(required("template", template)?),
                not_before: required("not_before", not_before)?,
                stop: optional("stop", stop)?,
                checks_paused_until: optional("checks_paused_until", checks_paused_until)?,
            })
        }
    }
}
