//! When a node's silence is no longer usual for it: phi accrual over the times between its
//! heartbeats, after Hayashibara, in the logistic form that Akka uses.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// One false suspicion in a hundred million heartbeats, as everybody sets it.
const THRESHOLD: f64 = 8.0;
/// Enough for a mean, and an hour's change of habits is not averaged away.
const SAMPLES_MAX: usize = 100;
/// A node that was always punctual may be late by chance: in units of the heartbeat.
const DEVIATION_MIN: f64 = 0.1;

/// What one session has shown of its node's habits.
#[derive(Debug, Clone)]
pub struct Phi {
    heartbeat: Duration,
    intervals: VecDeque<f64>,
    last_beat: Instant,
}

impl Phi {
    /// Before the first heartbeats, they may come a quarter early or late.
    pub fn new(heartbeat: Duration, now: Instant) -> Self {
        let seconds = heartbeat.as_secs_f64();
        let intervals = VecDeque::from([seconds * 0.75, seconds * 1.25]);
        Self { heartbeat, intervals, last_beat: now }
    }

    /// A heartbeat came. The silence that made a node suspect is not taken for its habit, and
    /// neither is a heartbeat out of turn, by which a worker tells its score at once.
    pub fn beat(&mut self, now: Instant) {
        let interval = now.duration_since(self.last_beat);
        if interval < self.heartbeat / 2 {
            return;
        }
        if interval < self.patience() {
            self.intervals.push_back(interval.as_secs_f64());
            if self.intervals.len() > SAMPLES_MAX {
                self.intervals.pop_front();
            }
        }
        self.last_beat = now;
    }

    /// How long a silence must be to be unusual.
    pub fn patience(&self) -> Duration {
        let (mean, deviation) = self.habit();
        let mut late = 1.0;
        while phi(late) < THRESHOLD {
            late += 0.01;
        }
        Duration::from_secs_f64(mean + late * deviation)
    }

    /// The mean interval and its deviation, in seconds.
    fn habit(&self) -> (f64, f64) {
        let count = f64::from(u32::try_from(self.intervals.len()).unwrap_or(u32::MAX));
        let mean = self.intervals.iter().sum::<f64>() / count;
        let variance = self.intervals.iter().map(|i| (i - mean).powi(2)).sum::<f64>() / count;
        (mean, variance.sqrt().max(self.heartbeat.as_secs_f64() * DEVIATION_MIN))
    }
}

/// How unlikely it is that a heartbeat still comes, for one that is late by so many deviations.
fn phi(late: f64) -> f64 {
    let e = (-late * (1.5976 + 0.070_566 * late * late)).exp();
    -(e / (1.0 + e)).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEARTBEAT: Duration = Duration::from_secs(5);

    fn after(intervals: impl IntoIterator<Item = f64>) -> Duration {
        let mut now = Instant::now();
        let mut phi = Phi::new(HEARTBEAT, now);
        for seconds in intervals {
            now += Duration::from_secs_f64(seconds);
            phi.beat(now);
        }
        phi.patience()
    }

    #[tokio::test]
    async fn a_punctual_node_is_suspect_soon_and_a_fitful_one_later() {
        let new = after([]).as_secs_f64();
        let punctual = after([5.0; 100]).as_secs_f64();
        let fitful = after([4.0, 6.0].repeat(50)).as_secs_f64();
        assert!((11.0..12.0).contains(&new), "{new}");
        assert!((7.5..7.8).contains(&punctual), "{punctual}");
        assert!((10.0..10.5).contains(&fitful), "{fitful}");
    }

    #[tokio::test]
    async fn a_silence_that_made_it_suspect_is_no_habit() {
        assert_eq!(after([5.0; 50]), after(std::iter::repeat_n(5.0, 50).chain([60.0])));
    }

    #[tokio::test]
    async fn a_heartbeat_out_of_turn_is_no_habit() {
        assert_eq!(after([5.0; 50]), after([2.0, 3.0].repeat(50)));
    }
}
