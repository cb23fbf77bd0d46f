//! The process driver and the log files against the real system. Started with other arguments,
//! this program is the supervisor, the logger or a worker that is going to be killed.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "these are tests, which clippy cannot see where main is their own"
)]

use std::{env, ffi::OsStr, io, path::Path, process::ExitCode};

mod exec;
mod kill;
mod lifecycle;
mod log_files;
mod logger;
mod support;
mod worker;

fn main() -> ExitCode {
    let mut args = env::args_os().skip(1);
    let (first, second) = (args.next(), args.next());
    let (Some(role), Some(path)) = (first.as_deref().and_then(OsStr::to_str), &second) else {
        return run_tests();
    };
    let path = Path::new(path);
    match role {
        "task-supervisor" => exit_code(warren_runtime::supervisor::supervisor_main(path)),
        "task-logger" => exit_code(warren_runtime::logs::logger_main(path)),
        "worker" => worker::main(path),
        "worker-with-command" => worker::main_with_command(path),
        _ => run_tests(),
    }
}

fn exit_code(done: io::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run_tests() -> ExitCode {
    let arguments = libtest_mimic::Arguments::from_args();
    let trials = [
        lifecycle::trials(),
        kill::trials(),
        exec::trials(),
        log_files::trials(),
        logger::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit_code()
}
