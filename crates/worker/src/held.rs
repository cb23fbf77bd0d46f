//! One assignment in the worker's hands, and what its manager has been told of it.

use std::collections::VecDeque;

use tokio::sync::oneshot;
use warren_core::{
    assignment::Assignment,
    health::Health,
    report::{HealthTransition, TaskReport},
    task::{Phase, TaskStatus},
};

use crate::{
    state_file::{Record, Remembered},
    task::{Heeded, Purpose, TaskHandle, Update},
};

/// Transitions that are kept for one task while the manager does not acknowledge. At one flap in
/// ten seconds it takes ten minutes of partition to lose one, and the loss is counted.
const TRANSITIONS_MAX: usize = 64;

#[derive(Debug)]
pub struct Held {
    known: Known,
    /// How the state file has it; `None` from a change on until the file is written next.
    record: Option<Record>,
    /// `None` once the task has ended and all that is left of it is its log.
    pub actor: Option<TaskHandle>,
    /// Of the newest news.
    sequence: u64,
    acked: u64,
    in_flight: Option<InFlight>,
}

/// What the state file has of a task.
#[derive(Debug)]
struct Known {
    assignment: Assignment,
    status: TaskStatus,
    health: Option<Health>,
    /// What the state file has already and the manager is not told yet.
    secured: Option<Box<(TaskStatus, Option<Health>)>>,
    transitions: VecDeque<(u64, HealthTransition)>,
    dropped: u64,
    heeded: Heeded,
}

/// A report that was sent and is not acknowledged.
#[derive(Debug, Clone, Copy)]
struct InFlight {
    sequence: u64,
    /// Of what was dropped, so many it tells: by their number, or as they were.
    settles: u64,
}

impl Held {
    pub fn new(assignment: Assignment, status: TaskStatus, health: Option<Health>) -> Self {
        let known = Known {
            assignment,
            status,
            health,
            secured: None,
            transitions: VecDeque::new(),
            dropped: 0,
            heeded: Heeded::default(),
        };
        Self { known, record: None, actor: None, sequence: 1, acked: 0, in_flight: None }
    }

    /// As the worker before this one left it.
    pub fn remembered(task: Remembered) -> Self {
        let Remembered { assignment, status, health, transitions, dropped, heeded } = task;
        let mut held = Self::new(assignment, status, health);
        held.known.transitions =
            transitions.into_iter().map(|told| (held.sequence, told)).collect();
        (held.known.dropped, held.known.heeded) = (dropped, heeded);
        held
    }

    pub const fn assignment(&self) -> &Assignment {
        &self.known.assignment
    }

    pub const fn status(&self) -> &TaskStatus {
        &self.known.status
    }

    pub const fn health(&self) -> Option<&Health> {
        self.known.health.as_ref()
    }

    pub const fn heeded(&self) -> Heeded {
        self.known.heeded
    }

    /// What the manager wants of the task now. A stop once wanted stays wanted.
    pub fn assign(&mut self, mut assignment: Assignment) {
        let known = self.change();
        assignment.stop = assignment.stop.or_else(|| known.assignment.stop.take());
        known.assignment = assignment;
        if let Some(actor) = &self.actor {
            actor.order(&self.known.assignment);
        }
    }

    /// Of a task without an actor.
    pub fn set_status(&mut self, status: TaskStatus) {
        self.change().status = status;
    }

    /// How the state file has it from now on.
    pub fn record(&mut self) -> &Record {
        self.record.get_or_insert_with(|| self.known.record())
    }

    /// The one way to what the state file has.
    fn change(&mut self) -> &mut Known {
        self.record = None;
        &mut self.known
    }

    pub const fn has_ended(&self) -> bool {
        matches!(self.known.status.phase, Phase::Ended(_))
    }

    /// Takes in what the task's actor says. Whom to tell once it is saved.
    pub fn update(&mut self, update: Update) -> Option<oneshot::Sender<()>> {
        let Update { task: _, status, health, heeded, purpose } = update;
        let transition = match purpose {
            Purpose::Secure(saved) => {
                self.change().secured = Some(Box::new((status, health)));
                return Some(saved);
            }
            Purpose::Note => None,
            Purpose::Report(transition) => {
                self.sequence += 1;
                transition
            }
        };
        let sequence = self.sequence;
        let known = self.change();
        (known.status, known.health, known.secured) = (status, health, None);
        known.heeded = heeded;
        let transition = transition?;
        let is_full = known.transitions.len() == TRANSITIONS_MAX;
        let oldest = if is_full { known.transitions.pop_front() } else { None };
        known.dropped += u64::from(oldest.is_some());
        known.transitions.push_back((sequence, transition));
        if let (Some((of, _)), Some(sent)) = (oldest, &mut self.in_flight)
            && of <= sent.sequence
        {
            sent.settles += 1;
        }
        None
    }

    /// Whether there is news that nobody has been sent. One report at a time: news that comes
    /// before its acknowledgement waits, and only the latest is sent then.
    pub const fn has_news(&self) -> bool {
        self.in_flight.is_none() && self.sequence > self.acked
    }

    /// The report to send now, which is then in flight.
    pub fn send(&mut self, task: warren_core::id::TaskId) -> TaskReport {
        let Known { status, health, transitions, dropped, .. } = &self.known;
        self.in_flight = Some(InFlight { sequence: self.sequence, settles: *dropped });
        TaskReport {
            task,
            sequence: self.sequence,
            status: status.clone(),
            health: health.clone(),
            transitions: transitions.iter().map(|(_, t)| t.clone()).collect(),
            transitions_dropped: *dropped,
        }
    }

    /// The manager has made reports up to this sequence durable.
    pub fn acked(&mut self, sequence: u64) {
        let sent = self.in_flight.take_if(|sent| sent.sequence <= sequence);
        self.acked = self.acked.max(sequence);
        let settled = sent.map_or(0, |sent| sent.settles);
        let has_old = self.known.transitions.front().is_some_and(|(of, _)| *of <= sequence);
        if settled > 0 || has_old {
            let known = self.change();
            known.dropped -= settled;
            known.transitions.retain(|(of, _)| *of > sequence);
            known.transitions.shrink_to_fit();
        }
    }

    /// The session is gone, and with it whatever was in flight.
    pub const fn disconnected(&mut self) {
        self.in_flight = None;
    }
}

impl Known {
    fn record(&self) -> Record {
        let Self { assignment, status, health, secured, transitions, dropped, heeded } = self;
        let (status, health) = match secured.as_deref() {
            Some((status, health)) => (status, health),
            None => (status, health),
        };
        let transitions = transitions.iter().map(|(_, told)| told.into());
        Record::of(assignment, status, health.as_ref(), transitions, *dropped, *heeded)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use warren_core::{
        check::HealthConfig,
        spec::{TaskTemplate, Workload},
    };
    use warren_core::{
        health::HealthStatus,
        id::{ServiceId, TaskId},
        time::Timestamp,
    };

    use super::*;

    const TASK: TaskId = TaskId::from_u64(1);

    pub(crate) fn held() -> Held {
        let template = TaskTemplate {
            health: HealthConfig::Disabled,
            ..TaskTemplate::new(Workload::Process { command: vec!["/bin/true".to_owned()] })
        };
        let assignment = Assignment {
            task: TASK,
            service: ServiceId::from_u64(2),
            service_name: "web".parse().unwrap(),
            slot: 1,
            template: Arc::new(template),
            not_before: Timestamp::EPOCH,
            stop: None,
            checks_paused_until: None,
        };
        Held::new(assignment, TaskStatus::pending(Timestamp::EPOCH), None)
    }

    fn news(at: u64) -> Update {
        let at = Timestamp::from_millis(at);
        let transition = HealthTransition {
            at,
            status: HealthStatus::Healthy,
            ready: true,
            reason: String::new(),
            flapping: false,
        };
        let status = TaskStatus { phase: Phase::Running, ..TaskStatus::pending(at) };
        let (heeded, purpose) = (Heeded::default(), Purpose::Report(Some(transition)));
        Update { task: TASK, status, health: None, heeded, purpose }
    }

    #[test]
    fn one_report_is_in_flight_and_the_latest_follows_its_acknowledgement() {
        let mut held = held();
        let first = held.send(TASK);
        held.update(news(1));
        held.update(news(2));
        assert!(!held.has_news());
        held.acked(first.sequence);
        assert!(held.has_news());
        let second = held.send(TASK);
        assert_eq!(second.transitions.len(), 2);
        held.acked(second.sequence);
        assert!(!held.has_news());
        held.update(news(3));
        assert_eq!(held.send(TASK).transitions.len(), 1, "acknowledged ones are not sent again");
    }

    #[test]
    fn a_lost_session_makes_what_was_in_flight_news_again() {
        let mut held = held();
        held.send(TASK);
        held.disconnected();
        assert!(held.has_news());
    }

    #[test]
    fn beyond_the_bound_the_oldest_transitions_go_and_are_counted() {
        let mut held = held();
        for at in 0..=TRANSITIONS_MAX as u64 {
            held.update(news(at));
        }
        let report = held.send(TASK);
        assert_eq!(report.transitions.len(), TRANSITIONS_MAX);
        assert_eq!(report.transitions_dropped, 1);
        assert_eq!(report.transitions[0].at, Timestamp::from_millis(1));
    }

    #[test]
    fn what_is_dropped_while_a_report_is_in_flight_is_said_in_the_next_one() {
        let mut held = held();
        for at in 0..=TRANSITIONS_MAX as u64 {
            held.update(news(at));
        }
        let sent = held.send(TASK);
        for at in 0..TRANSITIONS_MAX as u64 + 2 {
            held.update(news(at));
        }
        held.acked(sent.sequence);
        // Of those, the acknowledged report had told the first 64 itself.
        assert_eq!(held.send(TASK).transitions_dropped, 2);
    }

    #[test]
    fn its_record_follows_every_change() {
        let mut held = held();
        let mut after = |what: &str, change: &dyn Fn(&mut Held)| {
            change(&mut held);
            let fresh = held.known.record();
            assert_eq!(*held.record(), fresh, "{what}");
        };
        after("nothing", &|_| {});
        after("news", &|held| drop(held.update(news(1))));
        after("a report", &|held| drop(held.send(TASK)));
        after("news that wait for it", &|held| drop(held.update(news(2))));
        after("a pause", &|held| {
            let heeded = Heeded { paused_until: Some(Timestamp::from_millis(9)) };
            drop(held.update(Update { heeded, purpose: Purpose::Note, ..news(2) }));
        });
        after("its acknowledgement", &|held| held.acked(2));
        after("more than is kept", &|held| {
            for at in 0..=TRANSITIONS_MAX as u64 {
                held.update(news(at));
            }
        });
        after("what is secured first", &|held| {
            let purpose = Purpose::Secure(oneshot::channel().0);
            drop(held.update(Update { purpose, ..news(3) }));
        });
        after("another status", &|held| {
            held.set_status(TaskStatus::pending(Timestamp::from_millis(4)));
        });
        after("an order", &|held| {
            held.assign(Assignment { slot: 7, ..held.assignment().clone() });
        });
    }
}
