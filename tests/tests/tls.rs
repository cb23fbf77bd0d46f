//! The API over TLS, between processes that show each other certificates: with the manual's own
//! commands, and with everything that can be wrong about them.

use std::{
    net::SocketAddr,
    process::{Command, Output},
    time::Duration,
};

use serde_json::Value;
use warren_tests::{
    Certificates, Machine, Warren, binary, eventually,
    http::{get, wait_for},
    text,
};

const LIMIT: Duration = Duration::from_mins(1);
const HEALTH: [&str; 2] = ["--health-listen", "127.0.0.1:0"];

/// A manager on a port of its own; where it is, as its log has it.
fn manager(machine: &Machine, flags: Vec<String>) -> (Warren, String) {
    let listen = ["manager", "--listen", "127.0.0.1:0"].into_iter().chain(HEALTH);
    let arguments: Vec<_> = listen.map(str::to_owned).chain(flags).collect();
    let manager = Warren::start(&machine.path().join("data-manager"), &arguments);
    let log = manager.log();
    let ready = log.lines().find(|line| line.starts_with("warren is ready: ")).unwrap();
    let address = ready.rsplit_once("://").unwrap().1.to_owned();
    (manager, address)
}

fn worker(machine: &Machine, host: &str, flags: Vec<String>) -> Warren {
    let start = ["worker", "--no-containerd", "--manager", host].into_iter().chain(HEALTH);
    let arguments: Vec<_> = start.map(str::to_owned).chain(flags).collect();
    Warren::start(&machine.path().join("data-worker"), &arguments)
}

/// The CLI at an address.
fn ask(host: &str, flags: &[String]) -> Output {
    let mut command = Command::new(binary());
    command.args(["--host", host]).args(flags).args(["node", "ls"]);
    command.output().unwrap()
}

/// It ends as unreachable, with one sentence.
fn refused(host: &str, flags: &[String], sentence: &str) {
    let output = ask(host, flags);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1, "{said}");
    assert!(said.contains(&format!("cannot reach the manager at {host}: ")), "{said}");
    assert!(said.contains(sentence), "{sentence}: {said}");
}

/// A certificate that has just ended is taken until its second is over.
fn in_the_end_refused(host: &str, flags: &[String], sentence: &str) {
    eventually("the second to be over", LIMIT, || {
        let output = ask(host, flags);
        if output.status.success() { Err(text(&output)) } else { Ok(()) }
    });
    refused(host, flags, sentence);
}

/// The component that tells of the process's own certificate.
fn certificate(body: &str) -> (String, String) {
    let report: Value = serde_json::from_str(body).unwrap();
    let parts = report["components"].as_array().unwrap();
    let part = parts.iter().find(|part| part["name"] == "certificate").unwrap();
    let word = |name: &str| part[name].as_str().unwrap_or_default().to_owned();
    (word("status"), word("message"))
}

/// Unready since its certificate is over, and not only until it has been looked at.
fn expired(address: SocketAddr) {
    eventually("the certificate's end", LIMIT, || {
        let (code, body) = get(address, "/health/ready?verbose");
        let (status, message) = certificate(&body);
        let told = status == "unhealthy" && message.starts_with("expired at ");
        if code == 503 && told { Ok(()) } else { Err(body) }
    });
}

#[test]
fn worker_and_cli_do_over_mutual_tls_what_they_do_elsewhere() {
    let machine = Machine::without_containerd();
    let made = Certificates::make(machine.path());
    let (manager, address) = manager(&machine, made.of_manager());
    let host = format!("https://{address}");
    let worker = worker(&machine, &host, made.of("node-a"));
    for process in [&manager, &worker] {
        let at = process.health_address();
        wait_for(at, "/health/ready", 200);
        let (status, message) = certificate(&get(at, "/health").1);
        assert_eq!(status, "healthy");
        assert!(message.ends_with("364 days left"), "{message}");
        let (_, metrics) = get(at, "/metrics");
        assert!(metrics.contains("\nwarren_certificate_expiry_timestamp_seconds "), "{metrics}");
    }
    let person = Person { host, flags: made.of("ada") };
    // Health comes from the worker, and a task's log by a call to it.
    person.ok("service create web --readiness-cmd period=200ms,timeout=5s,cmd=/bin/true --wait \
               -- /bin/sh -c 'echo hello; exec sleep 1000'");
    eventually("the task's log", LIMIT, || {
        let log = person.ok("task logs web.1");
        if log.contains("hello") { Ok(()) } else { Err(log) }
    });
    person.ok("service rm web --wait");
    assert_eq!(worker.stop(), Some(0));
    assert_eq!(manager.stop(), Some(0));
}

/// Who has set the variables.
struct Person {
    host: String,
    flags: Vec<String>,
}

impl Person {
    fn ok(&self, line: &str) -> String {
        let mut command = Command::new(binary());
        command.env("WARREN_HOST", &self.host);
        for pair in self.flags.chunks(2) {
            let name = pair[0].trim_start_matches("--").replace('-', "_").to_uppercase();
            command.env(format!("WARREN_{name}"), &pair[1]);
        }
        let output = command.args(shlex::split(line).unwrap()).output().unwrap();
        assert!(output.status.success(), "{line}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn who_is_not_known_is_refused_in_a_sentence() {
    let machine = Machine::without_containerd();
    let made = Certificates::make(machine.path());
    let others = Certificates::make(&machine.path().join("others"));
    let (manager, address) = manager(&machine, made.of_manager());
    let host = format!("https://{address}");
    let ada = made.of("ada");

    let known = ask(&host, &ada);
    assert_eq!(known.status.code(), Some(0), "{}", text(&known));
    refused(&host, &made.ca(), "give one of its --tls-client-ca with --tls-cert and --tls-key");
    let stranger = [made.ca(), others.pair("ada")].concat();
    refused(&host, &stranger, "is the certificate in --tls-cert of the CA in its --tls-client-ca");
    let believer = [others.ca(), made.pair("ada")].concat();
    refused(&host, &believer, "its certificate is not of the CA in --tls-ca");
    let other_name = [ada.clone(), vec!["--tls-server-name=a.example".to_owned()]].concat();
    refused(&host, &other_name, "its certificate is not for \"a.example\"");
    let right_name = [ada, vec!["--tls-server-name=manager.example".to_owned()]].concat();
    let known = ask(&host, &right_name);
    assert_eq!(known.status.code(), Some(0), "{}", text(&known));
    refused(&format!("http://{address}"), &[], "If it has TLS, use https:// and --tls-ca");
    // The endpoints of its health have none.
    let plain = format!("https://{}", manager.health_address());
    refused(&plain, &made.of("ada"), "it does not speak TLS");
}

#[test]
fn a_worker_that_is_not_known_says_so_and_goes_on_trying() {
    let machine = Machine::without_containerd();
    let made = Certificates::make(machine.path());
    let others = Certificates::make(&machine.path().join("others"));
    let (manager, address) = manager(&machine, made.of_manager());
    let host = format!("https://{address}");
    let stranger = [made.ca(), others.pair("node-a")].concat();
    let worker = worker(&machine, &host, stranger);
    eventually("two warnings and what to do", LIMIT, || {
        let log = worker.log();
        let warned = log.matches("no session with the manager").count();
        let advised = log.contains("is the certificate in --tls-cert of the CA in its");
        if warned > 1 && advised { Ok(()) } else { Err(log) }
    });
    wait_for(worker.health_address(), "/health/ready", 503);
    let nodes = manager.json("node ls");
    assert_eq!(nodes["nodes"].as_array().map(Vec::len).unwrap_or_default(), 0, "{nodes}");
}

#[test]
fn a_certificate_that_ends_is_told_before_and_after() {
    let machine = Machine::without_containerd();
    let soon = Certificates::valid_for(&machine.path().join("soon"), 5);
    let over = Certificates::valid_for(&machine.path().join("over"), 0);
    let (first, address) = manager(&machine, soon.of_manager());
    let at = first.health_address();
    let body = wait_for(at, "/health", 200);
    let (status, message) = certificate(&body);
    assert_eq!(status, "degraded");
    assert!(message.ends_with("4 days left"), "{message}");
    assert_eq!(get(at, "/health/ready").0, 200);
    let host = format!("https://{address}");
    in_the_end_refused(&host, &soon.of("over"), "and still valid?");
    assert_eq!(first.stop(), Some(0));

    let (second, address) = manager(&machine, over.of_manager());
    expired(second.health_address());
    assert_eq!(get(second.health_address(), "/liveness").0, 200);
    let host = format!("https://{address}");
    in_the_end_refused(&host, &over.of("ada"), "its certificate has expired");
    let worker = worker(&machine, &host, over.of("node-a"));
    expired(worker.health_address());
    eventually("the worker's warning", LIMIT, || {
        let log = worker.log();
        let told = log.lines().any(|line| {
            line.contains("no session with the manager") && line.contains("certificate expired")
        });
        if told { Ok(()) } else { Err(log) }
    });
}
