//! One task's checks: attempts are started when they are due and folded when they end. One owner
//! holds the verdicts and moves the attempts, which are part of it: with it they end.

use std::{
    fmt,
    future::poll_fn,
    hint::black_box,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    time::Duration,
};

use futures::FutureExt;
use tokio::time::Instant;
use warren_core::{
    bounds::Ttl,
    check::{ByRole, Checks},
    health::Health,
    id::TaskId,
    outcome::{Attempt, Outcome},
    spec::ServiceName,
    time::Timestamp,
};
use warren_probe::{Prober, Seen, Target};
use warren_runtime::Runtime;
use warren_verdict::{CheckGroup, Elapsed, Next, TaskVerdicts};

use super::{
    Context, Process,
    flights::Handle,
    group::{Flight, Group, GroupState, Loops, loops},
    observation::Observation,
    rounds::Rounds,
    trials::{Trials, Turn},
};
use crate::{Clock, metrics::Meter};

/// One task's checks, as its actor has them. With it they end.
pub struct Checking(Arc<Watched>);

/// What the actor, the rounds and the attempts under way share. An attempt touches this and what
/// all tasks have in common: of much else the memory has gone cold since the last one.
pub struct Watched {
    task: TaskId,
    /// When the process started, on the monotonic clock.
    anchor: Instant,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) prober: Arc<Prober>,
    rounds: Arc<Rounds>,
    state: Mutex<State>,
    pub(super) target: Target,
    /// For attempts by hand.
    pub(super) turn: Turn,
}

struct State {
    verdicts: TaskVerdicts,
    groups: Loops,
    /// Nothing is attempted until then.
    paused_until: Option<Elapsed>,
    /// The actor takes news. While it does not, nothing is begun that could make more.
    attended: bool,
    /// When the rounds come by, if they do.
    queued: Option<Elapsed>,
    /// So many attempts have been begun.
    flights: u64,
    /// What the attempts since the last ones have changed, the weightiest.
    news: Option<Noted>,
    actor: Option<Waker>,
}

/// See [`Watched::peek`].
pub struct Peeked<'a> {
    state: MutexGuard<'a, State>,
    target: Option<warren_probe::Peeked<'a>>,
}

/// What an attempt changed. What is then told is the health as it is when it is told: orders may
/// have come since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Noted {
    /// A streak that a restart of the worker must not forget.
    Streak,
    /// The health that the manager is told.
    Changed,
}

/// An attempt to be made.
pub struct Begun {
    watched: Arc<Watched>,
    /// Of the group.
    index: usize,
    number: u64,
    shared: Arc<CheckGroup>,
    meter: Arc<Meter>,
    due: Elapsed,
}

/// An attempt that has ended.
struct Landed {
    attempt: Attempt,
    /// So much after its due time it began.
    late: Duration,
    /// At its timeout there was no answer, and it was given more.
    stretched: bool,
    ended: Elapsed,
}

impl Process {
    /// How long it has run, by the wall clock. One that this worker has started is no older and
    /// no younger than the worker knows itself, however that clock was set since.
    fn age(&self, clock: &dyn Clock) -> Elapsed {
        let age = clock.now().since(self.running.started_at);
        self.born.map_or(age, |(before, after)| age.clamp(after.elapsed(), before.elapsed()))
    }
}

impl Checking {
    /// `saved` is the health of a task that was adopted.
    pub fn new(
        task: TaskId,
        service: &ServiceName,
        checks: &Arc<Checks>,
        process: &Process,
        runtime: &Arc<dyn Runtime>,
        context: &Context,
        saved: Option<Health>,
    ) -> Self {
        let running = &process.running;
        let started = running.started_at;
        let (now, elapsed) = (Instant::now(), process.age(&*context.clock));
        let verdicts = match saved {
            Some(saved) => TaskVerdicts::restore(task, checks, started, &saved, elapsed),
            None => TaskVerdicts::new(task, checks, started),
        };
        let state = State {
            groups: loops(service, checks, &verdicts.health(), context),
            verdicts,
            paused_until: None,
            attended: false,
            queued: None,
            flights: 0,
            news: None,
            actor: None,
        };
        let watched = Watched {
            task,
            anchor: now.checked_sub(elapsed).unwrap_or(now),
            clock: Arc::clone(&context.clock),
            prober: Arc::clone(&context.prober),
            rounds: Arc::clone(&context.rounds),
            state: Mutex::new(state),
            target: Target::new(task, running.reach.clone(), Arc::clone(runtime)),
            turn: Turn::default(),
        };
        let watched = Arc::new(watched);
        watched.plan_attempts(&mut watched.state());
        Self(watched)
    }

    /// For those who look at what is seen here.
    pub const fn watched(&self) -> &Arc<Watched> {
        &self.0
    }

    pub fn health(&self) -> Health {
        self.0.state().verdicts.health()
    }

    /// The task is to be stopped: from here on only readiness is looked at. What attempts have
    /// changed and nobody was told of.
    pub fn drain(&mut self) -> Option<Noted> {
        let mut state = self.0.state();
        state.cancel_attempts();
        state.verdicts.stop(self.0.clock.now());
        self.0.plan_attempts(&mut state);
        state.news.take()
    }

    /// Rests until then, and what was before is forgotten. One that is over already, since nobody
    /// watched meanwhile, still parts what comes from what was. What there is to note, with what
    /// attempts had changed before.
    pub fn pause(&mut self, until: Timestamp) -> Noted {
        let mut state = self.0.state();
        state.cancel_attempts();
        self.0.target.let_go();
        state.verdicts.pause();
        for group in &mut state.groups {
            group.forget();
        }
        self.0.rest(&mut state, until);
        // The next worker is not to count what this one has forgotten.
        state.news.take().unwrap_or(Noted::Streak)
    }

    /// Goes on with a pause that the worker before this one has begun.
    pub fn rest(&mut self, until: Timestamp) {
        let mut state = self.0.state();
        state.cancel_attempts();
        self.0.rest(&mut state, until);
    }

    /// Ends a pause, if there is one.
    pub fn resume(&mut self) {
        self.0.resume(&mut self.0.state());
    }

    /// Goes on with other checks; what is in flight is cancelled. There is a change to note then,
    /// with all that attempts had changed before. Not so a task whose startup has failed: it keeps
    /// the check that says so.
    pub fn edit(
        &mut self,
        service: &ServiceName,
        before: &Checks,
        after: &Arc<Checks>,
        context: &Context,
    ) -> bool {
        let mut state = self.0.state();
        if state.verdicts.has_ended() {
            return false;
        }
        state.cancel_attempts();
        self.0.target.let_go();
        let (at, elapsed) = (self.0.clock.now(), self.0.anchor.elapsed());
        state.verdicts.edit(self.0.task, before, after, at, elapsed);
        state.groups = loops(service, after, &state.verdicts.health(), context);
        state.news = None;
        self.0.plan_attempts(&mut state);
        true
    }

    /// The process is gone.
    pub fn exited(&mut self, why: String, at: Timestamp) -> Health {
        let mut state = self.0.state();
        state.cancel_attempts();
        state.verdicts.exited(at, why);
        state.verdicts.health()
    }

    /// Until an attempt has changed something worth noting, and the health that there is now.
    /// From then on until the next call nothing is begun. Loses nothing when dropped.
    pub async fn next(&mut self) -> (Noted, Box<Health>) {
        poll_fn(|cx| {
            let mut state = self.0.state();
            if let Some(noted) = state.news.take() {
                state.attended = false;
                return Poll::Ready((noted, Box::new(state.verdicts.health())));
            }
            match &mut state.actor {
                Some(actor) => actor.clone_from(cx.waker()),
                None => state.actor = Some(cx.waker().clone()),
            }
            state.attended = true;
            self.0.enqueue(&mut state);
            Poll::Pending
        })
        .await
    }
}

impl Drop for Checking {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.attended = false;
        state.cancel_attempts();
    }
}

impl Watched {
    pub fn observation(&self) -> Observation {
        let mut attempts = ByRole::<Vec<Attempt>>::default();
        let (mut next, mut lateness) = (ByRole::default(), ByRole::default());
        let (elapsed, now) = (self.anchor.elapsed(), self.clock.now());
        let moment = |at: Elapsed| now.after(at.saturating_sub(elapsed));
        let state = self.state();
        for Group { shared, state: planned, late, .. } in &state.groups {
            for &role in shared.roles {
                *attempts.get_mut(role) = state.verdicts.recent(role).collect();
                *next.get_mut(role) = match planned {
                    GroupState::Due(at) => Some(moment(*at)),
                    GroupState::Idle | GroupState::InFlight(_) => None,
                };
                *lateness.get_mut(role) = *late;
            }
        }
        let paused_until = state.paused_until.map(moment);
        let health = state.verdicts.health();
        Observation { task: self.task, health, attempts, next, late: lateness, paused_until }
    }

    pub fn trials(self: &Arc<Self>) -> Trials {
        let groups = self.state().groups.iter().map(|group| Arc::clone(&group.shared)).collect();
        Trials { watched: Arc::clone(self), groups }
    }

    /// Looks at it from one end to the other, and does nothing else.
    pub fn glance(&self) {
        black_box((self.task, self.anchor, self.state.is_poisoned()));
        self.target.glance();
    }

    /// Its state, where nobody has it.
    pub fn peek(&self) -> Option<Peeked<'_>> {
        let state = self.state.try_lock().ok()?;
        Some(Peeked { state, target: self.target.peek() })
    }

    /// The rounds have come by now, as they were asked to for then.
    pub fn come_by(
        self: &Arc<Self>,
        at: Instant,
        now: Instant,
        begin: &mut impl FnMut(Begun) -> Handle,
    ) {
        let mut state = self.state();
        // They may have been asked to come sooner since, and then they did.
        if state.queued.is_none_or(|queued| self.anchor + queued != at) {
            return;
        }
        state.queued = None;
        if state.attended {
            self.start_due(&mut state, now.saturating_duration_since(self.anchor), begin);
            self.enqueue(&mut state);
        }
    }

    fn start_due(
        self: &Arc<Self>,
        state: &mut State,
        now: Elapsed,
        begin: &mut impl FnMut(Begun) -> Handle,
    ) {
        if state.paused_until.is_some_and(|until| until <= now) {
            self.resume(state);
        }
        let State { groups, flights, .. } = state;
        for (index, group) in groups.iter_mut().enumerate() {
            let due = match group.state {
                GroupState::Due(at) if at <= now => at,
                GroupState::Due(_) | GroupState::Idle | GroupState::InFlight(_) => continue,
            };
            *flights += 1;
            let number = *flights;
            let (shared, meter) = (Arc::clone(&group.shared), Arc::clone(&group.meter));
            let watched = Arc::clone(self);
            let attempt = begin(Begun { watched, index, number, shared, meter, due });
            group.state = GroupState::InFlight(Flight { number, attempt });
        }
    }

    async fn attempt(&self, shared: &CheckGroup, meter: &Meter, due: Elapsed) -> Landed {
        let begun = self.anchor.elapsed();
        let late = begun.saturating_sub(due);
        let in_flight = meter.begin(late);
        let at = self.clock.now();
        let check = &shared.check;
        let timeout = check.timing.timeout.get();
        let seen = self.prober.attempt(&self.target, &check.kind, timeout).await;
        drop(in_flight);
        let queued = check.kind.needs_permit().then_some(seen.waited);
        meter.end(seen.outcome, seen.latency, queued, seen.stretched);
        // A wait for a free slot is ours, so the attempt began after it.
        let at = at.after(seen.waited);
        let ended = begun + seen.waited + seen.latency;
        let Seen { outcome, message, components, latency, stretched, .. } = seen;
        let latency = whole_millis(latency);
        let attempt = Attempt { at, latency, outcome, message, components };
        Landed { attempt, late, stretched, ended }
    }

    /// An attempt that panicked, and has said so on standard error.
    fn fell(&self, due: Elapsed) -> Landed {
        let ended = self.anchor.elapsed();
        let attempt = Attempt {
            at: self.clock.now(),
            latency: Duration::ZERO,
            outcome: Outcome::Inconclusive,
            message: "the worker itself failed in this attempt".to_owned(),
            components: Box::default(),
        };
        Landed { attempt, late: ended.saturating_sub(due), stretched: false, ended }
    }

    /// Records what the attempt has seen, unless it was cancelled meanwhile.
    fn land(self: &Arc<Self>, index: usize, number: u64, landed: Landed) {
        let mut whole = self.state();
        let state = &mut *whole;
        let group = state.groups.get_mut(index).filter(|group| match &group.state {
            GroupState::InFlight(flight) => flight.number == number,
            GroupState::Idle | GroupState::Due(_) => false,
        });
        let Some(group) = group else { return };
        group.state = GroupState::Idle;
        let Landed { attempt, late, stretched, ended } = landed;
        let decides = group.note_outcome(attempt.outcome, ended);
        group.late = Some(late);
        let role = group.shared.role;
        tracing::debug!(
            task.id = %self.task,
            check.kind = group.shared.check.kind.name(),
            role = role.name(),
            outcome = ?attempt.outcome,
            latency_ms = attempt.latency.as_millis(),
            stretched,
            said = attempt.message,
            "attempt"
        );
        let noted = match state.verdicts.observe(role, attempt, ended) {
            Some(health) => {
                group.note_verdicts(&health, ended);
                Some(Noted::Changed)
            }
            None => decides.then_some(Noted::Streak),
        };
        if noted.is_some() {
            state.news = state.news.max(noted);
            state.attended = false;
            if let Some(actor) = state.actor.take() {
                actor.wake();
            }
        }
        self.plan_attempts_at(state, ended);
    }

    /// Attempts nothing until then, by the monotonic clock from here on.
    fn rest(self: &Arc<Self>, state: &mut State, until: Timestamp) {
        // Wall clocks may disagree by any time; a pause still ends.
        let left = until.since(self.clock.now()).min(Ttl::MAX.get());
        state.paused_until = Some(self.anchor.elapsed() + left);
        self.enqueue(state);
    }

    fn resume(self: &Arc<Self>, state: &mut State) {
        if state.paused_until.take().is_some() {
            tracing::info!(task.id = %self.task, "checks go on");
            self.plan_attempts(state);
        }
    }

    /// Asks when each group is due that has nothing planned or something still to come. What is
    /// overdue stays planned: it starts now, late.
    fn plan_attempts(self: &Arc<Self>, state: &mut State) {
        self.plan_attempts_at(state, self.anchor.elapsed());
    }

    fn plan_attempts_at(self: &Arc<Self>, state: &mut State, now: Elapsed) {
        if state.paused_until.is_none() {
            state.plan_attempts(now);
        }
        self.enqueue(state);
    }

    /// Asks the rounds to come by, where they would not in time.
    fn enqueue(self: &Arc<Self>, state: &mut State) {
        let Some(at) = state.soonest().filter(|_| state.attended) else { return };
        if state.queued.is_none_or(|queued| at < queued) {
            state.queued = Some(at);
            self.rounds.come_by(self.anchor + at, self);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Begun {
    /// The attempt, to its record. One that panics takes nobody else's with it.
    pub fn fly(self) -> impl Future<Output = ()> + Send {
        let Self { watched, index, number, shared, meter, due } = self;
        async move {
            let attempt = AssertUnwindSafe(watched.attempt(&shared, &meter, due));
            let landed = attempt.catch_unwind().await;
            let landed = landed.unwrap_or_else(|_panic| watched.fell(due));
            watched.land(index, number, landed);
        }
    }
}

impl Peeked<'_> {
    /// Looks at all that an attempt and its outcome touch.
    pub fn glance(&self) {
        let Self { state, target } = self;
        black_box((state.attended, state.queued, state.flights, state.news));
        for group in &state.groups {
            black_box((group.late, matches!(group.state, GroupState::Due(_))));
            state.verdicts.glance(group.shared.role);
        }
        if let Some(target) = target {
            target.glance();
        }
    }
}

impl State {
    fn cancel_attempts(&mut self) {
        self.groups.iter_mut().for_each(Group::cancel);
    }

    fn plan_attempts(&mut self, now: Elapsed) {
        for group in &mut self.groups {
            match group.state {
                GroupState::InFlight(_) => continue,
                GroupState::Due(at) if at <= now => continue,
                GroupState::Due(_) | GroupState::Idle => {}
            }
            group.state = match self.verdicts.next_attempt(group.shared.role, now) {
                Next::At(at) => GroupState::Due(at),
                Next::AfterStartup | Next::Never => GroupState::Idle,
            };
        }
    }

    fn soonest(&self) -> Option<Elapsed> {
        let due = |group: &Group| match group.state {
            GroupState::Due(at) => Some(at),
            GroupState::Idle | GroupState::InFlight(_) => None,
        };
        self.groups.iter().filter_map(due).chain(self.paused_until).min()
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("task", &self.task).finish_non_exhaustive()
    }
}

/// Records are kept to the millisecond.
const fn whole_millis(latency: Duration) -> Duration {
    #[expect(clippy::cast_possible_truncation, reason = "an attempt lasts a day at most")]
    Duration::from_millis(latency.as_millis() as u64)
}

#[cfg(test)]
mod tests;
