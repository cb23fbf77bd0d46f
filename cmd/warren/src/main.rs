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
mod values;

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::Context;
use clap::Parser;

use self::{
    cli::{Cli, ClientCommand, Command, manager::ManagerCommand, process::ManagerArgs},
    client::Host,
    console::Console,
    failure::Failure,
};

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
    let host = cli.host.as_deref();
    match cli.command {
        Command::Client(command) => client(command, host),
        Command::Manager(args) if args.command.is_some() => database(*args, host),
        Command::Run(_) | Command::Manager(_) | Command::Worker(_) | Command::Check(_)
            if host.is_some() =>
        {
            Err(Failure::flag("--host", "is for the commands that talk to a manager"))
        }
        Command::Check(args) => on_console(async |console| check::run(&args.kind, console).await),
        Command::Run(args) => run::both(&args),
        Command::Manager(args) => run::manager(&args),
        Command::Worker(args) => run::worker(&args),
    }
}

fn database(args: ManagerArgs, host: Option<&str>) -> Result<(), Failure> {
    let wrong = "is for the commands that talk to a manager";
    match (args.command, host) {
        (Some(ManagerCommand::Backup(args)), host) => {
            let host = Host::chosen(host)?;
            on_console(async |console| cmd::database::backup(&args, &host, console).await)
        }
        (Some(_), Some(_)) => Err(Failure::flag("--host", wrong)),
        (Some(ManagerCommand::Restore(args)), None) => {
            on_console(async |console| cmd::database::restore(&args, console))
        }
        (Some(ManagerCommand::Check(args)), None) => {
            on_console(async |console| cmd::database::check(&args, console))
        }
        (None, _) => Ok(()),
    }
}

fn client(command: ClientCommand, host: Option<&str>) -> Result<(), Failure> {
    let host = Host::chosen(host)?;
    on_console(async |console| cmd::run(command, &host, console).await)
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
