//! `warren`: the one binary. Flags -> config -> build -> run.

mod check;
mod cli;
mod client;
mod cmd;
mod console;
mod failure;
mod health_flags;
mod interrupt;
mod output;
mod paths;
mod run;
mod spec;
#[cfg(test)]
mod tests;
mod tls;
mod values;

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::Context;
use clap::Parser;
use tikv_jemallocator::Jemalloc;

use self::{
    cli::{Cli, Command, TlsArgs, manager::ManagerCommand, process::ManagerArgs},
    client::Host,
    console::Console,
    failure::Failure,
};

/// A third less of the manager's processor than the C library's, and less memory after a burst.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let result = task_helper().unwrap_or_else(|| dispatch(Cli::parse()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_told() {
                // The exit code says it too, should stderr be closed.
                drop(writeln!(io::stderr(), "error: {}", failure.chain()));
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

/// The programs beside each task, `task-logger LOG` and `task-supervisor DIR`, and the one beside
/// each worker, `observer-echo WORKER`. There are thousands on a large node, so nothing else is set
/// up for them.
fn task_helper() -> Option<Result<(), Failure>> {
    let mut args = std::env::args_os().skip(1);
    let (verb, path) = (args.next()?, args.next()?);
    let ended = match verb.to_str()? {
        "task-logger" => warren_runtime::logs::logger_main(Path::new(&path)),
        "task-supervisor" => warren_runtime::supervisor::supervisor_main(Path::new(&path)),
        // What follows is for whoever reads a list of processes.
        run::ECHO => warren_worker::echo_main(),
        _ => return None,
    };
    Some(ended.map_err(|error| anyhow::Error::new(error).into()))
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    let Cli { host, tls, command } = cli;
    match command {
        Command::Client(command) => {
            let host = Host::chosen(host.as_deref(), &tls)?;
            on_console(async |console| cmd::run(command, &host, console).await)
        }
        Command::Manager(args) if args.command.is_some() => database(*args, host.as_deref(), &tls),
        Command::Run(_) | Command::Manager(_) | Command::Worker(_) | Command::Check(_)
            if host.is_some() =>
        {
            Err(Failure::flag("--host", FOR_CLIENTS))
        }
        Command::Check(args) => {
            without_tls(&tls)?;
            on_console(async |console| check::run(&args.kind, console).await)
        }
        Command::Run(args) => run::both(&args, &tls),
        Command::Manager(args) => run::manager(&args, &tls),
        Command::Worker(args) => run::worker(&args, &tls),
    }
}

const FOR_CLIENTS: &str = "is for the commands that talk to a manager";

fn without_tls(tls: &TlsArgs) -> Result<(), Failure> {
    tls.given().map_or(Ok(()), |flag| Err(Failure::flag(flag, FOR_CLIENTS)))
}

fn database(args: ManagerArgs, host: Option<&str>, tls: &TlsArgs) -> Result<(), Failure> {
    if let Some(ManagerCommand::Backup(args)) = args.command {
        let host = Host::chosen(host, tls)?;
        return on_console(async |console| cmd::database::backup(&args, &host, console).await);
    }
    if host.is_some() {
        return Err(Failure::flag("--host", FOR_CLIENTS));
    }
    without_tls(tls)?;
    on_console(async |console| match args.command {
        Some(ManagerCommand::Restore(args)) => cmd::database::restore(&args, console),
        Some(ManagerCommand::Check(args)) => cmd::database::check(&args, console),
        Some(ManagerCommand::Backup(_)) | None => Ok(()),
    })
}

fn on_console(
    act: impl AsyncFnOnce(&mut Console<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    let mut console = Console::new(&mut out, &mut err, console::wall_clock);
    let result = runtime.block_on(act(&mut console));
    // A read of the standard input cannot be called off; do not wait for it.
    runtime.shutdown_background();
    result
}
