//! The whole plan: services, then placement, then what may be forgotten.

use std::collections::BTreeSet;

use warren_core::{
    change::Change,
    cluster::Cluster,
    id::{NodeId, ServiceId},
    time::Timestamp,
};

use crate::{Policy, draft::Draft, placement, retention, service};

/// What is forgotten may have held something up, so the rest is looked at again. Once is enough:
/// a new task is never forgotten at once.
const ROUNDS_MAX: usize = 3;

/// What the reconciler wants now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Each row at most once.
    pub changes: Vec<Change>,
    /// When time alone will call for more. Of the services that were planned: after
    /// [`plan_services`] the earlier of this and what was known before counts, and when it
    /// comes, everything is planned.
    pub wake_at: Option<Timestamp>,
}

/// Plans everything.
pub fn plan(cluster: &Cluster, policy: &Policy, now: Timestamp, seed: u64) -> Plan {
    let all = cluster.services().map(|service| service.id).collect();
    plan_services(cluster, policy, now, seed, &all)
}

/// Plans only these services, and all tasks that wait for a node. Where nothing else changed
/// since the last plan and its `wake_at` has not come, that is the same as planning everything.
pub fn plan_services(
    cluster: &Cluster,
    policy: &Policy,
    now: Timestamp,
    seed: u64,
    dirty: &BTreeSet<ServiceId>,
) -> Plan {
    let mut draft = Draft::new(cluster, policy, now, seed);
    for _ in 0..ROUNDS_MAX {
        for &id in dirty {
            service::reconcile(&mut draft, id);
        }
        placement::place_waiting(&mut draft);
        let edits = draft.edits;
        for &id in dirty {
            retention::forget(&mut draft, id);
        }
        if draft.edits == edits {
            break;
        }
    }
    retention::trim_events(&mut draft);
    draft.finish()
}

/// The services that these changes may concern. `before` is the cluster without them.
pub fn touched(before: &Cluster, changes: &[Change]) -> BTreeSet<ServiceId> {
    let mut services = BTreeSet::new();
    for change in changes {
        match change {
            Change::PutService(service) => services.extend([service.id]),
            Change::PutTask(task) => services.extend([task.service]),
            Change::RemoveTask(id) | Change::PutHealth(id, _) => {
                services.extend(before.task(*id).map(|task| task.service));
            }
            Change::PutNode(node) => services.extend(services_on(before, node.id)),
            Change::RemoveNode(id) => services.extend(services_on(before, *id)),
            Change::RemoveService(_) | Change::PutEvent(_) | Change::TrimEvents(_) => {}
        }
    }
    services
}

fn services_on(cluster: &Cluster, node: NodeId) -> impl Iterator<Item = ServiceId> {
    cluster.tasks_on(node).map(|task| task.service)
}
