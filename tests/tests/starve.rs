//! A machine without time: hundreds of busy threads on its cores, healthy tasks that nobody may
//! take for dead, and one that is stopped and must be found (C-97, C-98).
//!
//! `make test` does it for some seconds, `make starve` for a minute. What is held is which verdicts
//! fell, never how long anything took; that is printed, and beside it what the same attempts would
//! have meant to a fixed timeout.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpListener,
    process::{Child, Command},
    time::{Duration, Instant, SystemTime},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use warren_tests::{Machine, Warren, eventually, http};

/// For what must come once the machine has time again.
const LIMIT: Duration = Duration::from_mins(2);
/// In a row.
const FAILURES: usize = 3;
/// Their timeouts in milliseconds.
const SERVICES: [(&str, u64); 2] = [("second", 1_000), ("quick", 300)];
const STOPPED: &str = "stopped";
/// In seconds.
const DAY: f64 = 86_400.0;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("serve") => serve(),
        Some("spin") => spin(args[1].parse().unwrap(), args[2].parse().unwrap()),
        // Somebody asked for other tests.
        Some(other) if !other.starts_with('-') && !"starve".contains(other) => {}
        _ => starve(&Plan::chosen()),
    }
}

struct Plan {
    seconds: u64,
    threads: usize,
    /// Of each service.
    targets: usize,
    /// Before it begins, and for a task that is stopped meanwhile.
    idle: bool,
}

impl Plan {
    fn chosen() -> Self {
        let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
        let long = number("WARREN_STARVE_SECONDS");
        let threads = number("WARREN_STARVE_THREADS").unwrap_or(512);
        Self {
            seconds: long.unwrap_or(5),
            threads: usize::try_from(threads).unwrap(),
            targets: if long.is_some() { 20 } else { 10 },
            idle: long.is_some(),
        }
    }
}

/// A target: 200 to whoever asks, as the task that it is.
fn serve() {
    let address = std::env::var("WARREN_TASK_IP").unwrap();
    let listener = TcpListener::bind((address.as_str(), 8080)).unwrap();
    for mut stream in listener.incoming().flatten() {
        let mut request = [0; 1024];
        let _gone = stream.read(&mut request);
        let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n");
    }
}

/// They end by themselves, whatever becomes of the test.
fn spin(threads: usize, seconds: u64) {
    let end = Instant::now() + Duration::from_secs(seconds);
    let busy = || while Instant::now() < end {};
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(busy);
        }
        busy();
    });
}

fn starve(plan: &Plan) {
    let machine = Machine::without_containerd();
    let log = "info,warren_worker::task=debug";
    let warren = machine.start("run", &["--health-listen", "127.0.0.1:0", "--log", log]);
    let program = std::env::current_exe().unwrap();
    let healthy = SERVICES.map(|(name, timeout)| (name, plan.targets, timeout));
    for (name, replicas, timeout) in healthy.into_iter().chain([(STOPPED, 1, 1_000)]) {
        warren.ok(&format!(
            "service create {name} --replicas {replicas} --health-http /:8080 --health-interval 1s \
             --health-timeout {timeout}ms --health-retries {FAILURES} --wait --wait-timeout 120s \
             -- {} serve",
            program.display()
        ));
    }
    let watched = Watched::of(&warren, plan.targets);

    if plan.idle {
        let begun = Instant::now();
        let from = warren.log().len();
        std::thread::sleep(Duration::from_secs(5));
        let stop = Stop::now(&warren);
        let found = stop.found(&warren);
        println!("idle for {:.0?}:", begun.elapsed());
        watched.tell(&warren, from, &found);
        warren.shows(STOPPED, "Health: 1/1 healthy", LIMIT);
    }

    let from = warren.log().len();
    let begun = Instant::now();
    let mut busy = Busy::start(plan.threads, plan.seconds);
    std::thread::sleep(Duration::from_secs(plan.seconds / 4));
    let stop = Stop::now(&warren);
    busy.0.wait().unwrap();
    let found = stop.found(&warren);
    println!("starved by {} busy threads for {:.0?}:", plan.threads, begun.elapsed());
    watched.tell(&warren, from, &found);
    watched.none_was_judged(&warren);
}

/// Ends with the test, where that fails.
struct Busy(Child);

impl Busy {
    fn start(threads: usize, seconds: u64) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["spin".to_owned(), threads.to_string(), seconds.to_string()]);
        Self(command.spawn().unwrap())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A task that is there and does nothing any more.
struct Stop {
    task: String,
    at: f64,
}

impl Stop {
    fn now(warren: &Warren) -> Self {
        let task = warren.task(&format!("{STOPPED}.1"));
        let pid = task["task"]["status"]["pid"].as_i64().unwrap();
        kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGSTOP).unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let at = now.as_secs_f64() % DAY;
        Self { task: task["task"]["id"].as_str().unwrap().to_owned(), at }
    }

    /// It is judged unhealthy.
    fn found(&self, warren: &Warren) -> String {
        eventually("the stopped task to be found", LIMIT, || {
            let log = warren.log();
            let judged = log.lines().find(|line| is_judged(line) && line.contains(&self.task));
            let at = judged.and_then(time_of).ok_or_else(|| tail(&log))?;
            Ok(format!("after {:.1} s", (at - self.at).rem_euclid(DAY)))
        })
    }
}

/// The healthy tasks, by service.
struct Watched(Vec<(&'static str, u64, Vec<String>)>);

/// What came of the attempts at the tasks of one service.
#[derive(Default)]
struct Sum {
    latencies: Vec<u64>,
    /// Longer than their timeout.
    late: usize,
    /// Without an answer at their timeout.
    beyond: usize,
    /// The tasks that a timeout which nobody stretches would have had for dead.
    dead: usize,
    judged: usize,
}

impl Watched {
    fn of(warren: &Warren, targets: usize) -> Self {
        let of = |name| {
            let id = |slot| warren.task_id(&format!("{name}.{slot}"));
            (1..=targets).map(id).collect()
        };
        Self(SERVICES.map(|(name, timeout)| (name, timeout, of(name))).into())
    }

    fn sum(&self, log: &str, service: usize) -> Sum {
        let (_, timeout, tasks) = &self.0[service];
        let mut runs: BTreeMap<&str, (usize, bool)> = BTreeMap::new();
        let mut sum = Sum::default();
        for line in log.lines() {
            let Some(task) = field(line, "task.id=") else { continue };
            if !tasks.iter().any(|known| known == task) {
                continue;
            }
            sum.judged += usize::from(is_judged(line));
            let Some(latency) = field(line, "latency_ms=") else { continue };
            let latency: u64 = latency.parse().unwrap();
            let stretched = field(line, "stretched=") == Some("true");
            let beyond = stretched || field(line, "outcome=") != Some("Pass");
            let (run, dead) = runs.entry(task).or_default();
            *run = if beyond { *run + 1 } else { 0 };
            *dead |= *run >= FAILURES;
            sum.beyond += usize::from(beyond);
            sum.late += usize::from(latency > *timeout);
            sum.latencies.push(latency);
        }
        sum.dead = runs.values().filter(|(_, dead)| *dead).count();
        sum.latencies.sort_unstable();
        sum
    }

    fn tell(&self, warren: &Warren, from: usize, found: &str) {
        let log = &warren.log()[from..];
        println!(
            "  {:>8} {:>8} {:>9} {:>8} {:>8} {:>8} {:>5} {:>7} {:>12} {:>9}",
            "timeout",
            "targets",
            "attempts",
            "p50",
            "p99",
            "max",
            "late",
            "beyond",
            "judged dead",
            "if fixed"
        );
        for (index, (_, timeout, tasks)) in self.0.iter().enumerate() {
            let Sum { latencies, late, beyond, dead, judged } = self.sum(log, index);
            let at =
                |part: usize| latencies.get(latencies.len() * part / 1_000).or(latencies.last());
            let millis = |part| format!("{} ms", at(part).copied().unwrap_or_default());
            println!(
                "  {:>8} {:>8} {:>9} {:>8} {:>8} {:>8} {:>5} {:>7} {:>12} {:>9}",
                format!("{timeout} ms"),
                tasks.len(),
                latencies.len(),
                millis(500),
                millis(990),
                millis(1_000),
                late,
                beyond,
                judged,
                dead
            );
        }
        println!("  a task that was stopped was judged unhealthy {found}");
        let (_, page) = http::get(warren.health_address(), "/metrics");
        let line = |name: &str| page.lines().find(|line| line.starts_with(name)).unwrap_or("");
        println!("  since the start: {}", line("warren_probe_timeout_stretched_total"));
        println!("  now: {}", line("warren_worker_observer_score"));
    }

    /// And all of them are still there.
    fn none_was_judged(&self, warren: &Warren) {
        let log = warren.log();
        let wrong: Vec<&str> = log
            .lines()
            .filter(|line| is_judged(line))
            .filter(|line| self.0.iter().any(|(_, _, ids)| ids.iter().any(|id| line.contains(id))))
            .collect();
        assert!(wrong.is_empty(), "healthy tasks were taken for dead:\n{}", wrong.join("\n"));
        for (name, _, tasks) in &self.0 {
            for (index, id) in tasks.iter().enumerate() {
                assert_eq!(warren.task_id(&format!("{name}.{}", index + 1)), *id);
            }
        }
    }
}

/// The line says that a task's health has become unhealthy.
fn is_judged(line: &str) -> bool {
    line.contains("task health changed") && line.contains("health=\"unhealthy\"")
}

fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(name).nth(1)?.split(' ').next()
}

/// Seconds into the day that a line of the log was written at: `2026-11-25T19:44:01.123456Z …`.
fn time_of(line: &str) -> Option<f64> {
    let clock = line.split('T').nth(1)?.split('Z').next()?;
    clock.split(':').try_fold(0.0, |sum, part| Some(sum * 60.0 + part.parse::<f64>().ok()?))
}

fn tail(log: &str) -> String {
    log.lines().rev().take(20).collect::<Vec<_>>().join("\n")
}
