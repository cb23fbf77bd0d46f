//! The same judgement made another way: no state, the whole history is read again each time.

use std::time::Duration;

use warren_core::{
    check::{Checks, Role, Timing},
    health::{HealthStatus, Streak, Verdict},
    outcome::Outcome,
};
use warren_verdict::Elapsed;

use crate::make::since;

/// What was told: an outcome of an attempt for a role, and the attempt's start.
pub type Told = (Role, Outcome, Elapsed);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub status: HealthStatus,
    pub ready: bool,
    /// In the order of `Role::ALL`.
    pub roles: [Option<(Verdict, Streak)>; 3],
    pub flapping: [bool; 3],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Pass,
    Fail,
    /// A failure in the start period.
    Ignored,
    Nothing,
}

pub fn judge(checks: &Checks, together: bool, told: &[Told]) -> Judgement {
    let tapes = Role::ALL.map(|role| tape_of(checks, together, role, told));
    let judged = |role: Role, tape: &Option<Tape>| {
        let tape = tape.as_ref()?;
        let timing = checks.get(role).as_ref()?.timing;
        let judge = Judge { role, timing };
        Some((judge.known(tape), judge.verdict(tape), judge.streak(tape)))
    };
    let all = [0, 1, 2].map(|index| judged(Role::ALL[index], &tapes[index]));
    let [startup, liveness, _] = all;
    let vital = [startup, liveness].map(|role| role.map(|(_, verdict, _)| verdict));
    let status = if all.iter().all(Option::is_none) {
        HealthStatus::Unchecked
    } else {
        [
            (Verdict::Failing, HealthStatus::Unhealthy),
            (Verdict::Unknown, HealthStatus::Unknown),
            (Verdict::Pending, HealthStatus::Starting),
        ]
        .into_iter()
        .find(|(verdict, _)| vital.contains(&Some(*verdict)))
        .map_or(HealthStatus::Healthy, |(_, status)| status)
    };
    Judgement {
        status,
        ready: all.iter().flatten().all(|&(known, _, _)| known == Verdict::Passing),
        roles: all.map(|role| role.map(|(_, verdict, streak)| (verdict, streak))),
        flapping: [0, 1, 2].map(|index| match (&tapes[index], checks.get(Role::ALL[index])) {
            (Some(tape), Some(check)) => flaps(tape, &check.timing),
            (_, _) => false,
        }),
    }
}

/// Whether the newest outcome stands hidden behind the streak: inconclusive, and not for long.
pub fn is_hidden_blindness(checks: &Checks, together: bool, told: &[Told]) -> bool {
    Role::ALL.iter().any(|&role| {
        let Some(tape) = tape_of(checks, together, role, told) else { return false };
        let Some(check) = checks.get(role) else { return false };
        let judge = Judge { role, timing: check.timing };
        let shown = matches!(judge.streak(&tape), Streak::Inconclusive(_));
        matches!(tape.last(), Some((Seen::Nothing, _))) && !shown
    })
}

/// Begins with enough failures in the window that are not one run of them, ends with half as many
/// in a full one. From the first pass on.
fn flaps(tape: &[(Seen, Elapsed)], timing: &Timing) -> bool {
    let Some(rule) = timing.flapping else { return false };
    let conclusive = tape.iter().filter(|(seen, _)| matches!(seen, Seen::Pass | Seen::Fail));
    let heard: Vec<Seen> =
        conclusive.map(|(seen, _)| *seen).skip_while(|seen| *seen != Seen::Pass).collect();
    let mut flaps = false;
    for end in 1..=heard.len() {
        let full = end >= rule.window() as usize;
        let window = &heard[end.saturating_sub(rule.window() as usize)..end];
        let failed = window.iter().filter(|seen| **seen == Seen::Fail).count();
        let runs = window.chunk_by(|a, b| a == b).filter(|run| run[0] == Seen::Fail).count();
        if flaps {
            flaps = !full || failed > rule.failures() as usize / 2;
        } else {
            flaps = failed >= rule.failures() as usize && runs > 1;
        }
    }
    flaps
}

type Tape = Vec<(Seen, Elapsed)>;

/// What counts for a role: until startup has its verdict only startup is heard, then the others
/// when it passed, and nobody when it failed.
fn tape_of(checks: &Checks, together: bool, role: Role, told: &[Told]) -> Option<Tape> {
    let timing = checks.get(role).as_ref()?.timing;
    let (startup, others) = match &checks.startup {
        Some(check) => split(&Judge { role: Role::Startup, timing: check.timing }, told),
        None => told.split_at(0),
    };
    let heard = if role == Role::Startup { startup } else { others };
    let concerns =
        |of: Role| of == role || (together && of != Role::Startup && role != Role::Startup);
    Some(
        heard
            .iter()
            .filter(|told| concerns(told.0))
            .map(|told| seen(told, role, &timing))
            .collect(),
    )
}

/// At the first verdict of startup.
fn split<'a>(judge: &Judge, told: &'a [Told]) -> (&'a [Told], &'a [Told]) {
    for end in 0..=told.len() {
        let heard = told[..end].iter().filter(|(of, _, _)| *of == Role::Startup);
        let tape: Tape = heard.map(|told| seen(told, Role::Startup, &judge.timing)).collect();
        match judge.known(&tape) {
            Verdict::Passing => return told.split_at(end),
            Verdict::Failing => return (&told[..end], &[]),
            Verdict::Pending | Verdict::Unknown => {}
        }
    }
    (told, &[])
}

fn seen(&(_, outcome, start): &Told, role: Role, timing: &Timing) -> (Seen, Elapsed) {
    let seen = match outcome {
        Outcome::Pass => Seen::Pass,
        Outcome::Inconclusive => Seen::Nothing,
        Outcome::Fail(_) if role == Role::Startup && start < timing.start_period.get() => {
            Seen::Ignored
        }
        Outcome::Fail(_) => Seen::Fail,
    };
    (seen, start)
}

struct Judge {
    role: Role,
    timing: Timing,
}

impl Judge {
    fn verdict(&self, tape: &[(Seen, Elapsed)]) -> Verdict {
        if self.lost_at(tape) { Verdict::Unknown } else { self.known(tape) }
    }

    /// Failing since the last decisive failure, unless enough passes in a row came after it.
    fn known(&self, tape: &[(Seen, Elapsed)]) -> Verdict {
        let failed = (1..=tape.len()).rev().find(|&end| self.decisive(&tape[..end]));
        let passed = tape.iter().any(|(seen, _)| *seen == Seen::Pass);
        match failed {
            Some(end) if !self.recovered(&tape[end..]) => Verdict::Failing,
            Some(_) => Verdict::Passing,
            None if passed => Verdict::Passing,
            None => Verdict::Pending,
        }
    }

    /// Whether the last outcome completes a run of failures that is long enough in both ways.
    fn decisive(&self, tape: &[(Seen, Elapsed)]) -> bool {
        let Some((Seen::Fail, last)) = tape.last() else { return false };
        let run = self.run(tape);
        let first = run.last().map_or(*last, |(_, start)| *start);
        let enough = self.timing.failures.get();
        let plain = self.timing.period.get() * (enough - 1);
        let passed = tape.iter().any(|(seen, _)| *seen == Seen::Pass);
        let patience = match self.role {
            Role::Startup | Role::Liveness => plain.max(self.timing.min_failing.get()),
            Role::Readiness if !passed => plain,
            Role::Readiness => Duration::ZERO,
        };
        run.len() >= enough as usize && since(first, *last) >= patience
    }

    /// The conclusive outcomes equal to the newest one, the newest first, back to another one or
    /// to a moment when the verdict became unknown.
    fn run(&self, tape: &[(Seen, Elapsed)]) -> Vec<(Seen, Elapsed)> {
        let mut run: Vec<(Seen, Elapsed)> = Vec::new();
        for end in (1..=tape.len()).rev() {
            match tape[end - 1] {
                (Seen::Nothing, _) if self.lost_at(&tape[..end]) => break,
                (Seen::Nothing | Seen::Ignored, _) => {}
                (seen, _) if run.first().is_some_and(|(newest, _)| *newest != seen) => break,
                told => run.push(told),
            }
        }
        run
    }

    fn recovered(&self, after: &[(Seen, Elapsed)]) -> bool {
        let conclusive: Vec<Seen> =
            after.iter().map(|(seen, _)| *seen).filter(|seen| *seen != Seen::Nothing).collect();
        conclusive
            .windows(self.timing.successes.get() as usize)
            .any(|window| window.iter().all(|seen| *seen == Seen::Pass))
    }

    /// Whether exactly the last outcome made, or kept, the verdict unknown.
    fn lost_at(&self, tape: &[(Seen, Elapsed)]) -> bool {
        let blind = tape.iter().rev().take_while(|(seen, _)| *seen == Seen::Nothing).count();
        let Some(&(_, last)) = tape.last().filter(|_| blind > 0) else { return false };
        let first = tape[tape.len() - blind].1;
        let enough = self.timing.failures.get();
        let long = since(first, last) >= self.timing.period.get() * enough;
        // Failing stays failing, and looking on in vain changes nothing about it.
        let failing = self.known(&tape[..tape.len() - blind]) == Verdict::Failing;
        blind >= enough as usize && long && !failing
    }

    fn streak(&self, tape: &[(Seen, Elapsed)]) -> Streak {
        let blind = tape.iter().rev().take_while(|(seen, _)| *seen == Seen::Nothing).count();
        let blind = u32::try_from(blind).unwrap_or(u32::MAX);
        let run = self.run(tape);
        let count = u32::try_from(run.len()).unwrap_or(u32::MAX);
        match run.first() {
            Some((Seen::Pass, _)) if !self.lost_at(tape) => Streak::Passes(count),
            Some((Seen::Fail, _)) if !self.lost_at(tape) => Streak::Failures(count),
            _ if blind > 0 => Streak::Inconclusive(blind),
            _ => Streak::None,
        }
    }
}
