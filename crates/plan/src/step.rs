//! What a slot needs next, by which rule, and what holds it.

use std::sync::Arc;

use warren_core::{
    rule::Rule,
    task::{StopCause, Task},
    time::Timestamp,
};

use crate::{
    guard::{Case, Gates, Held},
    health::{ended_at, failure, has_failed, was_ready},
    slot::{Live, Slot, is_called_off},
};

/// One at a time: the next look sees what it led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A new task, which takes over from this one. Its backoff, if it has one, counts from
    /// `since`.
    Create {
        replaces: Option<Arc<Task>>,
        attempt: u32,
        since: Option<Timestamp>,
        rule: Rule,
        why: String,
    },
    Stop {
        task: Arc<Task>,
        cause: StopCause,
        rule: Rule,
        reason: String,
    },
    /// Something is due, and is not done.
    Held(Held),
}

impl Slot<'_> {
    /// `gates` are what the slots before this one left.
    pub fn next_step(&self, gates: &mut Gates) -> Option<Step> {
        let replicas = self.service.spec.replicas.get();
        if self.number > replicas {
            let last = self.successor.as_ref().or(self.holder.as_ref());
            let task = last.map(|live| &live.task).or(self.stray.as_ref())?;
            let reason = format!("{} was scaled to {replicas}", self.service.spec.name);
            return Some(stop(task, StopCause::ScaledDown, Rule::ScaledDown, reason));
        }
        if let Some(stray) = &self.stray {
            let reason = "another task fills its slot".to_owned();
            return Some(stop(stray, StopCause::CalledOff, Rule::CalledOff, reason));
        }
        match (&self.holder, &self.successor) {
            (None, None | Some(_)) => Some(self.fill(gates)),
            (Some(holder), None) => self.with_holder(holder, gates),
            (Some(holder), Some(successor)) => self.with_both(holder, successor),
        }
    }

    fn with_both(&self, old: &Live, new: &Live) -> Option<Step> {
        if new.serves() {
            let (cause, reason) = if old.sick.is_some() {
                (StopCause::Unhealthy, old.why_failing())
            } else if let Some(lost) = &old.lost {
                (StopCause::NodeLost, lost.clone())
            } else if old.stale {
                (StopCause::Updated, self.outdated(&old.task))
            } else if let Some(moves) = &old.moves {
                (StopCause::Moved, moves.clone())
            } else {
                (StopCause::Unhealthy, old.why_failing())
            };
            return Some(stop(&old.task, cause, Rule::HandedOver, reason));
        }
        if let Some(lost) = &new.lost {
            return Some(stop(&new.task, StopCause::NodeLost, Rule::Lost, lost.clone()));
        }
        if new.stale {
            let reason = self.outdated(&new.task);
            return Some(stop(&new.task, StopCause::Updated, Rule::Outdated, reason));
        }
        if new.is_failing() {
            // With no successor left, the old one's own case is looked at again.
            let rule = Rule::SuccessorFailed;
            return Some(stop(&new.task, StopCause::Unhealthy, rule, new.why_failing()));
        }
        if old.serves() && !old.stale && old.moves.is_none() {
            let reason = format!("task {} recovered before it was ready", old.task.id);
            return Some(stop(&new.task, StopCause::CalledOff, Rule::CalledOff, reason));
        }
        let moves = new.moves.as_ref()?;
        Some(stop(&new.task, StopCause::Moved, Rule::Moved, moves.clone()))
    }

    fn with_holder(&self, old: &Live, gates: &mut Gates) -> Option<Step> {
        // While its node is silent nothing begins for its health, but what began goes on.
        let hedge_failed = self.successors(&old.task).any(|t| has_failed(t));
        if old.is_failing() || (old.sick.is_some() && hedge_failed && old.lost.is_none()) {
            let give_up = !old.was_ready || hedge_failed || self.stops_first(old);
            let case = self.case(Rule::Unhealthy, old, old.why_failing());
            return Some(match self.pass(&case, gates) {
                Err(held) => Step::Held(held),
                Ok(()) if give_up => {
                    stop(&old.task, StopCause::Unhealthy, Rule::Unhealthy, old.why_failing())
                }
                Ok(()) => self.create(&old.task, Rule::Unhealthy, old.why_failing()),
            });
        }
        if let Some(lost) = &old.lost {
            let case = self.case(Rule::Lost, old, lost.clone());
            return Some(self.relocate(&case, StopCause::NodeLost, old, gates));
        }
        if let Some(moves) = &old.moves {
            let case = self.case(Rule::Moved, old, moves.clone());
            return Some(self.relocate(&case, StopCause::Moved, old, gates));
        }
        if old.stale { self.update(old, gates) } else { None }
    }

    /// Elsewhere, no host port is in the way: what was ready stays until the next one is.
    fn relocate(&self, case: &Case, how: StopCause, old: &Live, gates: &mut Gates) -> Step {
        match self.pass(case, gates) {
            Err(held) => Step::Held(held),
            Ok(()) if case.attempt.is_some() => {
                self.create(&old.task, case.rule, case.seen.clone())
            }
            Ok(()) if old.was_ready => self.elsewhere(&old.task, case.rule, case.seen.clone()),
            Ok(()) => stop(&old.task, how, case.rule, case.seen.clone()),
        }
    }

    fn update(&self, old: &Live, gates: &mut Gates) -> Option<Step> {
        let reason = self.outdated(&old.task);
        if !old.was_ready {
            return Some(stop(&old.task, StopCause::Updated, Rule::Outdated, reason));
        }
        gates.take_turn().then(|| {
            if self.stops_first(old) {
                stop(&old.task, StopCause::Updated, Rule::Outdated, reason)
            } else {
                self.create(&old.task, Rule::Outdated, reason)
            }
        })
    }

    /// A slot without a live task gets one.
    fn fill(&self, gates: &mut Gates) -> Step {
        let Some(last) = self.last() else {
            return first(None, Rule::Fill);
        };
        if has_failed(last) {
            return self.fill_after(last, gates);
        }
        match last.stop.as_ref().map(|stop| stop.cause) {
            Some(StopCause::NodeLost) => self.elsewhere(last, Rule::Lost, failure(last)),
            Some(StopCause::Moved | StopCause::NodeRemoved) => {
                self.elsewhere(last, Rule::Moved, failure(last))
            }
            Some(StopCause::Updated) => first(Some(last), Rule::Outdated),
            Some(StopCause::Requested) => first(Some(last), Rule::Requested),
            Some(
                StopCause::Unhealthy
                | StopCause::ScaledDown
                | StopCause::ServiceRemoved
                | StopCause::CalledOff,
            )
            | None => first(Some(last), Rule::Fill),
        }
    }

    fn fill_after(&self, failed: &Arc<Task>, gates: &mut Gates) -> Step {
        let rule = if failed.stop.is_some() { Rule::Unhealthy } else { Rule::Ended };
        // What was stopped to be replaced is replaced, whatever happened since.
        let begun = |t: &&Arc<Task>| t.id == failed.id || failed.replaces == Some(t.id);
        let stopped =
            |t: &Arc<Task>| t.stop.as_ref().is_some_and(|s| s.cause == StopCause::Unhealthy);
        if !self.tasks.iter().filter(begun).any(stopped) {
            let case = Case {
                task: Arc::clone(failed),
                rule,
                seen: failure(failed),
                at: self.failed_at(failed),
                soft: false,
                budgeted: false,
                attempt: Some(self.attempt_after(failed).0),
            };
            if let Err(held) = self.pass(&case, gates) {
                return Step::Held(held);
            }
        }
        self.create(failed, rule, failure(failed))
    }

    /// A successor to a task that failed, fails, or is outdated.
    fn create(&self, old: &Arc<Task>, rule: Rule, why: String) -> Step {
        let (attempt, since) = self.attempt_after(old);
        Step::Create { replaces: Some(Arc::clone(old)), attempt, since: Some(since), rule, why }
    }

    /// A successor to a task that did nothing wrong: its failures are neither more nor forgotten.
    fn elsewhere(&self, old: &Arc<Task>, rule: Rule, why: String) -> Step {
        let stable = self.ran_stably(old) || old.revision != self.service.template_revision;
        let attempt = if stable { 0 } else { old.attempt };
        Step::Create { replaces: Some(Arc::clone(old)), attempt, since: None, rule, why }
    }

    fn case(&self, rule: Rule, old: &Live, seen: String) -> Case {
        let failed = rule == Rule::Unhealthy || self.successors(&old.task).any(|t| has_failed(t));
        let node = old.task.node().and_then(|id| self.cluster.node(id));
        Case {
            task: Arc::clone(&old.task),
            rule,
            seen,
            at: node.filter(|_| rule == Rule::Lost).map_or(old.health.since, |node| node.since),
            soft: old.soft,
            budgeted: old.was_ready && rule == Rule::Unhealthy,
            attempt: failed.then(|| self.attempt_after(&old.task).0),
        }
    }

    /// Some guard holds its replacement, whatever the service's other slots do.
    pub fn is_barred(&self) -> bool {
        let sick = self.holder.as_ref().filter(|_| self.successor.is_none());
        sick.is_some_and(|holder| {
            let case = self.case(Rule::Unhealthy, holder, String::new());
            self.barred(&case).is_some() || self.singly(&case).is_some()
        }) || (self.holder.is_none()
            && self
                .last()
                .is_some_and(|failed| self.exhausted(self.attempt_after(failed).0).is_some()))
    }

    /// How many failures in a row come before the successor of this task, and when the last one
    /// was. A new revision begins anew, and so does what was released.
    pub fn attempt_after(&self, old: &Task) -> (u32, Timestamp) {
        if let Some(failed) = self.successors(old).filter(|t| has_failed(t)).last() {
            let attempt = if self.is_released(failed) { 0 } else { failed.attempt };
            return (attempt.saturating_add(1), ended_at(failed, self.now));
        }
        if old.revision != self.service.template_revision {
            return (0, self.now);
        }
        // A task that failed, recovered and fails again has failed once more.
        let recent = |t: &&Arc<Task>| {
            let stopped = t.stop.as_ref().filter(|_| is_called_off(t)).map(|stop| stop.at);
            stopped.is_some_and(|at| self.now.since(at) < self.policy.stable_run)
        };
        let relapses = u32::try_from(self.successors(old).filter(recent).count());
        let forgiven = self.ran_stably(old) || (has_failed(old) && self.is_released(old));
        let before = if forgiven { 0 } else { old.attempt };
        let attempt = before.saturating_add(relapses.unwrap_or(u32::MAX)).saturating_add(1);
        (attempt, ended_at(old, self.now))
    }

    /// The tasks of the current revision that were to take over from this one.
    fn successors(&self, old: &Task) -> impl Iterator<Item = &Arc<Task>> {
        let (current, id) = (self.service.template_revision, old.id);
        self.tasks.iter().filter(move |t| t.revision == current && t.replaces == Some(id))
    }

    /// Two tasks cannot share a host port, so the old one goes before the new one comes.
    fn stops_first(&self, old: &Live) -> bool {
        let binds = |revision| {
            self.service.template(revision).is_some_and(|template| template.binds_host_ports())
        };
        binds(self.service.template_revision) || binds(old.task.revision)
    }

    fn outdated(&self, task: &Task) -> String {
        format!("revision {} is now {}", task.revision, self.service.template_revision)
    }

    /// No node takes it, and nothing was given up for it: a slot that cannot be filled must not
    /// hold up the others.
    pub fn waits_from_the_start(&self, live: &Live) -> bool {
        let old = live.task.replaces.and_then(|id| self.cluster.task(id));
        live.task.node().is_none()
            && live.task.attempt == 0
            && old.is_none_or(|old| !was_ready(self.cluster, old))
    }
}

/// A task without a history of failures.
fn first(replaces: Option<&Arc<Task>>, rule: Rule) -> Step {
    let why = replaces.map_or_else(String::new, |old| failure(old));
    Step::Create { replaces: replaces.cloned(), attempt: 0, since: None, rule, why }
}

fn stop(task: &Arc<Task>, cause: StopCause, rule: Rule, reason: String) -> Step {
    Step::Stop { task: Arc::clone(task), cause, rule, reason }
}
