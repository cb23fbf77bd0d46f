//! Nodes come, fall silent, come back, are cordoned, drained and removed.

use std::{collections::BTreeSet, time::Duration};

use warren_core::{
    change::Change,
    event::EventKind,
    id::{NodeId, TaskId},
    node::{Availability, AvailabilityKind, Doubt, Node, NodeState},
    report::TaskReport,
    task::{EndKind, Phase, Stop, StopCause, Task, TaskEnd},
    time::Timestamp,
};

use super::{
    Draft, Subject,
    report::{Settled, take},
};
use crate::{input::Hello, lookup, rejection::Rejection};

/// A worker opens its session. Says what became of each of its reports.
pub fn hello(draft: &mut Draft, hello: Hello) -> Result<Vec<(TaskId, Settled)>, Rejection> {
    let (id, epoch) = (hello.node, hello.epoch);
    let before = draft.cluster().node(id).cloned();
    if let Some(newer) = before.as_ref().filter(|before| epoch < before.epoch) {
        let why = format!(
            "node {id} was taken over by a worker of epoch {}, and this one has epoch {epoch}: \
             end one of them",
            newer.epoch
        );
        return Err(Rejection::Forbidden(why));
    }
    let (node, tasks, has) = greeted(hello, before.as_deref(), draft.now());
    let came = match before.as_ref().map(|before| before.state) {
        None => Some(format!("node {} joins", node.name)),
        Some(NodeState::Lost) => Some(format!("node {} is back", node.name)),
        Some(NodeState::Suspect) => Some(format!("node {} is heard again", node.name)),
        Some(NodeState::Up) => None,
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

/// The node as its worker says it is now, with what the manager says of it.
fn greeted(
    hello: Hello,
    before: Option<&Node>,
    now: Timestamp,
) -> (Node, Vec<TaskReport>, BTreeSet<TaskId>) {
    let Hello { node: id, name, epoch, version, drivers, cpus, memory_bytes, labels, tasks, has } =
        hello;
    let was_up = before.filter(|before| before.state == NodeState::Up);
    let node = Node {
        id,
        name,
        state: NodeState::Up,
        since: was_up.map_or(now, |up| up.since),
        registered_at: before.map_or(now, |before| before.registered_at),
        drivers,
        version,
        epoch,
        cpus,
        memory_bytes,
        labels,
        availability: before
            .map_or_else(|| Availability::active(now), |before| before.availability.clone()),
        accused: before.and_then(|before| before.accused.clone()),
        doubted: before.and_then(|before| before.doubted.clone()),
        operator_labels: before.map(|before| before.operator_labels.clone()).unwrap_or_default(),
    };
    (node, tasks, has)
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
    task.status.phase = Phase::Ended(Box::new(end));
    task.status.since = draft.now();
    task.status.pid = None;
    let subject = Subject::task(&task);
    draft.put(Change::PutTask(Box::new(task)));
    draft.tell(EventKind::TaskEnded, subject, message);
}

/// The node is silent for longer than is usual for it.
pub fn suspect(draft: &mut Draft, id: NodeId) {
    let Some(node) = draft.cluster().node(id).filter(|node| node.state == NodeState::Up) else {
        return;
    };
    let name = node.name.clone();
    let suspect = Node { state: NodeState::Suspect, since: draft.now(), ..(**node).clone() };
    draft.put(Change::PutNode(Box::new(suspect)));
    let message = format!("node {name} is suspect: it is silent for longer than usual");
    draft.tell(EventKind::NodeSuspect, Subject::node(id), message);
}

/// A node that was suspect is heard again, in the same session.
pub fn heard(draft: &mut Draft, id: NodeId) {
    let Some(node) = draft.cluster().node(id).filter(|node| node.state == NodeState::Suspect)
    else {
        return;
    };
    let message = format!("node {} is heard again", node.name);
    let up = Node { state: NodeState::Up, since: draft.now(), ..(**node).clone() };
    draft.put(Change::PutNode(Box::new(up)));
    draft.tell(EventKind::NodeUp, Subject::node(id), message);
}

/// The node's lease has run out.
pub fn silent(draft: &mut Draft, id: NodeId, grace: Duration) {
    let Some(node) = draft.cluster().node(id).filter(|node| node.state != NodeState::Lost) else {
        return;
    };
    let message = format!("node {} is lost: nothing was heard of it for {grace:?}", node.name);
    let lost = Node { state: NodeState::Lost, since: draft.now(), ..(**node).clone() };
    draft.put(Change::PutNode(Box::new(lost)));
    draft.tell(EventKind::NodeLost, Subject::node(id), message);
}

/// From this score on a worker's timeouts may be its own.
const DOUBT_FROM: u32 = 4;
/// Below this one it is trusted again: a score that wavers is not written each time.
const TRUST_BELOW: u32 = 2;

/// Whether the score makes a doubt of the node's eyes, or ends it.
pub const fn is_news(node: &Node, score: u32) -> bool {
    match &node.doubted {
        None => score >= DOUBT_FROM,
        Some(_) => score < TRUST_BELOW,
    }
}

/// A worker says how little it can trust its own eyes. Written only when it matters.
pub fn score(draft: &mut Draft, id: NodeId, score: u32) {
    let Some(node) = draft.cluster().node(id).filter(|node| is_news(node, score)) else {
        return;
    };
    let doubted = match &node.doubted {
        None => Some(Doubt { since: draft.now(), score }),
        Some(_) => None,
    };
    let next = Node { doubted, ..(**node).clone() };
    draft.put(Change::PutNode(Box::new(next)));
}

/// Somebody cordons, drains or opens the node.
pub fn set_availability(
    draft: &mut Draft,
    text: &str,
    kind: AvailabilityKind,
    reason: String,
) -> Result<NodeId, Rejection> {
    let node = lookup::node(draft.cluster(), text)?.clone();
    if node.availability.kind == kind && !node.availability.automatic {
        return Ok(node.id);
    }
    let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let message = format!("node {} is {}{because}", node.name, kind.name());
    let availability = Availability { kind, since: draft.now(), automatic: false, reason };
    draft.put(Change::PutNode(Box::new(Node { availability, ..(*node).clone() })));
    draft.tell(EventKind::NodeAvailability, Subject::node(node.id), message);
    Ok(node.id)
}

/// Forgets a node that is lost; its tasks have ended, as far as anybody can know.
pub fn remove(draft: &mut Draft, text: &str) -> Result<NodeId, Rejection> {
    let node = lookup::node(draft.cluster(), text)?.clone();
    match node.state {
        NodeState::Up | NodeState::Suspect => {
            let why = format!("node {} is up: end its worker first", node.name);
            return Err(Rejection::Forbidden(why));
        }
        NodeState::Lost => {}
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
        task.stop.get_or_insert(Box::new(stop));
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
        assert_eq!(state(&quiet), Some((NodeState::Lost, EPOCH)));
        let mut back = later(quiet, 60);
        hello(&mut back, hello_of(EPOCH + 1, vec![])).unwrap();
        assert_eq!(state(&back), Some((NodeState::Up, EPOCH + 1)));
        assert_eq!(kinds(&back), [EventKind::NodeUp, EventKind::NodeLost, EventKind::NodeUp]);
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

    #[test]
    fn a_suspect_node_is_up_as_soon_as_it_is_heard() {
        let mut draft = with_task();
        heard(&mut draft, NODE);
        assert_eq!(draft.changes(), []);
        suspect(&mut draft, NODE);
        suspect(&mut draft, NODE);
        assert_eq!(state(&draft), Some((NodeState::Suspect, EPOCH)));
        heard(&mut draft, NODE);
        assert_eq!(state(&draft), Some((NodeState::Up, EPOCH)));
        assert_eq!(kinds(&draft), [EventKind::NodeSuspect, EventKind::NodeUp]);
    }

    #[test]
    fn a_wavering_score_is_written_twice() {
        let mut draft = with_task();
        let mut written = Vec::new();
        for next in [0, 3, 4, 8, 3, 5, 2, 1, 3, 0] {
            let before = draft.changes().len();
            score(&mut draft, NODE, next);
            if draft.changes().len() > before {
                written.push(next);
            }
        }
        assert_eq!(written, [4, 1]);
    }

    #[test]
    fn what_a_person_says_of_a_node_stays_when_its_worker_returns() {
        let mut draft = with_task();
        let drained = AvailabilityKind::Drained;
        set_availability(&mut draft, "alpha", drained, "new disk".to_owned()).unwrap();
        set_availability(&mut draft, "alpha", drained, String::new()).unwrap();
        silent(&mut draft, NODE, Duration::from_secs(15));
        hello(&mut draft, hello_of(EPOCH + 1, vec![])).unwrap();
        let availability = draft.cluster().node(NODE).unwrap().availability.clone();
        assert_eq!((availability.kind, availability.reason.as_str()), (drained, "new disk"));
        let told = draft.cluster().events().next().unwrap().message.clone();
        assert_eq!(told, "node alpha is drained: new disk");
    }
}
