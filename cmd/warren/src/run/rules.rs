//! The numbers of the manager that an operator may set, checked.

use std::{ops::RangeInclusive, time::Duration};

use warren_manager::{Policy, Timing};

use crate::{cli::process::RuleArgs, failure::Failure, values};

/// Three heartbeats of a second.
const LEASE_MIN: Duration = Duration::from_secs(3);
const LEASE_MAX: Duration = Duration::from_mins(10);
const RESCHEDULE_MAX: Duration = Duration::from_hours(1);
/// Beyond, a pace is none.
const PACE_MAX: u32 = 1000;

/// How long the manager waits for nodes, and how much it replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    pub timing: Timing,
    pub policy: Policy,
}

impl Rules {
    pub fn checked(args: &RuleArgs) -> Result<Self, Failure> {
        let RuleArgs { node_lease, reschedule_after, replacement_budget, replacement_pace } = args;
        let grace = span("--node-lease", node_lease, LEASE_MIN..=LEASE_MAX)?;
        // One may be lost, one may be late.
        let timing = Timing { grace, heartbeat: grace / 3, ..Timing::default() };
        let least = Duration::ZERO;
        let after = span("--reschedule-after", reschedule_after, least..=RESCHEDULE_MAX)?;
        let pace = number("--replacement-pace", replacement_pace, 1..=PACE_MAX)?;
        let default = Policy::default();
        let policy = Policy {
            reschedule_after: after,
            // A manager that starts knows of no node until its lease has run.
            boot_grace: default.boot_grace.max(grace),
            budget_percent: number("--replacement-budget", replacement_budget, 1..=100)?,
            pace_interval: Duration::from_secs(1) / pace,
            // As ever, five seconds' worth.
            pace_burst: pace * 5,
            ..default
        };
        Ok(Self { timing, policy })
    }
}

fn span(flag: &str, text: &str, bounds: RangeInclusive<Duration>) -> Result<Duration, Failure> {
    let span = values::span(text).map_err(|why| Failure::flag(flag, why))?;
    if bounds.contains(&span) {
        return Ok(span);
    }
    let (first, last) = (bounds.start(), bounds.end());
    Err(Failure::flag(flag, format!("{text} is not in {first:?}..={last:?}")))
}

fn number(flag: &str, text: &str, bounds: RangeInclusive<u32>) -> Result<u32, Failure> {
    let number = values::count(text).map_err(|why| Failure::flag(flag, why))?;
    if bounds.contains(&number) {
        return Ok(number);
    }
    let (first, last) = (bounds.start(), bounds.end());
    Err(Failure::flag(flag, format!("{text} is not in {first}..={last}")))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        rules: RuleArgs,
    }

    fn rules(line: &[&str]) -> Result<Rules, String> {
        let line = Line::parse_from([&["manager"], line].concat());
        Rules::checked(&line.rules).map_err(|failure| failure.chain())
    }

    #[test]
    fn without_flags_everything_is_as_the_manual_has_it() {
        let (timing, policy) = (Timing::default(), Policy::default());
        assert_eq!(rules(&[]), Ok(Rules { timing, policy }));
    }

    #[test]
    fn each_flag_sets_its_number() {
        let line = "--node-lease 30s --reschedule-after 2m --replacement-budget 50 \
                    --replacement-pace 20";
        let found = rules(&line.split_whitespace().collect::<Vec<_>>()).unwrap();
        let seconds = Duration::from_secs;
        assert_eq!((found.timing.grace, found.timing.heartbeat), (seconds(30), seconds(10)));
        let Policy { reschedule_after, boot_grace, budget_percent, .. } = found.policy;
        assert_eq!((reschedule_after, boot_grace), (seconds(120), seconds(30)));
        assert_eq!(budget_percent, 50);
        let pace = (found.policy.pace_interval, found.policy.pace_burst);
        assert_eq!(pace, (Duration::from_millis(50), 100));
    }

    #[test]
    fn what_is_out_of_bounds_is_refused_by_the_name_of_its_flag() {
        for (line, sentence) in [
            (["--node-lease", "2s"], "--node-lease: 2s is not in 3s..=600s"),
            (["--node-lease", "11m"], "--node-lease: 11m is not in 3s..=600s"),
            (["--reschedule-after", "2h"], "--reschedule-after: 2h is not in 0ns..=3600s"),
            (["--replacement-budget", "0"], "--replacement-budget: 0 is not in 1..=100"),
            (["--replacement-budget", "101"], "--replacement-budget: 101 is not in 1..=100"),
            (["--replacement-pace", "0"], "--replacement-pace: 0 is not in 1..=1000"),
        ] {
            assert_eq!(rules(&line), Err(sentence.to_owned()));
        }
        let refused = rules(&["--node-lease", "soon"]).unwrap_err();
        assert!(refused.starts_with("--node-lease: "), "{refused}");
    }
}
