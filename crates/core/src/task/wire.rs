//! Tasks as messages: a row has the report mark, and what users see has not.

use std::{net::IpAddr, sync::Arc};

use warren_proto::v1 as pb;

use super::{EndKind, Phase, Placement, ReportMark, Stop, StopCause, Task, TaskEnd, TaskStatus};
use crate::{
    Invalid,
    check::Checks,
    id::NodeId,
    invalid::At,
    wire::{
        enumerated, optional, parsed, parsed_or_none, required, slot as slot_from_wire, text,
        unknown_number, wire_enum,
    },
};

wire_enum!(StopCause:
    Unhealthy, Updated, ScaledDown, ServiceRemoved, Requested, CalledOff, NodeRemoved,
    NodeLost, Moved,
);
wire_enum!(EndKind: Exited, Stopped, NotStarted, Lost);

impl From<&Task> for pb::TaskRow {
    fn from(task: &Task) -> Self {
        let ReportMark { epoch, sequence } = task.reported;
        Self { task: Some(task.into()), epoch, sequence }
    }
}

impl TryFrom<pb::TaskRow> for Task {
    type Error = Invalid;

    fn try_from(wire: pb::TaskRow) -> Result<Self, Invalid> {
        let pb::TaskRow { task, epoch, sequence } = wire;
        let task = task.ok_or_else(|| Invalid::missing("task"))?;
        from_wire(task, ReportMark { epoch, sequence }).at("task")
    }
}

/// Leaves out the report mark, which is between the manager and the worker.
impl From<&Task> for pb::Task {
    fn from(task: &Task) -> Self {
        let Task {
            id,
            service,
            slot,
            revision,
            attempt,
            placement,
            created_at,
            not_before,
            replaces,
            stop,
            held,
            status,
            reported: _,
        } = task;
        let (node_id, waiting) = match placement {
            Placement::Waiting(why) => (String::new(), why.clone()),
            Placement::On(node) => (node.to_string(), String::new()),
        };
        Self {
            id: id.to_string(),
            service_id: service.to_string(),
            slot: *slot,
            revision: *revision,
            attempt: *attempt,
            node_id,
            created_at: Some((*created_at).into()),
            not_before: Some((*not_before).into()),
            replaces: replaces.map(|task| task.to_string()).unwrap_or_default(),
            stop: stop.as_deref().map(Into::into),
            waiting,
            status: Some(status.into()),
            held: held.as_deref().map(Into::into),
        }
    }
}

fn from_wire(wire: pb::Task, reported: ReportMark) -> Result<Task, Invalid> {
    let pb::Task {
        id,
        service_id,
        slot,
        revision,
        attempt,
        node_id,
        created_at,
        not_before,
        replaces,
        stop,
        waiting,
        status,
        held,
    } = wire;
    let placement = match parsed_or_none::<NodeId>("node_id", &node_id)? {
        None => Placement::Waiting(text(waiting)),
        Some(node) if waiting.is_empty() => Placement::On(node),
        Some(_) => return Err(Invalid::new("a task with a node does not wait").at("waiting")),
    };
    Ok(Task {
        id: parsed("id", &id)?,
        service: parsed("service_id", &service_id)?,
        slot: slot_from_wire("slot", slot)?,
        revision,
        attempt,
        placement,
        created_at: required("created_at", created_at)?,
        not_before: required("not_before", not_before)?,
        replaces: parsed_or_none("replaces", &replaces)?,
        stop: optional("stop", stop)?.map(Box::new),
        held: optional("held", held)?.map(Box::new),
        status: required("status", status)?,
        reported,
    })
}

impl From<&Stop> for pb::Stop {
    fn from(stop: &Stop) -> Self {
        let Stop { cause, reason, at } = stop;
        Self {
            cause: pb::StopCause::from(*cause).into(),
            reason: reason.clone(),
            at: Some((*at).into()),
        }
    }
}

impl TryFrom<pb::Stop> for Stop {
    type Error = Invalid;

    fn try_from(wire: pb::Stop) -> Result<Self, Invalid> {
        let pb::Stop { cause, reason, at } = wire;
        Ok(Self {
            cause: enumerated::<pb::StopCause, _>("cause", cause)?,
            reason: text(reason),
            at: required("at", at)?,
        })
    }
}

impl From<&Phase> for pb::TaskState {
    fn from(phase: &Phase) -> Self {
        match phase {
            Phase::Pending => Self::Pending,
            Phase::Preparing => Self::Preparing,
            Phase::Running => Self::Running,
            Phase::Stopping => Self::Stopping,
            Phase::Ended(_) => Self::Ended,
        }
    }
}

fn phase(state: i32, end: Option<pb::TaskEnd>) -> Result<Phase, Invalid> {
    let end: Option<TaskEnd> = optional("end", end)?;
    let state = pb::TaskState::try_from(state).map_err(|_| unknown_number(state).at("state"))?;
    let phase = match state {
        pb::TaskState::Unspecified => return Err(Invalid::missing("state")),
        pb::TaskState::Ended => {
            return end
                .map(|end| Phase::Ended(Box::new(end)))
                .ok_or_else(|| Invalid::missing("end"));
        }
        pb::TaskState::Pending => Phase::Pending,
        pb::TaskState::Preparing => Phase::Preparing,
        pb::TaskState::Running => Phase::Running,
        pb::TaskState::Stopping => Phase::Stopping,
    };
    match end {
        None => Ok(phase),
        Some(_) => Err(Invalid::new("is for ended tasks alone").at("end")),
    }
}

impl From<&TaskStatus> for pb::TaskStatus {
    fn from(status: &TaskStatus) -> Self {
        let TaskStatus { phase, since, started_at, address, pid, checks, message } = status;
        let end = match phase {
            Phase::Ended(end) => Some((&**end).into()),
            Phase::Pending | Phase::Preparing | Phase::Running | Phase::Stopping => None,
        };
        Self {
            state: pb::TaskState::from(phase).into(),
            since: Some((*since).into()),
            started_at: started_at.map(Into::into),
            address: address.map(|address| address.to_string()).unwrap_or_default(),
            pid: pid.unwrap_or_default(),
            checks: checks.as_ref().map(|checks| (&**checks).into()),
            message: message.clone(),
            end,
        }
    }
}

impl TryFrom<pb::TaskStatus> for TaskStatus {
    type Error = Invalid;

    fn try_from(wire: pb::TaskStatus) -> Result<Self, Invalid> {
        let pb::TaskStatus { state, since, started_at, address, pid, checks, message, end } = wire;
        Ok(Self {
            phase: phase(state, end)?,
            since: required("since", since)?,
            started_at: optional("started_at", started_at)?,
            address: ip_address(&address).at("address")?,
            pid: (pid != 0).then_some(pid),
            checks: optional::<_, Checks>("checks", checks)?.map(Arc::new),
            message: text(message),
        })
    }
}

fn ip_address(text: &str) -> Result<Option<IpAddr>, Invalid> {
    let refuse = |_| Invalid::new(format!("{text:?} is not an IP address"));
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(refuse) }
}

impl From<&TaskEnd> for pb::TaskEnd {
    fn from(end: &TaskEnd) -> Self {
        let TaskEnd { kind, at, exit_code, oom_killed, reason } = end;
        Self {
            kind: pb::EndKind::from(*kind).into(),
            at: Some((*at).into()),
            exit_code: *exit_code,
            oom_killed: *oom_killed,
            reason: reason.clone(),
        }
    }
}

impl TryFrom<pb::TaskEnd> for TaskEnd {
    type Error = Invalid;

    fn try_from(wire: pb::TaskEnd) -> Result<Self, Invalid> {
        let pb::TaskEnd { kind, at, exit_code, oom_killed, reason } = wire;
        Ok(Self {
            kind: enumerated::<pb::EndKind, _>("kind", kind)?,
            at: required("at", at)?,
            exit_code,
            oom_killed,
            reason: text(reason),
        })
    }
}
