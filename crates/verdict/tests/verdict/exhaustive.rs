//! Every sequence of outcomes up to a length, for every choice of roles, thresholds and pace.

use std::sync::Arc;

use warren_core::{
    bounds::Delay,
    check::{Checks, Role},
    health::{Health, HealthStatus, Streak},
    outcome::Outcome,
};
use warren_verdict::{Elapsed, TaskVerdicts, groups};

use crate::{
    make::{
        BLIND, FAIL, PASS, STARTED, TASK, apart, check, flapping, fresh, ms, restored, shared,
        shared_at, tell, timing,
    },
    oracle::{Judgement, Told, is_hidden_blindness, judge},
};

/// A history: a machine, what it was told, and what the oracle makes of that.
#[derive(Clone)]
struct Node {
    task: TaskVerdicts,
    /// The same task in workers that restarted somewhere on the way.
    twins: Vec<TaskVerdicts>,
    told: Vec<Told>,
    judgement: Judgement,
}

/// Walks the tree of histories.
struct Explorer<'a> {
    checks: &'a Checks,
    together: bool,
    /// The roles that each step is told to, one after the other.
    steps: &'a [&'a [Role]],
    pace: Elapsed,
    /// Whether to restart the worker at each node and to follow the restored machines as well.
    restarts: bool,
    nodes: u64,
}

impl Explorer<'_> {
    fn judge(&self, told: &[Told]) -> Judgement {
        judge(self.checks, self.together, told)
    }

    fn walk(&mut self, node: &Node, depth: u32) {
        self.nodes += 1;
        let (told, health) = (&node.told, node.task.health());
        assert_eq!(judged(&health), node.judgement, "{told:?}");
        for twin in &node.twins {
            assert_eq!(alike(&twin.health()), alike(&health), "restored, then {told:?}");
        }
        if depth == 0 {
            return;
        }
        let now = told.last().map_or(Elapsed::ZERO, |&(_, _, start)| start);
        let mut node = node.clone();
        if self.restarts && !is_hidden_blindness(self.checks, self.together, &node.told) {
            let twin = restored(self.checks, &health, now);
            assert_eq!(twin.health(), health, "{:?}", node.told);
            node.twins.push(twin);
        }
        for roles in self.steps {
            for outcome in [PASS, FAIL, BLIND] {
                let mut next = node.clone();
                for &role in roles.iter().filter(|&&role| self.checks.get(role).is_some()) {
                    self.tell(&mut next, role, outcome, now + self.pace);
                }
                self.walk(&next, depth - 1);
            }
        }
    }

    fn tell(&self, node: &mut Node, role: Role, outcome: Outcome, now: Elapsed) {
        let report = tell(&mut node.task, role, outcome, now);
        node.told.push((role, outcome, now));
        let before = std::mem::replace(&mut node.judgement, self.judge(&node.told));
        let (after, told) = (&node.judgement, &node.told);
        let verdicts = |judgement: &Judgement| {
            (judgement.roles.map(|role| role.map(|role| role.0)), judgement.flapping)
        };
        let news = verdicts(&before) != verdicts(after);
        assert_eq!(report.is_some(), news, "reported when a verdict changes: {told:?}");
        assert!(news || (before.status, before.ready) == (after.status, after.ready));
        assert!(report.is_none_or(|health| health == node.task.health()), "{told:?}");
        let neither = [HealthStatus::Unhealthy, HealthStatus::Starting];
        assert!(!after.ready || !neither.contains(&after.status), "{told:?}");
        for twin in &mut node.twins {
            assert_eq!(tell(twin, role, outcome, now).is_some(), news, "restored: {told:?}");
        }
    }
}

fn judged(health: &Health) -> Judgement {
    Judgement {
        status: health.status,
        ready: health.ready,
        roles: Role::ALL
            .map(|role| health.roles.get(role).as_ref().map(|role| (role.verdict, role.streak))),
        flapping: Role::ALL.map(|role| {
            health.roles.get(role).as_ref().is_some_and(|role| role.flapping_since.is_some())
        }),
    }
}

/// All but the words of the reason: those of a verdict behind another one are made anew.
fn alike(health: &Health) -> Health {
    Health { reason: String::new(), ..health.clone() }
}

/// Each subset of the roles with equal thresholds, and liveness and readiness both ways.
fn all_checks(failures: u32, successes: u32) -> Vec<(Checks, bool)> {
    let timing = timing(failures, successes);
    let all = apart(timing);
    let mut checks = vec![(shared(timing), true)];
    checks.push((Checks { startup: all.startup.clone(), ..shared(timing) }, true));
    for subset in 0..8_u8 {
        let with = |bit: u8, check: &Option<_>| check.clone().filter(|_| subset & bit != 0);
        let checks_of = Checks {
            startup: with(1, &all.startup),
            liveness: with(2, &all.liveness),
            readiness: with(4, &all.readiness),
        };
        checks.push((checks_of, false));
    }
    checks
}

fn explore(
    (checks, together): &(Checks, bool),
    steps: &[&[Role]],
    pace: Elapsed,
    restarts: bool,
    depth: u32,
) -> u64 {
    let together = *together;
    let mut explorer = Explorer { checks, together, steps, pace, restarts, nodes: 0 };
    let judgement = explorer.judge(&[]);
    let root = Node { task: fresh(checks), twins: Vec::new(), told: Vec::new(), judgement };
    explorer.walk(&root, depth);
    explorer.nodes
}

/// Each role is told under its own name; a shared check is told once.
fn names(together: bool) -> &'static [Role] {
    if together { &[Role::Startup, Role::Readiness] } else { &Role::ALL }
}

fn explore_all(pace: Elapsed, depth: u32) {
    let mut nodes = 0;
    for (failures, successes) in [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2)] {
        for checks in all_checks(failures, successes) {
            nodes += explore(&checks, &[names(checks.1)], pace, false, depth);
        }
    }
    // 3^0 + ... + 3^depth histories for each of 5 thresholds and 10 sets of checks.
    assert_eq!(nodes, (3_u64.pow(depth + 1) - 1) / 2 * 5 * 10);
}

// C-10 to C-16, C-20 to C-22, C-26, C-32 to C-34, C-41
#[test]
fn the_machine_and_the_oracle_agree_on_every_seven_outcomes_on_the_grid() {
    explore_all(ms(10_000), 7);
}

// The same.
#[test]
fn the_machine_and_the_oracle_agree_on_every_six_outcomes_at_the_pace_of_confirmation() {
    explore_all(ms(1_000), 6);
}

// The same; so far apart that only counts decide.
#[test]
fn the_machine_and_the_oracle_agree_on_every_six_outcomes_far_apart() {
    explore_all(ms(100_000), 6);
}

// C-46 to C-48: a mark and nothing else.
#[test]
fn the_machine_and_the_oracle_agree_about_every_flapping() {
    for (failures, window) in [(2, 2), (2, 3), (2, 4), (3, 5), (4, 6)] {
        let timing = flapping(timing(2, 1), failures, window);
        for checks in [shared(timing), Checks { startup: None, ..apart(timing) }] {
            let together = checks.liveness == checks.readiness;
            let names: &[Role] = if together { &[Role::Readiness] } else { &Role::ALL };
            explore(&(checks, together), &[names], ms(10_000), false, 8);
        }
    }
}

// C-10, C-12 to C-15, C-36: the roles hear different things, in any order.
#[test]
fn the_machine_and_the_oracle_agree_when_each_role_has_its_own_outcomes() {
    let one_by_one: [&[Role]; 3] = [&[Role::Startup], &[Role::Liveness], &[Role::Readiness]];
    for (failures, successes) in [(1, 2), (2, 2)] {
        for checks in all_checks(failures, successes) {
            for pace in [ms(10_000), ms(100_000)] {
                explore(&checks, &one_by_one, pace, false, 4);
            }
        }
    }
}

// C-25: wherever the worker restarts, the restored machine and the one that never stopped say the
// same from there on.
#[test]
fn a_restart_after_any_prefix_changes_nothing_that_follows() {
    for (failures, successes) in [(1, 1), (2, 2), (3, 1), (3, 2)] {
        for checks in all_checks(failures, successes) {
            for pace in [ms(1_000), ms(7_000), ms(100_000)] {
                explore(&checks, &[names(checks.1)], pace, true, 5);
            }
        }
    }
}

/// Tells every sequence of so many outcomes to a task that was edited, and to the same task in
/// workers that restarted on the way since.
fn follow(checks: &Checks, task: &TaskVerdicts, twins: &[TaskVerdicts], at: &Moment, depth: u32) {
    let health = task.health();
    for twin in twins {
        assert_eq!(alike(&twin.health()), alike(&health), "{:?}", at.told);
    }
    if depth == 0 {
        return;
    }
    let mut twins = twins.to_vec();
    if !hides_blindness(&health) {
        twins.push(restored(checks, &health, at.now));
        assert_eq!(twins[twins.len() - 1].health(), health, "{:?}", at.told);
    }
    for outcome in [PASS, FAIL, BLIND] {
        let (mut task, mut twins, mut at) = (task.clone(), twins.clone(), at.clone());
        at.now += at.pace;
        at.told.push(outcome);
        for group in groups(checks) {
            let report = tell(&mut task, group.role, outcome, at.now);
            for twin in &mut twins {
                let again = tell(twin, group.role, outcome, at.now);
                assert_eq!(again.is_some(), report.is_some(), "{:?}", at.told);
            }
        }
        follow(checks, &task, &twins, &at, depth - 1);
    }
}

#[derive(Clone)]
struct Moment {
    now: Elapsed,
    pace: Elapsed,
    told: Vec<Outcome>,
}

/// What an observer could not see lately stands behind another streak, and is forgotten.
fn hides_blindness(health: &Health) -> bool {
    Role::ALL.iter().filter_map(|role| health.roles.get(*role).as_ref()).any(|role| {
        let is_blind = role.last.as_ref().is_some_and(|last| last.outcome == BLIND);
        is_blind && !matches!(role.streak, Streak::Inconclusive(_))
    })
}

/// The same questions with other thresholds, other questions, and fewer or more roles.
fn all_edits() -> Vec<Checks> {
    let (timing, other) = (timing(2, 1), timing(3, 2));
    let asks = |port| Some(check(port, timing));
    vec![
        apart(other),
        shared(other),
        Checks { startup: asks(7), liveness: asks(8), readiness: asks(9) },
        shared_at(81, timing),
        Checks { liveness: asks(8), ..Checks::NONE },
        Checks { readiness: asks(3), ..Checks::NONE },
        Checks::NONE,
    ]
}

// C-25, C-93 to C-95: also where its checks were changed before, at whatever moment.
#[test]
fn a_restart_after_a_change_of_the_checks_changes_nothing_that_follows() {
    for (failures, pace) in [(2, ms(1_000)), (3, ms(7_000)), (2, ms(100_000))] {
        for (before, _) in all_checks(failures, 1) {
            for after in all_edits() {
                for prefix in 0..27 {
                    let told = [prefix % 3, prefix / 3 % 3, prefix / 9];
                    let told = told.map(|outcome| [PASS, FAIL, BLIND][outcome]).to_vec();
                    let (mut task, mut now) = (fresh(&before), Elapsed::ZERO);
                    for outcome in &told {
                        now += pace;
                        for group in groups(&before) {
                            tell(&mut task, group.role, *outcome, now);
                        }
                    }
                    if task.has_ended() {
                        // It keeps the checks that ended it.
                        continue;
                    }
                    let after = Arc::new(after.clone());
                    task.edit(TASK, &before, &after, STARTED.after(now), now);
                    follow(&after, &task, &[], &Moment { now, pace, told }, 3);
                }
            }
        }
    }
}

// C-23
#[test]
fn the_machine_and_the_oracle_agree_about_every_start_period() {
    for periods in 0..=4 {
        let mut patient = timing(2, 1);
        patient.start_period = Delay::new(ms(10_000 * periods + 1)).unwrap();
        let mut all = all_checks(2, 1);
        for (checks, _) in &mut all {
            if let Some(startup) = &mut checks.startup {
                startup.timing = patient;
            }
        }
        for checks in all.iter().filter(|(checks, _)| checks.startup.is_some()) {
            explore(checks, &[names(checks.1)], ms(10_000), false, 6);
        }
    }
}
