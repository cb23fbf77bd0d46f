//! What the manager costs and how fast it is: `make bench-manager`.
//!
//! One process is the manager as it ships, with a database on a disk. The other one plays the
//! workers: real sessions over gRPC on loopback, and nothing behind them. Both share the machine,
//! so what the workers take the manager lacks. Prints a table and, last, one line of JSON. It
//! never fails on a timing.

mod disk;
mod manager;
mod numbers;
mod phases;
mod reconcile;
mod tasks;
mod workers;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tikv_jemallocator::Jemalloc;

/// The binary's own.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

const USAGE: &str = "\
usage: cargo bench -p warren-tests --bench manager -- [OPTION...]

  --tasks N        so many tasks, in services of 100 [100000]
  --sessions N     on so many nodes, each with a session [1000]
  --seconds N      of rest, for what heartbeats cost [15]
  --rounds N       bursts, in each of which every task changes [4]
  --decisions N    tasks that end by themselves, one after the other [200]
  --reconcile      only what planning costs
";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    pub tasks: usize,
    pub sessions: usize,
    pub seconds: u64,
    pub rounds: usize,
    pub decisions: usize,
}

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    // What cargo adds.
    args.retain(|arg| arg != "--bench" && arg != "--test");
    match args.first().map(String::as_str) {
        Some("manager") => manager::run(&args[1..]),
        Some("--reconcile") => reconcile::show(&reconcile::measure(100_000)),
        _ => match options(&args) {
            Ok(options) => phases::run(options),
            Err(why) => {
                eprintln!("{why}\n\n{USAGE}");
                std::process::exit(2);
            }
        },
    }
}

fn options(args: &[String]) -> Result<Options, String> {
    let mut options =
        Options { tasks: 100_000, sessions: 1_000, seconds: 15, rounds: 4, decisions: 200 };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "--tasks" => options.tasks = number(value()?)?,
            "--sessions" => options.sessions = number(value()?)?,
            "--seconds" => options.seconds = number(value()?)?,
            "--rounds" => options.rounds = number(value()?)?,
            "--decisions" => options.decisions = number(value()?)?,
            other => return Err(format!("what is {other}?")),
        }
    }
    let Options { tasks, sessions, seconds, rounds, decisions } = options;
    if !tasks.is_multiple_of(tasks::PER_SERVICE) || tasks == 0 {
        return Err(format!("--tasks is a multiple of {}", tasks::PER_SERVICE));
    }
    if sessions == 0 || seconds == 0 || rounds == 0 || decisions == 0 {
        return Err("a session, a second, a round and a decision at least".to_owned());
    }
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    Ok(options)
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is not a number"))
}
