//! Somebody asks for a task to end.

use warren_core::{
    change::Change,
    event::EventKind,
    task::{Stop, StopCause},
};

use super::{Draft, Subject};
use crate::{lookup, rejection::Rejection};

/// Its slot gets another one. Asking for a task that is stopping already changes nothing.
pub fn stop(draft: &mut Draft, task: &str) -> Result<(), Rejection> {
    let task = lookup::task(draft.cluster(), task)?.clone();
    if task.has_ended() {
        return Err(Rejection::Forbidden(format!("{} has ended", draft.title(&task))));
    }
    if task.stop.is_some() {
        return Ok(());
    }
    let mut stopped = (*task).clone();
    let reason = "somebody asked for it".to_owned();
    let stop = Stop { cause: StopCause::Requested, reason, at: draft.now() };
    stopped.stop = Some(Box::new(stop));
    let message = format!("{} is stopped: somebody asked for it", draft.title(&task));
    draft.put(Change::PutTask(Box::new(stopped)));
    draft.tell(EventKind::TaskStopping, Subject::task(&task), message);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::fixture::{TASK, ended, with_task};

    #[test]
    fn a_task_is_stopped_once_by_any_of_its_names() {
        for name in ["web.1", "00000000000000aa", "00000000000000a"] {
            let mut draft = with_task();
            stop(&mut draft, name).unwrap();
            stop(&mut draft, name).unwrap();
            let task = draft.cluster().task(TASK).unwrap();
            let cause = task.stop.as_ref().map(|stop| stop.cause);
            assert_eq!(cause, Some(StopCause::Requested));
            assert_eq!(draft.changes().len(), 2);
        }
    }

    #[test]
    fn an_ended_task_cannot_be_stopped_and_an_unknown_one_is_not_found() {
        let mut draft = with_task();
        let mut task = (**draft.cluster().task(TASK).unwrap()).clone();
        task.status = ended(0);
        draft.put(Change::PutTask(Box::new(task)));
        assert!(matches!(stop(&mut draft, "web.1"), Err(Rejection::Forbidden(_))));
        for name in ["web.2", "api.1", "ff", "web.x"] {
            assert!(matches!(stop(&mut draft, name), Err(Rejection::NotFound(_))), "{name}");
        }
    }
}
