//! The processes of the machine as `/proc` shows them: whose they are, and how to end them for
//! certain. Blocking, some ten microseconds for each process of the machine.

use std::{
    fs, io,
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use serde::{Deserialize, Serialize};

/// One process, which no later one with the same number is mistaken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub pid: u32,
    /// In clock ticks since the machine started.
    pub started: u64,
}

/// A process that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pub identity: Identity,
    pub parent: u32,
    pub group: u32,
    pub session: u32,
}

impl Identity {
    /// Also of a process that has ended, until its parent has taken note.
    pub fn of(pid: u32) -> Option<Self> {
        stat(pid).map(|(process, _)| process.identity)
    }

    pub fn is_alive(self) -> bool {
        stat(self.pid).is_some_and(|(process, ended)| process.identity == self && !ended)
    }

    /// `None`: it is gone.
    fn open(self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else {
            return Ok(None);
        };
        match pidfd_open(pid, PidfdFlags::empty()) {
            // Whatever has the number now, it is the right one only if it was already there.
            Ok(descriptor) => Ok((Self::of(self.pid) == Some(self)).then_some(descriptor)),
            Err(Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether this machine can signal processes without mistaking one for another.
    pub fn signal_check(self) -> io::Result<()> {
        self.open().map(drop)
    }

    /// One that is gone needs no signal.
    pub fn signal(self, signal: Signal) -> io::Result<()> {
        match self.open()?.map(|process| pidfd_send_signal(process, signal)) {
            None | Some(Ok(()) | Err(Errno::SRCH)) => Ok(()),
            Some(Err(error)) => Err(error.into()),
        }
    }
}

/// When a process started; see [`Identity`].
pub fn started(pid: u32) -> Option<u64> {
    Identity::of(pid).map(|identity| identity.started)
}

/// Every process that has not ended.
pub fn all() -> Vec<Process> {
    those(pids())
}

/// The numbers of all processes of the machine.
pub fn pids() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Those of the numbers whose processes have not ended.
pub fn those(pids: impl IntoIterator<Item = u32>) -> Vec<Process> {
    let there = pids.into_iter().filter_map(stat).filter(|(_, ended)| !ended);
    there.map(|(process, _)| process).collect()
}

/// Whether the process was started with this `NAME=value` in its environment.
pub fn has_env(pid: u32, variable: &str) -> bool {
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|env| env.split(|b| *b == 0).any(|var| var == variable.as_bytes()))
}

/// Those that `seed` picks, and all that they started.
pub fn with_descendants(all: &[Process], seed: impl Fn(&Process) -> bool) -> Vec<Identity> {
    let (mut family, mut others): (Vec<&Process>, Vec<&Process>) =
        all.iter().partition(|process| seed(process));
    loop {
        let is_child = |p: &&Process| family.iter().any(|f| f.identity.pid == p.parent);
        let (children, rest): (Vec<_>, Vec<_>) = others.into_iter().partition(is_child);
        if children.is_empty() {
            return family.into_iter().map(|process| process.identity).collect();
        }
        family.extend(children);
        others = rest;
    }
}

/// Kills what `find` finds until it finds nothing: what is being killed may still have started
/// another. An error: some did not end in time, or may not be killed.
pub fn kill_all(within: Duration, find: impl Fn() -> Vec<Identity>) -> io::Result<()> {
    let deadline = Instant::now() + within;
    let mut pause = Duration::from_millis(1);
    loop {
        let victims = find();
        let Some(first) = victims.first() else { return Ok(()) };
        // All of them, whatever becomes of one: a setuid child may not be ours to kill.
        let mut signalled = Ok(());
        for victim in &victims {
            signalled = signalled.and(victim.signal(Signal::KILL));
        }
        signalled?;
        if Instant::now() > deadline {
            let left = format!("process {} was killed and has not ended", first.pid);
            return Err(io::Error::new(io::ErrorKind::TimedOut, left));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// And whether it has ended, waiting for its parent to take note.
fn stat(pid: u32) -> Option<(Process, bool)> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything.
    let rest = &stat[stat.iter().rposition(|b| *b == b')')? + 1..];
    let mut fields = str::from_utf8(rest).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    let mut number = |skip| fields.nth(skip)?.parse::<u64>().ok();
    let mut id = |skip| number(skip).and_then(|n| u32::try_from(n).ok());
    let (parent, group, session) = (id(0)?, id(0)?, id(0)?);
    // The 22nd field of all.
    let identity = Identity { pid, started: number(15)? };
    Some((Process { identity, parent, group, session }, matches!(state, "Z" | "X")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_finds_itself_and_no_other_in_its_place() {
        let own = Identity::of(std::process::id()).unwrap();
        assert!(own.is_alive() && own.open().unwrap().is_some());
        let other = Identity { started: own.started + 1, ..own };
        assert!(!other.is_alive() && other.open().unwrap().is_none());
        assert!(all().iter().any(|process| process.identity == own));
    }

    #[test]
    fn descendants_are_found_however_they_are_listed() {
        let process = |pid, parent| Process {
            identity: Identity { pid, started: 0 },
            parent,
            group: pid,
            session: pid,
        };
        let all = [process(9, 8), process(8, 7), process(7, 1), process(6, 1)];
        let family = with_descendants(&all, |p| p.identity.pid == 7);
        assert_eq!(family.iter().map(|i| i.pid).collect::<Vec<_>>(), [7, 8, 9]);
    }
}
