//! What a reference from outside leads to.

use std::sync::Arc;

use warren_core::{
    Invalid,
    cluster::Cluster,
    id::{NodeId, ServiceId},
    node::Node,
    service::Service,
    spec::ServiceName,
    task::Task,
};

use crate::rejection::Rejection;

/// By name, else by id.
pub fn service<'a>(cluster: &'a Cluster, text: &str) -> Result<&'a Arc<Service>, Rejection> {
    if text.is_empty() {
        return Err(Invalid::missing("service").into());
    }
    let by_name = text.parse::<ServiceName>().ok().and_then(|name| cluster.service_named(&name));
    let by_id = || text.parse::<ServiceId>().ok().and_then(|id| cluster.service(id));
    by_name
        .or_else(by_id)
        .ok_or_else(|| Rejection::NotFound(format!("there is no service {text:?}")))
}

/// By id, else by a name that only one node has.
pub fn node<'a>(cluster: &'a Cluster, text: &str) -> Result<&'a Arc<Node>, Rejection> {
    if text.is_empty() {
        return Err(Invalid::missing("node").into());
    }
    if let Some(node) = text.parse::<NodeId>().ok().and_then(|id| cluster.node(id)) {
        return Ok(node);
    }
    let mut named = cluster.nodes().filter(|node| node.name == text);
    match (named.next(), named.next()) {
        (Some(node), None) => Ok(node),
        (Some(_), Some(_)) => {
            let why = format!("{text:?} is the name of several nodes; use an id");
            Err(Invalid::new(why).at("node").into())
        }
        (None, _) => Err(Rejection::NotFound(format!("there is no node {text:?}"))),
    }
}

/// By id, by a beginning of it that no other task has, or by SERVICE.SLOT, which means the task
/// that fills the slot.
pub fn task<'a>(cluster: &'a Cluster, text: &str) -> Result<&'a Arc<Task>, Rejection> {
    match slot(cluster, text)? {
        Some(tasks) => warren_plan::holder(tasks.into_iter()).ok_or_else(|| no_task(text)),
        None => by_id(cluster, text),
    }
}

/// Likewise, but a slot means the task in it that has something to read: the one that fills it,
/// or where that has not started yet, the last one that has.
pub fn logged_task<'a>(cluster: &'a Cluster, text: &str) -> Result<&'a Arc<Task>, Rejection> {
    let task = task(cluster, text)?;
    let has_log = |task: &&Arc<Task>| task.status.started_at.is_some();
    let others = slot(cluster, text)?.filter(|_| !has_log(&task)).unwrap_or_default();
    let last = others.into_iter().filter(has_log).max_by_key(|task| newest(task));
    Ok(last.unwrap_or(task))
}

/// All tasks of the slot, if the text speaks of one.
fn slot<'a>(cluster: &'a Cluster, text: &str) -> Result<Option<Vec<&'a Arc<Task>>>, Rejection> {
    let Some((name, slot)) = text.split_once('.') else {
        return Ok(None);
    };
    let service = service(cluster, name)?;
    let slot: u32 = slot.parse().map_err(|_| no_task(text))?;
    Ok(Some(cluster.tasks_of(service.id).filter(|task| task.slot == slot).collect()))
}

fn no_task(text: &str) -> Rejection {
    Rejection::NotFound(format!("there is no task {text:?}"))
}

fn by_id<'a>(cluster: &'a Cluster, text: &str) -> Result<&'a Arc<Task>, Rejection> {
    if text.is_empty() {
        return Err(Invalid::missing("task").into());
    }
    let not_found = || no_task(text);
    let (first, last) = ids_beginning_with(text).ok_or_else(not_found)?;
    let mut matching = cluster.tasks().filter(|task| (first..=last).contains(&task.id.as_u64()));
    match (matching.next(), matching.next()) {
        (Some(task), None) => Ok(task),
        (Some(_), Some(_)) => {
            let why = format!("{text:?} begins the ids of several tasks; write more of it");
            Err(Invalid::new(why).at("task").into())
        }
        (None, _) => Err(not_found()),
    }
}

/// Orders the tasks of a slot; the newest is the greatest.
pub fn newest(task: &Task) -> impl Ord + use<> {
    (task.created_at, task.attempt, task.id)
}

fn ids_beginning_with(text: &str) -> Option<(u64, u64)> {
    let digits = u32::try_from(text.len()).ok().filter(|digits| (1..=16).contains(digits))?;
    if !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let beginning = u64::from_str_radix(text, 16).ok()?;
    let rest = u64::MAX.checked_shr(4 * digits).unwrap_or(0);
    let first = beginning << (4 * (16 - digits));
    Some((first, first | rest))
}

#[cfg(test)]
mod tests {
    use warren_core::{
        change::Change,
        id::TaskId,
        task::{Stop, StopCause, TaskStatus},
    };

    use super::*;
    use crate::decide::fixture::{TASK, ended, running, with_healthy_task};

    /// A task of web.1 that was made `after` milliseconds later, and which one it replaces.
    fn later_task(cluster: &Cluster, id: u64, after: u64, status: TaskStatus) -> Task {
        let first = (**cluster.task(TASK).unwrap()).clone();
        let created_at = first.created_at.after(std::time::Duration::from_millis(after));
        let (id, replaces) = (TaskId::from_u64(id), Some(TASK));
        Task { id, created_at, replaces, status, ..first }
    }

    fn found(cluster: &Cluster) -> (TaskId, TaskId) {
        let task = task(cluster, "web.1").unwrap().id;
        (task, logged_task(cluster, "web.1").unwrap().id)
    }

    #[test]
    fn a_slot_means_who_fills_it_and_not_who_is_to_take_over_or_was_called_off() {
        let mut cluster = with_healthy_task().cluster().clone();
        let mut successor = later_task(&cluster, 0xbb, 1, running(2));
        cluster.apply(&Change::PutTask(Box::new(successor.clone())));
        assert_eq!(found(&cluster), (TASK, TASK));
        let (cause, at) = (StopCause::CalledOff, successor.created_at);
        successor.stop = Some(Box::new(Stop { cause, reason: String::new(), at }));
        cluster.apply(&Change::PutTask(Box::new(successor.clone())));
        assert_eq!(found(&cluster), (TASK, TASK), "called off");
        successor.status = ended(0);
        cluster.apply(&Change::PutTask(Box::new(successor)));
        assert_eq!(found(&cluster), (TASK, TASK), "called off and ended");
    }

    #[test]
    fn while_the_next_one_waits_the_log_is_that_of_the_last_one_that_ran() {
        let mut cluster = with_healthy_task().cluster().clone();
        let end = |task: &Task| TaskStatus { started_at: task.status.started_at, ..ended(1) };
        let mut first = (**cluster.task(TASK).unwrap()).clone();
        first.status = end(&first);
        let mut second = later_task(&cluster, 0xb0, 1, running(2));
        second.status = end(&second);
        let waiting = later_task(&cluster, 0xa0, 2, TaskStatus::pending(first.created_at));
        for task in [&first, &second, &waiting] {
            cluster.apply(&Change::PutTask(Box::new(task.clone())));
        }
        assert_eq!(found(&cluster), (waiting.id, second.id));
    }

    #[test]
    fn a_beginning_stands_for_all_ids_that_begin_so() {
        assert_eq!(ids_beginning_with("f"), Some((0xf << 60, u64::MAX)));
        assert_eq!(ids_beginning_with("00000000000000ff"), Some((255, 255)));
        assert_eq!(ids_beginning_with("0"), Some((0, u64::MAX >> 4)));
        for text in ["", "F", "+1", "00000000000000000", "web"] {
            assert_eq!(ids_beginning_with(text), None, "{text:?}");
        }
    }
}
