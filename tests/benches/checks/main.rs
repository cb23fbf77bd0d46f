//! What a check costs: `make bench-checks`.
//!
//! One process answers, another one asks, in a network namespace of their own, so that no
//! connection table of the host fills. All have the same priority. In turn ask the bare socket
//! loop, the worker and `HAProxy`, all of them the same targets at the same pace, and what each
//! takes of the processor is read from /proc. Prints a table and, last, one line of JSON. It never
//! fails on a timing.

mod answer;
mod bare;
mod child;
mod haproxy;
mod manager;
mod rounds;
mod runtime;
mod show;
mod targets;
mod worker;

use std::{process::Command, time::Duration};

use nix::{
    sched::{CloneFlags, unshare},
    sys::resource::{Resource, getrlimit, setrlimit},
};
use rustix::process::setpriority_process;
use tikv_jemallocator::Jemalloc;

use crate::targets::Plan;

/// The binary's own.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

const USAGE: &str = "\
usage: cargo bench -p warren-tests --bench checks -- [OPTION...]

  --targets N      so many targets [10000]
  --period MS      each is asked once in so many milliseconds [1000]
  --seconds N      measured for each who asks [10]
  --only NAME      of those who ask, the ones whose name begins so; may be repeated
  --mixed          checks of every kind in place of the comparison, 50000 at 10 s by default
  --netns          as if every target had a network namespace of its own to be entered
";

/// The nice value that the worker's thread for checks gives itself, and here everybody has.
const AHEAD: i32 = -10;
/// To who answers: it is not to have it.
pub const BEHIND: &str = "behind";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub plan: Plan,
    pub seconds: u64,
    pub only: Vec<String>,
    pub mixed: bool,
}

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    // What cargo adds.
    args.retain(|arg| arg != "--bench" && arg != "--test");
    match args.first().map(String::as_str) {
        Some("answer") => {
            if args.get(1).is_some_and(|arg| arg == BEHIND) {
                setpriority_process(None, 0).unwrap();
            }
            answer::run();
        }
        Some("bare") => bare::run(&Plan::from_args(&args[2..]), &args[1]),
        Some("worker") => worker::run(&Plan::from_args(&args[2..]), &args[1]),
        _ => match options(&args) {
            Ok(options) => compare(&options),
            Err(why) => {
                eprintln!("{why}\n\n{USAGE}");
                std::process::exit(2);
            }
        },
    }
}

fn options(args: &[String]) -> Result<Options, String> {
    let mixed = args.iter().any(|arg| arg == "--mixed");
    let (targets, period) = if mixed { (50_000, 10_000) } else { (10_000, 1_000) };
    let plan = Plan { targets, period: Duration::from_millis(period), netns: false };
    let mut options = Options { plan, seconds: 10, only: Vec::new(), mixed };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "--targets" => options.plan.targets = number(value()?)?,
            "--period" => options.plan.period = Duration::from_millis(number(value()?)?),
            "--seconds" => options.seconds = number(value()?)?,
            "--only" => options.only.push(value()?.clone()),
            "--netns" => options.plan.netns = true,
            "--mixed" => {}
            other => return Err(format!("what is {other}?")),
        }
    }
    let most = targets::MOST;
    if options.plan.targets == 0 || options.plan.targets > most || options.seconds == 0 {
        return Err(format!("1 to {most} targets, and a second at least"));
    }
    Ok(options)
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is not a number"))
}

fn compare(options: &Options) {
    // While there is but one thread, all that are started later live there as well.
    if let Err(errno) = unshare(CloneFlags::CLONE_NEWNET) {
        eprintln!("a network namespace of its own takes root: {}", errno.desc());
        std::process::exit(1);
    }
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    assert!(up.is_ok_and(|status| status.success()), "iproute2's ip is needed");
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    // Where who asks is ahead of who answers, the kernel wakes the one across cores in place of
    // letting it run at once, and that costs who asks. The worker puts itself ahead.
    setpriority_process(None, AHEAD).unwrap();
    rounds::run(options);
}
