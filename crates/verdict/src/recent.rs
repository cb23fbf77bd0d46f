//! The last attempts of a check, in little room: a worker has tens of thousands of them.

use std::{cell::RefCell, hint::black_box, sync::Arc, time::Duration};

use warren_core::{
    outcome::{Attempt, Outcome},
    time::Timestamp,
};

/// Attempts kept for `task inspect`. Docker keeps five; eight show a default run of failures,
/// its confirmation and what came before. At 4 KiB a message it is at most 32 KiB a group.
const RECENT: usize = 8;

/// Those that say the same, as passes do, share the words.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recent {
    /// In a ring, which lies with its owner: what is fetched from elsewhere takes time.
    ring: [Option<Kept>; RECENT],
    /// The newest one's place, once there is one.
    newest: usize,
}

#[derive(Debug, Clone)]
struct Kept {
    at: Timestamp,
    /// Records are kept to the millisecond, and an attempt lasts a day at most.
    latency_ms: u32,
    outcome: Outcome,
    said: Arc<Said>,
}

#[derive(Debug, Default)]
struct Said {
    message: Box<str>,
    components: Box<[String]>,
}

/// The words that are found again, whoever says them. At 4 KiB a message they are at most 256 KiB
/// a thread.
const LATELY: usize = 64;

thread_local! {
    /// What was said lately: the tasks of a service mostly say the same, and this is still warm.
    static SAID: RefCell<Lately> = const { RefCell::new([const { None }; LATELY]) };
}

type Lately = [Option<Arc<Said>>; LATELY];

impl Recent {
    pub(crate) fn push(&mut self, attempt: Attempt) {
        let Attempt { at, latency, outcome, message, components } = attempt;
        let said = SAID.with_borrow_mut(|lately| {
            let place = lately[place(&message)].get_or_insert_default();
            if !place.are(&message, &components) {
                let newest = self.ring[self.newest].as_ref().map(|kept| &kept.said);
                *place = match newest.filter(|said| said.are(&message, &components)) {
                    Some(said) => Arc::clone(said),
                    None => Arc::new(Said { message: message.into(), components }),
                };
            }
            Arc::clone(place)
        });
        let latency_ms = u32::try_from(latency.as_millis()).unwrap_or(u32::MAX);
        self.newest = (self.newest + 1) % RECENT;
        self.ring[self.newest] = Some(Kept { at, latency_ms, outcome, said });
    }

    /// Looks at where the next one comes.
    pub(crate) fn glance(&self) {
        black_box(self.ring[(self.newest + 1) % RECENT].as_ref().map(|kept| kept.at));
    }

    /// The oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Attempt> {
        let (up_to, after) = self.ring.split_at(self.newest + 1);
        after.iter().chain(up_to).flatten().map(Kept::attempt)
    }
}

impl Said {
    fn are(&self, message: &str, components: &[String]) -> bool {
        *self.message == *message && *self.components == *components
    }
}

/// Where such words lie among those that were said lately, if they do. What differs is mostly at
/// the end.
fn place(message: &str) -> usize {
    let end = message.bytes().rev().take(4);
    end.fold(message.len(), |place, byte| place * 31 + usize::from(byte)) % LATELY
}

impl Kept {
    fn attempt(&self) -> Attempt {
        let Self { at, latency_ms, outcome, said } = self;
        Attempt {
            at: *at,
            latency: Duration::from_millis((*latency_ms).into()),
            outcome: *outcome,
            message: said.message.to_string(),
            components: said.components.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use warren_core::outcome::Evidence;

    use super::*;

    fn attempt(at: u64, message: &str) -> Attempt {
        Attempt {
            at: Timestamp::from_millis(at),
            latency: Duration::from_millis(at * 7),
            outcome: Outcome::Fail(Evidence::Explicit),
            message: message.to_owned(),
            components: [message.to_owned()].into(),
        }
    }

    // C-37
    #[test]
    fn the_last_eight_are_as_they_were_told() {
        let mut recent = Recent::default();
        let told: Vec<_> = (0..20)
            .map(|at| attempt(at, if at % 3 == 0 { "HTTP 500" } else { "HTTP 503" }))
            .collect();
        for attempt in &told {
            recent.push(attempt.clone());
        }
        assert_eq!(recent.iter().collect::<Vec<_>>(), told[12..]);
    }

    #[test]
    fn attempts_that_say_the_same_hold_the_words_once_whoever_makes_them() {
        let (mut one, mut other) = (Recent::default(), Recent::default());
        for (at, message) in ["HTTP 200", "HTTP 500", "HTTP 200"].iter().enumerate() {
            one.push(attempt(at as u64, message));
            other.push(attempt(at as u64, message));
        }
        let said = |recent: &Recent| -> Vec<_> {
            recent.ring.iter().flatten().map(|kept| Arc::as_ptr(&kept.said)).collect()
        };
        let [first, failed, last] = said(&one)[..] else { panic!("{one:?}") };
        assert_eq!((first == last, first == failed), (true, false));
        assert_eq!(said(&other), [first, failed, last]);
    }

    // Such as who names itself, among others that do.
    #[test]
    fn what_only_one_says_is_held_once_too_where_it_says_it_again_and_again() {
        let (mut one, mut others) = (Recent::default(), Recent::default());
        for at in 0..4 {
            one.push(attempt(at, "10.0.0.1 refuses"));
            others.push(attempt(at, "10.0.0.2 refuset"));
            others.push(attempt(at, "10.0.0.3 refuses"));
        }
        let said: Vec<_> = one.ring.iter().flatten().map(|kept| Arc::as_ptr(&kept.said)).collect();
        assert_eq!(said, [said[0]; 4]);
    }

    // What an idle check takes is told in docs/checks.md.
    #[test]
    fn one_that_is_kept_takes_three_words() {
        assert_eq!(size_of::<Option<Kept>>(), 24);
    }
}
