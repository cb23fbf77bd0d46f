//! Single threads of a process stand still, as in a deadlock or an endless loop.

use std::{fs, marker::PhantomData};

use nix::{
    sys::{
        ptrace,
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};

/// Threads that do not run until this is dropped. The rest of their process goes on.
#[derive(Debug)]
pub struct StoppedThreads {
    threads: Vec<Pid>,
    /// Only the thread that stopped them may let them go.
    _here: PhantomData<*const ()>,
}

impl StoppedThreads {
    /// Stops each thread of the process whose name is this.
    pub fn named(process: u32, name: &str) -> Self {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
        let named = tasks.flatten().filter(|task| {
            let comm = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            comm.trim() == name
        });
        let threads: Vec<Pid> = named
            .map(|task| Pid::from_raw(task.file_name().to_str().unwrap().parse().unwrap()))
            .collect();
        assert!(!threads.is_empty(), "process {process} has no thread {name:?}");
        for &thread in &threads {
            ptrace::seize(thread, ptrace::Options::empty()).unwrap();
            ptrace::interrupt(thread).unwrap();
            waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
        }
        Self { threads, _here: PhantomData }
    }
}

impl Drop for StoppedThreads {
    fn drop(&mut self) {
        for &thread in &self.threads {
            // Its process may be gone.
            let _ = ptrace::detach(thread, None);
        }
    }
}
