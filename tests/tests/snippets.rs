//! The snippets of docs/vitals.md, as far as they can be run here.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::Command,
    time::Duration,
};

use nix::sys::signal::Signal;
use warren_tests::{
    Daemon, Machine, binary, eventually,
    http::{get, wait_for},
    repository, text,
};

const LIMIT: Duration = Duration::from_mins(1);

/// The first fence of a language that has this in it.
fn fence(language: &str, with: &str) -> String {
    let page = fs::read_to_string(repository().join("docs/vitals.md")).unwrap();
    let start = format!("```{language}\n");
    let mut fences = page.split(&start).skip(1);
    let body = fences.find_map(|rest| {
        let body = rest.split("```").next().unwrap();
        body.contains(with).then(|| body.to_owned())
    });
    body.unwrap_or_else(|| panic!("no {language} with {with}"))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The reference service and its database, each at an address of its own.
struct Payments {
    database: Daemon,
    instances: Vec<(Daemon, SocketAddr)>,
}

impl Payments {
    fn start(machine: &Machine, net: u8, count: u8) -> Self {
        let port = free_port();
        let mut redis = Command::new("redis-server");
        redis.args(["--bind", "127.0.0.1", "--save", "", "--port"]).arg(port.to_string());
        redis.arg("--dir").arg(machine.path());
        let database = Daemon::start(redis, machine.path().join("redis.log"));
        let pid = std::process::id().to_le_bytes();
        let instance = |number: u8| {
            let ip = Ipv4Addr::new(127, net, pid[0], number);
            let mut command = Command::new(binary().with_file_name("payments"));
            command.env("WARREN_TASK_IP", ip.to_string());
            command.env("DATABASE", format!("redis://127.0.0.1:{port}/"));
            let log = machine.path().join(format!("payments{number}.log"));
            (Daemon::start(command, log), SocketAddr::from((ip, 8080)))
        };
        let instances: Vec<_> = (1..=count).map(instance).collect();
        for (_, address) in &instances {
            wait_for(*address, "/readyz", 200);
        }
        Self { database, instances }
    }
}

#[test]
fn nginx_goes_on_to_the_next_server_while_one_ends() {
    let machine = Machine::without_containerd();
    let mut payments = Payments::start(&machine, 202, 2);
    let port = free_port();
    let mut site = fence("nginx", "upstream").replace("listen 80;", &format!("listen {port};"));
    for (number, (_, address)) in payments.instances.iter().enumerate() {
        let example = format!("10.0.0.{}:8080", number + 1);
        assert!(site.contains(&example), "{site}");
        site = site.replace(&example, &address.to_string());
    }
    let here = machine.path().display().to_string();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {here}/{kind};"))
        .concat();
    let config = format!(
        "daemon off; pid {here}/nginx.pid; error_log stderr; events {{}}\n\
         http {{ access_log off; {temporary}\n{site} }}"
    );
    let file = machine.path().join("nginx.conf");
    fs::write(&file, config).unwrap();
    let nginx = || {
        let mut nginx = Command::new("nginx");
        nginx.arg("-p").arg(machine.path()).arg("-c").arg(&file);
        nginx
    };
    let checked = nginx().arg("-t").output().unwrap();
    assert!(checked.status.success(), "{}", text(&checked));
    let _nginx = Daemon::start(nginx(), machine.path().join("nginx.log"));
    let front = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    wait_for(front, "/", 200);
    let (mut first, _) = payments.instances.remove(0);
    let second = payments.instances[0].1;
    first.signal(Signal::SIGTERM);
    let mut ended = false;
    let mut asked_after = 0;
    // While it drains, and once it is gone.
    while asked_after < 20 {
        let (status, body) = get(front, "/");
        assert_eq!(status, 200, "{body}");
        ended = ended || first.has_ended();
        asked_after += i32::from(ended);
    }
    assert!(wait_for(second, "/readyz", 200).contains("healthy"));
}

/// As a kubelet judges: any status from 200 to 399 passes.
fn passes(address: SocketAddr, path: &str) -> bool {
    let (status, body) = get(address, path);
    assert_ne!(status, 0, "{path} is not answered: {body}");
    (200..400).contains(&status)
}

#[test]
fn probes_of_kubernetes_compose_and_a_load_balancer_ask_what_is_there() {
    let machine = Machine::without_containerd();
    let payments = Payments::start(&machine, 203, 1);
    let (_, address) = payments.instances[0];
    let probes = fence("yaml", "startupProbe");
    let path = |probe: &str| {
        let line = probes.lines().find(|line| line.starts_with(probe)).unwrap();
        assert!(line.contains("port: 8080"), "{line}");
        line.split("path: ").nth(1).unwrap().split(',').next().unwrap().to_owned()
    };
    let [startup, readiness, liveness] =
        ["startupProbe", "readinessProbe", "livenessProbe"].map(path);
    let group = fence("sh", "elbv2");
    let target = group.split("--health-check-path ").nth(1).unwrap();
    let target = target.split_whitespace().next().unwrap();
    let compose = fence("yaml", "healthcheck:");
    let words = compose.lines().find_map(|line| line.trim().strip_prefix("test: ")).unwrap();
    let words: Vec<String> = serde_json::from_str(words).unwrap();
    assert_eq!(words[0], "CMD");
    let compose = || {
        let words = words[1..].iter().map(|w| w.replace("127.0.0.1:8080", &address.to_string()));
        let words: Vec<_> = words.collect();
        Command::new(&words[0]).args(&words[1..]).output().unwrap().status.success()
    };
    for path in [&*startup, &*readiness, &*liveness, target] {
        assert!(passes(address, path), "{path}");
    }
    assert!(compose());
    payments.database.signal(Signal::SIGSTOP);
    eventually("readiness to fail", LIMIT, || {
        if passes(address, &readiness) { Err("it passes".to_owned()) } else { Ok(()) }
    });
    assert!(!passes(address, target) && !compose());
    assert!(passes(address, &liveness) && passes(address, &startup));
    payments.database.signal(Signal::SIGCONT);
    wait_for(address, &readiness, 200);
    assert!(compose());
}

/// The twin for other languages.
#[test]
fn the_example_in_python_keeps_the_three_questions_apart() {
    let machine = Machine::without_containerd();
    let program = machine.path().join("service.py");
    let (port, flag) = (free_port(), machine.path().join("database"));
    let code = fence("python", "do_GET").replace("8080", &port.to_string());
    fs::write(&program, code).unwrap();
    let mut command = Command::new("python3");
    command.arg("-u").arg(&program).env("DATABASE_FILE", &flag);
    let mut service = Daemon::start(command, machine.path().join("python.log"));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    wait_for(address, "/readyz", 503);
    assert_eq!(get(address, "/livez").0, 200);
    fs::write(&flag, "").unwrap();
    let body = wait_for(address, "/readyz", 200);
    assert_eq!(body, r#"{"status": "healthy", "version": "1.0.0"}"#);
    assert_eq!(get(address, "/startupz").0, 200);
    service.signal(Signal::SIGTERM);
    wait_for(address, "/readyz", 503);
    assert_eq!(get(address, "/livez").0, 200);
    assert_eq!(service.exit_code(LIMIT), Some(0), "{}", service.log());
}
