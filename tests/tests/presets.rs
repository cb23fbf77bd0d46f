//! Presets against the real servers that Debian has, and against scripts where it has none.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt,
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use warren_core::{
    bounds::Port,
    check::{CheckKind, Preset, PresetCheck, Role},
    id::TaskId,
    outcome::{Evidence, Outcome},
};
use warren_probe::{Prober, Seen, Target};
use warren_runtime::{Reach, process::Here};
use warren_tests::{Daemon, Machine, eventually, have_root, text};

const LIMIT: Duration = Duration::from_secs(90);

/// C-161, and the presets that are a command or HTTP in the task's own container.
#[test]
fn a_preset_is_chosen_by_the_image_and_its_server_becomes_healthy() {
    if !have_root("presets") {
        return;
    }
    let machine = Machine::new();
    let warren = machine.run();
    for (image, checked) in [("nginx", "GET http://:80/"), ("postgres", "pg_isready")] {
        warren.import(image);
        let create = format!(
            "service create {image} --image warren-test/{image}:1 --health-preset auto \
             --health-interval 1s"
        );
        let created = warren.cli(&*create);
        let chosen = format!(
            "warning: the health preset {image} was chosen by the image's name \
             docker.io/warren-test/{image}:1"
        );
        assert!(created.status.success() && text(&created).contains(&chosen), "{}", text(&created));
        warren.shows(image, "Health: 1/1 healthy", LIMIT);
        let shown = warren.ok(&format!("service inspect {image}"));
        assert!(shown.contains(&format!("Checks of the preset {image}:")), "{shown}");
        assert!(shown.contains(checked), "{shown}");
    }
    let none = warren.cli("service create box --image warren-test/busybox:1 --health-preset auto");
    assert_eq!(none.status.code(), Some(2), "{}", text(&none));
    assert!(text(&none).contains("none goes by the image's name"), "{}", text(&none));
}

const NO: Outcome = Outcome::Fail(Evidence::Explicit);
const LATE: Outcome = Outcome::Fail(Evidence::Timeout);

/// C-160: the very bytes of the presets, and what the servers make of them.
#[test]
fn a_server_that_serves_gives_the_answer_and_one_that_does_not_gives_another() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path().to_str().unwrap();
    for (preset, refuses, words) in [
        (Preset::Redis, None, "redis-server --save '' --dir HERE --port PORT"),
        (
            Preset::Redis,
            Some("NOAUTH"),
            "redis-server --save '' --dir HERE --port PORT --requirepass x",
        ),
        (Preset::Memcached, None, "memcached -u root -l 127.0.0.1 -p PORT"),
        (Preset::Nats, None, "nats-server -a 127.0.0.1 -p PORT"),
        (Preset::Nats, None, "nats-server -a 127.0.0.1 -p PORT --user a --pass b"),
    ] {
        let port = free_port();
        let words = words.replace("PORT", &port.to_string()).replace("HERE", here);
        let words = shlex::split(&words).unwrap();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        let server = Daemon::start(command, directory.path().join("log"));
        for role in [Role::Liveness, Role::Readiness] {
            eventually("the answer", LIMIT, || {
                let seen = attempt(preset, role, port);
                // Whoever gets another answer waits for the right one until the deadline (C-105).
                let right = refuses.map_or(seen.outcome == Outcome::Pass, |word| {
                    seen.outcome == LATE && seen.message.contains(word)
                });
                if right { Ok(()) } else { Err(format!("{preset:?}: {seen:?} {}", server.log())) }
            });
        }
        server.kill();
    }
}

/// C-160, for the presets that ask over HTTP: what each role makes of each answer.
#[test]
fn a_member_without_a_quorum_and_a_proxy_without_its_upstream_live_and_do_not_serve() {
    const VERSION: (&str, u16, &str) = ("/version", 200, "{\"etcdserver\":\"3.5.9\"}");
    const TRUE: &str = "{\"health\":\"true\",\"reason\":\"\"}";
    const FALSE: &str = "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}";
    for (preset, pages, lives, serves) in [
        (Preset::Etcd, &[VERSION, ("/health", 200, TRUE)][..], true, true),
        (Preset::Etcd, &[VERSION, ("/health", 503, FALSE)], true, false),
        (Preset::Etcd, &[VERSION, ("/health", 200, FALSE)], true, false),
        (Preset::Etcd, &[VERSION, ("/health", 502, TRUE)], true, false),
        (Preset::Etcd, &[VERSION], true, false),
        (Preset::Etcd, &[("/health", 200, TRUE)], false, true),
        (Preset::Etcd, &[("/version", 502, ""), ("/health", 200, TRUE)], false, true),
        (Preset::Nginx, &[("/", 200, "Welcome")], true, true),
        (Preset::Nginx, &[("/", 301, "")], true, true),
        (Preset::Nginx, &[], true, true),
        (Preset::Nginx, &[("/", 499, "")], true, true),
        (Preset::Nginx, &[("/", 500, "")], true, false),
        (Preset::Nginx, &[("/", 502, "Bad Gateway")], true, false),
        (Preset::Nginx, &[("/", 599, "")], true, false),
    ] {
        let port = serve(pages);
        let startup = attempt(preset, Role::Startup, port).outcome;
        assert_eq!(startup, if lives { Outcome::Pass } else { NO }, "{preset:?} {pages:?}");
        for (role, passes) in [(Role::Liveness, lives), (Role::Readiness, serves)] {
            let seen = attempt(preset, role, port);
            let expected = if passes { Outcome::Pass } else { NO };
            assert_eq!(seen.outcome, expected, "{preset:?} {role:?} {pages:?}: {}", seen.message);
        }
    }
}

/// C-160, for the presets that run a client of the image: which one, and what it is told.
#[test]
fn the_client_that_the_image_has_is_asked_at_the_tasks_own_address() {
    let (own, loopback) = ("127.0.0.9", "127.0.0.1");
    let mysql = "ping --protocol=tcp -h ADDRESS -P 3306 --connect-timeout=4";
    for (preset, clients, asked, arguments) in [
        (Preset::Mysql, &["mysqladmin"][..], "mysqladmin", mysql),
        (Preset::Mysql, &["mariadb-admin"], "mariadb-admin", mysql),
        (Preset::Mysql, &["mysqladmin", "mariadb-admin"], "mariadb-admin", mysql),
        (Preset::Postgres, &["pg_isready"], "pg_isready", "-h ADDRESS -p 5432"),
    ] {
        let path = tempfile::tempdir().unwrap();
        for client in clients {
            let client = path.path().join(client);
            fs::write(&client, "#!/bin/sh\necho \"${0##*/} $*\"; exit 3\n").unwrap();
            fs::set_permissions(&client, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for (task_ip, address) in [(Some(own), own), (None, loopback)] {
            let CheckKind::Exec(exec) = kind(preset, Role::Readiness, preset.port()) else {
                panic!("{preset:?} runs nothing");
            };
            let mut command = Command::new(&exec.command.words()[0]);
            command.args(&exec.command.words()[1..]).env("PATH", path.path());
            command.env_remove("WARREN_TASK_IP").envs(task_ip.map(|ip| ("WARREN_TASK_IP", ip)));
            let ran = command.output().unwrap();
            let expected = format!("{asked} {}", arguments.replace("ADDRESS", address));
            assert_eq!(String::from_utf8(ran.stdout).unwrap().trim_end(), expected, "{clients:?}");
            // What the client says is what counts.
            assert_eq!(ran.status.code(), Some(3), "{clients:?}");
        }
    }
}

fn free_port() -> Port {
    port_of(&TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
}

fn port_of(listener: &TcpListener) -> Port {
    Port::new(listener.local_addr().unwrap().port().into()).unwrap()
}

/// Has these pages, and 404 for all others.
fn serve(pages: &'static [(&str, u16, &str)]) -> Port {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = port_of(&listener);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut lines = BufReader::new(stream.unwrap());
            let mut request = String::new();
            while lines.read_line(&mut request).is_ok_and(|read| read > 2) {}
            let asked = request.split(' ').nth(1).unwrap_or_default();
            let page = pages.iter().find(|(path, ..)| *path == asked);
            let (_, status, body) = page.unwrap_or(&("", 404, "not found"));
            let length = body.len();
            // The attempt may know all that it wants to know already.
            drop(write!(
                lines.get_mut(),
                "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}"
            ));
        }
    });
    port
}

fn kind(preset: Preset, role: Role, port: Port) -> CheckKind {
    let own = PresetCheck { preset: Some(preset), port: Some(port), ..PresetCheck::default() };
    let checks = own.checks(None).unwrap();
    checks.get(role).as_ref().unwrap().kind.clone()
}

/// One attempt of the workers' own engine.
fn attempt(preset: Preset, role: Role, port: Port) -> Seen {
    let reach = Reach { netns: None, address: Ipv4Addr::LOCALHOST.into(), root_of: None };
    let target = Target::new(TaskId::from_u64(1), reach, Arc::new(Here::new().unwrap()));
    let engine = async {
        let prober = Prober::new().unwrap();
        prober.attempt(&target, &kind(preset, role, port), Duration::from_secs(3)).await
    };
    tokio::runtime::Runtime::new().unwrap().block_on(engine)
}
