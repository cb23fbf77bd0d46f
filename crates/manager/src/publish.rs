//! What readers see: the cluster as of the last durable batch, and the last changes that led
//! there, so that a watcher that is a little behind can follow without a new snapshot.

use std::{collections::BTreeSet, sync::Arc};

use imbl::OrdMap;
use warren_core::{
    change::Change,
    check::Role,
    cluster::Cluster,
    health::{Health, RoleHealth, TaskHealth},
    id::{NodeId, ServiceId, TaskId},
    outcome::Attempt,
    service::Service,
    spec::ServiceName,
    task::Task,
    time::Timestamp,
};
use warren_plan::{effective_health, observed_health};

use crate::assign;

/// How far back a watch can resume. A busy cluster commits some hundred batches in a second, a
/// client that reconnects is back within a few.
const REVISIONS_MAX: usize = 4096;

/// All changes that are kept, of all revisions: half a second of a burst, and hours of rest. Each
/// keeps its task and its health as they were then, which is a kilobyte where both have moved on.
const CHANGES_MAX: usize = 16_384;

/// A moment of the cluster. A clone shares everything.
#[derive(Debug, Clone)]
pub struct Published {
    pub cluster: Cluster,
    /// When it was published: what watchers were told holds for this moment.
    pub at: Timestamp,
    recent: OrdMap<u64, Arc<Delta>>,
    kept: usize,
}

/// What one batch changed for watchers.
#[derive(Debug)]
pub struct Delta {
    pub revision: u64,
    pub health: Vec<HealthChange>,
    /// Tasks that may be wanted otherwise by now, each on its node.
    wanted: BTreeSet<(NodeId, TaskId)>,
}

#[derive(Debug)]
pub enum HealthChange {
    Changed(Entry),
    Removed { task: TaskId, service: ServiceId },
}

/// A task as watchers of health see it.
#[derive(Debug, Clone)]
pub struct Entry {
    pub task: Arc<Task>,
    service: Option<Arc<Service>>,
    health: Shown,
}

/// Nearly always as its worker reports it, and then it is the cluster's own row.
#[derive(Debug, Clone)]
enum Shown {
    Observed(Arc<TaskHealth>),
    Otherwise(Box<Health>),
}

impl Published {
    pub fn new(cluster: Cluster, at: Timestamp) -> Self {
        Self { cluster, at, recent: OrdMap::new(), kept: 0 }
    }

    /// The cluster after one more batch.
    pub fn next(&self, cluster: Cluster, changes: &[Change], at: Timestamp) -> Self {
        let after = Self { cluster, at, recent: self.recent.clone(), kept: self.kept };
        let delta = Delta::between(self, &after, changes);
        after.with(delta)
    }

    /// What came after `revision`, the oldest first. None when it is not known any more, or lies
    /// in the future of this manager.
    pub fn since(&self, revision: u64) -> Option<impl Iterator<Item = &Arc<Delta>>> {
        let now = self.cluster.revision;
        let next = revision.checked_add(1)?;
        let known = revision == now || self.recent.contains_key(&next);
        (known && revision <= now).then(|| self.recent.range(next..).map(|(_, delta)| delta))
    }

    /// The tasks of which the node may have to be told something that came after `revision`. None
    /// where that is not known any more.
    pub fn wanted(&self, node: NodeId, revision: u64) -> Option<BTreeSet<TaskId>> {
        let all = (node, TaskId::from_u64(0))..=(node, TaskId::from_u64(u64::MAX));
        let of_node = |delta: &Arc<Delta>| {
            delta.wanted.range(all.clone()).map(|(_, task)| *task).collect::<Vec<_>>()
        };
        Some(self.since(revision)?.flat_map(of_node).collect())
    }

    /// The nodes that the last batch concerns.
    pub fn woken(&self) -> impl Iterator<Item = &NodeId> {
        let last = self.recent.get(&self.cluster.revision);
        last.into_iter().flat_map(|delta| &delta.wanted).map(|(node, _)| node)
    }

    pub fn entry(&self, task: &Arc<Task>, now: Timestamp) -> Entry {
        let health = match observed_health(&self.cluster, task, now) {
            Some(observed) => Shown::Observed(Arc::clone(observed)),
            None => Shown::Otherwise(Box::new(effective_health(&self.cluster, task, now))),
        };
        let service = self.cluster.service(task.service).map(Arc::clone);
        Entry { task: Arc::clone(task), service, health }
    }

    fn with(mut self, delta: Delta) -> Self {
        self.kept += delta.health.len();
        self.recent.insert(delta.revision, Arc::new(delta));
        // The last one always stays: it says whom to wake.
        while self.recent.len() > REVISIONS_MAX
            || (self.kept > CHANGES_MAX && self.recent.len() > 1)
        {
            let Some((oldest, _)) = self.recent.get_min().cloned() else {
                break;
            };
            if let Some(gone) = self.recent.remove(&oldest) {
                self.kept -= gone.health.len();
            }
        }
        self
    }
}

impl Delta {
    fn between(before: &Published, after: &Published, changes: &[Change]) -> Self {
        let mut tasks = BTreeSet::new();
        let mut wanted = BTreeSet::new();
        for change in changes {
            match change {
                Change::PutTask(task) => {
                    tasks.insert(task.id);
                    let was = before.cluster.task(task.id);
                    if was.is_none_or(|was| !assign::same(was, task)) {
                        wanted.extend(placed(task));
                        wanted.extend(was.and_then(|was| placed(was)));
                    }
                }
                Change::RemoveTask(id) => {
                    tasks.insert(*id);
                    wanted.extend(before.cluster.task(*id).and_then(|task| placed(task)));
                }
                Change::PutHealth(id, _) => {
                    tasks.insert(*id);
                }
                Change::PutNode(node) => tasks.extend(ids_on(before, node.id)),
                Change::RemoveNode(id) => tasks.extend(ids_on(before, *id)),
                Change::PutService(service) => wanted.extend(looked_at_anew(before, service)),
                Change::RemoveService(_)
                | Change::PutRestraint(_)
                | Change::PutEvent(_)
                | Change::RemoveEvent(_)
                | Change::TrimEvents(_) => {}
            }
        }
        let health = tasks.into_iter().filter_map(|id| change(before, after, id)).collect();
        Self { revision: after.cluster.revision, health, wanted }
    }
}

fn placed(task: &Task) -> Option<(NodeId, TaskId)> {
    Some((task.node()?, task.id))
}

/// A service's tasks, where they are to be looked at otherwise.
fn looked_at_anew<'a>(
    before: &'a Published,
    service: &'a Service,
) -> impl Iterator<Item = (NodeId, TaskId)> + 'a {
    let same = before.cluster.service(service.id).is_some_and(|was| {
        was.checks_paused == service.checks_paused && was.spec.template == service.spec.template
    });
    let tasks = before.cluster.tasks_of(service.id).filter(move |_| !same);
    tasks.filter_map(|task| placed(task))
}

fn ids_on(published: &Published, node: NodeId) -> impl Iterator<Item = TaskId> {
    published.cluster.tasks_on(node).map(|task| task.id)
}

/// What watchers are to be told of the task, if anything.
fn change(before: &Published, after: &Published, id: TaskId) -> Option<HealthChange> {
    let was = before.cluster.task(id);
    let Some(is) = after.cluster.task(id) else {
        return was.map(|was| HealthChange::Removed { task: id, service: was.service });
    };
    let entry = after.entry(is, after.at);
    // Each as of its own moment: what expired in between is a change too.
    let same = was.is_some_and(|was| before.entry(was, before.at).shows_as(&entry));
    (!same).then_some(HealthChange::Changed(entry))
}

impl Entry {
    pub fn service_name(&self) -> Option<&ServiceName> {
        self.service.as_ref().map(|service| &service.spec.name)
    }

    pub fn health(&self) -> Health {
        let mut health = self.shown().clone();
        for role in Role::ALL {
            // The reason says what matters; the rest would make snapshots too large for clients.
            if let Some(RoleHealth { last: Some(last), .. }) =
                health.roles.get_mut(role).as_deref_mut()
            {
                last.message = String::new();
            }
        }
        health
    }

    fn shown(&self) -> &Health {
        match &self.health {
            Shown::Observed(row) => &row.observed,
            Shown::Otherwise(health) => health,
        }
    }

    fn shows_as(&self, other: &Self) -> bool {
        self.task.status.phase.name() == other.task.status.phase.name()
            && self.task.node() == other.task.node()
            && alike(self.shown(), other.shown())
    }
}

/// No watcher sees a difference.
fn alike(a: &Health, b: &Health) -> bool {
    let Health { status, since, ready, ready_since, was_ready, reason, roles } = a;
    (*status, *since, *ready, *ready_since) == (b.status, b.since, b.ready, b.ready_since)
        && (*was_ready, reason) == (b.was_ready, &b.reason)
        && Role::ALL.into_iter().all(|role| match (roles.get(role), b.roles.get(role)) {
            (Some(a), Some(b)) => alike_role(a, b),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        })
}

fn alike_role(a: &RoleHealth, b: &RoleHealth) -> bool {
    // The message is not shown, nor what is for the next worker.
    let RoleHealth { verdict, since, streak, last, flapping_since, grounds: _, lasted_ms: _ } = a;
    let seen = |last: &Option<Attempt>| last.as_ref().map(|a| (a.at, a.latency, a.outcome));
    (*verdict, *since, *streak, *flapping_since) == (b.verdict, b.since, b.streak, b.flapping_since)
        && seen(last) == seen(&b.last)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use warren_core::health::HealthStatus;

    use super::*;
    use crate::{
        decide::{
            Draft,
            fixture::{EPOCH, NODE, OTHER_NODE, TASK, later, report, with_healthy_task},
            node,
            report::take,
            verdict::judge,
        },
        input::{Judged, Judgement},
    };

    fn published() -> (Published, Draft) {
        let draft = with_healthy_task();
        (Published::new(draft.cluster().clone(), draft.now()), draft)
    }

    fn publish(before: &Published, draft: Draft) -> (Published, Draft) {
        let now = draft.now();
        let (mut cluster, changes) = draft.into_parts();
        cluster.revision += 1;
        let after = before.next(cluster.clone(), &changes, now);
        (after, Draft::new(cluster, now))
    }

    fn statuses(published: &Published, revision: u64) -> Option<Vec<HealthStatus>> {
        let status = |change: &HealthChange| match change {
            HealthChange::Changed(entry) => entry.health().status,
            HealthChange::Removed { .. } => panic!("nothing is removed here"),
        };
        let deltas = published.since(revision)?;
        Some(deltas.flat_map(|delta| delta.health.iter().map(status)).collect())
    }

    fn wanted(published: &Published, node: NodeId, revision: u64) -> Vec<TaskId> {
        published.wanted(node, revision).unwrap().into_iter().collect()
    }

    #[test]
    fn a_report_that_changes_nothing_to_see_wakes_nobody_and_still_has_a_revision() {
        let (first, mut draft) = published();
        take(&mut draft, NODE, EPOCH, report(1));
        let (second, _) = publish(&first, draft);
        assert_eq!(second.cluster.revision, 1);
        assert_eq!(statuses(&second, 0), Some(vec![]));
    }

    #[test]
    fn a_silent_node_makes_its_tasks_unknown_for_watchers() {
        let (first, mut draft) = published();
        node::silent(&mut draft, NODE, Duration::from_secs(15));
        let (second, _) = publish(&first, draft);
        assert_eq!(statuses(&second, 0), Some(vec![HealthStatus::Unknown]));
    }

    #[test]
    fn an_accusation_that_ran_out_between_two_batches_is_seen_in_the_second() {
        let (first, mut draft) = published();
        let accusation = Judgement {
            task: TASK.to_string(),
            reporter: "auditor".to_owned(),
            role: warren_core::health::AccusedRole::Liveness,
            verdict: Judged::Accused {
                reason: "no".to_owned(),
                ttl: warren_core::bounds::Ttl::MIN,
            },
        };
        judge(&mut draft, accusation).unwrap();
        let (second, draft) = publish(&first, draft);
        let mut draft = later(draft, 5);
        crate::decide::verdict::expire(&mut draft, TASK);
        let (third, _) = publish(&second, draft);
        let seen = [HealthStatus::Unhealthy, HealthStatus::Healthy];
        assert_eq!(statuses(&third, 0), Some(seen.to_vec()));
        assert_eq!(statuses(&third, 1), Some(seen[1..].to_vec()));
        assert_eq!(statuses(&third, 2), Some(vec![]));
    }

    #[test]
    fn what_is_too_old_or_not_yet_there_needs_a_snapshot() {
        let (mut last, mut draft) = published();
        for _ in 0..=REVISIONS_MAX {
            (last, draft) = publish(&last, draft);
        }
        assert!(last.since(0).is_none());
        assert!(last.since(1).is_some());
        let newest = last.cluster.revision;
        assert!(last.since(newest).is_some());
        assert!(last.since(newest + 1).is_none() && last.since(u64::MAX).is_none());
    }

    // C-90, C-92
    #[test]
    fn a_pause_concerns_the_nodes_of_the_service_and_scaling_does_not() {
        let (first, mut draft) = published();
        let asked = crate::input::AskedPause { span: warren_core::bounds::Ttl::MIN, by: None };
        let paused = crate::decide::service::pause(&mut draft, "web", asked).unwrap();
        let (second, mut draft) = publish(&first, draft);
        assert_eq!(wanted(&second, NODE, 0), [TASK]);
        assert_eq!(wanted(&second, OTHER_NODE, 0), []);
        let scaled = Service { revision: 9, ..(*paused).clone() };
        draft.put(Change::PutService(Box::new(scaled)));
        let (third, _) = publish(&second, draft);
        assert_eq!(wanted(&third, NODE, 1), []);
    }

    #[test]
    fn only_the_nodes_whose_tasks_are_wanted_otherwise_are_concerned() {
        let (first, mut draft) = published();
        take(&mut draft, NODE, EPOCH, report(1));
        let (second, mut draft) = publish(&first, draft);
        assert_eq!(wanted(&second, NODE, 0), [], "it said so itself");
        crate::decide::task::stop(&mut draft, "web.1").unwrap();
        let (third, _) = publish(&second, draft);
        assert_eq!(wanted(&third, NODE, 1), [TASK]);
        assert_eq!((wanted(&third, OTHER_NODE, 1), wanted(&third, NODE, 2)), (vec![], vec![]));
        assert_eq!(third.wanted(NODE, u64::MAX), None, "not known");
    }
}
