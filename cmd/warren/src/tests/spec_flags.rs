//! The flags of `service create`, all of them, and what becomes of them.

use std::ffi::OsString;

use clap::Parser;
use warren_proto::v1 as pb;

use crate::{
    cli::{Cli, ClientCommand, Command, service::Verb},
    spec,
};

fn build(words: &[&str]) -> Result<pb::ServiceSpec, String> {
    let words = [&["warren", "service", "create"], words].concat();
    let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
    let Command::Client(ClientCommand::Service(service)) = cli.command else { panic!("a service") };
    let Verb::Create(args) = service.verb else { panic!("create") };
    let caller = |name: &str| (name == "FROM_HERE").then(|| OsString::from("there"));
    let spec = spec::service_spec(&args, &caller).map_err(|failure| {
        assert_eq!(failure.exit_code(), 2);
        failure.to_string()
    })?;
    Ok((&spec).into())
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

fn tcp(port: u32, period: i64, min_failing: i64) -> pb::Check {
    pb::Check {
        kind: Some(pb::check::Kind::Tcp(pb::TcpCheck {
            endpoint: Some(pb::tcp_check::Endpoint::Port(port)),
            ..Default::default()
        })),
        timing: Some(pb::Timing {
            period: Some(seconds(period)),
            timeout: Some(seconds(10)),
            delay: Some(seconds(0)),
            start_period: Some(seconds(0)),
            confirm_interval: Some(seconds(1)),
            failures: Some(3),
            successes: Some(1),
            start_interval: Some(prost_types::Duration { seconds: 0, nanos: 250_000_000 }),
            min_failing: Some(seconds(min_failing)),
            flapping: Some(pb::Flapping { failures: 3, window: 7 }),
            stop_grace_period: None,
        }),
    }
}

/// Every flag of `service create`, once at least.
const EVERY_FLAG: &str = "
    web --image nginx --replicas 3 --env A=b=c -e FROM_HERE --port admin=9090
    --publish 8080:80 -p 53:5353/udp
    --cpus 0.5 --memory 64M --mount type=bind,source=/src,target=/dst,readonly --mount /a=1:/b
    --mount /c:/d:ro --mount type=tmpfs,target=/tmp --network bridge --stop-grace-period 1m30s
    --stop-signal QUIT --pull always --entrypoint \"/init 'a b'\" --user 1000:1000
    --workdir /srv --hostname web.local --init --health-tcp 80 --health-interval 30s
    --health-start-interval 250ms --health-min-failing 5m --health-flapping 3/7
    --constraint node.labels.zone==a --constraint node.hostname!=b --spread node.labels.rack
    --restart-max-attempts 4 --restart-window 10m
    -- nginx -g 'daemon off;'";

fn every_field() -> pb::TaskTemplate {
    let mount = |source: &str, target: &str, read_only, kind: pb::MountKind| pb::Mount {
        source: source.to_owned(),
        target: target.to_owned(),
        read_only,
        kind: kind.into(),
    };
    let env = |name: &str, value: &str| pb::EnvVar { name: name.into(), value: value.into() };
    let publish = |host_port, task_port, protocol: pb::Protocol| pb::Publish {
        host_port,
        task_port,
        protocol: protocol.into(),
    };
    pb::TaskTemplate {
        image: "docker.io/library/nginx:latest".to_owned(),
        pull: pb::Pull::Always.into(),
        command: strings(&["/init", "a b"]),
        args: strings(&["nginx", "-g", "daemon off;"]),
        env: vec![env("A", "b=c"), env("FROM_HERE", "there")],
        user: "1000:1000".to_owned(),
        workdir: "/srv".to_owned(),
        hostname: "web.local".to_owned(),
        mounts: vec![
            mount("/src", "/dst", true, pb::MountKind::Bind),
            mount("/a=1", "/b", false, pb::MountKind::Bind),
            mount("/c", "/d", true, pb::MountKind::Bind),
            mount("", "/tmp", false, pb::MountKind::Tmpfs),
        ],
        cpu_millis: 500,
        memory_bytes: 64 << 20,
        stop_signal: "SIGQUIT".to_owned(),
        stop_grace_period: Some(seconds(90)),
        network: pb::Network::Bridge.into(),
        publish: vec![publish(8080, 80, pb::Protocol::Tcp), publish(53, 5353, pb::Protocol::Udp)],
        health: Some(pb::HealthConfig {
            source: Some(pb::health_config::Source::Checks(pb::Checks {
                startup: None,
                liveness: Some(tcp(80, 30, 300)),
                readiness: Some(tcp(80, 30, 0)),
            })),
        }),
        ports: vec![pb::NamedPort { name: "admin".to_owned(), port: 9090 }],
        init: true,
    }
}

#[test]
fn every_flag_reaches_the_spec() {
    let template = every_field();
    let expected = pb::ServiceSpec {
        name: "web".to_owned(),
        replicas: 3,
        template: Some(template),
        restart: Some(pb::RestartPolicy { max_attempts: 4, window: Some(seconds(600)) }),
        constraints: strings(&["node.labels.zone==a", "node.name!=b"]),
        spread: "node.labels.rack".to_owned(),
    };
    let words = shlex::split(EVERY_FLAG).unwrap();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    assert_eq!(build(&words), Ok(expected));
}

#[test]
fn little_said_is_defaults() {
    let template = build(&["web", "--image", "nginx"]).unwrap().template.unwrap();
    let auto = pb::health_config::Source::Auto(pb::health_config::Auto {});
    let expected = pb::TaskTemplate {
        image: "docker.io/library/nginx:latest".to_owned(),
        pull: pb::Pull::Missing.into(),
        stop_grace_period: Some(seconds(10)),
        network: pb::Network::Bridge.into(),
        health: Some(pb::HealthConfig { source: Some(auto) }),
        ..Default::default()
    };
    assert_eq!(template, expected);
}

#[test]
fn words_without_an_image_are_a_process_on_the_node() {
    let template = build(&["tick", "--", "sh", "-c", "date"]).unwrap().template.unwrap();
    assert_eq!(template.command, strings(&["sh", "-c", "date"]));
    assert!(template.args.is_empty() && template.image.is_empty());
    assert_eq!(template.network(), pb::Network::Host);
    let split = build(&["tick", "--entrypoint", "sh -c", "--", "date"]).unwrap().template.unwrap();
    assert_eq!((split.command, split.args), (strings(&["sh", "-c"]), strings(&["date"])));
}

/// C-102.
#[test]
fn a_port_that_has_a_name_is_published_and_checked_by_it() {
    let words = ["web", "--image", "x", "--port", "http=80", "--publish", "8080:http"];
    let spec = build(&[&words[..], &["--readiness-http", "/x,port=http"]].concat()).unwrap();
    let template = spec.template.unwrap();
    assert_eq!((template.publish[0].host_port, template.publish[0].task_port), (8080, 80));
    let Some(pb::health_config::Source::Checks(checks)) = template.health.unwrap().source else {
        panic!("no checks")
    };
    let Some(pb::check::Kind::Http(http)) = checks.readiness.unwrap().kind else {
        panic!("no HTTP check")
    };
    assert_eq!(http.endpoint, Some(pb::http_check::Endpoint::PortName("http".to_owned())));
}

/// What follows an image, and the words of its refusal.
const REFUSED: &[(&[&str], &str)] = &[
    (&["--replicas", "-1"], "--replicas: -1 is negative"),
    (&["--replicas", "10001"], "--replicas: 10001 is not in 0..=10000"),
    (&["--env", "NOWHERE"], "--env: NOWHERE has no value here; say NOWHERE=VALUE"),
    (&["--env", "=x"], "--env: name: \"\" is not a variable's name"),
    (&["--env", "A=1", "--env", "A=2"], "--env: A is there twice"),
    (&["--publish", "80"], "--publish: \"80\" is not HOST_PORT:TASK_PORT"),
    (
        &["--publish", "127.0.0.1:8080:80"],
        "--publish: \"127.0.0.1:8080:80\" is not HOST_PORT:TASK_PORT",
    ),
    (&["--publish", "70000:80"], "--publish: host port: 70000 is not in 1..=65535"),
    (&["--publish", "80:0"], "--publish: task port: 0 is not in 1..=65535"),
    (&["--publish", "-1:80"], "--publish: host port: -1 is negative"),
    (&["--publish", "80:80/sctp"], "--publish: \"sctp\" is not tcp or udp"),
    (&["--publish", "80:80", "--publish", "80:81"], "--publish: 80/tcp is there twice"),
    (&["--publish", "80:80", "--network", "host"], "--publish: needs the bridge network"),
    (&["--port", "80"], "--port: \"80\" is not NAME=PORT"),
    (&["--port", "http=0"], "--port: http: 0 is not in 1..=65535"),
    (&["--port", "a=1", "--port", "a=2"], "--port: a is there twice"),
    (&["--publish", "80:http"], "--publish: task port: \"http\" is not a whole number"),
    (&["--cpus", "0"], "--cpus: 0 is not in 0.01..=1000"),
    (&["--memory", "1M"], "--memory: 1048576 bytes are not within 4 MiB - 1 PiB"),
    (
        &["--mount", "vol:/x"],
        "--mount: source: \"vol\" is not an absolute path; there are no named volumes",
    ),
    (&["--mount", "/x"], "--mount: \"/x\" is not SOURCE:TARGET[:ro]"),
    (&["--mount", "/x:/y:rx"], "--mount: \"/x:/y:rx\" is not SOURCE:TARGET[:ro]"),
    (&["--mount", "type=bind,source=/x"], "--mount: target: is required"),
    (&["--mount", "type=nfs,source=/x,target=/y"], "--mount: type: \"nfs\" is not bind or tmpfs"),
    (&["--mount", "type=tmpfs,source=/x,target=/y"], "--mount: source: a tmpfs has none"),
    (
        &["--mount", "type=bind,bogus=1"],
        "--mount: \"bogus=1\" is not type=, source=, target= or readonly",
    ),
    (&["--mount", "/a:/x", "--mount", "/b:/x"], "--mount: /x is there twice"),
    (&["--stop-grace-period", "2h"], "--stop-grace-period: 7200s is not in 0ns..=3600s"),
    (&["--stop-grace-period", "-1"], "--stop-grace-period: -1 is negative"),
    (&["--stop-signal", "NOPE"], "--stop-signal: \"NOPE\" is not a signal such as SIGTERM or 15"),
    (&["--entrypoint", "'open"], "--entrypoint: \"'open\" has an open quote"),
    (&["--user", "a b"], "--user: \"a b\" is not user, user:group, uid or uid:gid"),
    (&["--workdir", "x"], "--workdir: \"x\" is not an absolute path without '..'"),
    (&["--hostname", "-x-"], "--hostname: \"-x-\" is not a hostname"),
    (&["--health-http", "path=/,port=70000"], "--health-http: port: 70000 is not in 1..=65535"),
];

#[test]
fn what_makes_no_sense_names_its_flag() {
    let image = ["web", "--image", "nginx"];
    for (words, why) in REFUSED {
        let hyphen = words[0] == "--hostname";
        let words: Vec<&str> = image.iter().chain(*words).copied().collect();
        let result = build(&words);
        if hyphen {
            assert!(result.is_err(), "{words:?}");
        } else {
            assert_eq!(result.unwrap_err(), *why, "{words:?}");
        }
    }
}

#[test]
fn a_process_has_no_container_and_a_service_has_something_to_run() {
    let sh = ["--", "sh"];
    for (words, why) in [
        (&[][..], "--image: is required, or a command after -- for the process driver"),
        (&["--memory", "64M", "--", "sh"], "--memory: needs an image"),
        (&["--cpus", "1", "--", "sh"], "--cpus: needs an image"),
        (&["--mount", "/a:/b", "--", "sh"], "--mount: needs an image"),
        (&["--publish", "1:1", "--", "sh"], "--publish: needs an image"),
        (&["--pull", "never", "--", "sh"], "--pull: needs an image"),
        (&["--network", "none", "--", "sh"], "--network: needs an image"),
        (
            &["--health-preset", "auto", "--", "sh"],
            "--health-preset: is chosen by the image's name, and there is no image",
        ),
        (&["--", ""], "CMD: names no program"),
    ] {
        let words: Vec<&str> = ["web"].iter().chain(words).copied().collect();
        assert_eq!(build(&words).unwrap_err(), why, "{words:?}");
    }
    let bad_name: Vec<&str> = ["Web"].iter().chain(&sh).copied().collect();
    assert!(build(&bad_name).unwrap_err().starts_with("NAME: \"Web\" is not a name"));
}
