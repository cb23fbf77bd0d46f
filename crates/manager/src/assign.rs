//! What a node is asked to run, and how that changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use warren_core::{
    assignment::Assignment,
    cluster::Cluster,
    id::{NodeId, TaskId},
    service::Service,
    spec::TaskTemplate,
    task::{Phase, Stop, StopCause, Task},
    time::Timestamp,
};
use warren_proto::v1 as pb;

/// What one worker has been told. An assignment exists as long as its task's row: an ended task
/// keeps its log on the node until it is removed here.
pub struct Assigned {
    node: NodeId,
    told: BTreeMap<TaskId, Told>,
}

/// All that an assignment is made of and that may change.
struct Told {
    not_before: Timestamp,
    /// Few are told to. The task itself would keep what its worker has long outdated.
    stop: Option<Box<Stop>>,
    /// Of the task's revision, where it is still known.
    template: Option<Arc<TaskTemplate>>,
    paused_until: Option<Timestamp>,
}

impl Assigned {
    /// Nothing yet: the first difference is everything.
    pub fn new(node: NodeId) -> Self {
        Self { node, told: BTreeMap::new() }
    }

    pub fn full(&mut self, cluster: &Cluster) -> pb::Assignments {
        self.told.clear();
        let mut all = pb::Assignments { full: true, ..pb::Assignments::default() };
        for task in cluster.tasks_on(self.node) {
            self.note(cluster, task.id, &mut all);
        }
        all
    }

    /// What is new of these tasks, or of all. Nothing, when the worker knows it.
    pub fn delta(
        &mut self,
        cluster: &Cluster,
        tasks: Option<BTreeSet<TaskId>>,
    ) -> Option<pb::Assignments> {
        let all = || {
            let there = cluster.tasks_on(self.node).map(|task| task.id);
            self.told.keys().copied().chain(there).collect()
        };
        let tasks = tasks.unwrap_or_else(all);
        let mut news = pb::Assignments::default();
        for id in tasks {
            self.note(cluster, id, &mut news);
        }
        (!news.put.is_empty() || !news.remove.is_empty()).then_some(news)
    }

    fn note(&mut self, cluster: &Cluster, id: TaskId, news: &mut pb::Assignments) {
        let Some(task) = cluster.task(id).filter(|task| task.node() == Some(self.node)) else {
            news.remove.extend(self.told.remove(&id).map(|_| id.to_string()));
            return;
        };
        let service = cluster.service(task.service);
        let now = Told::of(service.map(|service| &**service), task);
        if self.told.get(&id).is_some_and(|told| told.is(&now)) {
            return;
        }
        let put = service.and_then(|service| assignment(service, task));
        news.put.extend(put.as_ref().map(pb::Assignment::from));
        self.told.insert(id, now);
    }
}

impl Told {
    fn of(service: Option<&Service>, task: &Task) -> Self {
        let template = service.and_then(|service| service.template(task.revision));
        let pause = service.and_then(|service| service.checks_paused.as_ref());
        Self {
            not_before: task.not_before,
            stop: wanted_stop(task),
            template: template.map(Arc::clone),
            paused_until: pause.map(|pause| pause.until),
        }
    }

    fn is(&self, now: &Self) -> bool {
        let same = self.not_before == now.not_before && self.stop == now.stop;
        let alike = match (&self.template, &now.template) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a == b,
            // A template is forgotten once nobody runs it any more.
            (None | Some(_), None) | (None, Some(_)) => true,
        };
        same && alike && self.paused_until == now.paused_until
    }
}

/// Its worker need not hear of the difference between the tasks: all else of theirs in an
/// assignment never changes.
pub fn same(told: &Task, task: &Task) -> bool {
    told.node() == task.node()
        && told.not_before == task.not_before
        && wanted_stop(told) == wanted_stop(task)
}

/// A worker that has lost its disk must not start again what has ended.
fn wanted_stop(task: &Task) -> Option<Box<Stop>> {
    match (&task.stop, &task.status.phase) {
        (Some(stop), _) => Some(stop.clone()),
        (None, Phase::Ended(end)) => {
            let reason = "it has ended".to_owned();
            Some(Box::new(Stop { cause: StopCause::Requested, reason, at: end.at }))
        }
        (None, Phase::Pending | Phase::Preparing | Phase::Running | Phase::Stopping) => None,
    }
}

fn assignment(service: &Service, task: &Task) -> Option<Assignment> {
    let stop = wanted_stop(task);
    // The template of an ended task may be forgotten already; nobody will run it.
    let current = stop.is_some().then_some(&service.spec.template);
    let template = service.template(task.revision).or(current)?;
    Some(Assignment {
        task: task.id,
        service: service.id,
        service_name: service.spec.name.clone(),
        slot: task.slot,
        template: Arc::clone(template),
        not_before: task.not_before,
        stop: stop.map(|stop| *stop),
        checks_paused_until: service.checks_paused.as_ref().map(|pause| pause.until),
    })
}

#[cfg(test)]
mod tests {
    use warren_core::{change::Change, check::HealthConfig};

    use super::*;
    use crate::decide::{
        Draft,
        fixture::{EPOCH, NODE, OTHER_NODE, TASK, ended, report, with_task},
        report::take,
        task,
    };

    fn told(draft: &Draft) -> Assigned {
        let mut assigned = Assigned::new(NODE);
        let full = assigned.full(draft.cluster());
        assert!(full.full && full.put.len() == 1 && full.remove.is_empty());
        assigned
    }

    #[test]
    fn a_worker_hears_of_its_own_tasks_once() {
        let mut draft = with_task();
        let mut assigned = told(&draft);
        assert_eq!(assigned.delta(draft.cluster(), None), None);
        take(&mut draft, NODE, EPOCH, report(1));
        assert_eq!(assigned.delta(draft.cluster(), None), None);
        assert_eq!(Assigned::new(OTHER_NODE).full(draft.cluster()).put, []);
    }

    #[test]
    fn a_stop_is_told_once() {
        let mut draft = with_task();
        let mut assigned = told(&draft);
        task::stop(&mut draft, "web.1").unwrap();
        let delta = assigned.delta(draft.cluster(), None).unwrap();
        let cause = delta.put[0].stop.as_ref().map(pb::Stop::cause);
        assert_eq!(cause, Some(pb::StopCause::Requested));
        assert_eq!(assigned.delta(draft.cluster(), None), None);
    }

    // C-90, C-92
    #[test]
    fn a_pause_and_other_checks_are_told_once() {
        let mut draft = with_task();
        let mut assigned = told(&draft);
        let span = warren_core::bounds::Ttl::MIN;
        let asked = crate::input::AskedPause { span, by: None };
        let paused = crate::decide::service::pause(&mut draft, "web", asked).unwrap();
        let delta = assigned.delta(draft.cluster(), None).unwrap();
        let until = paused.checks_paused.as_ref().map(|pause| pause.until.into());
        assert_eq!(delta.put[0].checks_paused_until, until);
        assert_eq!(assigned.delta(draft.cluster(), None), None);
        let mut looked = (*paused).clone();
        Arc::make_mut(&mut looked.spec.template).health = HealthConfig::Disabled;
        draft.put(Change::PutService(Box::new(looked)));
        let delta = assigned.delta(draft.cluster(), None).unwrap();
        let template = delta.put[0].template.clone().unwrap();
        assert_eq!(template.health, Some((&HealthConfig::Disabled).into()));
        assert_eq!(assigned.delta(draft.cluster(), None), None);
    }

    #[test]
    fn an_ended_task_stays_assigned_with_a_stop_until_its_row_goes() {
        let mut draft = with_task();
        let end = warren_core::report::TaskReport { status: ended(1), ..report(1) };
        take(&mut draft, NODE, EPOCH, end);
        let mut assigned = told(&draft);
        let again = assigned.full(draft.cluster());
        assert!(again.put[0].stop.is_some());
        draft.put(Change::RemoveTask(TASK));
        let delta = assigned.delta(draft.cluster(), None).unwrap();
        assert_eq!(delta.remove, [TASK.to_string()]);
    }
}
