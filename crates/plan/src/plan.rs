//! The whole plan: nodes, then services, then placement, then what may be forgotten.

use std::collections::BTreeSet;

use warren_core::{change::Change, cluster::Cluster, id::ServiceId, time::Timestamp};

use crate::{
    Dirty, Policy,
    dirty::Told,
    draft::Draft,
    node, placement, retention,
    service::{self, is_at_rest},
};

/// What is written bears on more: a replacement lets the next canary of a node go, what is
/// forgotten may have held something up. Each round is about less; more rounds than these would
/// be a fault in the rules, and are left to the next plan.
const ROUNDS_MAX: usize = 12;

/// What the reconciler wants now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Each row at most once.
    pub changes: Vec<Change>,
    /// When time alone will call for more. Of what was planned: after [`plan_dirty`] the earlier of
    /// this and what was known before counts, and when it comes, everything is planned.
    pub wake_at: Option<Timestamp>,
}

/// The services in which nothing was wanted when they were planned last. For whoever plans what is
/// dirty again and again; begins empty, and what it does not know is planned.
#[derive(Debug, Clone, Default)]
pub struct AtRest(BTreeSet<ServiceId>);

/// Plans everything.
pub fn plan(cluster: &Cluster, policy: &Policy, now: Timestamp, seed: u64) -> Plan {
    plan_dirty(cluster, policy, now, seed, Dirty::all(cluster), &mut AtRest::default())
}

impl AtRest {
    fn note(&mut self, cluster: &Cluster, looked_at: BTreeSet<ServiceId>) {
        for id in looked_at {
            if cluster.service(id).is_some_and(|service| is_at_rest(cluster, service)) {
                self.0.insert(id);
            } else {
                self.0.remove(&id);
            }
        }
    }
}

/// Plans only what is dirty, and the tasks that wait for a node where the nodes' room has changed.
/// Where nothing else changed since the last plan and its `wake_at` has not come, that is the same
/// as planning everything.
pub fn plan_dirty(
    cluster: &Cluster,
    policy: &Policy,
    now: Timestamp,
    seed: u64,
    mut dirty: Dirty,
    at_rest: &mut AtRest,
) -> Plan {
    let mut draft = Draft::new(cluster, policy, now, seed);
    let nudged = std::mem::take(&mut dirty.nudged);
    dirty.services.extend(nudged.difference(&at_rest.0));
    let mut looked_at = dirty.services.clone();
    let mut todo = dirty;
    let mut told = Told::default();
    for _ in 0..ROUNDS_MAX {
        told.append(std::mem::take(&mut todo.told));
        if todo.presence {
            node::silence(&mut draft);
        }
        for &id in &todo.services {
            todo.nodes.append(&mut node::failed_on(&draft.cluster, id));
        }
        for &id in &todo.nodes {
            node::reconcile(&mut draft, id);
        }
        let mut touched = draft.take_touched();
        todo.services.append(&mut touched.services);
        looked_at.extend(&todo.services);
        told.append(touched.told);
        todo.room |= touched.room;
        for &id in &todo.services {
            service::reconcile(&mut draft, id);
        }
        if todo.room || draft.has_moved_room() {
            placement::place_waiting(&mut draft, None);
        } else {
            placement::place_waiting(&mut draft, Some(&todo.services));
        }
        for &id in &todo.services {
            retention::forget(&mut draft, id);
        }
        todo = draft.take_touched();
        if todo.is_empty() {
            break;
        }
    }
    at_rest.note(&draft.cluster, looked_at);
    told.append(todo.told);
    retention::bound_events(&mut draft, &told);
    retention::trim_events(&mut draft);
    draft.finish()
}
