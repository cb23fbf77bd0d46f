//! The reference services of `examples/`, run by Warren with all three roles.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use nix::sys::signal::Signal;
use warren_tests::{
    Daemon, Machine, Warren, binary, eventually, have_root,
    http::{get, wait_for},
    text,
};

const LIMIT: Duration = Duration::from_mins(1);
const ROLES: &str = "\
     --startup-http path=/health/startup,port=8080,period=200ms,timeout=5s,failures=100 \
     --readiness-http path=/health/ready,port=8080,period=300ms,timeout=5s,failures=2 \
     --liveness-http path=/liveness,port=8080,period=300ms,timeout=5s,failures=3";

/// A Redis of the test's own, that all on this machine reach.
struct Database {
    daemon: Daemon,
    port: u16,
}

impl Database {
    fn start(machine: &Machine) -> Self {
        Self::at(machine, free_port(), "127.0.0.1")
    }

    /// Reached from everywhere, for tasks in containers.
    fn everywhere(machine: &Machine) -> Self {
        Self::at(machine, free_port(), "0.0.0.0")
    }

    fn at(machine: &Machine, port: u16, bind: &str) -> Self {
        let mut command = Command::new("redis-server");
        command.args(["--bind", bind, "--protected-mode", "no", "--save", "", "--port"]);
        command.arg(port.to_string());
        command.arg("--dir").arg(machine.path());
        Self { daemon: Daemon::start(command, machine.path().join("redis.log")), port }
    }

    /// Like one that was stopped.
    fn restart(self, machine: &Machine) -> Self {
        let Self { daemon, port } = self;
        daemon.kill();
        Self::at(machine, port, "127.0.0.1")
    }

    fn push(&self, mail: &str) {
        self.cli(&["rpush", "mails", mail]);
    }

    fn cli(&self, arguments: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        let output = cli.arg("-p").arg(self.port.to_string()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

fn program(name: &str) -> String {
    let program = binary().with_file_name(name);
    assert!(program.exists(), "{} is not there; run cargo build --workspace", program.display());
    program.display().to_string()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn create(warren: &Warren, name: &str, replicas: u32, environment: &str) {
    let program = program(name);
    let line = format!("service create {name} --replicas {replicas} {environment} {ROLES} --");
    warren.ok((&*line, &[&*program][..]));
}

/// Waits until so many of the only service's tasks take traffic; all of them are healthy.
fn ready(warren: &Warren, wanted: u64) {
    eventually(&format!("{wanted} ready tasks"), LIMIT, || {
        let rows = warren.json("service ls");
        let summary = &rows["services"][0]["summary"];
        let counts = [&summary["ready"], &summary["healthy"]].map(serde_json::Value::as_u64);
        if counts == [Some(wanted), Some(2)] { Ok(()) } else { Err(format!("{rows:#}")) }
    });
}

/// A reference service outside of Warren, at an address of its own.
fn run(machine: &Machine, name: &str, environment: &[(&str, &str)]) -> (Daemon, SocketAddr) {
    static RUNS: AtomicU8 = AtomicU8::new(1);
    let pid = std::process::id();
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let ip = Ipv4Addr::new(127, 201, (pid % 250) as u8, run);
    let mut command = Command::new(binary().with_file_name(name));
    command.envs(environment.iter().copied()).env("WARREN_TASK_IP", ip.to_string());
    (Daemon::start(command, machine.path().join(format!("{name}.log"))), (ip, 8080).into())
}

#[test]
fn a_service_that_ends_is_unready_at_once_and_serves_until_nobody_sends_to_it() {
    let machine = Machine::without_containerd();
    let database = Database::start(&machine);
    let address = format!("redis://127.0.0.1:{}/", database.port);
    let (mut payments, at) = run(&machine, "payments", &[("DATABASE", &address)]);
    wait_for(at, "/health/ready", 200);
    payments.signal(Signal::SIGTERM);
    let body = wait_for(at, "/health/ready?verbose", 503);
    assert!(body.contains("version"), "{body}");
    assert_eq!(get(at, "/liveness").0, 200);
    assert_eq!(get(at, "/").0, 200);
    assert_eq!(payments.exit_code(LIMIT), Some(0));
    assert_eq!(get(at, "/health/ready").0, 0);
}

#[test]
fn a_worker_that_ends_loses_no_mail_that_it_has_taken() {
    let machine = Machine::without_containerd();
    let database = Database::start(&machine);
    let address = format!("redis://127.0.0.1:{}/", database.port);
    let (mut mailer, at) = run(&machine, "mailer", &[("QUEUE", &address)]);
    wait_for(at, "/health/ready", 200);
    let all: Vec<String> = (0..2000).map(|number| format!("m{number}")).collect();
    let mut push = vec!["rpush", "mails"];
    push.extend(all.iter().map(String::as_str));
    database.cli(&push);
    mailer.signal(Signal::SIGTERM);
    assert_eq!(mailer.exit_code(LIMIT), Some(0));
    let delivered = mailer.log().lines().filter(|line| line.contains("delivered")).count();
    let left: usize = database.cli(&["llen", "mails"]).parse().unwrap();
    assert_eq!(delivered + left, all.len(), "{delivered} delivered");
}

#[test]
fn a_database_that_hangs_takes_traffic_away_and_replaces_nothing() {
    let machine = Machine::without_containerd();
    let database = Database::start(&machine);
    let warren = machine.run();
    let environment =
        format!("--env DATABASE=redis://127.0.0.1:{}/ --env WARM_UP_MS=2000", database.port);
    create(&warren, "payments", 2, &environment);
    // Startup holds while the cache is cold: nothing is failed, nothing is ready.
    warren.shows("payments", "Health: 0/2 healthy, 2/2 starting", LIMIT);
    warren.shows("payments", "Health: 2/2 healthy", LIMIT);
    ready(&warren, 2);
    let before = ["payments.1", "payments.2"].map(|slot| warren.task_id(slot));

    database.daemon.signal(Signal::SIGSTOP);
    ready(&warren, 0);
    let why = warren.ok("task inspect payments.1");
    assert!(why.contains("HTTP 503"), "{why}");
    database.daemon.signal(Signal::SIGCONT);
    ready(&warren, 2);
    // Stopped altogether, and back.
    database.daemon.signal(Signal::SIGKILL);
    ready(&warren, 0);
    let _database = database.restart(&machine);
    ready(&warren, 2);
    assert_eq!(["payments.1", "payments.2"].map(|slot| warren.task_id(slot)), before);
    let events = warren.ok("event ls payments");
    assert!(!events.contains("liveness"), "{events}");
}

#[test]
fn a_loop_that_hangs_is_seen_by_liveness_and_replaced() {
    let machine = Machine::without_containerd();
    let database = Database::start(&machine);
    let warren = machine.run();
    create(&warren, "mailer", 1, &format!("--env QUEUE=redis://127.0.0.1:{}/", database.port));
    warren.shows("mailer", "Health: 1/1 healthy", LIMIT);
    let first = warren.task_id("mailer.1");
    database.push("hello");
    eventually("the mail to be delivered", LIMIT, || {
        let log = warren.ok("task logs mailer.1");
        if log.contains("delivered") { Ok(()) } else { Err(log) }
    });
    database.push("deadlock");
    eventually("the task to be replaced", LIMIT, || {
        let shown = warren.ok("service inspect mailer");
        let replaced = warren.task_id("mailer.1") != first && shown.contains("1/1 healthy");
        if replaced { Ok(()) } else { Err(shown) }
    });
    database.push("again");
    eventually("the next one to deliver", LIMIT, || {
        let log = warren.ok("task logs mailer.1");
        if log.contains("again") { Ok(()) } else { Err(log) }
    });
}

/// Liveness asks for the database as well, which it never should: it hangs, and all that ask fail.
/// R-27, C-132
#[test]
fn containers_whose_answers_name_the_same_broken_component_are_held_but_for_one() {
    if !have_root("reference") {
        return;
    }
    let machine = Machine::new();
    let database = Database::everywhere(&machine);
    let warren = machine.run();
    warren.import("redis");
    let mount = format!("--mount {}:/payments:ro --entrypoint /payments", program("payments"));
    warren.ok(&format!(
        "service create payments --image warren-test/redis:1 {mount} --replicas 3 \
         --env DATABASE=redis://{}:{}/ --env WARREN_TASK_IP=0.0.0.0 \
         --liveness-http path=/health,port=8080,period=300ms,timeout=20s,failures=2",
        machine.gateway(),
        database.port
    ));
    warren.shows("payments", "Health: 3/3 healthy", LIMIT);
    let tasks = || ["payments.1", "payments.2", "payments.3"].map(|slot| warren.task_id(slot));
    let before = tasks();

    database.daemon.signal(Signal::SIGSTOP);
    let shown = eventually("the guard", LIMIT, || {
        let shown = warren.ok("service inspect payments");
        if shown.contains("Held by component: ") { Ok(shown) } else { Err(shown) }
    });
    assert!(shown.contains("ledger"), "{shown}");
    database.daemon.signal(Signal::SIGCONT);
    warren.shows("payments", "Health: 3/3 healthy", LIMIT);
    let kept = tasks().iter().filter(|task| before.contains(task)).count();
    assert!(kept >= 2, "{kept} of 3 are kept: {}", warren.ok("task ls payments --all"));
}
