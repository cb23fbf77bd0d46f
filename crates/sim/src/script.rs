//! What people do and what breaks, and when: a text that a person can write, read and shrink.

use std::{fmt, str::FromStr, time::Duration};

use crate::{
    app::{Habit, Mood},
    life::Moment,
    net::Lane,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    pub seed: u64,
    pub nodes: u32,
    /// By time.
    pub steps: Vec<(Duration, Step)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Create {
        name: String,
        replicas: u32,
        habit: Habit,
    },
    Scale {
        name: String,
        replicas: u32,
    },
    Roll {
        name: String,
        habit: Habit,
    },
    Remove {
        name: String,
    },
    /// Of a service's checks.
    Pause {
        name: String,
        long: Duration,
    },
    Resume {
        name: String,
    },
    /// A task, by its slot.
    Stop {
        slot: String,
    },
    /// The node's connection breaks, and both ends hear of it.
    Cut {
        node: u32,
    },
    /// Nothing passes between the node and the manager, and nobody hears of it. New connections
    /// find no answer.
    Part {
        nodes: Vec<u32>,
        long: Duration,
    },
    /// Nothing passes in that direction, and nobody hears of it: the session is half open.
    Mute {
        node: u32,
        lane: Lane,
        long: Duration,
    },
    /// So many more pieces pass in that direction; of the next one a half does, and the connection
    /// breaks.
    Sever {
        node: u32,
        lane: Lane,
        after: u32,
    },
    /// The process ends at that moment, and is started again after a while.
    Crash {
        who: Who,
        at: Moment,
        down: Duration,
    },
    /// The process's next write says that it failed; whether or not it did.
    FailWrite {
        who: Who,
        kept: bool,
    },
    SlowDisk {
        who: Who,
        by: Duration,
        long: Duration,
    },
    /// All at once: the worker, and all tasks.
    PowerOff {
        nodes: Vec<u32>,
        long: Duration,
    },
    /// The node's runtime does not answer.
    Runtime {
        node: u32,
        long: Duration,
    },
    /// The clock is set, forwards or back.
    Clock {
        who: Who,
        seconds: i64,
    },
    /// The tasks of a service, or of one slot.
    App {
        which: String,
        mood: Mood,
        long: Duration,
    },
    Exit {
        slot: String,
        code: i32,
    },
    /// Nothing is wrong from here on, and every program does what it should.
    Heal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Manager,
    Node(u32),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manager => f.write_str("manager"),
            Self::Node(number) => write!(f, "n{number}"),
        }
    }
}

impl FromStr for Who {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "manager" => Ok(Self::Manager),
            _ => node(text).map(Self::Node),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { name, replicas, habit } => write!(f, "create {name} {replicas} {habit}"),
            Self::Scale { name, replicas } => write!(f, "scale {name} {replicas}"),
            Self::Roll { name, habit } => write!(f, "roll {name} {habit}"),
            Self::Remove { name } => write!(f, "remove {name}"),
            Self::Pause { name, long } => write!(f, "pause {name} {}", millis(*long)),
            Self::Resume { name } => write!(f, "resume {name}"),
            Self::Stop { slot } => write!(f, "stop {slot}"),
            Self::Cut { node } => write!(f, "cut n{node}"),
            Self::Part { nodes, long } => write!(f, "part {} {}", list(nodes), millis(*long)),
            Self::Mute { node, lane, long } => {
                write!(f, "mute n{node} {} {}", lane_word(*lane), millis(*long))
            }
            Self::Sever { node, lane, after } => {
                write!(f, "sever n{node} {} {after}", lane_word(*lane))
            }
            Self::Crash { who, at, down } => {
                write!(f, "crash {who} {at} {}", millis(*down))
            }
            Self::FailWrite { who, kept } => {
                write!(f, "fail-write {who} {}", if *kept { "kept" } else { "lost" })
            }
            Self::SlowDisk { who, by, long } => {
                write!(f, "slow-disk {who} {} {}", millis(*by), millis(*long))
            }
            Self::PowerOff { nodes, long } => {
                write!(f, "power-off {} {}", list(nodes), millis(*long))
            }
            Self::Runtime { node, long } => write!(f, "runtime n{node} {}", millis(*long)),
            Self::Clock { who, seconds } => write!(f, "clock {who} {seconds:+}"),
            Self::App { which, mood, long } => write!(f, "app {which} {mood} {}", millis(*long)),
            Self::Exit { slot, code } => write!(f, "exit {slot} {code}"),
            Self::Heal => f.write_str("heal"),
        }
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let named = |name: &&str| (*name).to_owned();
        Ok(match words[..] {
            ["create", ref name, replicas, habit] => {
                let (replicas, habit) = (number(replicas)?, habit.parse()?);
                Self::Create { name: named(name), replicas, habit }
            }
            ["scale", ref name, replicas] => {
                Self::Scale { name: named(name), replicas: number(replicas)? }
            }
            ["roll", ref name, habit] => Self::Roll { name: named(name), habit: habit.parse()? },
            ["remove", ref name] => Self::Remove { name: named(name) },
            ["pause", ref name, long] => Self::Pause { name: named(name), long: span(long)? },
            ["resume", ref name] => Self::Resume { name: named(name) },
            ["stop", ref slot] => Self::Stop { slot: named(slot) },
            ["cut", which] => Self::Cut { node: node(which)? },
            ["part", which, long] => Self::Part { nodes: nodes(which)?, long: span(long)? },
            ["mute", which, lane, long] => {
                Self::Mute { node: node(which)?, lane: lane_of(lane)?, long: span(long)? }
            }
            ["sever", which, lane, after] => {
                Self::Sever { node: node(which)?, lane: lane_of(lane)?, after: number(after)? }
            }
            ["crash", who, at, down] => {
                Self::Crash { who: who.parse()?, at: at.parse()?, down: span(down)? }
            }
            ["fail-write", who, kept @ ("kept" | "lost")] => {
                Self::FailWrite { who: who.parse()?, kept: kept == "kept" }
            }
            ["slow-disk", who, by, long] => {
                Self::SlowDisk { who: who.parse()?, by: span(by)?, long: span(long)? }
            }
            ["power-off", which, long] => {
                Self::PowerOff { nodes: nodes(which)?, long: span(long)? }
            }
            ["runtime", which, long] => Self::Runtime { node: node(which)?, long: span(long)? },
            ["clock", who, seconds] => Self::Clock { who: who.parse()?, seconds: number(seconds)? },
            ["app", ref which, mood, long] => {
                Self::App { which: named(which), mood: mood.parse()?, long: span(long)? }
            }
            ["exit", ref slot, code] => Self::Exit { slot: named(slot), code: number(code)? },
            ["heal"] => Self::Heal,
            _ => return Err(format!("{text:?} is no step")),
        })
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        writeln!(f, "nodes {}", self.nodes)?;
        for (at, step) in &self.steps {
            writeln!(f, "{:>8} {step}", millis(*at))?;
        }
        Ok(())
    }
}

impl FromStr for Script {
    type Err = String;

    /// `#` begins a comment.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut script = Self { seed: 1, nodes: 3, steps: Vec::new() };
        for line in text.lines().map(|line| line.split('#').next().unwrap_or("").trim()) {
            match line.split_once(' ') {
                _ if line.is_empty() => {}
                Some(("seed", seed)) => script.seed = number(seed)?,
                Some(("nodes", nodes)) => script.nodes = number(nodes)?,
                Some((at, step)) => script.steps.push((span(at)?, step.trim().parse()?)),
                None => return Err(format!("{line:?} is no line of a script")),
            }
        }
        script.steps.sort_by_key(|(at, _)| *at);
        Ok(script)
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("{text:?} is no number"))
}

fn node(text: &str) -> Result<u32, String> {
    number(text.strip_prefix('n').ok_or_else(|| format!("{text:?} is no node such as n1"))?)
}

fn nodes(text: &str) -> Result<Vec<u32>, String> {
    text.split(',').map(node).collect()
}

const fn lane_word(lane: Lane) -> &'static str {
    match lane {
        Lane::Up => "up",
        Lane::Down => "down",
    }
}

fn lane_of(text: &str) -> Result<Lane, String> {
    let lane = Lane::ALL.into_iter().find(|lane| lane_word(*lane) == text);
    lane.ok_or_else(|| format!("{text:?} is neither up nor down"))
}

fn list(nodes: &[u32]) -> String {
    nodes.iter().map(|node| format!("n{node}")).collect::<Vec<_>>().join(",")
}

/// `90s` or `1500ms`.
fn span(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(millis), _) => number(millis).map(Duration::from_millis),
        (None, Some(seconds)) => number(seconds).map(Duration::from_secs),
        (None, None) => Err(format!("{text:?} is no time such as 5s or 200ms")),
    }
}

fn millis(span: Duration) -> String {
    let millis = span.as_millis();
    if millis.is_multiple_of(1000) { format!("{}s", millis / 1000) } else { format!("{millis}ms") }
}
