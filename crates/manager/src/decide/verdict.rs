//! Other controllers accuse a task and withdraw; accusations expire.

use warren_core::{
    change::Change,
    event::EventKind,
    health::{ExternalVerdict, Health, TaskHealth},
    id::TaskId,
    task::Task,
};
use warren_plan::effective_health;

use super::{Draft, Subject};
use crate::{
    input::{Judged, Judgement},
    lookup,
    rejection::Rejection,
};

/// Says the health that counts from now on.
pub fn judge(draft: &mut Draft, judgement: Judgement) -> Result<Health, Rejection> {
    let Judgement { task, reporter, role, verdict } = judgement;
    let task = lookup::task(draft.cluster(), &task)?.clone();
    if task.has_ended() {
        return Err(Rejection::Forbidden(format!("{} has ended", draft.title(&task))));
    }
    let mut health = health_of(draft, &task);
    let index = health.external.iter().position(|e| e.reporter == reporter && e.role == role);
    let before = index.map(|index| health.external.remove(index));
    let role_name = warren_core::check::Role::from(role).name();
    let told = match verdict {
        Judged::Withdrawn if before.is_none() => {
            return Ok(effective_health(draft.cluster(), &task, draft.now()));
        }
        Judged::Withdrawn => Some(format!("{reporter} withdraws its {role_name} verdict")),
        Judged::Accused { reason, ttl } => {
            if health.external.len() >= TaskHealth::EXTERNAL_MAX {
                let max = TaskHealth::EXTERNAL_MAX;
                let why = format!("{} has {max} external verdicts already", draft.title(&task));
                return Err(Rejection::Full(why));
            }
            let renewed = before.as_ref().is_some_and(|before| before.reason == reason);
            let told = format!("{reporter} reports {role_name} failing for {ttl}: {reason}");
            health.external.push(ExternalVerdict {
                reporter,
                role,
                reason,
                // A renewed accusation is as old as its first.
                reported_at: before.filter(|_| renewed).map_or(draft.now(), |b| b.reported_at),
                expires_at: draft.now().after(ttl.get()),
            });
            (!renewed).then_some(told)
        }
    };
    draft.put(Change::PutHealth(task.id, Box::new(health)));
    if let Some(told) = told {
        let message = format!("{}: {told}", draft.title(&task));
        draft.tell(EventKind::ExternalVerdict, Subject::task(&task), message);
    }
    Ok(effective_health(draft.cluster(), &task, draft.now()))
}

/// Removes what has expired, so that its end is a change like any other.
pub fn expire(draft: &mut Draft, id: TaskId) {
    let now = draft.now();
    let (Some(task), Some(health)) =
        (draft.cluster().task(id).cloned(), draft.cluster().health(id))
    else {
        return;
    };
    let mut health = (**health).clone();
    let expired: Vec<ExternalVerdict> =
        health.external.extract_if(.., |external| external.expires_at <= now).collect();
    if expired.is_empty() {
        return;
    }
    draft.put(Change::PutHealth(id, Box::new(health)));
    for ExternalVerdict { reporter, role, .. } in expired {
        let role = warren_core::check::Role::from(role).name();
        let message = format!("{}: the {role} verdict of {reporter} expires", draft.title(&task));
        draft.tell(EventKind::ExternalVerdict, Subject::task(&task), message);
    }
}

/// What is known of the task, or that nothing is yet.
fn health_of(draft: &Draft, task: &Task) -> TaskHealth {
    let known = draft.cluster().health(task.id).map(|health| (**health).clone());
    known.unwrap_or_else(|| TaskHealth::starting(task.status.since))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use warren_core::{
        bounds::Ttl,
        health::{AccusedRole, HealthStatus},
    };

    use super::*;
    use crate::decide::fixture::{TASK, later, with_healthy_task};

    fn accuse(reporter: &str, ttl_seconds: u64) -> Judgement {
        let ttl = Ttl::new(Duration::from_secs(ttl_seconds)).unwrap();
        let verdict = Judged::Accused { reason: "ledger differs".to_owned(), ttl };
        let reporter = reporter.to_owned();
        Judgement { task: "web.1".to_owned(), reporter, role: AccusedRole::Liveness, verdict }
    }

    fn withdraw(reporter: &str) -> Judgement {
        Judgement { verdict: Judged::Withdrawn, ..accuse(reporter, 1) }
    }

    #[test]
    fn an_accusation_counts_at_once_until_it_is_withdrawn() {
        let mut draft = with_healthy_task();
        let accused = judge(&mut draft, accuse("auditor", 60)).unwrap();
        assert_eq!((accused.status, accused.ready), (HealthStatus::Unhealthy, false));
        let cleared = judge(&mut draft, withdraw("auditor")).unwrap();
        assert_eq!((cleared.status, cleared.ready), (HealthStatus::Healthy, true));
        let told: Vec<_> = draft.cluster().events().map(|event| event.message.clone()).collect();
        assert_eq!(
            told,
            [
                "task web.1 (00000000000000aa): auditor reports liveness failing for 60s: \
                 ledger differs",
                "task web.1 (00000000000000aa): auditor withdraws its liveness verdict",
            ]
        );
    }

    #[test]
    fn withdrawing_nothing_and_renewing_are_not_told() {
        let mut draft = with_healthy_task();
        judge(&mut draft, withdraw("auditor")).unwrap();
        assert_eq!(draft.changes(), []);
        judge(&mut draft, accuse("auditor", 60)).unwrap();
        let mut draft = later(draft, 30);
        judge(&mut draft, accuse("auditor", 60)).unwrap();
        assert_eq!(draft.cluster().last_event(), 1);
        let health = draft.cluster().health(TASK).unwrap();
        assert_eq!(health.external.len(), 1);
        assert_eq!(health.external[0].expires_at, draft.now().after(Duration::from_mins(1)));
        assert!(health.external[0].reported_at < draft.now());
    }

    #[test]
    fn an_expired_accusation_is_removed_at_its_time_and_not_before() {
        let mut draft = with_healthy_task();
        judge(&mut draft, accuse("auditor", 60)).unwrap();
        let mut draft = later(draft, 59);
        expire(&mut draft, TASK);
        assert_eq!(draft.changes(), []);
        let mut draft = later(draft, 1);
        expire(&mut draft, TASK);
        assert_eq!(draft.cluster().health(TASK).unwrap().external, []);
        assert_eq!(draft.cluster().last_event(), 2);
    }

    #[test]
    fn a_task_has_room_for_so_many_accusations_and_no_more() {
        let mut draft = with_healthy_task();
        for number in 0..TaskHealth::EXTERNAL_MAX {
            judge(&mut draft, accuse(&format!("auditor-{number}"), 60)).unwrap();
        }
        let refused = judge(&mut draft, accuse("one-more", 60)).unwrap_err();
        assert!(matches!(refused, Rejection::Full(_)), "{refused}");
        assert!(judge(&mut draft, accuse("auditor-0", 60)).is_ok());
    }
}
