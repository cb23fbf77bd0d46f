//! When checks are made and what their runs add up to, on the machine itself.

use std::time::Duration;

use warren_tests::{Machine, eventually};

const LIMIT: Duration = Duration::from_mins(1);

/// Passes and fails, one after the other.
const BY_TURNS: &str = "if test -e turn; then rm turn; exit 1; else touch turn; fi";

// C-46, C-48
#[test]
fn a_flapping_task_is_marked_everywhere_and_lives_on() {
    let machine = Machine::without_containerd();
    let warren = machine.run();
    let check = format!("cd {} && {BY_TURNS}", machine.path().display());
    warren.ok((
        "service create flaps --health-interval 200ms --health-retries 2 --health-cmd",
        &[&*check, "--", "/bin/sleep", "1000"][..],
    ));
    warren.shows("flaps", "Health: 1/1 healthy, 1/1 flapping", LIMIT);
    let id = warren.task_id("flaps.1");
    let inspected = warren.ok(&format!("task inspect {id}"));
    assert!(inspected.contains("Health: healthy, flapping"), "{inspected}");
    assert!(inspected.contains("Flapping: since"), "{inspected}");
    let events = warren.ok("event ls flaps");
    assert!(events.contains("is flapping: liveness flaps, 4 of its last"), "{events}");
    assert!(warren.ok("service ls").contains("1/1 flapping"));
    // It is looked at again, and nothing else happens to it.
    let last = || warren.task(&id)["health"]["observed"]["liveness"]["last"]["at"].clone();
    let before = last();
    eventually("another attempt", LIMIT, || {
        if last() == before { Err(before.to_string()) } else { Ok(()) }
    });
    assert_eq!(warren.task_id("flaps.1"), id);
    warren.ok("service rm flaps --wait");
}
