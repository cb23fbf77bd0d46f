//! What is timed goes on as it was, whatever becomes of the time of day.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use warren_core::{
    assignment::Assignment,
    bounds::{Delay, Threshold},
    check::{Checks, Role, Timing},
    health::{HealthStatus, Streak},
};

use crate::support::{
    TASK, World, assignment, both, failures_of, is, is_ready, now, runtime::Finds, timing,
};

const HOUR: i64 = 3_600;
const PERIOD: Duration = Duration::from_secs(10);
const TEN_MINUTES: Duration = Duration::from_mins(10);

/// With other numbers.
fn edited() -> Checks {
    both(Timing { failures: Threshold::new_const(9), ..timing() })
}

// C-2, C-7: such as at a boot, when somebody at last says what the time is.
#[tokio::test(start_paused = true)]
async fn a_step_as_a_task_starts_does_not_move_its_first_attempt() {
    let delay = Duration::from_secs(90);
    for step in [HOUR, -HOUR] {
        let world = World::new();
        // The runtime's time is another one from here on.
        world.clock.step(step);
        let checks = both(Timing { delay: Delay::new(delay).unwrap(), ..timing() });
        let late = world.first_attempt(checks).await.abs_diff(delay);
        assert!(late <= Duration::from_millis(10), "{step} s: {late:?}");
    }
}

// C-3, C-7
#[tokio::test(start_paused = true)]
async fn no_step_moves_an_attempt_or_a_verdict_of_a_task_that_runs() {
    let world = World::running(both(timing())).await;
    world.manager.report(TASK, is_ready).await;
    let seen = |count| {
        let world = &world;
        async move { world.runtime.until(|runtime| runtime.execs().len() == count).await }
    };
    // The second one is the first on the grid.
    seen(2).await;
    for (step, count) in [(HOUR, 3), (-2 * HOUR, 4), (HOUR, 5)] {
        world.clock.step(step);
        seen(count).await;
    }
    world.runtime.find(Finds::Bad);
    for (step, count) in [(HOUR, 6), (-2 * HOUR, 7)] {
        seen(count).await;
        world.clock.step(step);
    }
    let bad = world.manager.report(TASK, is(HealthStatus::Unhealthy)).await;
    assert_eq!(failures_of(&bad, Role::Liveness), Streak::Failures(3));
    let execs = world.runtime.execs();
    assert_eq!(execs.len(), 8);
    for pair in execs[1..].windows(2) {
        let off = (pair[1] - pair[0]).abs_diff(PERIOD);
        assert!(off <= Duration::from_millis(2), "{off:?}");
    }
}

// C-91: also over a change of the checks.
#[tokio::test(start_paused = true)]
async fn a_pause_is_as_long_as_it_was_when_it_came() {
    for step in [2 * HOUR, -HOUR] {
        let world = World::running(both(timing())).await;
        world.manager.report(TASK, is_ready).await;
        let checks_paused_until = Some(now().after(TEN_MINUTES));
        let paused = |checks| Assignment { checks_paused_until, ..assignment(TASK, checks) };
        world.manager.assign([paused(both(timing()))]);
        let begun = Instant::now();
        world.manager.heartbeats(2).await;
        let attempts = world.runtime.execs().len();
        world.clock.step(step);
        world.manager.assign([paused(edited())]);
        let is_edited = |checks: Option<&Checks>| checks == Some(&edited());
        world.manager.report(TASK, |report| is_edited(report.status.checks.as_deref())).await;
        world.runtime.until(|runtime| runtime.execs().len() > attempts).await;
        let pause = begun.elapsed();
        // What is left is measured by the wall clock once, which goes on while a test runs.
        let almost = TEN_MINUTES.saturating_sub(Duration::from_secs(2));
        assert!(pause >= almost && pause <= TEN_MINUTES + PERIOD, "{step} s: {pause:?}");
    }
}

// C-25, C-91: a manager that is away does not take a pause that is over out of the orders.
#[tokio::test(start_paused = true)]
async fn a_pause_that_is_over_forgets_nothing_again_in_the_next_worker() {
    let mut world = World::running(both(timing())).await;
    world.manager.report(TASK, is_ready).await;
    let checks_paused_until = Some(now().after(Duration::from_mins(1)));
    world.manager.assign([Assignment { checks_paused_until, ..assignment(TASK, both(timing())) }]);
    world.manager.heartbeats(2).await;
    world.runtime.find(Finds::Bad);
    let attempts = world.runtime.execs().len();
    world.runtime.until(|runtime| runtime.execs().len() == attempts + 2).await;
    sleep(Duration::from_secs(1)).await;
    for _ in 0..2 {
        world.stop().await;
        // As much as has passed.
        world.clock.step(120);
        let before = world.manager.count();
        world.start();
        let first = world.manager.report_after(before, TASK, |_| true).await;
        assert_eq!(failures_of(&first, Role::Liveness), Streak::Failures(2));
        world.manager.heartbeats(1).await;
    }
}
