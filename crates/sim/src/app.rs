//! What runs in the tasks: programs with habits, good and bad.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use warren_core::{
    bounds::{Delay, Period, Port, Threshold, Timeout},
    check::{Check, CheckKind, Checks, Command, ExecCheck, HealthConfig, Role, Timing},
    id::TaskId,
    spec::{
        EnvVar, PlacementRules, Protocol, Publish, Pull, Replicas, RestartPolicy, ServiceSpec,
        TaskTemplate, Workload,
    },
};

use crate::chance::hash;

/// What a program does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Habit {
    Good,
    /// Takes up to 40 s before it answers.
    Slow,
    /// Not ready now and then.
    Moody,
    /// Unhealthy now and then, for as long as it takes to be noticed.
    Sickly,
    /// Exits within a minute.
    Crashy,
    /// Its container cannot be made.
    Broken,
    /// Never answers.
    Mute,
    /// Does not hear SIGTERM.
    Stubborn,
    /// Good, and publishes a host port, so that two of it cannot share a node.
    Ported,
}

/// What is done to a task from outside, for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mood {
    Hangs,
    Fails,
    Unready,
}

/// What a check of the program finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finds {
    Good,
    Bad,
    Silence,
}

const HABITS: [(Habit, &str); 9] = [
    (Habit::Good, "good"),
    (Habit::Slow, "slow"),
    (Habit::Moody, "moody"),
    (Habit::Sickly, "sickly"),
    (Habit::Crashy, "crashy"),
    (Habit::Broken, "broken"),
    (Habit::Mute, "mute"),
    (Habit::Stubborn, "stubborn"),
    (Habit::Ported, "ported"),
];

const MOODS: [(Mood, &str); 3] =
    [(Mood::Hangs, "hangs"), (Mood::Fails, "fails"), (Mood::Unready, "unready")];

/// Both ways between values and their words.
macro_rules! worded {
    ($type:ty, $table:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($table.iter().find(|(value, _)| value == self).unwrap().1)
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let found = $table.iter().find(|(_, word)| *word == text);
                found.map(|(value, _)| *value).ok_or_else(|| format!("{text:?} is no word for it"))
            }
        }
    };
}

worded!(Habit, HABITS);
worded!(Mood, MOODS);

impl Habit {
    pub const ALL: [Self; 9] = [
        Self::Good,
        Self::Slow,
        Self::Moody,
        Self::Sickly,
        Self::Crashy,
        Self::Broken,
        Self::Mute,
        Self::Stubborn,
        Self::Ported,
    ];

    /// What a check finds in a task of this age.
    pub fn finds(self, task: TaskId, age: Duration, role: Role) -> Finds {
        let turn = |seconds: u64, one_in: u64| {
            hash(&[task.as_u64(), age.as_secs() / seconds]).is_multiple_of(one_in)
        };
        let bad = match self {
            Self::Good | Self::Crashy | Self::Broken | Self::Stubborn | Self::Ported => false,
            Self::Slow => age.as_secs() < 5 + hash(&[task.as_u64()]) % 36,
            Self::Moody => role == Role::Readiness && turn(15, 4),
            Self::Sickly => turn(40, 5),
            Self::Mute => return Finds::Silence,
        };
        if bad { Finds::Bad } else { Finds::Good }
    }

    /// When a task of it exits by itself.
    pub fn exits_after(self, task: TaskId) -> Option<Duration> {
        (self == Self::Crashy).then(|| Duration::from_secs(1 + hash(&[task.as_u64(), 5]) % 60))
    }
}

impl Mood {
    pub const ALL: [Self; 3] = [Self::Hangs, Self::Fails, Self::Unready];

    pub const fn finds(self, role: Role) -> Finds {
        match (self, role) {
            (Self::Hangs, _) => Finds::Silence,
            (Self::Fails, _) | (Self::Unready, Role::Readiness) => Finds::Bad,
            (Self::Unready, Role::Startup | Role::Liveness) => Finds::Good,
        }
    }
}

/// A service of this program. `version` makes templates differ.
pub fn service(name: &str, replicas: u32, habit: Habit, version: u64) -> ServiceSpec {
    ServiceSpec {
        name: name.parse().unwrap(),
        replicas: Replicas::new(replicas).unwrap(),
        template: Arc::new(template(name, habit, version)),
        restart: RestartPolicy::default(),
        placement: PlacementRules::default(),
    }
}

fn template(name: &str, habit: Habit, version: u64) -> TaskTemplate {
    let publish = (habit == Habit::Ported).then(|| Publish {
        // Each service its own.
        host_port: Port::new(8000 + name.bytes().map(u32::from).sum::<u32>()).unwrap(),
        task_port: Port::new(80).unwrap(),
        protocol: Protocol::Tcp,
    });
    TaskTemplate {
        args: vec![habit.to_string()],
        env: vec![EnvVar::new("VERSION", version.to_string()).unwrap()],
        publish: publish.into_iter().collect(),
        health: HealthConfig::Checks(Arc::new(checks())),
        ..TaskTemplate::new(Workload::Image {
            image: "app".parse().unwrap(),
            pull: Pull::Missing,
            command: Vec::new(),
        })
    }
}

fn checks() -> Checks {
    let check = |role: Role, period_ms, failures| {
        let command = Command::argv(vec![role.name().to_owned()]).unwrap();
        let kind = CheckKind::Exec(ExecCheck::new(command));
        let period = Period::from_millis_const(period_ms);
        let timing = Timing {
            period,
            timeout: Timeout::from_millis_const(1_000),
            delay: Delay::MIN,
            start_period: Delay::MIN,
            start_interval: period,
            confirm_interval: Timing::quick(period),
            failures: Threshold::new(failures).unwrap(),
            successes: Threshold::ONE,
            min_failing: Delay::MIN,
            flapping: None,
            stop_grace_period: None,
        };
        Some(Check { kind, timing })
    };
    Checks {
        startup: check(Role::Startup, 1_000, 60),
        liveness: check(Role::Liveness, 10_000, 3),
        readiness: check(Role::Readiness, 5_000, 2),
    }
}
