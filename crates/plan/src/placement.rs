//! Which node a task goes to, or why to none yet.
//!
//! A task is placed only when its backoff is over: a node that was picked minutes ago is a
//! worse pick than one that is picked now.

use std::{collections::BTreeSet, sync::Arc};

use warren_core::{
    cluster::Cluster,
    event::{Decision, EventKind},
    id::ServiceId,
    node::NodeState,
    rule::Rule,
    service::Service,
    task::{Placement, Task},
};

use crate::{
    draft::Draft,
    health::{is_live, title},
    ledger::{Ledger, choice},
    ranking::Candidate,
};

/// Gives a node to every task that waits for one and may have it, of these services or of all.
pub(crate) fn place_waiting(draft: &mut Draft<'_>, of: Option<&BTreeSet<ServiceId>>) {
    let concerns =
        |task: &&Arc<Task>| is_live(task) && of.is_none_or(|of| of.contains(&task.service));
    let mut waiting: Vec<Arc<Task>> =
        draft.cluster.tasks_waiting().filter(concerns).map(Arc::clone).collect();
    // Whoever waits longest goes first.
    waiting.sort_by_key(|task| (task.not_before, task.service, task.slot, task.id));
    let mut ledger = Ledger::default();
    let mut refused = Vec::new();
    for task in waiting {
        let Some(service) = draft.cluster.service(task.service).map(Arc::clone) else {
            continue;
        };
        if draft.now < task.not_before {
            draft.wake(task.not_before);
            continue;
        }
        let old = task.replaces.and_then(|id| draft.cluster.task(id)).map(Arc::clone);
        if let Some(old) = &old
            && holds_up(&draft.cluster, &service, &task, old)
        {
            let reason = format!("task {} must end first: both publish host ports", old.id);
            draft.place(&task, Placement::Waiting(reason));
            continue;
        }
        let candidate = Candidate {
            cluster: &draft.cluster,
            service: &service,
            task: &task,
            old: old.as_deref(),
        };
        let Some(node) = ledger.choose(&candidate) else {
            refused.push((service, task, old));
            continue;
        };
        let decision = Decision { rule: Rule::Placed, seen: choice(&candidate) };
        draft.place(&task, Placement::On(node.id));
        let message = format!("{} is placed on {}", title(&service, &task), node.name);
        draft.decide(EventKind::TaskPlaced, &service, Some(&task), decision, message);
    }
    // Only now, so that the reasons are those of the cluster as it will be.
    for (service, task, old) in refused {
        let candidate = Candidate {
            cluster: &draft.cluster,
            service: &service,
            task: &task,
            old: old.as_deref(),
        };
        let reason = ledger.why_nowhere(&candidate);
        draft.place(&task, Placement::Waiting(reason));
    }
}

/// Where host ports are published, a task waits for its predecessor's end; not for one on a
/// node that is lost, since that may never be heard of.
fn holds_up(cluster: &Cluster, service: &Service, task: &Task, old: &Task) -> bool {
    let binds =
        |revision| service.template(revision).is_some_and(|template| template.binds_host_ports());
    let heard = |id| cluster.node(id).is_some_and(|node| node.state != NodeState::Lost);
    !old.has_ended()
        && old.stop.is_some()
        && old.node().is_some_and(heard)
        && binds(task.revision)
        && binds(old.revision)
}
