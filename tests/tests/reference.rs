//! The reference services of `examples/`, run by Warren with all three roles.

use std::{process::Command, time::Duration};

use nix::sys::signal::Signal;
use warren_tests::{Daemon, Machine, Warren, binary, eventually, text};

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
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--port"]).arg(port.to_string());
        command.arg("--dir").arg(machine.path());
        Self { daemon: Daemon::start(command, machine.path().join("redis.log")), port }
    }

    fn push(&self, mail: &str) {
        let mut cli = Command::new("redis-cli");
        let pushed = cli.arg("-p").arg(self.port.to_string()).args(["rpush", "mails", mail]);
        let pushed = pushed.output().unwrap();
        assert!(pushed.status.success(), "{}", text(&pushed));
    }
}

fn create(warren: &Warren, name: &str, replicas: u32, environment: &str) {
    let program = binary().with_file_name(name);
    assert!(program.exists(), "{} is not there; run cargo build --workspace", program.display());
    let program = program.display().to_string();
    let line = format!("service create {name} --replicas {replicas} {environment} {ROLES} --");
    warren.ok((&*line, &[&*program][..]));
}

/// Waits until so many of the only service's tasks take traffic.
fn ready(warren: &Warren, wanted: u64) {
    eventually(&format!("{wanted} ready tasks"), LIMIT, || {
        let rows = warren.json("service ls");
        let ready = rows["services"][0]["summary"]["ready"].as_u64();
        if ready == Some(wanted) { Ok(()) } else { Err(format!("{rows:#}")) }
    });
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
    warren.shows("payments", "Health: 2/2 healthy", LIMIT);
    let why = warren.ok("task inspect payments.1");
    assert!(why.contains("HTTP 503"), "{why}");
    database.daemon.signal(Signal::SIGCONT);
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
