//! What holds a replacement that is due. `docs/replacement.md` has a clause for each guard.

use std::sync::Arc;

use warren_core::{restraint::Restraint, rule::Rule, task::Task, time::Timestamp};

use crate::{Policy, breaker::Breaker, slot::Slot};

/// A replacement that is due.
#[derive(Debug)]
pub(crate) struct Case {
    pub task: Arc<Task>,
    pub rule: Rule,
    /// What the rule saw.
    pub seen: String,
    /// When that was.
    pub at: Timestamp,
    /// Nothing but deadlines that passed: an observer without time sees the same.
    pub soft: bool,
    /// It still runs and was ready once, so replacing it puts something at stake.
    pub budgeted: bool,
    /// How many failures in a row come before the next task; none where this is no failure.
    pub attempt: Option<u32>,
}

/// A replacement that is due and not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub task: Arc<Task>,
    pub rule: Rule,
    pub reason: String,
    /// When time alone lets it go.
    pub until: Option<Timestamp>,
}

/// What the slots of a service share, and so may have to wait for.
#[derive(Debug)]
pub(crate) struct Gates {
    /// So many more slots may go into replacement for their health.
    pub budget: u64,
    /// When the next part of the budget comes back by itself.
    pub budget_back_at: Option<Timestamp>,
    /// So many more slots may move to another node.
    pub moves: u64,
    /// No slot is on its way to the newest template, so the next one may be.
    pub turn: bool,
    pub pace: Pace,
    pub breakers: Vec<Breaker>,
}

impl Gates {
    pub const fn take_turn(&mut self) -> bool {
        std::mem::replace(&mut self.turn, false)
    }
}

/// The cluster's token bucket. The one number says all: when it is full again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    now: Timestamp,
    full_at: Timestamp,
    interval_ms: u64,
    burst: u64,
}

impl Pace {
    pub fn new(restraint: &Restraint, policy: &Policy, now: Timestamp) -> Self {
        let interval_ms = u64::try_from(policy.pace_interval.as_millis()).unwrap_or(u64::MAX);
        let burst = u64::from(policy.pace_burst.max(1));
        // Later than an empty bucket allows, it is of a clock that has stepped back since.
        let empty = now.after(policy.pace_interval.saturating_mul(policy.pace_burst.max(1)));
        let full_at = restraint.pace_full_at.filter(|at| *at <= empty).unwrap_or(now).max(now);
        Self { now, full_at, interval_ms, burst }
    }

    fn debt(&self) -> u64 {
        self.full_at.as_millis() - self.now.as_millis()
    }

    const fn tolerance(&self) -> u64 {
        self.interval_ms.saturating_mul(self.burst - 1)
    }

    pub fn has_token(&self) -> bool {
        self.debt() <= self.tolerance()
    }

    /// When there is one, if there is none now.
    pub fn next_token(&self) -> Timestamp {
        Timestamp::from_millis(self.full_at.as_millis().saturating_sub(self.tolerance()))
    }

    pub fn take(&mut self) {
        self.full_at = Timestamp::from_millis(self.full_at.as_millis() + self.interval_ms);
    }

    pub const fn full_at(&self) -> Timestamp {
        self.full_at
    }
}

impl Slot<'_> {
    /// Lets the replacement begin, and takes what it takes, or says what holds it.
    pub fn pass(&self, case: &Case, gates: &mut Gates) -> Result<(), Held> {
        let held = |rule, reason: String, until| {
            Err(Held { task: Arc::clone(&case.task), rule, reason, until })
        };
        if let Some((rule, reason)) = self.barred(case) {
            return held(rule, reason, None);
        }
        let mut breakers = gates.breakers.iter();
        if let Some(breaker) = breakers.find(|breaker| breaker.holds(self.number, case.rule))
            && !self.is_released_at(case.at)
        {
            return held(breaker.rule, breaker.reason.clone(), breaker.until);
        }
        if case.budgeted && gates.budget == 0 {
            let reason = "as many of its service as may be are in replacement".to_owned();
            return held(Rule::Budget, reason, gates.budget_back_at);
        }
        if case.rule == Rule::Moved && gates.moves == 0 {
            let reason = "as many of its service as may be are moving".to_owned();
            return held(Rule::Budget, reason, None);
        }
        if !gates.pace.has_token() {
            let reason = "the cluster has replaced as many tasks as may be for now".to_owned();
            return held(Rule::Pace, reason, Some(gates.pace.next_token()));
        }
        // Last, so that what the node alone holds is known by it: its next canary is among those.
        if let Some(reason) = self.singly(case) {
            return held(Rule::Node, reason, None);
        }
        gates.pace.take();
        gates.budget -= u64::from(case.budgeted);
        gates.moves -= u64::from(case.rule == Rule::Moved);
        Ok(())
    }

    /// What holds it whatever the service's other slots do.
    pub fn barred(&self, case: &Case) -> Option<(Rule, String)> {
        if let Some(reason) = case.attempt.and_then(|attempt| self.exhausted(attempt)) {
            return Some((Rule::GaveUp, reason));
        }
        if self.is_released_at(case.at) {
            return None;
        }
        if case.rule == Rule::Lost {
            let silence = self.cluster.restraint().silence.as_ref()?;
            return Some((Rule::Silence, silence.reason.clone()));
        }
        if case.rule != Rule::Unhealthy {
            return None;
        }
        if self.service.checks_paused.is_some() {
            let reason = "the checks of its service are paused, so nobody sees it recover";
            return Some((Rule::Paused, reason.to_owned()));
        }
        let node = case.task.node().and_then(|id| self.cluster.node(id))?;
        if let Some(doubt) = node.doubted.as_ref().filter(|_| case.soft) {
            let (name, score) = (&node.name, doubt.score);
            let reason = format!(
                "it answers too late, and the worker of node {name}, which saw it, is starved \
                 itself (score {score})"
            );
            return Some((Rule::Observer, reason));
        }
        None
    }

    /// Its node is accused, and another task there is tried first.
    pub fn singly(&self, case: &Case) -> Option<String> {
        if case.rule != Rule::Unhealthy || self.is_released_at(case.at) {
            return None;
        }
        let node = case.task.node().and_then(|id| self.cluster.node(id))?;
        let accused = node.accused.as_ref()?;
        (accused.canary != Some(case.task.id)).then(|| accused.reason.clone())
    }
}
