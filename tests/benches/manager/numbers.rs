//! Samples, and how numbers are shown.

use std::time::Duration;

/// Times of the same thing, done again and again.
#[derive(Debug, Default, Clone)]
pub struct Samples(Vec<Duration>);

impl Samples {
    pub fn add(&mut self, took: Duration) {
        self.0.push(took);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// In milliseconds; of nothing, none.
    pub fn quantile_ms(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=last")]
        let at = (as_f64(last as u64) * part).ceil() as usize;
        sorted.get(at).map_or(f64::NAN, |took| took.as_secs_f64() * 1e3)
    }
}

/// Counts here are far below where this would lose anything.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub fn as_f64(number: u64) -> f64 {
    number as f64
}

pub fn row(what: &str, value: &str) {
    println!("{what:<58}{value:>16}");
}
