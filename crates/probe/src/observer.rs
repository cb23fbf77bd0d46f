//! How far the observer can trust its own eyes. A worker that gets no processor sees every task
//! late; so its deadlines grow with its own lateness, and nothing else does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use crate::prober::Given;

/// The scores of one worker, each 0, all well, to 8: memberlist's local health awareness.
///
/// A pause that is nothing to a deadline of 5 s is much to one of 100 ms. So there is a score for
/// each step of `STEPS`, and a deadline goes by the one at or below it.
#[derive(Debug)]
pub struct Observer {
    steps: [Step; STEPS.len()],
    worst: watch::Sender<u8>,
}

#[derive(Debug, Default)]
struct Step {
    score: AtomicU8,
    /// So many checks go by it.
    checks: AtomicU32,
}

/// What the worker has measured of itself in one beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// How much later than asked for a timer came.
    pub lag: Duration,
    /// How long the other process took to answer, or has taken so far.
    pub echo: Duration,
    /// So many beats should have come in the meantime; at least one.
    pub count: u32,
}

/// A check goes by the observer's score while it holds one of these.
#[derive(Debug)]
pub struct Stake {
    observer: Arc<Observer>,
    step: usize,
}

/// The worst score.
pub const SCORE_MAX: u8 = 8;
const STEPS: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];
/// That the worker's score is of while it has no checks: the second.
const IDLE_STEP: usize = 2;
/// No deadline is stretched beyond this one: what really hangs must still be found. One that is
/// longer by itself stays as it is.
pub const STRETCHED_MAX: Duration = Duration::from_secs(30);

impl Default for Observer {
    fn default() -> Self {
        Self { steps: Default::default(), worst: watch::Sender::new(0) }
    }
}

impl Observer {
    /// The worst of those that a check goes by.
    pub fn score(&self) -> u8 {
        *self.worst.borrow()
    }

    /// That score, to be told when it changes.
    pub fn watch(&self) -> watch::Receiver<u8> {
        self.worst.subscribe()
    }

    /// The one that a deadline of this length goes by.
    pub fn score_of(&self, timeout: Duration) -> u8 {
        self.steps[step_of(timeout)].score.load(Ordering::Relaxed)
    }

    /// Only the worker's pulse tells it, and no two at a time.
    pub fn note(&self, beat: Beat) {
        for (step, timeout) in self.steps.iter().zip(STEPS) {
            let before = step.score.load(Ordering::Relaxed);
            let late = beat.echo > timeout / 2 || beat.lag > timeout / 4;
            let after = if late {
                let more = u8::try_from(beat.count.max(1)).unwrap_or(SCORE_MAX);
                before.saturating_add(more).min(SCORE_MAX)
            } else {
                before.saturating_sub(1)
            };
            step.score.store(after, Ordering::Relaxed);
        }
        let worst = self.worst();
        self.worst.send_if_modified(|score| std::mem::replace(score, worst) != worst);
    }

    /// A check of this deadline begins to go by the score.
    pub fn stake(self: &Arc<Self>, timeout: Duration) -> Stake {
        let step = step_of(timeout);
        self.steps[step].checks.fetch_add(1, Ordering::Relaxed);
        Stake { observer: Arc::clone(self), step }
    }

    /// What a deadline of `timeout` is now: timeout x (1 + score).
    pub(crate) fn stretched(&self, timeout: Duration) -> Duration {
        stretch(timeout, self.score_of(timeout))
    }

    /// The latest one that there may ever be for it.
    pub(crate) fn longest(timeout: Duration) -> Duration {
        timeout.max(STRETCHED_MAX)
    }

    /// The later deadline that there is for one whose deadline has passed, if any. Our own timer
    /// came so `late`: in that time nobody could have seen an answer.
    pub(crate) fn longer(&self, given: Given, late: Duration) -> Option<Given> {
        let Given { timeout, limit, anew } = given;
        let whole = self.stretched(timeout);
        if whole > limit {
            return Some(Given { limit: whole, ..given });
        }
        let again = (limit + late + whole).min(STRETCHED_MAX);
        let ours = late > timeout / 4 && !anew && again > limit;
        ours.then_some(Given { timeout, limit: again, anew: true })
    }

    fn worst(&self) -> u8 {
        let used = self.steps.iter().filter(|step| step.checks.load(Ordering::Relaxed) > 0);
        let worst = used.map(|step| step.score.load(Ordering::Relaxed)).max();
        worst.unwrap_or_else(|| self.steps[IDLE_STEP].score.load(Ordering::Relaxed))
    }
}

impl Drop for Stake {
    fn drop(&mut self) {
        self.observer.steps[self.step].checks.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The longest one that is no longer than `timeout`; the first for what is shorter than all.
fn step_of(timeout: Duration) -> usize {
    STEPS.iter().rposition(|step| *step <= timeout).unwrap_or(0)
}

fn stretch(timeout: Duration, score: u8) -> Duration {
    let whole = timeout.saturating_mul(u32::from(score) + 1);
    whole.min(Observer::longest(timeout))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const WELL: Beat = Beat { lag: Duration::ZERO, echo: Duration::ZERO, count: 1 };
    /// To a deadline of a second, and no longer one.
    const SLOW: Beat = Beat { echo: Duration::from_millis(501), ..WELL };

    fn after(beats: impl IntoIterator<Item = Beat>) -> Observer {
        let observer = Observer::default();
        for beat in beats {
            observer.note(beat);
        }
        observer
    }

    fn scores(observer: &Observer) -> [u8; 5] {
        STEPS.map(|timeout| observer.score_of(timeout))
    }

    // C-97
    #[test]
    fn each_late_beat_adds_one_up_to_eight_and_each_other_one_takes_one_off() {
        let late = |count| std::iter::repeat_n(SLOW, count);
        for count in 0..20_u8 {
            assert_eq!(after(late(count.into())).score_of(SECOND), count.min(8));
        }
        let calm = |count| late(20).chain(std::iter::repeat_n(WELL, count));
        for count in 0..20_u8 {
            assert_eq!(after(calm(count.into())).score_of(SECOND), 8_u8.saturating_sub(count));
        }
    }

    // C-97: one that comes after five times its time stands for the four that did not come.
    #[test]
    fn beats_that_did_not_come_were_late() {
        assert_eq!(after([Beat { count: 5, ..SLOW }]).score_of(SECOND), 5);
        assert_eq!(after([Beat { count: u32::MAX, ..SLOW }]).score_of(SECOND), 8);
        assert_eq!(after([Beat { count: 0, ..SLOW }]).score_of(SECOND), 1);
        assert_eq!(after([SLOW, SLOW, SLOW, Beat { count: 3, ..WELL }]).score_of(SECOND), 2);
    }

    // C-97: half of the deadline for the echo, a quarter of it for the timer.
    #[test]
    fn what_is_late_is_measured_by_the_deadline() {
        let millis = Duration::from_millis;
        let echo = |ms| scores(&after([Beat { echo: millis(ms), ..WELL }]));
        let lag = |ms| scores(&after([Beat { lag: millis(ms), ..WELL }]));
        assert_eq!(echo(50), [0; 5]);
        assert_eq!(echo(51), [1, 0, 0, 0, 0]);
        assert_eq!(echo(151), [1, 1, 0, 0, 0]);
        assert_eq!(echo(501), [1, 1, 1, 0, 0]);
        assert_eq!(echo(5_001), [1; 5]);
        assert_eq!(lag(25), [0; 5]);
        assert_eq!(lag(26), [1, 0, 0, 0, 0]);
        assert_eq!(lag(251), [1, 1, 1, 0, 0]);
        assert_eq!(lag(2_501), [1; 5]);
        let observer = after([SLOW]);
        for (timeout, score) in [(1, 1), (99, 1), (999, 1), (1_000, 1), (2_999, 1), (3_000, 0)] {
            assert_eq!(observer.score_of(millis(timeout)), score, "{timeout} ms");
        }
        let observer = after([Beat { echo: millis(60), ..WELL }]);
        for (timeout, score) in [(1, 1), (299, 1), (300, 0), (86_400_000, 0)] {
            assert_eq!(observer.score_of(millis(timeout)), score, "{timeout} ms");
        }
    }

    // C-98
    #[test]
    fn a_deadline_grows_with_the_score_and_has_a_bound() {
        let late = |count| after(std::iter::repeat_n(Beat { echo: Duration::MAX, ..WELL }, count));
        assert_eq!(late(0).stretched(SECOND), SECOND);
        assert_eq!(late(3).stretched(SECOND), 4 * SECOND);
        assert_eq!(late(9).stretched(SECOND), 9 * SECOND);
        assert_eq!(late(9).stretched(10 * SECOND), STRETCHED_MAX);
        assert_eq!(late(9).stretched(40 * SECOND), 40 * SECOND);
        assert_eq!(late(9).stretched(Duration::MAX), Duration::MAX);
    }

    // C-98
    #[test]
    fn a_timer_that_is_late_itself_gives_a_second_chance_and_no_third() {
        let (early, late) = (Duration::from_millis(250), Duration::from_millis(251));
        let given = |limit, anew| Given { timeout: SECOND, limit, anew };
        let well = Observer::default();
        assert_eq!(well.longer(given(SECOND, false), early), None);
        let second = given(2 * SECOND + late, true);
        assert_eq!(well.longer(given(SECOND, false), late), Some(second));
        assert_eq!(well.longer(second, late), None);
        let slow = after([SLOW, SLOW]);
        assert_eq!(slow.longer(given(SECOND, false), late), Some(given(3 * SECOND, false)));
        assert_eq!(slow.longer(given(SECOND, true), early), Some(given(3 * SECOND, true)));
        let second = given(6 * SECOND + late, true);
        assert_eq!(slow.longer(given(3 * SECOND, false), late), Some(second));
        assert_eq!(
            slow.longer(given(3 * SECOND, false), 40 * SECOND).unwrap().limit,
            STRETCHED_MAX
        );
        assert_eq!(slow.longer(given(STRETCHED_MAX, false), late), None);
    }

    // C-99
    #[test]
    fn the_workers_score_is_the_worst_that_one_of_its_checks_goes_by() {
        let observer = Arc::new(after([Beat { echo: Duration::from_millis(200), ..WELL }; 3]));
        let watch = observer.watch();
        assert_eq!(observer.score(), 0, "of a second, without checks");
        let quick = observer.stake(Duration::from_millis(100));
        let patient = observer.stake(Duration::from_secs(5));
        observer.note(WELL);
        assert_eq!((observer.score(), *watch.borrow()), (2, 2));
        drop(quick);
        observer.note(Beat { echo: Duration::from_millis(200), ..WELL });
        assert_eq!((observer.score(), *watch.borrow()), (0, 0));
        drop(patient);
        observer.note(SLOW);
        assert_eq!(observer.score(), 1);
    }
}
