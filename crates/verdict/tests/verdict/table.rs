//! Each state of a task with one check in both roles, and what each event makes of it.

use std::fmt::Write as _;

use warren_core::{
    check::Role,
    health::{Health, Streak},
    outcome::Outcome,
};
use warren_verdict::TaskVerdicts;

use crate::make::{BLIND, FAIL, PASS, STARTED, fresh, secs, shared, tell, tell_all, timing};

/// By the outcomes that lead there, a period apart. Two failures fail, two passes recover.
const STATES: [(&str, &[Outcome]); 10] = [
    ("new", &[]),
    ("one failure, never passed", &[FAIL]),
    ("failing, never passed", &[FAIL, FAIL]),
    ("passing", &[PASS]),
    ("passing, one failure", &[PASS, FAIL]),
    ("passing, one blind", &[PASS, BLIND]),
    ("failing", &[PASS, FAIL, FAIL]),
    ("failing, one pass", &[PASS, FAIL, FAIL, PASS]),
    ("unknown", &[PASS, BLIND, BLIND, BLIND]),
    ("unknown, never passed", &[BLIND, BLIND, BLIND]),
];

// C-14, C-15, C-20 to C-22, C-26, C-31 to C-34. An asterisk: it is reported.
const TABLE: &str = "
new: starting, not ready, -
  pass         * healthy, ready, 1 passed
  fail           starting, not ready, 1 failed
  inconclusive   starting, not ready, 1 blind
  exit         * unhealthy, not ready, 1 failed
one failure, never passed: starting, not ready, 1 failed
  pass         * healthy, ready, 1 passed
  fail         * unhealthy, not ready, 2 failed
  inconclusive   starting, not ready, 1 failed
  exit         * unhealthy, not ready, 2 failed
failing, never passed: unhealthy, not ready, 2 failed
  pass           unhealthy, not ready, 1 passed
  fail           unhealthy, not ready, 3 failed
  inconclusive   unhealthy, not ready, 2 failed
  exit         * unhealthy, not ready, 3 failed
passing: healthy, ready, 1 passed
  pass           healthy, ready, 2 passed
  fail           healthy, ready, 1 failed
  inconclusive   healthy, ready, 1 passed
  exit         * unhealthy, not ready, 1 failed
passing, one failure: healthy, ready, 1 failed
  pass           healthy, ready, 1 passed
  fail         * unhealthy, not ready, 2 failed
  inconclusive   healthy, ready, 1 failed
  exit         * unhealthy, not ready, 2 failed
passing, one blind: healthy, ready, 1 passed
  pass           healthy, ready, 2 passed
  fail           healthy, ready, 1 failed
  inconclusive * unknown, ready, 2 blind
  exit         * unhealthy, not ready, 1 failed
failing: unhealthy, not ready, 2 failed
  pass           unhealthy, not ready, 1 passed
  fail           unhealthy, not ready, 3 failed
  inconclusive   unhealthy, not ready, 2 failed
  exit         * unhealthy, not ready, 3 failed
failing, one pass: unhealthy, not ready, 1 passed
  pass         * healthy, ready, 2 passed
  fail           unhealthy, not ready, 1 failed
  inconclusive   unhealthy, not ready, 1 passed
  exit         * unhealthy, not ready, 1 failed
unknown: unknown, ready, 3 blind
  pass         * healthy, ready, 1 passed
  fail         * healthy, ready, 1 failed
  inconclusive   unknown, ready, 4 blind
  exit         * unhealthy, not ready, 1 failed
unknown, never passed: unknown, not ready, 3 blind
  pass         * healthy, ready, 1 passed
  fail         * starting, not ready, 1 failed
  inconclusive   unknown, not ready, 4 blind
  exit         * unhealthy, not ready, 1 failed
";

#[test]
fn every_event_in_every_state() {
    let mut table = "\n".to_owned();
    for (name, outcomes) in STATES {
        let mut task = fresh(&shared(timing(2, 2)));
        tell_all(&mut task, Role::Liveness, secs(0), outcomes);
        writeln!(table, "{name}: {}", line(&task.health())).expect("a string takes it");
        for (event, report, after) in events(&task) {
            let mark = if report { '*' } else { ' ' };
            writeln!(table, "  {event:<12} {mark} {after}").expect("a string takes it");
        }
    }
    assert_eq!(table, TABLE, "{table}");
}

fn events(task: &TaskVerdicts) -> Vec<(&'static str, bool, String)> {
    let after = |event, happen: &dyn Fn(&mut TaskVerdicts) -> Option<Health>| {
        let mut task = task.clone();
        let report = happen(&mut task);
        (event, report.is_some(), line(&task.health()))
    };
    let outcome =
        |outcome| move |task: &mut TaskVerdicts| tell(task, Role::Liveness, outcome, secs(40));
    vec![
        after("pass", &outcome(PASS)),
        after("fail", &outcome(FAIL)),
        after("inconclusive", &outcome(BLIND)),
        after("exit", &|task| task.exited(STARTED.after(secs(40)), "exited".to_owned())),
    ]
}

fn line(health: &Health) -> String {
    let streak = health.roles.liveness.as_ref().map_or(Streak::None, |role| role.streak);
    let streak = match streak {
        Streak::None => "-".to_owned(),
        Streak::Passes(count) => format!("{count} passed"),
        Streak::Failures(count) => format!("{count} failed"),
        Streak::Inconclusive(count) => format!("{count} blind"),
    };
    let ready = if health.ready { "ready" } else { "not ready" };
    format!("{}, {ready}, {streak}", health.status.name())
}
