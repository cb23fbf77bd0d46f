//! One slot: who fills it, how it fares, and how it fared.

use std::{sync::Arc, time::Duration};

use warren_core::{
    check::{Role, Timing},
    cluster::Cluster,
    health::{HealthStatus, Standing},
    rule::{Hold, Rule},
    service::Service,
    spec::RestartPolicy,
    task::{StopCause, Task},
    time::Timestamp,
};

use crate::{
    Policy, backoff,
    health::{ended_at, has_failed, is_live, is_soft, serves, sickness, standing, was_ready},
    node,
};

/// A task that has neither ended nor been told to.
#[derive(Debug)]
pub(crate) struct Live {
    pub task: Arc<Task>,
    pub health: Standing,
    pub was_ready: bool,
    /// Why it is unhealthy by its last account, whether or not its node can be heard now.
    pub sick: Option<String>,
    /// It is unhealthy for nothing but deadlines that passed.
    pub soft: bool,
    /// Its node is lost, for so long that it is replaced.
    pub lost: Option<String>,
    /// Why it should be on another node.
    pub moves: Option<String>,
    pub stale: bool,
}

impl Live {
    pub fn serves(&self) -> bool {
        serves(self.health)
    }

    pub fn is_failing(&self) -> bool {
        self.health.status == HealthStatus::Unhealthy
    }

    pub fn why_failing(&self) -> String {
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
    pub number: u32,
    pub cluster: &'a Cluster,
    pub policy: &'a Policy,
    pub service: &'a Service,
    pub now: Timestamp,
    /// The oldest first.
    pub tasks: Vec<Arc<Task>>,
    /// The one that fills it.
    pub holder: Option<Live>,
    /// The one that takes over from the holder.
    pub successor: Option<Live>,
    /// Should not be: live beside the other two.
    pub stray: Option<Arc<Task>>,
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
            health: standing(cluster, task, now),
            was_ready: was_ready(cluster, task),
            sick: sickness(cluster, task, now),
            soft: is_soft(cluster, task, now),
            lost: node::lost(cluster, policy, task, now),
            moves: node::moves(cluster, service, task),
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
            let elsewhere = holder.stale || holder.lost.is_some() || holder.moves.is_some();
            let for_health = holder.sick.is_some() || !elsewhere;
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

    /// Two tasks, because the one is where it should not be.
    pub fn is_moving(&self) -> bool {
        let holder = self.holder.as_ref().filter(|_| self.successor.is_some());
        holder.is_some_and(|holder| holder.moves.is_some() && holder.sick.is_none())
    }

    pub fn newest(&self) -> Option<&Arc<Task>> {
        self.tasks.last()
    }

    /// The newest that was not called off.
    pub fn last(&self) -> Option<&Arc<Task>> {
        self.tasks.iter().rfind(|task| !is_called_off(task))
    }

    /// Since when nothing works in it, and the task by which that is known, for as long as that is
    /// the running revision's own fault.
    pub fn failing(&self) -> Option<(Timestamp, &Task)> {
        if self.live().any(Live::serves) {
            return None;
        }
        let (at, task) = match &self.holder {
            Some(holder) if holder.stale => return None,
            Some(holder) if holder.sick.is_some() => (holder.health.since, &holder.task),
            Some(holder) if holder.was_ready || holder.task.attempt == 0 => return None,
            Some(_) | None => {
                let failed = self.tasks.iter().rfind(|task| has_failed(task))?;
                (self.failed_at(failed), failed)
            }
        };
        (!self.is_released_at(at)).then_some((at, task))
    }

    /// When it became what it was replaced for.
    pub fn failed_at(&self, task: &Task) -> Timestamp {
        let health = self.cluster.health(task.id).map(|health| health.standing(self.now));
        let sick = health.filter(|health| health.status == HealthStatus::Unhealthy);
        let ended = ended_at(task, self.now);
        match (sick, &task.stop) {
            (Some(sick), _) => sick.since.min(ended),
            (None, Some(stop)) => stop.at,
            (None, None) => ended,
        }
    }

    /// Something is on its way that may mend it.
    pub fn is_in_replacement(&self) -> bool {
        let fresh = |live: &Live| live.task.attempt > 0 && !live.was_ready && !live.is_failing();
        self.successor.is_some() || self.holder.as_ref().is_some_and(fresh)
    }

    /// What holds its replacement.
    pub fn held(&self) -> Option<&Hold> {
        self.tasks.iter().find_map(|task| task.held.as_deref())
    }

    pub fn is_held_by(&self, rule: Rule) -> bool {
        self.held().is_some_and(|held| held.rule == rule)
    }

    /// Since when a task works that was made since then, or that was made so little before and has
    /// come to work since.
    pub fn serves_since(&self, at: Timestamp, before: Duration) -> Option<Timestamp> {
        let newer = self.serving().filter(|&(made, ready_since)| {
            at <= made || (at <= ready_since && at <= made.after(before))
        });
        newer.map(|(_, ready_since)| ready_since).min()
    }

    /// Since when its task works, where that is since then.
    pub fn recovered_since(&self, at: Timestamp) -> Option<Timestamp> {
        self.serving().map(|(_, ready_since)| ready_since).filter(|since| at <= *since).min()
    }

    /// Of the tasks that work, when each was made and since when it is ready.
    fn serving(&self) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        self.live().filter(|live| !live.stale && live.serves()).filter_map(|live| {
            let health = self.cluster.health(live.task.id)?;
            Some((live.task.created_at, health.observed.ready_since))
        })
    }

    /// Within so long, tasks that are looked at one after the other fail together.
    pub fn moment(&self) -> Option<Duration> {
        self.longest(|timing| 2 * timing.period.get())
    }

    /// After so long each of its checks has been attempted once more.
    pub fn next_look(&self) -> Option<Duration> {
        self.longest(|timing| timing.period.get() + timing.timeout.get())
    }

    fn longest(&self, of: impl Fn(&Timing) -> Duration) -> Option<Duration> {
        let task = self.holder.as_ref().map(|live| &live.task).or_else(|| self.last())?;
        let checks = task.status.checks.as_ref();
        let timings = Role::ALL
            .into_iter()
            .filter_map(|role| checks?.get(role).as_ref())
            .map(|check| of(&check.timing));
        Some(timings.max().unwrap_or_default())
    }

    /// Somebody let it go since.
    pub fn is_released_at(&self, at: Timestamp) -> bool {
        self.service.released_at.is_some_and(|released| at <= released)
    }

    pub fn is_released(&self, failed: &Task) -> bool {
        self.is_released_at(self.failed_at(failed))
    }

    pub fn ran_stably(&self, task: &Task) -> bool {
        backoff::ran_stably(self.cluster, self.policy, task, self.now)
    }

    /// Why no further task is tried, if `attempt` failures in a row came before it.
    pub fn exhausted(&self, attempt: u32) -> Option<String> {
        let RestartPolicy { max_attempts, window } = self.service.spec.restart;
        let most = max_attempts?.get();
        let failures = match window {
            None => attempt,
            Some(window) => self.failures_within(window.get()),
        };
        let within = window.map_or_else(String::new, |window| format!(" within {window}"));
        (failures > most).then(|| {
            format!(
                "it failed {failures} times{within}, and {most} restarts are allowed; warren \
                 service release {} tries again",
                self.service.spec.name
            )
        })
    }

    /// Up to the last failure. A task that is unhealthy has failed, though it still runs.
    fn failures_within(&self, window: Duration) -> u32 {
        let current = self.service.template_revision;
        let sick = |task: &Task| sickness(self.cluster, task, self.now).is_some() && is_live(task);
        let failed: Vec<Timestamp> = self
            .tasks
            .iter()
            .filter(|task| task.revision == current && (has_failed(task) || sick(task)))
            .map(|task| self.failed_at(task))
            .filter(|at| !self.is_released_at(*at))
            .collect();
        let last = failed.iter().max().copied().unwrap_or(self.now);
        let recent = failed.iter().filter(|at| last.since(**at) < window).count();
        u32::try_from(recent).unwrap_or(u32::MAX)
    }
}

pub(crate) fn is_called_off(task: &Task) -> bool {
    task.stop.as_ref().is_some_and(|stop| stop.cause == StopCause::CalledOff)
}
