//! Presets against the real servers that Debian has.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::Command,
    time::Duration,
};

use warren_core::{
    bounds::Port,
    check::{CheckKind, Preset, PresetCheck, TcpCheck},
};
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

/// C-160: the very bytes of the presets, and what the servers make of them.
#[test]
fn a_server_that_serves_gives_the_answer_and_one_that_does_not_gives_another() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path().to_str().unwrap();
    for (preset, passes, words) in [
        (Preset::Redis, true, "redis-server --save '' --dir HERE --port PORT"),
        (Preset::Redis, false, "redis-server --save '' --dir HERE --port PORT --requirepass x"),
        (Preset::Memcached, true, "memcached -u root -l 127.0.0.1 -p PORT"),
        (Preset::Nats, true, "nats-server -a 127.0.0.1 -p PORT"),
        (Preset::Nats, true, "nats-server -a 127.0.0.1 -p PORT --user a --pass b"),
    ] {
        let port = free_port();
        let words = words.replace("PORT", &port.to_string()).replace("HERE", here);
        let words = shlex::split(&words).unwrap();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        let server = Daemon::start(command, directory.path().join("log"));
        let answer = eventually("an answer", LIMIT, || {
            answer(preset, port).map_err(|error| format!("{error}: {}", server.log()))
        });
        assert_eq!(answer.0, passes, "{preset:?}: {:?}", answer.1);
        server.kill();
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Whether the answer is what the preset wants, and the answer.
fn answer(preset: Preset, port: u16) -> std::io::Result<(bool, String)> {
    let check = PresetCheck {
        preset: Some(preset),
        port: Some(Port::new(port.into()).unwrap()),
        ..PresetCheck::default()
    };
    let readiness = check.checks(None).unwrap().readiness.unwrap();
    let CheckKind::Tcp(TcpCheck { port: _, send, expect: Some(expect) }) = readiness.kind else {
        panic!("{preset:?} does not speak");
    };
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(send.as_slice())?;
    let (mut heard, mut piece) = (Vec::new(), [0; 4096]);
    while !heard.contains(&b'\n') {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            break;
        }
        heard.extend_from_slice(&piece[..count]);
    }
    Ok((expect.is_match(&heard), heard.escape_ascii().to_string()))
}
