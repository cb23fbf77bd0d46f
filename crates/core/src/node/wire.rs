//! Nodes as messages.

use std::collections::BTreeSet;

use warren_proto::v1 as pb;

use super::{
    Accusation, Availability, AvailabilityKind, Doubt, Driver, LabelKey, Labels, Node, NodeState,
};
use crate::{
    Invalid,
    invalid::At,
    wire::{enumerated, optional, parsed, parsed_or_none, required, text, wire_enum},
};

wire_enum!(NodeState: Up, Suspect, Lost);
wire_enum!(Driver: Containerd, Process);
wire_enum!(AvailabilityKind: Active, Cordoned, Drained);

impl From<&Node> for pb::Node {
    fn from(node: &Node) -> Self {
        let Node {
            id,
            name,
            state,
            since,
            registered_at,
            drivers,
            version,
            epoch,
            cpus,
            memory_bytes,
            labels,
            availability,
            accused,
            doubted,
            operator_labels,
        } = node;
        Self {
            id: id.to_string(),
            name: name.clone(),
            state: pb::NodeState::from(*state).into(),
            since: Some((*since).into()),
            registered_at: Some((*registered_at).into()),
            drivers: drivers.iter().map(|driver| pb::Driver::from(*driver).into()).collect(),
            version: version.clone(),
            epoch: *epoch,
            cpus: *cpus,
            memory_bytes: *memory_bytes,
            labels: labels_to_wire(labels),
            availability: Some(availability.into()),
            accused: accused.as_ref().map(Into::into),
            doubted: doubted.as_ref().map(Into::into),
            // Of whoever shows it; the cluster does not know.
            observer_score: None,
            operator_labels: labels_to_wire(operator_labels),
        }
    }
}

impl TryFrom<pb::Node> for Node {
    type Error = Invalid;

    fn try_from(wire: pb::Node) -> Result<Self, Invalid> {
        let pb::Node {
            id,
            name,
            state,
            since,
            registered_at,
            drivers,
            version,
            epoch,
            cpus,
            memory_bytes,
            labels,
            availability,
            accused,
            doubted,
            observer_score: _,
            operator_labels,
        } = wire;
        let registered_at = required("registered_at", registered_at)?;
        Ok(Self {
            id: parsed("id", &id)?,
            name: Self::checked_name(name).at("name")?,
            state: enumerated::<pb::NodeState, _>("state", state)?,
            since: required("since", since)?,
            registered_at,
            drivers: Driver::set_from_wire("drivers", &drivers)?,
            version: text(version),
            epoch,
            cpus,
            memory_bytes,
            labels: labels_from_wire(labels).at("labels")?,
            operator_labels: labels_from_wire(operator_labels).at("operator_labels")?,
            availability: optional("availability", availability)?
                .unwrap_or_else(|| Availability::active(registered_at)),
            accused: optional("accused", accused)?,
            doubted: optional("doubted", doubted)?,
        })
    }
}

impl Driver {
    /// A repeated field of drivers, such as a worker's greeting has.
    pub fn set_from_wire(field: &str, numbers: &[i32]) -> Result<BTreeSet<Self>, Invalid> {
        let driver = |(index, number): (usize, &i32)| {
            enumerated::<pb::Driver, _>(&format!("{field}[{index}]"), *number)
        };
        numbers.iter().enumerate().map(driver).collect()
    }
}

pub fn labels_to_wire(labels: &Labels) -> Vec<pb::Label> {
    let label = |(key, value): (&LabelKey, &String)| pb::Label {
        key: key.to_string(),
        value: value.clone(),
    };
    labels.iter().map(label).collect()
}

/// A repeated field of labels, such as a worker's greeting has.
pub fn labels_from_wire(wire: Vec<pb::Label>) -> Result<Labels, Invalid> {
    if wire.len() > LabelKey::COUNT_MAX {
        return Err(Invalid::new(format!("are more than {}", LabelKey::COUNT_MAX)));
    }
    let mut labels = Labels::new();
    for (index, pb::Label { key, value }) in wire.into_iter().enumerate() {
        let at = |invalid: Invalid| invalid.at_index(index);
        let key: LabelKey = parsed("key", &key).map_err(at)?;
        let value = LabelKey::checked_value(value).at("value").map_err(at)?;
        let shown = key.to_string();
        if labels.insert(key, value).is_some() {
            return Err(at(Invalid::new(format!("{shown} is there twice")).at("key")));
        }
    }
    Ok(labels)
}

impl From<&Availability> for pb::Availability {
    fn from(availability: &Availability) -> Self {
        let Availability { kind, since, automatic, reason } = availability;
        Self {
            kind: pb::AvailabilityKind::from(*kind).into(),
            since: Some((*since).into()),
            automatic: *automatic,
            reason: reason.clone(),
        }
    }
}

impl TryFrom<pb::Availability> for Availability {
    type Error = Invalid;

    fn try_from(wire: pb::Availability) -> Result<Self, Invalid> {
        let pb::Availability { kind, since, automatic, reason } = wire;
        Ok(Self {
            kind: enumerated::<pb::AvailabilityKind, _>("kind", kind)?,
            since: required("since", since)?,
            automatic,
            reason: text(reason),
        })
    }
}

impl From<&Accusation> for pb::Accusation {
    fn from(accusation: &Accusation) -> Self {
        let Accusation { since, reason, canary } = accusation;
        Self {
            since: Some((*since).into()),
            reason: reason.clone(),
            canary: canary.map(|task| task.to_string()).unwrap_or_default(),
        }
    }
}

impl TryFrom<pb::Accusation> for Accusation {
    type Error = Invalid;

    fn try_from(wire: pb::Accusation) -> Result<Self, Invalid> {
        let pb::Accusation { since, reason, canary } = wire;
        Ok(Self {
            since: required("since", since)?,
            reason: text(reason),
            canary: parsed_or_none("canary", &canary)?,
        })
    }
}

impl From<&Doubt> for pb::Doubt {
    fn from(doubt: &Doubt) -> Self {
        let Doubt { since, score } = doubt;
        Self { since: Some((*since).into()), score: *score }
    }
}

impl TryFrom<pb::Doubt> for Doubt {
    type Error = Invalid;

    fn try_from(wire: pb::Doubt) -> Result<Self, Invalid> {
        let pb::Doubt { since, score } = wire;
        Ok(Self { since: required("since", since)?, score })
    }
}
