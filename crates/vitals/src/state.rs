//! What is known of one component: results in, a state out. No clock, no async.

use std::time::Duration;

use crate::{
    check::Details,
    clock::Moment,
    settings::{Mode, Settings, Thresholds},
    status::Status,
    tally::Tally,
};

/// Why a run has no good result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    /// The check says so.
    Failed,
    /// It took too long.
    Timeout,
    /// It panicked.
    Panicked,
    /// The run before it ignores that it was aborted.
    Busy,
}

/// A run's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub at: Moment,
    pub latency: Duration,
    pub result: Result<Details, (Reason, String)>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    flight: Option<Flight>,
    flights: u64,
    last: Option<Outcome>,
    last_success: Option<Moment>,
    streak: Streak,
    pub tally: Tally,
}

/// The one run that is on its way.
#[derive(Debug, Clone, Copy)]
struct Flight {
    id: u64,
    since: Moment,
    overdue: bool,
}

/// What somebody who wants a result has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// The last result will do.
    Nothing,
    /// Run the check.
    Launch { id: u64, since: Moment },
    /// Wait for the run that is on its way.
    Join { id: u64, since: Moment },
}

/// What the last results add up to.
#[derive(Debug, Default)]
struct Streak {
    level: Level,
    failures: u32,
    failing_since: Option<Moment>,
    successes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Level {
    #[default]
    Unknown,
    Up,
    Down,
}

/// How a component looks at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub status: Status,
    pub latency: Option<Duration>,
    pub message: Option<String>,
    pub last_run: Option<Moment>,
    pub last_success: Option<Moment>,
    pub failures: u32,
    pub stale: bool,
}

impl State {
    /// For an answer: runs the check unless it is periodic or its result is fresh.
    pub fn want(&mut self, now: Moment, settings: &Settings) -> Want {
        match settings.mode {
            Mode::Periodic { .. } => Want::Nothing,
            Mode::OnDemand { ttl } => match &self.last {
                Some(last) if now.saturating_sub(last.at) < ttl => Want::Nothing,
                Some(_) | None => self.due(now, settings.thresholds),
            },
        }
    }

    /// A run is due. There is never a second one beside the first: while that ignores its end, the
    /// component counts as failing.
    pub fn due(&mut self, now: Moment, thresholds: Thresholds) -> Want {
        match self.flight {
            Some(Flight { overdue: true, since, .. }) => {
                let seconds = now.saturating_sub(since).as_secs_f64();
                let message =
                    format!("the last run was aborted and still runs after {seconds:.1} s");
                let result = Err((Reason::Busy, message));
                self.record(Outcome { at: now, latency: Duration::ZERO, result }, thresholds);
                Want::Nothing
            }
            Some(Flight { id, since, overdue: false }) => Want::Join { id, since },
            None => {
                self.flights += 1;
                let id = self.flights;
                self.flight = Some(Flight { id, since: now, overdue: false });
                Want::Launch { id, since: now }
            }
        }
    }

    /// The run has ended. What it says counts unless it was given up before.
    pub fn ended(&mut self, id: u64, outcome: Outcome, thresholds: Thresholds) {
        if let Some(flight) = self.flight.take_if(|flight| flight.id == id)
            && !flight.overdue
        {
            self.record(outcome, thresholds);
        }
    }

    /// The run took too long. Whoever notices first says so; says whether that was this one.
    pub fn overdue(&mut self, id: u64, now: Moment, settings: &Settings) -> bool {
        let Some(flight) = self.flight.as_mut().filter(|flight| flight.id == id) else {
            return false;
        };
        if std::mem::replace(&mut flight.overdue, true) {
            return false;
        }
        let latency = now.saturating_sub(flight.since);
        let message = format!("no answer within {}", seconds(settings.timeout));
        let result = Err((Reason::Timeout, message));
        self.record(Outcome { at: now, latency, result }, settings.thresholds);
        true
    }

    /// Whether the run has neither ended nor been given up.
    pub fn is_on_its_way(&self, id: u64) -> bool {
        self.flight.is_some_and(|flight| flight.id == id && !flight.overdue)
    }

    fn record(&mut self, outcome: Outcome, thresholds: Thresholds) {
        self.streak.observe(outcome.result.is_ok(), outcome.at, thresholds);
        self.tally.count(&outcome);
        if outcome.result.is_ok() {
            self.last_success = Some(outcome.at);
        }
        self.last = Some(outcome);
    }

    pub fn view(&self, now: Moment, settings: &Settings) -> View {
        let Some(last) = &self.last else {
            return View {
                status: Status::Unhealthy,
                latency: None,
                message: Some("not checked yet".to_owned()),
                last_run: None,
                last_success: None,
                failures: 0,
                stale: false,
            };
        };
        let age = now.saturating_sub(last.at);
        let stale = settings.max_age().is_some_and(|max| age > max);
        let (status, message) = if stale {
            let message = format!("stale: last checked {} ago", seconds(age));
            (Status::Unhealthy, Some(message))
        } else {
            self.judge(last, settings)
        };
        View {
            status,
            latency: Some(last.latency),
            message,
            last_run: Some(last.at),
            last_success: self.last_success,
            failures: self.streak.failures,
            stale,
        }
    }

    fn judge(&self, last: &Outcome, settings: &Settings) -> (Status, Option<String>) {
        let said = match &last.result {
            Ok(details) => details.message.clone(),
            Err((_, message)) => Some(message.clone()),
        };
        match (self.streak.level, &last.result) {
            (Level::Unknown | Level::Down, Err(_)) => (Status::Unhealthy, said),
            (Level::Unknown | Level::Down, Ok(_)) => {
                let (seen, needed) = (self.streak.successes, settings.thresholds.successes);
                (Status::Unhealthy, Some(format!("works again: {seen} of {needed} successes")))
            }
            (Level::Up, Err(_)) => (Status::Healthy, said),
            (Level::Up, Ok(details)) if details.degraded => (Status::Degraded, said),
            (Level::Up, Ok(_)) => match settings.degraded_above {
                Some(limit) if last.latency > limit => {
                    let slow =
                        format!("slow: {} ms, {} ms at most", millis(last.latency), millis(limit));
                    (Status::Degraded, Some(slow))
                }
                Some(_) | None => (Status::Healthy, said),
            },
        }
    }
}

impl Streak {
    fn observe(&mut self, passed: bool, at: Moment, thresholds: Thresholds) {
        if passed {
            self.failures = 0;
            self.failing_since = None;
            self.successes = self.successes.saturating_add(1);
            let enough = self.successes >= thresholds.successes;
            if self.level == Level::Unknown || enough {
                self.level = Level::Up;
            }
        } else {
            self.successes = 0;
            self.failures = self.failures.saturating_add(1);
            let since = *self.failing_since.get_or_insert(at);
            let enough = self.failures >= thresholds.failures
                && at.saturating_sub(since) >= thresholds.min_duration;
            // What has never worked gets no credit.
            if self.level == Level::Unknown || enough {
                self.level = Level::Down;
            }
        }
    }
}

pub(crate) fn millis(duration: Duration) -> f64 {
    // To the microsecond: more digits would be noise.
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Such as `2 s` and `0.5 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{} s", (duration.as_secs_f64() * 1e3).round() / 1e3)
}

#[cfg(test)]
mod tests;
