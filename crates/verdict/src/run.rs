//! One role's outcomes, folded one by one into its verdict.

use std::hint::black_box;

use warren_core::{
    check::{Role, Timing},
    health::{Grounds, RoleHealth, Streak, Verdict},
    outcome::{Attempt, Outcome},
    time::Timestamp,
};

use crate::{flap::Window, reason, schedule::Elapsed, watch::longest_silence};

/// A role of one task. What was seen and whether anybody could look are kept apart: `known` and
/// `run` hear only of conclusive outcomes, `sight` of the observer's own trouble. The timing that
/// it goes by is the check's, which all tasks of a service share.
#[derive(Debug, Clone)]
pub(crate) struct RoleRun {
    role: Role,
    known: Known,
    /// Ever, to what it asks now: until then attempts come at the start interval.
    has_passed: bool,
    run: Run,
    sight: Sight,
    /// See [`RoleHealth::lasted_ms`].
    lasted_ms: u32,
    window: Window,
    since: Timestamp,
    why: Box<str>,
}

/// What the conclusive outcomes add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    Pending,
    Passing,
    Failing,
}

/// The run of equal conclusive outcomes.
#[derive(Debug, Clone, Copy)]
enum Run {
    None,
    Passes(u32),
    /// `first` is the start of the first attempt of the run.
    Failures {
        count: u32,
        first: Elapsed,
    },
}

/// Whether the observer can look.
#[derive(Debug, Clone, Copy)]
enum Sight {
    Seen,
    /// Inconclusive, so often and since then.
    Blind {
        count: u32,
        first: Elapsed,
    },
    /// Blind for so long that the verdict is unknown.
    Lost {
        count: u32,
        first: Elapsed,
    },
}

impl RoleRun {
    pub(crate) fn new(role: Role, since: Timestamp) -> Self {
        Self {
            role,
            known: Known::Pending,
            has_passed: false,
            run: Run::None,
            sight: Sight::Seen,
            lasted_ms: 0,
            window: Window::default(),
            since,
            why: Box::default(),
        }
    }

    /// Goes on from a record whose last attempt began so long `ago`. That is by the wall clock:
    /// where it was set back since, a run has lasted for as long as it had then, and no less than
    /// attempts that lie at least `gap` apart took.
    pub(crate) fn resume(
        &mut self,
        timing: &Timing,
        saved: &RoleHealth,
        now: Elapsed,
        ago: Elapsed,
        gap: Elapsed,
    ) {
        self.lasted_ms = saved.lasted_ms;
        let lasted = Elapsed::from_millis(saved.lasted_ms.into());
        let first = |count: u32| {
            now.saturating_sub((ago + lasted).max(gap.saturating_mul(count.saturating_sub(1))))
        };
        self.since = saved.since;
        self.known = match (saved.verdict, saved.grounds) {
            (Verdict::Pending, _) | (Verdict::Unknown, Grounds::None) => Known::Pending,
            (Verdict::Passing, _) | (Verdict::Unknown, Grounds::Assumed | Grounds::Seen) => {
                Known::Passing
            }
            (Verdict::Failing, _) => Known::Failing,
        };
        self.has_passed = saved.grounds == Grounds::Seen;
        self.window.resume(timing.flapping, saved.flapping_since);
        (self.run, self.sight) = match saved.streak {
            Streak::None => (Run::None, Sight::Seen),
            Streak::Passes(count) => (Run::Passes(count), Sight::Seen),
            Streak::Failures(count) => (Run::Failures { count, first: first(count) }, Sight::Seen),
            Streak::Inconclusive(count) => (Run::None, Sight::Blind { count, first: first(count) }),
        };
        if saved.verdict == Verdict::Unknown {
            let count = match saved.streak {
                Streak::Inconclusive(count) => count,
                Streak::None | Streak::Passes(_) | Streak::Failures(_) => 0,
            };
            self.sight = Sight::Lost { count, first: first(count) };
        }
        if let Some(last) = &saved.last {
            self.why = self.explain(last, now.saturating_sub(ago));
        }
    }

    /// Folds one outcome; the attempt began at `start`. Whether the verdict changed, or flapping
    /// began or ended. Constant time; allocates the reason of such a change and nothing else.
    pub(crate) fn fold(&mut self, timing: &Timing, attempt: &Attempt, start: Elapsed) -> bool {
        let before = self.verdict();
        match attempt.outcome {
            Outcome::Pass => self.pass(timing),
            Outcome::Fail(_) => self.fail(timing, start),
            Outcome::Inconclusive => self.inconclusive(timing, start),
        }
        self.lasted_ms = self.lasted(start);
        let changed = self.verdict() != before;
        if changed {
            self.since = attempt.at.after(attempt.latency);
            self.why = self.explain(attempt, start);
        }
        changed | self.flap(timing, attempt)
    }

    /// What comes before the first pass is a start, not a flap.
    fn flap(&mut self, timing: &Timing, attempt: &Attempt) -> bool {
        let Some(rule) = timing.flapping.filter(|_| self.has_passed) else { return false };
        let failed = match attempt.outcome {
            Outcome::Inconclusive => return false,
            Outcome::Pass => false,
            Outcome::Fail(_) => true,
        };
        self.window.push(rule, failed, self.role.name(), attempt)
    }

    /// Nobody will look for a while: what comes after is no run with what came before.
    pub(crate) const fn pause(&mut self) {
        self.run = Run::None;
        self.window.forget();
        match self.sight {
            Sight::Seen | Sight::Blind { .. } => (self.sight, self.lasted_ms) = (Sight::Seen, 0),
            Sight::Lost { .. } => {}
        }
    }

    /// It asks the same at other times or with other thresholds. What was seen stays, and counts
    /// by the new numbers from the next outcome on.
    pub(crate) fn retime(&mut self, before: &Timing, after: &Timing) {
        if before.flapping != after.flapping {
            self.window = Window::default();
        }
    }

    /// It asks something else: a verdict stays until the new check has another one, and the rest
    /// begins anew.
    pub(crate) fn ask_anew(&mut self) {
        (self.run, self.sight, self.has_passed) = (Run::None, Sight::Seen, false);
        self.lasted_ms = 0;
        self.window = Window::default();
    }

    /// Takes a role that is new for passing until its check says otherwise.
    pub(crate) const fn take_for_passing(&mut self) {
        self.known = Known::Passing;
    }

    /// The process is gone: failing without a threshold. A startup that passed has had its say.
    pub(crate) fn gone(&mut self, at: Timestamp, why: &str) {
        if self.role == Role::Startup && self.known == Known::Passing {
            return;
        }
        if self.known != Known::Failing {
            (self.since, self.why) = (at, why.into());
        }
        let count = match self.run {
            Run::None | Run::Passes(_) => 1,
            Run::Failures { count, .. } => count.saturating_add(1),
        };
        self.run = Run::Failures { count, first: Elapsed::ZERO };
        (self.known, self.sight) = (Known::Failing, Sight::Seen);
    }

    pub(crate) const fn known(&self) -> Known {
        self.known
    }

    pub(crate) const fn verdict(&self) -> Verdict {
        match (self.sight, self.known) {
            (Sight::Lost { .. }, Known::Pending | Known::Passing) => Verdict::Unknown,
            (_, Known::Failing) => Verdict::Failing,
            (Sight::Seen | Sight::Blind { .. }, Known::Pending) => Verdict::Pending,
            (Sight::Seen | Sight::Blind { .. }, Known::Passing) => Verdict::Passing,
        }
    }

    /// See [`TaskVerdicts::glance`](crate::TaskVerdicts::glance).
    pub(crate) fn glance(&self) {
        black_box((self.run, self.since, self.known));
    }

    /// Why it is failing or unknown; else empty.
    pub(crate) fn why(&self) -> &str {
        &self.why
    }

    pub(crate) fn blame(&mut self, why: &str) {
        self.why = why.into();
    }

    pub(crate) const fn window(&self) -> &Window {
        &self.window
    }

    pub(crate) const fn window_mut(&mut self) -> &mut Window {
        &mut self.window
    }

    pub(crate) fn health(&self, last: Option<Attempt>) -> RoleHealth {
        RoleHealth {
            verdict: self.verdict(),
            since: self.since,
            streak: self.streak(),
            last,
            flapping_since: self.window.since(),
            grounds: self.grounds(),
            lasted_ms: self.lasted_ms,
        }
    }

    const fn grounds(&self) -> Grounds {
        match (self.known, self.has_passed) {
            (_, true) => Grounds::Seen,
            (Known::Passing, false) => Grounds::Assumed,
            (Known::Pending | Known::Failing, false) => Grounds::None,
        }
    }

    /// It has never passed, and somebody waits for that. An observer that is itself in trouble
    /// is not hurried.
    pub(crate) const fn is_starting(&self) -> bool {
        !self.has_passed && matches!(self.sight, Sight::Seen)
    }

    /// A passing role has failed, and its verdict waits for more failures. An observer that is
    /// itself in trouble is not hurried.
    pub(crate) const fn wants_confirmation(&self, timing: &Timing) -> bool {
        match (self.known, self.sight, self.run) {
            (Known::Passing, Sight::Seen, Run::Failures { count, .. }) => {
                count < timing.failures.get()
            }
            (Known::Pending | Known::Passing | Known::Failing, _, _) => false,
        }
    }

    /// The moments from which on one more outcome of the kind seen last decides.
    pub(crate) fn decisive(&self, timing: &Timing) -> [Option<Elapsed>; 2] {
        let enough = timing.failures.get() - 1;
        if self.known == Known::Failing {
            return [None, None];
        }
        let failing = match self.run {
            Run::Failures { count, first } if count >= enough => {
                Some(first + self.patience(timing))
            }
            Run::Failures { .. } | Run::Passes(_) | Run::None => None,
        };
        let unknown = match self.sight {
            Sight::Blind { count, first } if count >= enough => {
                Some(first + longest_silence(timing))
            }
            Sight::Blind { .. } | Sight::Seen | Sight::Lost { .. } => None,
        };
        [failing, unknown]
    }

    fn pass(&mut self, timing: &Timing) {
        let count = match self.run {
            Run::Passes(count) => count.saturating_add(1),
            Run::None | Run::Failures { .. } => 1,
        };
        (self.run, self.sight, self.has_passed) = (Run::Passes(count), Sight::Seen, true);
        self.known = match self.known {
            Known::Failing if count < timing.successes.get() => Known::Failing,
            Known::Pending | Known::Passing | Known::Failing => Known::Passing,
        };
    }

    fn fail(&mut self, timing: &Timing, start: Elapsed) {
        self.sight = Sight::Seen;
        if self.role == Role::Startup && start < timing.start_period.get() {
            return;
        }
        let (count, first) = match self.run {
            Run::Failures { count, first } => (count.saturating_add(1), first),
            Run::None | Run::Passes(_) => (1, start),
        };
        self.run = Run::Failures { count, first };
        let enough = count >= timing.failures.get();
        if enough && start.saturating_sub(first) >= self.patience(timing) {
            self.known = Known::Failing;
        }
    }

    fn inconclusive(&mut self, timing: &Timing, start: Elapsed) {
        let (count, first) = match self.sight {
            Sight::Seen => (1, start),
            Sight::Blind { count, first } => (count.saturating_add(1), first),
            Sight::Lost { count, first } => {
                self.sight = Sight::Lost { count: count.saturating_add(1), first };
                return;
            }
        };
        let lasts = count >= timing.failures.get()
            && start.saturating_sub(first) >= longest_silence(timing);
        if lasts && self.known != Known::Failing {
            // After so long nobody can say that the failures before were the last word.
            (self.run, self.sight) = (Run::None, Sight::Lost { count, first });
        } else {
            self.sight = Sight::Blind { count, first };
        }
    }

    /// How long failure must be unbroken: what the owner's numbers come to on a plain grid, where
    /// a verdict costs the task its life. Readiness only costs traffic, and is quick once its
    /// check has passed.
    fn patience(&self, timing: &Timing) -> Elapsed {
        let plain = timing.period.get() * (timing.failures.get() - 1);
        match self.role {
            Role::Startup | Role::Liveness => plain.max(timing.min_failing.get()),
            Role::Readiness if !self.has_passed => plain,
            Role::Readiness => Elapsed::ZERO,
        }
    }

    /// Inconclusive outcomes show only when they are all there is, or the verdict.
    const fn streak(&self) -> Streak {
        match (self.sight, self.run) {
            (Sight::Lost { count, .. }, _) | (Sight::Blind { count, .. }, Run::None) => {
                Streak::Inconclusive(count)
            }
            (Sight::Seen, Run::None) => Streak::None,
            (Sight::Seen | Sight::Blind { .. }, Run::Passes(count)) => Streak::Passes(count),
            (Sight::Seen | Sight::Blind { .. }, Run::Failures { count, .. }) => {
                Streak::Failures(count)
            }
        }
    }

    /// How long the streak has lasted, up to an attempt that began at `start`.
    fn lasted(&self, start: Elapsed) -> u32 {
        let first = match (self.sight, self.run) {
            (Sight::Lost { first, .. }, _)
            | (Sight::Blind { first, .. }, Run::None)
            | (Sight::Seen | Sight::Blind { .. }, Run::Failures { first, .. }) => first,
            (Sight::Seen, Run::None) | (Sight::Seen | Sight::Blind { .. }, Run::Passes(_)) => {
                return 0;
            }
        };
        u32::try_from(start.saturating_sub(first).as_millis()).unwrap_or(u32::MAX)
    }

    fn explain(&self, last: &Attempt, at: Elapsed) -> Box<str> {
        let why = match (self.verdict(), self.run, self.sight) {
            (Verdict::Failing, Run::Failures { count, first }, _) => {
                reason::failed(self.role, count, at.saturating_sub(first), last)
            }
            (Verdict::Failing, Run::None | Run::Passes(_), _) => {
                format!("{} failed, and has not recovered yet", self.role.name())
            }
            (Verdict::Unknown, _, Sight::Lost { count, first }) => {
                reason::unseen(self.role, count, at.saturating_sub(first), last)
            }
            (Verdict::Unknown | Verdict::Pending | Verdict::Passing, _, _) => String::new(),
        };
        why.into()
    }
}
