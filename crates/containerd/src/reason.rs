//! What runc's errors mean. They come as text alone, through the shim and containerd.

use tonic::{Code, Status};
use warren_core::id::TaskId;
use warren_runtime::{ExecEnd, RuntimeError};

use crate::client::{fault, is_down, unavailable};

/// What runc says when there is no such program, or it is none.
const NOT_RUNNABLE: [&str; 6] = [
    "executable file not found",
    "no such file or directory",
    "permission denied",
    "is a directory",
    "not a directory",
    "exec format error",
];
/// What it says when the container's own process has ended.
const ENDED: [&str; 4] =
    ["exec in a stopped", "exec in a deleted", "container not running", "does not exist"];
/// What stands before the part that is for the user.
const PREFIXES: [&str; 3] =
    ["unable to start container process: ", "runc create failed: ", "OCI runtime exec failed: "];

/// What runc says when the process was made, and failed by what its image or its spec says.
const OF_THE_PROCESS: &str = "unable to start container process";

/// Why a task did not start.
#[derive(Debug)]
pub enum StartFault {
    /// It may be what a worker that died in the middle began and containerd is still undoing, or
    /// has left: it has many faces, so whatever is not known to be something else is taken for it.
    InTheWay(String),
    Other(RuntimeError),
}

impl From<RuntimeError> for StartFault {
    fn from(error: RuntimeError) -> Self {
        Self::Other(error)
    }
}

impl From<StartFault> for RuntimeError {
    fn from(fault: StartFault) -> Self {
        match fault {
            StartFault::InTheWay(reason) => {
                Self::Refused(format!("the task cannot be started: {reason}"))
            }
            StartFault::Other(error) => error,
        }
    }
}

pub fn start_fault(status: Status) -> StartFault {
    if is_down(&status) {
        return StartFault::Other(fault("cannot start the task")(status));
    }
    let in_the_way = StartFault::InTheWay(plain(status.message()).to_owned());
    if status.message().contains(OF_THE_PROCESS) {
        return StartFault::Other(in_the_way.into());
    }
    in_the_way
}

/// What is in the way of a task is the task itself, by its name.
pub fn is_the_same(reason: &str) -> bool {
    ["file exists", "already exists"].iter().any(|text| reason.contains(text))
}

/// What a command's failed start says: about the command, about the task, or only about the
/// runtime.
pub fn exec_fault(task: TaskId, status: Status) -> Result<ExecEnd, RuntimeError> {
    let says = |texts: &[&str]| texts.iter().any(|text| status.message().contains(text));
    if is_down(&status) {
        Err(fault("cannot run a command in the task")(status))
    } else if status.code() == Code::NotFound || says(&ENDED) {
        Err(RuntimeError::NoSuchTask(task))
    } else if says(&["exec: ", "executable file"]) && says(&NOT_RUNNABLE) {
        Ok(ExecEnd::NotRun { reason: plain(status.message()).to_owned() })
    } else {
        // Out of memory, processes, descriptors: nothing that the command did.
        Err(unavailable(format!("a command did not start: {}", plain(status.message()))))
    }
}

fn plain(message: &str) -> &str {
    let mut plain = message.strip_suffix(": unknown").unwrap_or(message);
    for prefix in PREFIXES {
        plain = plain.split_once(prefix).map_or(plain, |(_, rest)| rest);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskId = TaskId::from_u64(1);

    fn exec(code: Code, message: &str) -> Result<ExecEnd, RuntimeError> {
        exec_fault(TASK, Status::new(code, message))
    }

    #[test]
    fn a_command_that_cannot_be_run_is_an_answer() {
        for (message, expected) in [
            (
                "OCI runtime exec failed: exec failed: unable to start container process: exec: \
                 \"nope\": executable file not found in $PATH: unknown",
                "exec: \"nope\": executable file not found in $PATH",
            ),
            (
                "OCI runtime exec failed: exec failed: unable to start container process: exec: \
                 \"/etc/passwd\": permission denied: unknown",
                "exec: \"/etc/passwd\": permission denied",
            ),
        ] {
            let end = exec(Code::Unknown, message).unwrap();
            assert_eq!(end, ExecEnd::NotRun { reason: expected.to_owned() });
        }
    }

    #[test]
    fn a_start_that_the_task_itself_spoils_is_not_tried_again() {
        let start = |message: &str| start_fault(Status::unknown(message));
        let spoiled = "failed to create shim task: OCI runtime create failed: runc create failed: \
                       unable to start container process: exec: \"nope\": executable file not \
                       found in $PATH: unknown";
        let StartFault::Other(RuntimeError::Refused(said)) = start(spoiled) else { panic!() };
        assert!(said.ends_with("exec: \"nope\": executable file not found in $PATH"), "{said}");
        for message in [
            "failed to start shim: start failed: io.containerd.runc.v2: getwd: no such file or \
             directory: exit status 1",
            "failed to start shim: mkdir /run/x: file exists",
            "failed to mount rootfs component: device or resource busy",
            "OCI runtime create failed: container with given ID already exists",
        ] {
            assert!(matches!(start(message), StartFault::InTheWay(_)), "{message}");
        }
        let down = start("ttrpc: closed: unknown");
        assert!(matches!(down, StartFault::Other(RuntimeError::Unavailable { .. })));
    }

    #[test]
    fn a_task_that_is_gone_is_told_from_a_runtime_that_cannot() {
        let stopped = "OCI runtime exec failed: exec failed: cannot exec in a stopped container";
        assert!(matches!(exec(Code::Unknown, stopped), Err(RuntimeError::NoSuchTask(TASK))));
        let stopped = "cannot exec in a stopped state: unknown";
        assert!(matches!(exec(Code::Unknown, stopped), Err(RuntimeError::NoSuchTask(TASK))));
        assert!(matches!(exec(Code::NotFound, "no task"), Err(RuntimeError::NoSuchTask(TASK))));
        for (code, message) in [
            (Code::Unavailable, "connection refused"),
            (Code::Unknown, "ttrpc: closed: unknown"),
            (Code::Unknown, "fork: resource temporarily unavailable"),
        ] {
            let error = exec(code, message).unwrap_err();
            assert!(matches!(error, RuntimeError::Unavailable { .. }), "{message}");
        }
    }
}
