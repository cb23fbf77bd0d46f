//! The last attempts of a check, in little room: a worker has tens of thousands of them.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use warren_core::{
    outcome::{Attempt, Outcome},
    time::Timestamp,
};

/// Attempts kept for `task inspect`. Docker keeps five; eight show a default run of failures,
/// its confirmation and what came before. At 4 KiB a message it is at most 32 KiB a group.
const RECENT: usize = 8;

/// The newest last. Those that say the same one after the other, as passes do, share the words.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recent(VecDeque<Kept>);

#[derive(Debug, Clone)]
struct Kept {
    at: Timestamp,
    /// Records are kept to the millisecond, and an attempt lasts a day at most.
    latency_ms: u32,
    outcome: Outcome,
    said: Arc<Said>,
}

#[derive(Debug, PartialEq, Eq)]
struct Said {
    message: Box<str>,
    components: Box<[String]>,
}

impl Recent {
    pub(crate) fn push(&mut self, attempt: Attempt) {
        let Attempt { at, latency, outcome, message, components } = attempt;
        let same =
            |last: &&Kept| *last.said.message == *message && last.said.components == components;
        let said = match self.0.back().filter(same) {
            Some(last) => Arc::clone(&last.said),
            None => Arc::new(Said { message: message.into(), components }),
        };
        if self.0.len() == RECENT {
            self.0.pop_front();
        }
        let latency_ms = u32::try_from(latency.as_millis()).unwrap_or(u32::MAX);
        self.0.push_back(Kept { at, latency_ms, outcome, said });
    }

    /// The oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Attempt> {
        self.0.iter().map(Kept::attempt)
    }
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
    fn attempts_that_say_the_same_in_a_row_hold_the_words_once() {
        let mut recent = Recent::default();
        for (at, message) in ["HTTP 200", "HTTP 200", "HTTP 500", "HTTP 200"].iter().enumerate() {
            recent.push(attempt(at as u64, message));
        }
        let shared = |a: usize, b: usize| Arc::ptr_eq(&recent.0[a].said, &recent.0[b].said);
        assert!(shared(0, 1) && !shared(1, 2) && !shared(1, 3));
    }

    // What an idle check takes is told in docs/checks.md.
    #[test]
    fn one_that_is_kept_takes_three_words() {
        assert_eq!(size_of::<Kept>(), 24);
    }
}
