//! A worker's word on one of its tasks is taken, or is not news.

use std::sync::Arc;

use warren_core::{
    change::Change,
    event::EventKind,
    health::{Health, HealthStatus, TaskHealth},
    id::NodeId,
    report::{HealthTransition, TaskReport},
    task::{Phase, ReportMark, Task},
};

use super::{Draft, Subject};

/// What became of a report. Whatever it is, the worker need not send it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    Taken,
    /// There is no such task, or no longer.
    Unknown,
    /// The task belongs to another node.
    Foreign,
    /// A later report was taken before.
    Stale,
    /// The task was further already: states only move forward.
    Backward,
}

impl Settled {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Unknown => "unknown",
            Self::Foreign => "foreign",
            Self::Stale => "stale",
            Self::Backward => "backward",
        }
    }
}

/// The node and the epoch are those of the session, never of the message.
pub fn take(draft: &mut Draft, node: NodeId, epoch: u64, report: TaskReport) -> Settled {
    let Some(task) = draft.cluster().task(report.task).cloned() else {
        return Settled::Unknown;
    };
    if task.node() != Some(node) {
        return Settled::Foreign;
    }
    let mark = ReportMark { epoch, sequence: report.sequence };
    let current = draft.cluster().node(node).is_some_and(|node| node.epoch == epoch);
    if !current || mark <= draft.cluster().reported(&task) {
        return Settled::Stale;
    }
    if !task.status.phase.may_become(&report.status.phase) {
        return Settled::Backward;
    }
    let TaskReport { task: _, sequence: _, mut status, health, transitions, transitions_dropped } =
        report;
    // Most reports are of health alone, and write its row alone.
    let next = if status == task.status && health.is_some() {
        Arc::clone(&task)
    } else {
        let cluster = draft.cluster();
        status.checks = status.checks.map(|checks| cluster.shared_checks(task.service, checks));
        let next = Task { status, reported: mark, ..(*task).clone() };
        draft.put(Change::PutTask(Box::new(next.clone())));
        tell_start(draft, &task, &next);
        Arc::new(next)
    };
    if let Some(health) = health {
        tell_transitions(draft, &next, &transitions, transitions_dropped, &health);
        put_observed(draft, &next, health, mark);
    }
    tell_end(draft, &task, &next);
    Settled::Taken
}

/// The verdicts of others stay as they are.
fn put_observed(draft: &mut Draft, task: &Task, mut observed: Health, mark: ReportMark) {
    let before = draft.cluster().health(task.id).map(Arc::clone);
    observed.was_ready |= observed.ready;
    observed.was_ready |= before.as_ref().is_some_and(|before| before.observed.was_ready);
    let external = before.as_ref().map_or_else(Vec::new, |before| before.external.clone());
    let known = before.as_ref().map_or_else(ReportMark::default, |before| before.reported);
    // Where the task's own row has the mark, this one is written only for what changed.
    let reported = if task.reported == mark { known } else { mark };
    let health = TaskHealth { observed, external, reported };
    if before.is_none_or(|before| *before != health) {
        draft.put(Change::PutHealth(task.id, Box::new(health)));
    }
}

fn tell_start(draft: &mut Draft, before: &Task, after: &Task) {
    let started = |task: &Task| task.status.started_at.is_some();
    if started(before) || !started(after) {
        return;
    }
    let at = after.status.started_at.unwrap_or(after.status.since);
    let message = format!("{} runs", draft.title(after));
    draft.tell_at(at, EventKind::TaskStarted, Subject::task(after), message);
}

fn tell_end(draft: &mut Draft, before: &Task, after: &Task) {
    if let (false, Phase::Ended(end)) = (before.has_ended(), &after.status.phase) {
        let message = format!("{} has ended: {}", draft.title(after), end.sentence());
        draft.tell_at(end.at, EventKind::TaskEnded, Subject::task(after), message);
    }
}

/// Each change of status, readiness or flapping becomes a row of history with its own time. What
/// the transitions leave out is made up from the health that they lead to.
fn tell_transitions(
    draft: &mut Draft,
    task: &Task,
    transitions: &[HealthTransition],
    dropped: u64,
    health: &Health,
) {
    let known = draft.cluster().health(task.id);
    let mut last = known.map_or((HealthStatus::Starting, false, false), |known| {
        let Health { status, ready, .. } = known.observed;
        (status, ready, known.observed.flapping_since().is_some())
    });
    // A worker that did not hear that a report was taken sends its transitions once more.
    let told_until = known.map(|known| {
        let Health { since, ready_since, .. } = known.observed;
        since.max(ready_since).max(known.observed.flapping_since().unwrap_or_default())
    });
    let is_new = |transition: &HealthTransition| told_until.is_none_or(|t| t < transition.at);
    let dropped = if transitions.first().is_none_or(is_new) { dropped } else { 0 };
    let transitions = transitions.iter().filter(|transition| is_new(transition));
    if dropped > 0 {
        let title = draft.title(task);
        let message = format!("{title}: {dropped} more changes of its health are not recorded");
        let at = transitions.clone().next().map_or(health.since, |first| first.at);
        draft.tell_at(at, EventKind::HealthChanged, Subject::task(task), message);
    }
    let flapping_since = health.flapping_since();
    let reached = HealthTransition {
        at: health.since.max(health.ready_since).max(flapping_since.unwrap_or_default()),
        status: health.status,
        ready: health.ready,
        reason: health.reason.clone(),
        flapping: flapping_since.is_some(),
    };
    for transition in transitions.chain([&reached]) {
        let HealthTransition { at, status, ready, reason, flapping } = transition;
        let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        if *status != last.0 {
            let message = format!("{} is {}{because}", draft.title(task), status.name());
            draft.tell_at(*at, EventKind::HealthChanged, Subject::task(task), message);
        }
        if *ready != last.1 {
            let is = if *ready { "is ready" } else { "is not ready" };
            let message = format!("{} {is}{because}", draft.title(task));
            draft.tell_at(*at, EventKind::ReadyChanged, Subject::task(task), message);
        }
        if *flapping != last.2 {
            let is = if *flapping { "is flapping" } else { "no longer flaps" };
            let message = format!("{} {is}{because}", draft.title(task));
            draft.tell_at(*at, EventKind::FlappingChanged, Subject::task(task), message);
        }
        last = (*status, *ready, *flapping);
    }
}

#[cfg(test)]
mod tests {
    use warren_core::time::Timestamp;

    use super::*;
    use crate::decide::fixture::{
        EPOCH, NODE, OTHER_NODE, TASK, ended, healthy, report, running, with_healthy_task,
        with_task,
    };

    fn messages(draft: &Draft) -> Vec<String> {
        let strip = |message: &str| message.replace("task web.1 (00000000000000aa)", "it");
        draft.cluster().events().map(|event| strip(&event.message)).collect()
    }

    #[test]
    fn only_news_of_the_nodes_own_tasks_is_taken() {
        let unknown = TaskReport { task: warren_core::id::TaskId::from_u64(1), ..report(1) };
        let cases = [
            (NODE, EPOCH, report(1), Settled::Taken),
            (NODE, EPOCH, unknown, Settled::Unknown),
            (OTHER_NODE, EPOCH, report(1), Settled::Foreign),
            (NODE, EPOCH - 1, report(9), Settled::Stale),
            (NODE, EPOCH + 1, report(9), Settled::Stale),
        ];
        for (node, epoch, report, expected) in cases {
            let mut draft = with_task();
            let before = draft.cluster().clone();
            let case = format!("{node} {epoch} {}", report.sequence);
            assert_eq!(take(&mut draft, node, epoch, report), expected, "{case}");
            let unchanged = *draft.cluster() == before;
            assert_eq!(unchanged, expected != Settled::Taken, "{case}");
        }
    }

    #[test]
    fn the_same_report_twice_is_news_once() {
        let mut draft = with_task();
        assert_eq!(take(&mut draft, NODE, EPOCH, report(4)), Settled::Taken);
        assert_eq!(take(&mut draft, NODE, EPOCH, report(4)), Settled::Stale);
        assert_eq!(take(&mut draft, NODE, EPOCH, report(3)), Settled::Stale);
    }

    #[test]
    fn a_task_never_moves_back_and_an_ended_one_stays_as_it_ended() {
        let mut draft = with_task();
        let end = TaskReport { status: ended(3), ..report(1) };
        assert_eq!(take(&mut draft, NODE, EPOCH, end), Settled::Taken);
        let rows = draft.cluster().clone();
        assert_eq!(take(&mut draft, NODE, EPOCH, report(2)), Settled::Backward);
        let other_end = TaskReport { status: ended(4), ..report(3) };
        assert_eq!(take(&mut draft, NODE, EPOCH, other_end), Settled::Backward);
        assert_eq!(*draft.cluster(), rows);
        assert_eq!(messages(&draft), ["it has ended: its process exited with code 3"]);
    }

    #[test]
    fn every_transition_becomes_history_with_its_own_time() {
        let mut draft = with_task();
        let at = |seconds: u64| Timestamp::from_millis(seconds * 1000);
        let transition = |seconds, status, ready, reason: &str| HealthTransition {
            at: at(seconds),
            status,
            ready,
            reason: reason.to_owned(),
            flapping: false,
        };
        let flapped = TaskReport {
            status: running(10),
            health: Some(healthy(14)),
            transitions: vec![
                transition(11, HealthStatus::Healthy, true, ""),
                transition(12, HealthStatus::Unhealthy, false, "500"),
                transition(14, HealthStatus::Healthy, true, ""),
            ],
            ..report(1)
        };
        assert_eq!(take(&mut draft, NODE, EPOCH, flapped), Settled::Taken);
        let times: Vec<_> = draft.cluster().events().map(|event| event.at).collect();
        assert_eq!(times, [10, 11, 11, 12, 12, 14, 14].map(at));
        assert_eq!(
            messages(&draft),
            [
                "it runs",
                "it is healthy",
                "it is ready",
                "it is unhealthy: 500",
                "it is not ready: 500",
                "it is healthy",
                "it is ready",
            ]
        );
    }

    // C-48
    #[test]
    fn flapping_is_history_and_leaves_the_task_as_it_is() {
        let mut draft = with_healthy_task();
        let at = |seconds: u64| Timestamp::from_millis(seconds * 1000);
        let flaps = |seconds, flapping, reason: &str| HealthTransition {
            at: at(seconds),
            status: HealthStatus::Healthy,
            ready: true,
            reason: reason.to_owned(),
            flapping,
        };
        let report = TaskReport {
            health: Some(healthy(1_001)),
            transitions: vec![flaps(1_010, true, "4 of 10 failed"), flaps(1_200, false, "")],
            ..report(1)
        };
        assert_eq!(take(&mut draft, NODE, EPOCH, report), Settled::Taken);
        assert_eq!(messages(&draft), ["it is flapping: 4 of 10 failed", "it no longer flaps"]);
        let told: Vec<_> = draft.cluster().events().map(|event| (event.kind, event.at)).collect();
        let kind = EventKind::FlappingChanged;
        assert_eq!(told, [(kind, at(1_010)), (kind, at(1_200))]);
    }

    #[test]
    fn what_comes_again_because_its_acknowledgement_was_lost_is_told_once() {
        let mut draft = with_task();
        let at = |seconds: u64| Timestamp::from_millis(seconds * 1000);
        let down = |seconds| HealthTransition {
            at: at(seconds),
            status: HealthStatus::Unhealthy,
            ready: false,
            reason: "500".to_owned(),
            flapping: false,
        };
        let up = |seconds| HealthTransition {
            at: at(seconds),
            status: HealthStatus::Healthy,
            ready: true,
            reason: String::new(),
            flapping: false,
        };
        let first = TaskReport {
            health: Some(healthy(14)),
            transitions: vec![up(11), down(12), up(14)],
            transitions_dropped: 3,
            ..report(1)
        };
        assert_eq!(take(&mut draft, NODE, EPOCH, first.clone()), Settled::Taken);
        let told = messages(&draft);
        let again = TaskReport { sequence: 2, ..first.clone() };
        assert_eq!(take(&mut draft, NODE, EPOCH, again), Settled::Taken);
        assert_eq!(messages(&draft), told);
        let more = TaskReport {
            sequence: 3,
            health: Some(healthy(17)),
            transitions: vec![up(11), down(12), up(14), down(16), up(17)],
            ..first
        };
        assert_eq!(take(&mut draft, NODE, EPOCH, more), Settled::Taken);
        let new = ["it is unhealthy: 500", "it is not ready: 500", "it is healthy", "it is ready"];
        assert_eq!(messages(&draft)[told.len()..], new);
    }

    #[test]
    fn what_the_transitions_leave_out_is_made_up_and_what_was_dropped_is_said() {
        let mut draft = with_task();
        let bare = TaskReport {
            status: running(10),
            health: Some(healthy(12)),
            transitions_dropped: 7,
            ..report(1)
        };
        assert_eq!(take(&mut draft, NODE, EPOCH, bare), Settled::Taken);
        let told = messages(&draft);
        assert_eq!(told[1], "it: 7 more changes of its health are not recorded");
        assert_eq!(told[2..], ["it is healthy", "it is ready"]);
        assert!(draft.cluster().health(TASK).unwrap().observed.was_ready);
    }
}
