//! The process by which a worker measures itself (C-97), and where the score is seen (C-99).

use std::{fs, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use warren_tests::{Machine, Warren, eventually, have_root};

const LIMIT: Duration = Duration::from_secs(30);

/// The echoes of this worker: its children by that name.
fn echoes(worker: u32) -> Vec<Pid> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let file = |name: &str| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let parent = format!("PPid:\t{worker}");
        let is_child = file("status").lines().any(|line| line == parent);
        // A defunct one has no command line any more.
        if is_child && file("cmdline").contains("\0observer-echo\0") {
            found.push(Pid::from_raw(pid));
        }
    }
    found
}

fn echo(warren: &Warren) -> Pid {
    eventually("the echo", LIMIT, || match echoes(warren.pid())[..] {
        [echo] => Ok(echo),
        ref others => Err(format!("{others:?}")),
    })
}

fn gone(pid: Pid) {
    eventually("the echo to end", LIMIT, || match kill(pid, None) {
        Err(_) => Ok(()),
        Ok(()) => Err(format!("{pid} is there")),
    });
}

fn score(warren: &Warren) -> u64 {
    eventually("the first heartbeat", LIMIT, || {
        let node = &warren.json("node ls")["nodes"][0]["node"];
        node["observer_score"].as_u64().ok_or_else(|| format!("{node:#}"))
    })
}

// C-97
#[test]
fn a_worker_has_one_echo_which_is_started_again_and_ends_with_it_also_by_kill_9() {
    let machine = Machine::without_containerd();
    let warren = machine.run();
    let first = echo(&warren);
    kill(first, Signal::SIGKILL).unwrap();
    let second = eventually("another echo", LIMIT, || match echoes(warren.pid())[..] {
        [echo] if echo != first => Ok(echo),
        ref others => Err(format!("{others:?}")),
    });
    assert!(warren.log().contains("has ended, and is started again"), "{}", warren.log());
    warren.kill();
    gone(second);

    let warren = machine.run();
    let third = echo(&warren);
    assert_eq!(warren.stop(), Some(0));
    gone(third);
}

// C-97: as if the machine had no time for it.
#[test]
fn an_echo_that_hangs_makes_a_score_that_node_ls_and_inspect_show_and_doubt() {
    let machine = Machine::without_containerd();
    let warren = machine.run();
    score(&warren);
    let echo = echo(&warren);
    kill(echo, Signal::SIGSTOP).unwrap();
    eventually("the score to rise", LIMIT, || match score(&warren) {
        8 => Ok(()),
        less => Err(less.to_string()),
    });
    let shown = warren.ok("node ls");
    let column = shown.lines().next().unwrap().find("SCORE").unwrap();
    assert!(shown.lines().nth(1).unwrap()[column..].starts_with("8 "), "{shown}");
    let name = shown.lines().nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let inspected = warren.ok(&format!("node inspect {name}"));
    assert!(inspected.contains("\nObserver score: 8\n"), "{inspected}");
    assert!(inspected.contains("\nDoubted: since "), "{inspected}");
    kill(echo, Signal::SIGCONT).unwrap();
    eventually("the doubt to end", LIMIT, || {
        let inspected = warren.ok(&format!("node inspect {name}"));
        if inspected.contains("\nDoubted: ") { Err(inspected) } else { Ok(()) }
    });
}

// C-97
#[test]
fn where_there_are_containers_the_echo_lives_among_them() {
    if !have_root("where_there_are_containers_the_echo_lives_among_them") {
        return;
    }
    let machine = Machine::new();
    let warren = machine.run();
    let echo = echo(&warren);
    let place = eventually("the echo's cgroup", LIMIT, || {
        let cgroups = fs::read_to_string(format!("/proc/{echo}/cgroup")).unwrap();
        let place = cgroups.lines().find(|line| line.ends_with(":/warren/observer"));
        place.map(str::to_owned).ok_or(cgroups)
    });
    assert!(place.contains(":cpu") || place.starts_with("0::"), "{place}");
    assert!(!warren.log().contains("is not among the tasks"), "{}", warren.log());
}
