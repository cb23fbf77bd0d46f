//! Calm in failure, as a person sees it. R-n are clauses of docs/replacement.md.

use std::{fs, time::Duration};

use warren_tests::{Machine, eventually};

const LIMIT: Duration = Duration::from_mins(1);

///
#[test]
fn what_fails_together_is_held_said_and_let_go_by_recovery() {
    let machine = Machine::without_containerd();
    let warren = machine.run();
    let flag = machine.path().join("dependency");
    fs::write(&flag, "up").unwrap();
    let check = format!("period=300ms,timeout=5s,failures=2,cmd=test -e {}", flag.display());
    warren.ok((
        "service create web --replicas 8 --wait --liveness-cmd",
        &[&*check, "--", "/bin/sleep", "1000"][..],
    ));
    let before: Vec<String> = (1..=8).map(|slot| warren.task_id(&format!("web.{slot}"))).collect();
    fs::remove_file(&flag).unwrap();
    let shown = eventually("the guard", LIMIT, || {
        let shown = warren.ok("service inspect web");
        if shown.contains("Held by dependency: ") { Ok(shown) } else { Err(shown) }
    });
    assert!(shown.contains(" held\n") && shown.contains("since 20"), "{shown}");
    let held = warren.json("service inspect web")["held"][0]["slots"][0].to_string();
    let why = warren.ok(&format!("task why web.{held}"));
    assert!(why.contains("is held by dependency"), "{why}");
    assert!(why.contains("fill") && why.contains("placed"), "{why}");
    let events = warren.ok("event ls web");
    assert!(events.contains("replacement held"), "{events}");

    fs::write(&flag, "up").unwrap();
    warren.shows("web", "Health: 8/8 healthy", LIMIT);
    let after = warren.json("task ls web")["tasks"].clone();
    let kept = before.iter().filter(|id| after.to_string().contains(*id)).count();
    // Those that were replaced before it was a burst, and the canary.
    assert!(kept >= 4, "{kept} of 8 are kept: {}", warren.ok("task ls web --all"));
    assert!(!warren.ok("service inspect web").contains("Held by"));
}

///
#[test]
fn two_that_fail_from_the_start_are_both_restarted_then_given_up_and_released() {
    let machine = Machine::without_containerd();
    let warren = machine.run();
    warren.ok("service create bad --replicas 2 --restart-max-attempts 2 --restart-window 1h \
         --no-healthcheck -- /bin/false");
    warren.shows("bad", "Health: 0/2 healthy, 2/2 gave up", LIMIT);
    let shown = warren.ok("service inspect bad");
    assert!(shown.contains("Held by gave up: it failed 3 times within 3600s"), "{shown}");
    let list = warren.json("task ls bad --all");
    assert_eq!(list["tasks"].as_array().unwrap().len(), 6, "{list:#}");
    assert!(warren.ok("event ls bad").contains("is given up"));
    warren.ok("service release bad");
    eventually("another try", LIMIT, || {
        let list = warren.json("task ls bad --all")["tasks"].as_array().unwrap().len();
        if list > 6 { Ok(()) } else { Err(warren.ok("service inspect bad")) }
    });
}
