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
    state_file::Remembered,
    task::{Purpose, TaskHandle, Update},
};

/// Transitions that are kept for one task while the manager does not acknowledge. At one flap in
/// ten seconds it takes ten minutes of partition to lose one, and the loss is counted.
const TRANSITIONS_MAX: usize = 64;

#[derive(Debug)]
pub struct Held {
    pub assignment: Assignment,
    pub status: TaskStatus,
    pub health: Option<Health>,
    /// `None` once the task has ended and all that is left of it is its log.
    pub actor: Option<TaskHandle>,
    /// What the state file has already and the manager is not told yet.
    secured: Option<(TaskStatus, Option<Health>)>,
    transitions: VecDeque<(u64, HealthTransition)>,
    dropped: u64,
    /// Of the newest news.
    sequence: u64,
    acked: u64,
    in_flight: Option<InFlight>,
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
        Self {
            assignment,
            status,
            health,
            actor: None,
            secured: None,
            transitions: VecDeque::new(),
            dropped: 0,
            sequence: 1,
            acked: 0,
            in_flight: None,
        }
    }

    /// As the worker before this one left it.
    pub fn remembered(task: Remembered) -> Self {
        let Remembered { assignment, status, health, transitions, dropped } = task;
        let mut held = Self::new(assignment, status, health);
        held.transitions = transitions.into_iter().map(|told| (held.sequence, told)).collect();
        held.dropped = dropped;
        held
    }

    pub fn remember(&self) -> Remembered {
        let (status, health) = match &self.secured {
            Some((status, health)) => (status, health),
            None => (&self.status, &self.health),
        };
        let (status, health) = (status.clone(), health.clone());
        Remembered {
            assignment: self.assignment.clone(),
            status,
            health,
            transitions: self.transitions.iter().map(|(_, told)| told.clone()).collect(),
            dropped: self.dropped,
        }
    }

    pub const fn has_ended(&self) -> bool {
        matches!(self.status.phase, Phase::Ended(_))
    }

    /// Takes in what the task's actor says. Whom to tell once it is saved.
    pub fn update(&mut self, update: Update) -> Option<oneshot::Sender<()>> {
        let Update { task: _, status, health, purpose } = update;
        let transition = match purpose {
            Purpose::Secure(saved) => {
                self.secured = Some((status, health));
                return Some(saved);
            }
            Purpose::Note => None,
            Purpose::Report(transition) => {
                self.sequence += 1;
                transition
            }
        };
        (self.status, self.health, self.secured) = (status, health, None);
        if let Some(transition) = transition {
            if self.transitions.len() == TRANSITIONS_MAX
                && let Some((of, _)) = self.transitions.pop_front()
            {
                self.dropped += 1;
                if let Some(sent) = self.in_flight.as_mut().filter(|sent| of <= sent.sequence) {
                    sent.settles += 1;
                }
            }
            self.transitions.push_back((self.sequence, transition));
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
        self.in_flight = Some(InFlight { sequence: self.sequence, settles: self.dropped });
        TaskReport {
            task,
            sequence: self.sequence,
            status: self.status.clone(),
            health: self.health.clone(),
            transitions: self.transitions.iter().map(|(_, t)| t.clone()).collect(),
            transitions_dropped: self.dropped,
        }
    }

    /// The manager has made reports up to this sequence durable.
    pub fn acked(&mut self, sequence: u64) {
        if let Some(sent) = self.in_flight.take_if(|sent| sent.sequence <= sequence) {
            self.dropped -= sent.settles;
        }
        self.acked = self.acked.max(sequence);
        self.transitions.retain(|(of, _)| *of > sequence);
    }

    /// The session is gone, and with it whatever was in flight.
    pub const fn disconnected(&mut self) {
        self.in_flight = None;
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
        Update { task: TASK, status, health: None, purpose: Purpose::Report(Some(transition)) }
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
}
