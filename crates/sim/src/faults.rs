//! What really went wrong in a run, and how often: a script may ask for what then never comes.

use std::{cell::RefCell, collections::BTreeMap};

use crate::{
    app::{Habit, Mood},
    life::{Host, Moment},
    net::Lane,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Crash(Host, Moment),
    /// One that crashed is to crash again while it starts.
    CrashOfAStart(Host),
    /// What a worker had said came after its end.
    LastWords,
    Cut,
    Severed(Lane),
    /// Something was held up, and the other direction too.
    Parted,
    PartedInAGroup,
    /// Something was held up in one direction.
    HalfOpen(Lane),
    FailedWrite {
        host: Host,
        kept: bool,
    },
    SlowDisk(Host),
    PowerOff,
    PowerOffInAGroup,
    SilentRuntime,
    Clock {
        host: Host,
        forwards: bool,
    },
    /// A check met it.
    Mood(Mood),
    Habit(Habit),
    Exit,
}

pub type Faults = BTreeMap<Fault, u64>;

thread_local! {
    /// A run has its thread to itself.
    static SEEN: RefCell<Faults> = const { RefCell::new(Faults::new()) };
}

pub fn note(fault: Fault) {
    SEEN.with_borrow_mut(|seen| *seen.entry(fault).or_default() += 1);
}

/// Those since this was asked last.
pub fn take() -> Faults {
    SEEN.take()
}

impl Fault {
    pub fn all() -> Vec<Self> {
        let crashes = |host| Moment::of(host).into_iter().map(move |at| Self::Crash(host, at));
        let mut all: Vec<Self> = Host::ALL.into_iter().flat_map(crashes).collect();
        for host in Host::ALL {
            all.extend([Self::CrashOfAStart(host), Self::SlowDisk(host)]);
            all.extend([true, false].map(|kept| Self::FailedWrite { host, kept }));
            all.extend([true, false].map(|forwards| Self::Clock { host, forwards }));
        }
        all.extend(
            Lane::ALL.into_iter().flat_map(|lane| [Self::Severed(lane), Self::HalfOpen(lane)]),
        );
        all.extend(Mood::ALL.map(Self::Mood));
        let faultless = |habit: &Habit| matches!(habit, Habit::Good | Habit::Ported);
        all.extend(Habit::ALL.into_iter().filter(|h| !faultless(h)).map(Self::Habit));
        all.extend([Self::LastWords, Self::Cut, Self::Parted, Self::PartedInAGroup]);
        all.extend([Self::PowerOff, Self::PowerOffInAGroup, Self::SilentRuntime, Self::Exit]);
        all
    }
}
