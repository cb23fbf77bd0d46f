//! Nodes come, fall silent, come back and are removed.

use std::{collections::BTreeSet, time::Duration};

use warren_core::{
    change::Change,
    event::EventKind,
    id::{NodeId, TaskId},
    node::{Node, NodeState},
    report::TaskReport,
    task::{EndKind, Phase, Stop, StopCause, Task, TaskEnd},
};

use super::{
    Draft, Subject,
    report::{Settled, take},
};
use crate::{input::Hello, lookup, rejection::Rejection};

/// A worker opens its session. Says what became of each of its reports.
pub fn hello(draft: &mut Draft, hello: Hello) -> Result<Vec<(TaskId, Settled)>, Rejection> {
    let Hello { node: id, name, epoch, version, drivers, cpus, memory_bytes, tasks, has } = hello;
    let before = draft.cluster().node(id).cloned();
    if let Some(newer) = before.as_ref().filter(|before| epoch < before.epoch) {
        let why = format!(
            "node {id} was taken over by a worker of epoch {}, and this one has epoch {epoch}: \
             end one of them",
            newer.epoch
        );
        return Err(Rejection::Forbidden(why));
    }
    let was_up = before.as_ref().filter(|before| before.state == NodeState::Up);
    let node = Node {
        id,
        name,
        state: NodeState::Up,
        since: was_up.map_or(draft.now(), |up| up.since),
        registered_at: before.as_ref().map_or(draft.now(), |before| before.registered_at),
        drivers,
        version,
        epoch,
        cpus,
        memory_bytes,
    };
    let came = match &before {
        None => Some(format!("node {} joins", node.name)),
        Some(_) if was_up.is_none() => Some(format!("node {} is back", node.name)),
        Some(_) => None,
    };
    if before.is_none_or(|before| *before != node) {
        draft.put(Change::PutNode(Box::new(node)));
    }
    if let Some(message) = came {
        draft.tell(EventKind::NodeUp, Subject::node(id), message);
    }
    let settle = |report: TaskReport| (report.task, take(draft, id, epoch, report));
    let settled = tasks.into_iter().map(settle).collect();
    lose_what_is_missing(draft, id, &has);
    Ok(settled)
}

/// A worker names every task that it has. One that it had taken up and does not name is gone, and
/// must not be started a second time.
fn lose_what_is_missing(draft: &mut Draft, node: NodeId, has: &BTreeSet<TaskId>) {
    let gone = |task: &&Task| match task.status.phase {
        Phase::Pending | Phase::Ended(_) => false,
        Phase::Preparing | Phase::Running | Phase::Stopping => !has.contains(&task.id),
    };
    let tasks = draft.cluster().tasks_on(node).map(|task| &**task);
    let lost: Vec<Task> = tasks.filter(gone).cloned().collect();
    for task in lost {
        lose(draft, task, "its worker no longer has it");
    }
}

fn lose(draft: &mut Draft, mut task: Task, reason: &str) {
    let end = TaskEnd {
        kind: EndKind::Lost,
        at: draft.now(),
        exit_code: None,
        oom_killed: false,
        reason: reason.to_owned(),
    };
    let message = format!("{} is lost: {reason}", draft.title(&task));
    task.status.phase = Phase::Ended(end);
    task.status.since = draft.now();
    task.status.pid = None;
    let subject = Subject::task(&task);
    draft.put(Change::PutTask(Box::new(task)));
    draft.tell(EventKind::TaskEnded, subject, message);
}

/// The node's grace has passed.
pub fn silent(draft: &mut Draft, id: NodeId, grace: Duration) {
    let Some(node) = draft.cluster().node(id).filter(|node| node.state == NodeState::Up) else {
        return;
    };
    let mut down = (**node).clone();
    down.state = NodeState::Down;
    down.since = draft.now();
    let message = format!("node {} is down: nothing was heard of it for {grace:?}", down.name);
    draft.put(Change::PutNode(Box::new(down)));
    draft.tell(EventKind::NodeDown, Subject::node(id), message);
}

/// Forgets a node that is down; its tasks have ended, as far as anybody can know.
pub fn remove(draft: &mut Draft, text: &str) -> Result<NodeId, Rejection> {
    let node = lookup::node(draft.cluster(), text)?.clone();
    match node.state {
        NodeState::Up => {
            let why = format!("node {} is up: end its worker first", node.name);
            return Err(Rejection::Forbidden(why));
        }
        NodeState::Down => {}
    }
    let tasks: Vec<Task> = draft
        .cluster()
        .tasks_on(node.id)
        .filter(|t| !t.has_ended())
        .map(|t| (**t).clone())
        .collect();
    let reason = format!("node {} was removed", node.name);
    for mut task in tasks {
        let stop = Stop { cause: StopCause::NodeRemoved, reason: reason.clone(), at: draft.now() };
        task.stop.get_or_insert(stop);
        lose(draft, task, &reason);
    }
    draft.put(Change::RemoveNode(node.id));
    draft.tell(EventKind::NodeRemoved, Subject::node(node.id), reason);
    Ok(node.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::fixture::{EPOCH, NODE, TASK, draft, hello_of, later, report, with_task};

    fn state(draft: &Draft) -> Option<(NodeState, u64)> {
        draft.cluster().node(NODE).map(|node| (node.state, node.epoch))
    }

    fn kinds(draft: &Draft) -> Vec<EventKind> {
        draft.cluster().events().map(|event| event.kind).collect()
    }

    #[test]
    fn a_node_joins_falls_silent_and_is_back() {
        let mut fresh = draft();
        hello(&mut fresh, hello_of(EPOCH, vec![])).unwrap();
        let registered_at = fresh.now();
        let mut quiet = later(fresh, 60);
        silent(&mut quiet, NODE, Duration::from_secs(15));
        silent(&mut quiet, NODE, Duration::from_secs(15));
        assert_eq!(state(&quiet), Some((NodeState::Down, EPOCH)));
        let mut back = later(quiet, 60);
        hello(&mut back, hello_of(EPOCH + 1, vec![])).unwrap();
        assert_eq!(state(&back), Some((NodeState::Up, EPOCH + 1)));
        assert_eq!(kinds(&back), [EventKind::NodeUp, EventKind::NodeDown, EventKind::NodeUp]);
        let node = back.cluster().node(NODE).unwrap();
        assert_eq!((node.registered_at, node.since), (registered_at, back.now()));
    }

    #[test]
    fn a_session_of_the_same_worker_changes_nothing_and_an_older_worker_is_refused() {
        let mut draft = with_task();
        hello(&mut draft, hello_of(EPOCH, vec![])).unwrap();
        assert_eq!(draft.changes(), []);
        let refused = hello(&mut draft, hello_of(EPOCH - 1, vec![])).unwrap_err();
        assert!(matches!(refused, Rejection::Forbidden(_)), "{refused}");
    }

    #[test]
    fn a_task_that_its_worker_no_longer_has_is_lost_and_one_it_never_had_is_not() {
        let mut draft = with_task();
        hello(&mut draft, hello_of(EPOCH + 1, vec![])).unwrap();
        assert!(!draft.cluster().task(TASK).unwrap().has_ended());
        let settled = hello(&mut draft, hello_of(EPOCH + 1, vec![report(1)])).unwrap();
        assert_eq!(settled, [(TASK, Settled::Taken)]);
        hello(&mut draft, hello_of(EPOCH + 2, vec![])).unwrap();
        let task = draft.cluster().task(TASK).unwrap();
        assert!(matches!(&task.status.phase, Phase::Ended(end) if end.kind == EndKind::Lost));
    }

    #[test]
    fn only_a_node_that_is_down_is_removed_and_its_tasks_end_with_it() {
        let mut draft = with_task();
        let refused = remove(&mut draft, "alpha").unwrap_err();
        assert!(matches!(refused, Rejection::Forbidden(_)), "{refused}");
        silent(&mut draft, NODE, Duration::from_secs(15));
        remove(&mut draft, "alpha").unwrap();
        assert_eq!(state(&draft), None);
        let task = draft.cluster().task(TASK).unwrap();
        let cause = task.stop.as_ref().map(|stop| stop.cause);
        assert!(task.has_ended() && cause == Some(StopCause::NodeRemoved));
        let gone = remove(&mut draft, "alpha").unwrap_err();
        assert!(matches!(gone, Rejection::NotFound(_)), "{gone}");
    }
}
