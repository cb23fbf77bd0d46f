//! One slot: who fills it, and what should happen to it next.

use std::sync::Arc;

use warren_core::{
    cluster::Cluster,
    health::{Health, HealthStatus},
    service::Service,
    task::{Phase, StopCause, Task},
    time::Timestamp,
};

use crate::{
    Policy, backoff,
    health::{effective_health, failure, has_failed, is_live, serves, sickness, was_ready},
};

/// What a slot needs next. One at a time: the next look sees what it led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Move {
    /// A new task, which takes over from this one. Its backoff counts from `since`.
    Create {
        replaces: Option<Arc<Task>>,
        attempt: u32,
        since: Timestamp,
        why: String,
    },
    Stop {
        task: Arc<Task>,
        cause: StopCause,
        reason: String,
    },
}

/// What the slots of a service share, and so may have to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gates {
    /// So many more slots may go into replacement for their health.
    pub budget: u64,
    /// No slot is on its way to the newest template, so the next one may be.
    pub turn: bool,
}

impl Gates {
    fn take_budget(&mut self) -> bool {
        let free = self.budget > 0;
        self.budget = self.budget.saturating_sub(1);
        free
    }

    const fn take_turn(&mut self) -> bool {
        std::mem::replace(&mut self.turn, false)
    }
}

/// A task that has neither ended nor been told to.
#[derive(Debug)]
pub(crate) struct Live {
    pub task: Arc<Task>,
    pub health: Health,
    was_ready: bool,
    /// Why it is unhealthy by its last account, whether or not its node can be heard now.
    sick: Option<String>,
    stale: bool,
}

impl Live {
    pub fn serves(&self) -> bool {
        serves(&self.health)
    }

    pub fn is_failing(&self) -> bool {
        self.health.status == HealthStatus::Unhealthy
    }

    fn why_failing(&self) -> String {
        self.sick.clone().unwrap_or_else(|| "its successor was ready first".to_owned())
    }
}

/// Who plays which part among a slot's live tasks.
struct Cast<'t> {
    holder: Option<&'t Arc<Task>>,
    successor: Option<&'t Arc<Task>>,
    stray: Option<&'t Arc<Task>>,
}

impl<'t> Cast<'t> {
    /// From the live ones, the oldest first.
    fn of(live: impl Iterator<Item = &'t Arc<Task>>) -> Self {
        let mut live: Vec<_> = live.collect();
        let newest = live.pop();
        let older = newest.and_then(|task| live.iter().position(|t| Some(t.id) == task.replaces));
        let (holder, successor) = match older {
            Some(index) => (Some(live.remove(index)), newest),
            None => (newest, None),
        };
        Self { holder, successor, stray: live.first().copied() }
    }
}

/// Orders the tasks of a slot, the oldest first. In one millisecond a slot can see several tasks;
/// attempts grow along them.
fn age(task: &Task) -> impl Ord + use<> {
    (task.created_at, task.revision, task.attempt, task.id)
}

/// The task that fills a slot, of all its tasks: not the one that is to take over, nor one that
/// was called off. Where none does, the last one.
pub fn holder<'t>(tasks: impl Iterator<Item = &'t Arc<Task>>) -> Option<&'t Arc<Task>> {
    let mut tasks: Vec<_> = tasks.collect();
    tasks.sort_by_key(|task| age(task));
    let live = tasks.iter().copied().filter(|task| is_live(task));
    Cast::of(live).holder.or(tasks.last().copied())
}

/// A slot with all its tasks.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    number: u32,
    cluster: &'a Cluster,
    policy: &'a Policy,
    service: &'a Service,
    now: Timestamp,
    /// The oldest first.
    tasks: Vec<Arc<Task>>,
    /// The one that fills it.
    pub holder: Option<Live>,
    /// The one that takes over from the holder.
    pub successor: Option<Live>,
    /// Should not be: live beside the other two.
    stray: Option<Arc<Task>>,
}

impl<'a> Slot<'a> {
    pub fn new(
        cluster: &'a Cluster,
        policy: &'a Policy,
        service: &'a Service,
        number: u32,
        now: Timestamp,
        mut tasks: Vec<Arc<Task>>,
    ) -> Self {
        tasks.sort_by_key(|task| age(task));
        let Cast { holder, successor, stray } = Cast::of(tasks.iter().filter(|t| is_live(t)));
        let look = |task: &Arc<Task>| Live {
            health: effective_health(cluster, task, now),
            was_ready: was_ready(cluster, task),
            sick: sickness(cluster, task, now),
            stale: task.revision != service.template_revision,
            task: Arc::clone(task),
        };
        let (holder, successor) = (holder.map(look), successor.map(look));
        let stray = stray.map(Arc::clone);
        Self { number, cluster, policy, service, now, tasks, holder, successor, stray }
    }

    /// Those that have neither ended nor been told to.
    pub fn live(&self) -> impl Iterator<Item = &Live> {
        self.holder.iter().chain(&self.successor)
    }

    /// Filled, and not on its way to the newest template.
    pub fn is_settled(&self) -> bool {
        let settled = |live: &Live| live.stale || live.serves() || self.waits_from_the_start(live);
        self.holder.is_some() && self.live().all(settled)
    }

    /// No node takes it, and nothing was given up for it: a slot that cannot be filled must not
    /// hold up the others.
    fn waits_from_the_start(&self, live: &Live) -> bool {
        let old = live.task.replaces.and_then(|id| self.cluster.task(id));
        live.task.node().is_none()
            && live.task.attempt == 0
            && old.is_none_or(|old| !was_ready(self.cluster, old))
    }

    /// It was filled by a task that failed, and is not yet by one that works.
    pub fn is_restarting(&self) -> bool {
        let hedged =
            self.successor.is_some() && self.holder.as_ref().is_some_and(|h| h.sick.is_some());
        let fresh = |live: &Live| live.task.attempt > 0 && !live.was_ready;
        let empty = self.holder.is_none() && self.newest().is_some_and(|t| has_failed(t));
        let good = self.live().any(|live| live.health.status.is_good());
        !good && (hedged || empty || self.live().any(fresh))
    }

    /// Until when the slot takes a part of the budget; none when it takes none.
    pub fn budget_taken_until(&self) -> Option<Timestamp> {
        if let (Some(holder), Some(_)) = (&self.holder, &self.successor) {
            let for_health = holder.sick.is_some() || !holder.stale;
            return (holder.was_ready && for_health).then_some(Timestamp::MAX);
        }
        if self.live().any(|live| live.was_ready) {
            return None;
        }
        self.tasks.iter().filter_map(|task| self.held_by(task)).max()
    }

    /// A once ready task that was stopped for its health holds its slot's budget for a while,
    /// and for as long as its successor is undecided.
    fn held_by(&self, task: &Task) -> Option<Timestamp> {
        let stop = task.stop.as_ref().filter(|stop| stop.cause == StopCause::Unhealthy)?;
        if !was_ready(self.cluster, task) {
            return None;
        }
        let undecided = |live: &Live| live.task.replaces == Some(task.id) && !live.is_failing();
        let until = if self.live().any(undecided) {
            Timestamp::MAX
        } else {
            stop.at.after(self.policy.budget_hold)
        };
        (self.now < until).then_some(until)
    }

    /// The next move. `gates` are what the slots before this one left.
    pub fn next_move(&self, gates: &mut Gates) -> Option<Move> {
        let replicas = self.service.spec.replicas.get();
        if self.number > replicas {
            let last = self.successor.as_ref().or(self.holder.as_ref());
            let task = last.map(|live| &live.task).or(self.stray.as_ref())?;
            let reason = format!("{} was scaled to {replicas}", self.service.spec.name);
            return Some(stop(task, StopCause::ScaledDown, reason));
        }
        if let Some(stray) = &self.stray {
            let reason = "another task fills its slot".to_owned();
            return Some(stop(stray, StopCause::CalledOff, reason));
        }
        match (&self.holder, &self.successor) {
            (None, None | Some(_)) => Some(self.fill()),
            (Some(holder), None) => self.with_holder(holder, gates),
            (Some(holder), Some(successor)) => self.with_both(holder, successor),
        }
    }

    fn with_both(&self, old: &Live, new: &Live) -> Option<Move> {
        if new.serves() {
            let (cause, reason) = if old.stale && old.sick.is_none() {
                (StopCause::Updated, self.outdated(&old.task))
            } else {
                (StopCause::Unhealthy, old.why_failing())
            };
            return Some(stop(&old.task, cause, reason));
        }
        if new.stale {
            return Some(stop(&new.task, StopCause::Updated, self.outdated(&new.task)));
        }
        if new.is_failing() {
            // With no successor left, the old one's own case is looked at again.
            return Some(stop(&new.task, StopCause::Unhealthy, new.why_failing()));
        }
        if old.serves() && !old.stale {
            let reason = format!("task {} recovered before it was ready", old.task.id);
            return Some(stop(&new.task, StopCause::CalledOff, reason));
        }
        None
    }

    fn with_holder(&self, old: &Live, gates: &mut Gates) -> Option<Move> {
        // While its node is silent nothing begins, but what began for its health goes on.
        let hedge_failed = self.successors(&old.task).any(|t| has_failed(t));
        if old.is_failing() || (old.sick.is_some() && hedge_failed) {
            let give_up = !old.was_ready || hedge_failed || self.stops_first(old);
            if old.was_ready && !gates.take_budget() {
                return None;
            }
            return Some(if give_up {
                stop(&old.task, StopCause::Unhealthy, old.why_failing())
            } else {
                self.create(&old.task, old.why_failing())
            });
        }
        if !old.stale {
            return None;
        }
        let reason = self.outdated(&old.task);
        if !old.was_ready {
            return Some(stop(&old.task, StopCause::Updated, reason));
        }
        gates.take_turn().then(|| {
            if self.stops_first(old) {
                stop(&old.task, StopCause::Updated, reason)
            } else {
                self.create(&old.task, reason)
            }
        })
    }

    /// A slot without a live task gets one.
    fn fill(&self) -> Move {
        let not_called_off = |task: &&Arc<Task>| !is_called_off(task);
        let last = self.tasks.iter().rfind(not_called_off);
        match last.filter(|task| has_failed(task)) {
            Some(failed) => self.create(failed, failure(failed)),
            None => Move::Create {
                replaces: last.map(Arc::clone),
                attempt: 0,
                since: self.now,
                why: String::new(),
            },
        }
    }

    /// A successor to a task that failed, fails, or is outdated.
    fn create(&self, old: &Arc<Task>, why: String) -> Move {
        let (attempt, since) = self.attempt_after(old);
        Move::Create { replaces: Some(Arc::clone(old)), attempt, since, why }
    }

    /// How many failures in a row come before the successor of this task, and when the last one
    /// was. A new revision begins anew.
    fn attempt_after(&self, old: &Task) -> (u32, Timestamp) {
        if let Some(failed) = self.successors(old).filter(|t| has_failed(t)).last() {
            return (failed.attempt.saturating_add(1), self.ended_at(failed));
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
        let stable = backoff::ran_stably(self.cluster, self.policy, old, self.now);
        let before = if stable { 0 } else { old.attempt };
        let attempt = before.saturating_add(relapses.unwrap_or(u32::MAX)).saturating_add(1);
        (attempt, self.ended_at(old))
    }

    /// When it ended by the worker's clock, unless that is ahead of ours.
    fn ended_at(&self, task: &Task) -> Timestamp {
        match &task.status.phase {
            Phase::Ended(end) => end.at.min(self.now),
            Phase::Pending | Phase::Preparing | Phase::Running | Phase::Stopping => self.now,
        }
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

    fn newest(&self) -> Option<&Arc<Task>> {
        self.tasks.last()
    }
}

fn is_called_off(task: &Task) -> bool {
    task.stop.as_ref().is_some_and(|stop| stop.cause == StopCause::CalledOff)
}

fn stop(task: &Arc<Task>, cause: StopCause, reason: String) -> Move {
    Move::Stop { task: Arc::clone(task), cause, reason }
}
