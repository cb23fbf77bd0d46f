//! Every spelling, good and bad, with the exact words of each refusal.

mod change;
mod presets;

use std::time::Duration;

use clap::Parser;
use warren_core::check::{
    Check, CheckKind, Endpoint, HttpCheck, HttpVersion, NamedPort, PortRef, Scheme, Trust,
};

use super::*;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    flags: HealthFlags,
}

/// What the words of a command line mean, for a service that publishes these task ports.
fn read_with(ports: &[u32], words: &[&str]) -> Result<HealthConfig, String> {
    let publish: Vec<Publish> = ports
        .iter()
        .map(|&task| Publish {
            host_port: Port::new(8000 + task).unwrap(),
            task_port: Port::new(task).unwrap(),
            protocol: Protocol::Tcp,
        })
        .collect();
    let flags = Flags::try_parse_from([&["x"], words].concat()).map_err(|e| e.to_string())?;
    health_config(&flags.flags, &publish, &named_ports()).map_err(|failure| {
        assert_eq!(failure.exit_code(), 2);
        failure.to_string()
    })
}

/// What `--port admin=9090 --port grpc=50051` gives.
fn named_ports() -> Vec<NamedPort> {
    let named = |name: &str, port| NamedPort {
        name: name.parse().unwrap(),
        port: Port::new(port).unwrap(),
    };
    vec![named("admin", 9090), named("grpc", 50_051)]
}

fn read(words: &[&str]) -> Result<HealthConfig, String> {
    read_with(&[], words)
}

fn checks(words: &[&str]) -> Checks {
    match read(words).unwrap() {
        HealthConfig::Checks(checks) => Checks::clone(&checks),
        HealthConfig::Auto | HealthConfig::Preset(_) | HealthConfig::Disabled => {
            panic!("{words:?} give no checks")
        }
    }
}

fn refused(words: &[&str], why: &str) {
    assert_eq!(read(words), Err(why.to_owned()), "{words:?}");
}

fn http(port: u32, path: &str) -> HttpCheck {
    let mut check = HttpCheck::new(Port::new(port).unwrap());
    check.path = warren_core::check::HttpPath::new(path).unwrap();
    check
}

fn health_http(value: &str) -> HttpCheck {
    let kind = checks(&["--health-http", value]).liveness.unwrap().kind;
    let CheckKind::Http(http) = kind else { panic!("{value} is no HTTP check") };
    http
}

fn port_of(check: &HttpCheck) -> u32 {
    let Endpoint::Port(PortRef::Number(port)) = &check.endpoint else { panic!("{check:?}") };
    port.get().into()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn every_http_spelling_means_the_same_check() {
    for value in [
        "path=/health,port=8080",
        "port=8080,path=/health",
        "/health:8080",
        ":8080/health",
        "8080/health",
        "http://:8080/health",
        "http://localhost:8080/health",
        "http://127.0.0.1:8080/health",
        "/health,port=8080",
    ] {
        assert_eq!(health_http(value), http(8080, "/health"), "{value}");
    }
}

#[test]
fn ports_and_paths_have_the_usual_defaults() {
    for (value, port, path) in [
        ("port=81", 81, "/"),
        (":81", 81, "/"),
        ("http://:81", 81, "/"),
        ("http://localhost/x", 80, "/x"),
        ("/:81", 81, "/"),
        ("/a?b=c:d", 80, "/a?b=c:d"),
        ("/a?x=1:81", 81, "/a?x=1"),
        ("/x", 80, "/x"),
        ("path=/x", 80, "/x"),
        ("method=HEAD", 80, "/"),
    ] {
        let config = read_with(&[80], &["--health-http", value]).unwrap();
        let HealthConfig::Checks(checks) = config else { panic!("{value}") };
        let CheckKind::Http(check) = Checks::clone(&checks).readiness.unwrap().kind else {
            panic!("{value}")
        };
        assert_eq!((port_of(&check), check.path.as_str()), (port, path), "{value}");
    }
    let https = health_http("https://:8443/");
    assert_eq!((https.scheme(), port_of(&https)), (Scheme::Https, 8443));
    assert_eq!(port_of(&health_http("https://localhost/")), 443);
}

#[test]
fn further_http_keys_are_all_understood() {
    let check = health_http(
        "path=/x,port=1,scheme=https,host=example.com,header=X-A:b\\,c,header=X-B: d,\
         status=200-299,status=304+401,method=POST",
    );
    assert_eq!(check.scheme(), Scheme::Https);
    let headers: Vec<_> = check.headers.iter().map(|h| (h.name(), h.value())).collect();
    assert_eq!(headers, [("X-A", "b,c"), ("X-B", "d"), ("Host", "example.com")]);
    assert_eq!(check.expect.ranges(), [(200, 299), (304, 304), (401, 401)]);
    assert_eq!(check.method.as_str(), "POST");
}

/// C-81: nor is a host taken.
#[test]
fn a_bad_http_value_is_refused_by_its_flag_and_key() {
    const NO_PORT: &str =
        "--health-http: port: is required, since the service does not publish exactly one TCP port";
    for (value, why) in [
        ("port=70000", "--health-http: port: 70000 is not in 1..=65535"),
        ("/health:70000", "--health-http: port: 70000 is not in 1..=65535"),
        (":0/x", "--health-http: port: 0 is not in 1..=65535"),
        ("port=-1", "--health-http: port: -1 is negative"),
        ("port=http", "--health-http: port: no port is called http; there are admin, grpc"),
        ("port=8x", "--health-http: port: \"8x\" is not a whole number"),
        ("path=x,port=1", "--health-http: path: \"x\" does not begin with '/'"),
        (
            "/a b:1",
            "--health-http: path: \"/a b\" has blanks or characters that need percent-encoding",
        ),
        ("/x", NO_PORT),
        ("path=/", NO_PORT),
        ("port=1,port=2", "--health-http: port: is there twice"),
        ("/x:1,port=1", "--health-http: port: is there twice"),
        ("port=1,scheme=ftp", "--health-http: scheme: \"ftp\" is not http, https or h2c"),
        ("port=1,status=99", "--health-http: status: 99-99 is not a range within 100-599"),
        ("port=1,status=300-200", "--health-http: status: 300-200 is not a range within 100-599"),
        (
            "port=1,status=ok",
            "--health-http: status: \"ok\" is not a status such as 204, 200-299 or 200+204",
        ),
        ("port=1,header=x", "--health-http: header: \"x\" is not NAME:VALUE"),
        ("port=1,header=a b:c", "--health-http: header.name: \"a b\" is not a header name"),
        (
            "port=1,method=get",
            "--health-http: method: \"get\" is not a method such as GET, HEAD or POST",
        ),
        (
            "prot=80",
            "--health-http: \"prot\" is not a key here; there are path, port, socket, \
             scheme, version, tls, server-name, host, header, status, method, send, body, \
             body-regex, body-not, body-not-regex, keep-alive; a comma within a value is \\,",
        ),
        ("port=1,x", "--health-http: \"x\" is not key=value; a comma within a value is \\,"),
        (
            "http://example.com/x",
            "--health-http: \"http://example.com/x\" names a host, but a check always goes to \
             the task itself; for a Host header say path=/,port=80,host=NAME",
        ),
        (
            "health",
            "--health-http: \"health\" is not path=/,port=80, /health:8080, :8080/health or \
             http://:8080/health",
        ),
        (
            "",
            "--health-http: \"\" is not path=/,port=80, /health:8080, :8080/health or \
             http://:8080/health",
        ),
    ] {
        refused(&["--health-http", value], why);
    }
    assert_eq!(read_with(&[80, 81], &["--health-http", "/x"]), Err(NO_PORT.to_owned()));
}

#[test]
fn a_slip_is_answered_with_what_was_meant() {
    for (value, why) in [
        ("port=1,status=200,304", "status: several are joined by +, as in status=200+304"),
        ("port=1,status=200,x", "\"x\" is not key=value; a comma within a value is \\,"),
        ("ftp://:80/", "ftp:// is not http:// or https://"),
        (
            ":80/a tls=skip-verify status=200",
            "\":80/a tls=skip-verify status=200\" has keys after blanks; say \
             \":80/a,tls=skip-verify,status=200\"",
        ),
        ("https://:1,scheme=h2c", "scheme: h2c is HTTP/2 without TLS; with https say version=2"),
    ] {
        refused(&["--health-http", value], &format!("--health-http: {why}"));
    }
}

#[test]
fn one_check_for_all_roles_has_no_timing_keys() {
    let told = read(&["--health-http", "port=1,period=5s"]).unwrap_err();
    assert!(told.starts_with("--health-http: \"period\" is not a key here; there are path, "));
}

#[test]
fn tcp_ports_are_bare_with_a_colon_or_keyed() {
    for value in ["6379", ":6379", "port=6379"] {
        let kind = checks(&["--health-tcp", value]).liveness.unwrap().kind;
        let port = Port::new(6379).unwrap();
        assert_eq!(kind, CheckKind::Tcp(warren_core::check::TcpCheck::new(port)), "{value}");
    }
    for (value, why) in [
        ("70000", "--health-tcp: port: 70000 is not in 1..=65535"),
        ("0", "--health-tcp: port: 0 is not in 1..=65535"),
        ("-1", "--health-tcp: port: -1 is negative"),
        ("port=", "--health-tcp: port: \"\" is not a whole number"),
        (
            "80 timeout=1s",
            "--health-tcp: \"80 timeout=1s\" has keys after blanks; say \"80,timeout=1s\"",
        ),
        ("redis", "--health-tcp: \"redis\" is not 6379, :6379 or port=6379"),
        ("localhost:6379", "--health-tcp: \"localhost:6379\" is not 6379, :6379 or port=6379"),
        ("1,port=1", "--health-tcp: port: is there twice"),
        (
            "path=/",
            "--health-tcp: \"path\" is not a key here; there are port, socket, send, expect, \
             expect-regex, tls, server-name; a comma within a value is \\,",
        ),
    ] {
        refused(&["--health-tcp", value], why);
    }
}

#[test]
fn commands_become_argv() {
    for (value, argv) in [
        ("pg_isready -U x", &["pg_isready", "-U", "x"][..]),
        ("curl -f localhost || exit 1", &["/bin/sh", "-c", "curl -f localhost || exit 1"]),
        (r#"["redis-cli", "ping pong"]"#, &["redis-cli", "ping pong"]),
        ("timeout=5 true", &["/bin/sh", "-c", "timeout=5 true"]),
    ] {
        let kind = checks(&["--health-cmd", value]).liveness.unwrap().kind;
        let CheckKind::Exec(exec) = kind else { panic!("{value}") };
        assert_eq!(exec.command.words(), argv, "{value}");
    }
    refused(&["--health-cmd", ""], "--health-cmd: names no program");
}

#[test]
fn health_flags_are_one_check_for_liveness_and_readiness() {
    let checks = checks(&[
        "--health-tcp",
        "1",
        "--health-interval",
        "30s",
        "--health-timeout",
        "500ms",
        "--health-retries",
        "5",
    ]);
    assert_eq!(checks.startup, None);
    assert_eq!(checks.liveness, checks.readiness);
    let timing = checks.liveness.unwrap().timing;
    assert_eq!(timing.period.get(), secs(30));
    assert_eq!(timing.timeout.get(), Duration::from_millis(500));
    assert_eq!(timing.failures.get(), 5);
    assert_eq!(timing.confirm_interval.get(), secs(1));
}

#[test]
fn a_start_period_gives_the_check_the_startup_role() {
    let with = checks(&["--health-tcp", "1", "--health-start-period", "1m30s"]);
    assert_eq!(with.startup.unwrap().timing.start_period.get(), secs(90));
    assert_eq!(with.liveness.unwrap().timing.start_period.get(), secs(0));
    let without = checks(&["--health-tcp", "1", "--health-start-period", "0s"]);
    assert_eq!(without.startup, None);
}

#[test]
fn a_bare_number_is_seconds_and_nothing_said_is_the_default() {
    let timing = checks(&["--health-tcp", "1", "--health-interval", "7"]).liveness.unwrap().timing;
    assert_eq!(timing.period.get(), secs(7));
    let timing = checks(&["--health-tcp", "1"]).liveness.unwrap().timing;
    assert_eq!((timing.period.get(), timing.timeout.get()), (secs(30), secs(10)));
    assert_eq!((timing.failures.get(), timing.successes.get()), (3, 1));
    assert_eq!((timing.confirm_interval.get(), timing.start_period.get()), (secs(1), secs(0)));
}

#[test]
fn timing_out_of_range_names_its_flag() {
    for (flag, value, why) in [
        ("--health-interval", "0", "0ns is not in 10ms..=86400s"),
        ("--health-interval", "-5s", "-5s is negative"),
        ("--health-interval", "25h", "90000s is not in 10ms..=86400s"),
        ("--health-interval", "1.0005s", "1.0005s is finer than a millisecond"),
        ("--health-interval", "x", "\"x\" is not a duration such as 30s, 500ms or 1m30s"),
        ("--health-timeout", "0s", "0ns is not in 1ms..=86400s"),
        ("--health-timeout", "-1", "-1 is negative"),
        ("--health-retries", "0", "0 is not in 1..=1000"),
        ("--health-retries", "-3", "-3 is negative"),
        ("--health-retries", "1001", "1001 is not in 1..=1000"),
        ("--health-start-period", "-1s", "-1s is negative"),
        ("--health-start-period", "2d", "172800s is not in 0ns..=86400s"),
        ("--health-start-interval", "5ms", "5ms is not in 10ms..=86400s"),
        ("--health-min-failing", "-1m", "-1m is negative"),
        ("--health-stop-grace-period", "2h", "7200s is not in 0ns..=3600s"),
        ("--health-flapping", "4", "\"4\" is not FAILURES/ATTEMPTS such as 4/10, or off"),
        ("--health-flapping", "1/10", "failures: 1 is not in 2..=10"),
        ("--health-flapping", "2/65", "window: 65 is not in 2..=64"),
    ] {
        refused(&["--health-tcp", "1", flag, value], &format!("{flag}: {why}"));
    }
}

#[test]
fn each_role_has_its_own_kind_and_timing() {
    let checks = checks(&[
        "--startup-tcp",
        "8000,failures=30,start-period=20s",
        "--liveness-http",
        "/alive:8000,period=5s,timeout=2s,failures=4,successes=2,delay=1s",
        "--readiness-cmd",
        "period=500ms,cmd=test -f /a,b",
    ]);
    let startup = checks.startup.unwrap();
    assert_eq!(startup.timing.failures.get(), 30);
    assert_eq!(startup.timing.start_period.get(), secs(20));
    assert_eq!(startup.timing.period, Timing::default_for(Role::Startup).period);
    let liveness = checks.liveness.unwrap();
    assert_eq!(liveness.kind, CheckKind::Http(http(8000, "/alive")));
    assert_eq!(liveness.timing.period.get(), secs(5));
    assert_eq!(liveness.timing.timeout.get(), secs(2));
    assert_eq!((liveness.timing.failures.get(), liveness.timing.successes.get()), (4, 2));
    assert_eq!(liveness.timing.delay.get(), secs(1));
    let readiness = checks.readiness.unwrap();
    let CheckKind::Exec(exec) = &readiness.kind else { panic!("a command") };
    assert_eq!(exec.command.words(), ["test", "-f", "/a,b"]);
    assert_eq!(readiness.timing.confirm_interval.get(), Duration::from_millis(500));
}

#[test]
fn each_flag_of_the_timing_reaches_the_roles_that_it_concerns() {
    let words = ["--health-tcp", "1", "--health-start-period", "9s", "--health-start-interval"];
    let more = ["250ms", "--health-min-failing", "2m", "--health-flapping", "3/8"];
    let checks = checks(&[&words[..], &more].concat());
    let [startup, liveness, readiness] =
        Role::ALL.map(|role| checks.get(role).as_ref().unwrap().timing);
    for timing in [startup, liveness, readiness] {
        assert_eq!(timing.start_interval.get(), Duration::from_millis(250));
    }
    assert_eq!(
        [startup, liveness, readiness].map(|t| t.min_failing.get()),
        [120, 120, 0].map(secs)
    );
    let rule = Flapping::new(3, 8).ok();
    assert_eq!([startup, liveness, readiness].map(|t| t.flapping), [None, rule, rule]);
    let off = super::tests::checks(&["--health-tcp", "1", "--health-flapping", "off"]);
    assert_eq!(off.liveness.unwrap().timing.flapping, None);
}

#[test]
fn a_role_may_say_when_it_flaps_and_how_long_it_must_fail() {
    let keys = "1,start-interval=2s,min-failing=1m,flapping=2/5,period=10s";
    let timing = checks(&["--liveness-tcp", keys]).liveness.unwrap().timing;
    assert_eq!((timing.start_interval.get(), timing.min_failing.get()), (secs(2), secs(60)));
    assert_eq!(timing.flapping, Flapping::new(2, 5).ok());
    let readiness = checks(&["--readiness-tcp", "1,flapping=off"]).readiness.unwrap();
    assert_eq!(readiness.timing.flapping, None);
}

#[test]
fn a_role_may_say_how_often_to_confirm() {
    let timing = checks(&["--liveness-tcp", "1,confirm=2s"]).liveness.unwrap().timing;
    assert_eq!(timing.confirm_interval.get(), secs(2));
}

#[test]
fn a_bad_role_value_is_refused_by_its_flag_and_key() {
    for (flag, value, why) in [
        ("--liveness-http", "/x:1,period=0s", "period: 0ns is not in 10ms..=86400s"),
        ("--liveness-http", "port=70000", "port: 70000 is not in 1..=65535"),
        ("--liveness-tcp", "1,failures=0", "failures: 0 is not in 1..=1000"),
        ("--liveness-tcp", "1,period=1s,period=2s", "period: is there twice"),
        (
            "--liveness-tcp",
            "1,start-period=1s",
            "\"start-period\" is not a key here; there are port, socket, send, expect, \
             expect-regex, tls, server-name, period, timeout, failures, successes, delay, confirm, \
             start-interval, min-failing, flapping, stop-grace-period; a comma within a value is \
             \\,",
        ),
        ("--readiness-cmd", "period=-1s,cmd=true", "period: -1s is negative"),
        (
            "--readiness-cmd",
            "period=5s",
            "cmd: is required after the other keys, as in period=5s,cmd=test -f /ready",
        ),
        (
            "--readiness-cmd",
            "period=5s,true",
            "cmd: is required after the other keys, as in period=5s,cmd=test -f /ready",
        ),
        ("--startup-cmd", "cmd=", "names no program"),
    ] {
        refused(&[flag, value], &format!("{flag}: {why}"));
    }
}

#[test]
fn contradictions_name_both_flags() {
    let why = |one: &str, other: &str| {
        let prefix =
            |flag: &str| flag.trim_start_matches("--").split('-').next().unwrap().to_owned();
        let unless = if prefix(one) == prefix(other) && one != other && prefix(one) != "no" {
            format!(", unless --{}-match says all or any", prefix(one))
        } else {
            String::new()
        };
        format!("{one} contradicts {other}: a role has one check{unless}")
    };
    for (words, one, other) in [
        (&["--health-http", "/:1", "--health-tcp", "1"][..], "--health-tcp", "--health-http"),
        (&["--health-tcp", "1", "--health-cmd", "x"], "--health-cmd", "--health-tcp"),
        (&["--liveness-http", "/:1", "--liveness-cmd", "x"], "--liveness-cmd", "--liveness-http"),
        (&["--health-http", "/:1", "--liveness-tcp", "1"], "--liveness-tcp", "--health-http"),
        (&["--health-http", "/:1", "--readiness-http", "/:1"], "--readiness-http", "--health-http"),
        (
            &["--health-tcp", "1", "--health-start-period", "5s", "--startup-tcp", "1"],
            "--startup-tcp",
            "--health-start-period",
        ),
        (&["--no-healthcheck", "--health-tcp", "1"], "--no-healthcheck", "--health-tcp"),
        (&["--no-healthcheck", "--startup-tcp", "1"], "--no-healthcheck", "--startup-tcp"),
        (&["--no-healthcheck", "--health-retries", "1"], "--no-healthcheck", "--health-retries"),
    ] {
        refused(words, &why(one, other));
    }
}

/// The words of the check that a flag means, such as `task inspect` shows them.
fn shown(words: &[&str]) -> String {
    crate::output::checks::how(&checks(words).readiness.unwrap().kind)
}

/// C-58, C-59, C-100 to C-102, C-130.
#[test]
fn every_option_of_http_has_its_key() {
    for (value, meaning) in [
        ("/x:80,scheme=h2c", "GET http://:80/x by HTTP/2"),
        ("http://:80/x,scheme=h2c", "GET http://:80/x by HTTP/2"),
        ("HTTPS://:443/,version=2", "GET https://:443/ by HTTP/2"),
        ("http://:80?x=1", "GET http://:80/?x=1"),
        ("https://:443/,version=2", "GET https://:443/ by HTTP/2"),
        ("/x:80,version=1.1", "GET http://:80/x"),
        ("/x,port=admin", "GET http://:admin/x"),
        ("path=/x,socket=/run/s", "GET http:/x over /run/s"),
        ("/:1,header=User-Agent:,header=X:y", "GET http://:1/ without User-Agent with X: y"),
        ("/:1,body=ready", "GET http://:1/ whose body must contain \"ready\""),
        ("/:1,body-regex=^a\\,b", "GET http://:1/ whose body must match /^a,b/"),
        ("/:1,body-not=x", "GET http://:1/ whose body must not contain \"x\""),
        ("/:1,body-not-regex=x+", "GET http://:1/ whose body must not match /x+/"),
        ("/:1,tls=any", "GET https://:1/"),
        ("/:1,tls=node", "GET https://:1/ verified by the node's authorities"),
        ("https://:1,server-name=a.example", "GET https://:1/ as a.example"),
        (
            "/:1,method=POST,send={\"a\":1\\,\"b\":\\x41}\\n",
            "POST http://:1/ sending \"{\\\"a\\\":1,\\\"b\\\":A}\\n\"",
        ),
        ("/:1,keep-alive=true", "GET http://:1/ over kept connections"),
        ("/:1,keep-alive=false", "GET http://:1/"),
    ] {
        assert_eq!(shown(&["--health-http", value]), meaning, "{value}");
    }
    let h2c = health_http("/x:80,scheme=h2c");
    assert_eq!((h2c.scheme(), h2c.version), (Scheme::Http, HttpVersion::Http2));
}

/// C-50, C-59, C-130.
#[test]
fn an_option_of_http_that_cannot_be_is_refused_by_its_key() {
    for (value, why) in [
        ("/:1,scheme=http,tls=any", "tls: needs scheme=https"),
        ("/:1,tls=maybe", "tls: \"maybe\" is not any, node or a CA's file such as ./ca.pem"),
        ("/:1,socket=/run/s", "socket: contradicts port"),
        ("/:1,scheme=h2c,version=2", "version: is there twice"),
        ("/:1,scheme=h2c,scheme=http", "scheme: is there twice"),
        ("/:1,version=3", "version: \"3\" is not 1.1 or 2"),
        ("/:1,host=a,header=Host:b", "host: contradicts a header Host; leave one of them out"),
        ("/:1,header=host:a,header=Host:b", "header: Host is there twice"),
        ("/:1,body=a,body-regex=b", "body-regex: is there twice"),
        ("/:1,body-regex=(", "body-regex: \"(\" is not a regular expression: unclosed group"),
        ("/:1,keep-alive=no", "keep-alive: \"no\" is not true or false"),
        (
            "/:1,keep-alive=true,version=2",
            "keep-alive: is for HTTP/1.1 alone; leave it out, or the version",
        ),
        (
            "/:1,keep-alive=true,header=connection:close",
            "keep-alive: contradicts a header Connection; leave one of them out",
        ),
        ("/:1,send=x", "send: means nothing with GET; say another method, as POST"),
        (
            "/:1,method=PUT,send=x,header=transfer-encoding:chunked",
            "send: has its own length; leave the header transfer-encoding out",
        ),
        (
            "/:1,method=HEAD,body=ready",
            "body: can match nothing: HEAD is answered without a body; say another method",
        ),
        (
            "/:1,method=HEAD,body-not-regex=x",
            "body-not: can match nothing: HEAD is answered without a body; say another method",
        ),
        ("/:1,server-name=a b", "server-name: \"a b\" is not a DNS name or an address"),
    ] {
        refused(&["--health-http", value], &format!("--health-http: {why}"));
    }
}

/// C-100: the file is read where the command is given.
#[test]
fn a_ca_is_read_from_its_file() {
    let pem = include_str!("../../../../../crates/core/tests/wire/ca.pem");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    std::fs::write(&path, pem).unwrap();
    let check = health_http(&format!("https://:443,tls={}", path.display()));
    let Trust::Ca(ca) = check.tls.unwrap().trust else { panic!("no CA") };
    assert_eq!(ca.pem(), pem);
    std::fs::write(&path, "none").unwrap();
    let told = read(&["--health-http", &format!("https://:443,tls={}", path.display())]);
    assert!(told.unwrap_err().ends_with("has no certificate in PEM (-----BEGIN CERTIFICATE-----)"));
    let told = read(&["--health-grpc", "50051,tls=./no-such.pem"]).unwrap_err();
    assert!(told.starts_with("--health-grpc: tls: cannot read \"./no-such.pem\": "), "{told}");
}

/// C-105, C-110, C-115 to C-121.
#[test]
fn every_option_of_the_other_kinds_has_its_key() {
    for (flag, value, meaning) in [
        ("tcp", "port=admin", "TCP connect to :admin"),
        (
            "tcp",
            "6379,send=\\\\PING\\r\\n\\x00,expect=PONG",
            "TCP connect to :6379 sending \"\\\\PING\\r\\n\\x00\" whose answer must contain \
             \"PONG\"",
        ),
        ("tcp", "1,expect-regex=^220", "TCP connect to :1 whose answer must match /^220/"),
        ("tcp", "socket=/run/redis.sock", "connect over /run/redis.sock"),
        ("tcp", "465,tls=any", "TCP connect to :465 by TLS"),
        (
            "tcp",
            "port=admin,server-name=x.example,tls=node,expect=220",
            "TCP connect to :admin by TLS verified by the node's authorities as x.example whose \
             answer must contain \"220\"",
        ),
        ("grpc", "50051", "gRPC health of :50051"),
        ("grpc", ":50051,service=a.B", "gRPC health of :50051 for a.B"),
        (
            "grpc",
            "port=grpc,tls=node,server-name=x.example",
            "gRPC health of :grpc by TLS verified by the node's authorities as x.example",
        ),
        ("grpc", "socket=/run/g", "gRPC health over /run/g"),
        ("grpc", "1,host=cart.example:80", "gRPC health of :1 at cart.example:80"),
        ("file", "/run/ready", "file /run/ready"),
        ("file", "path=/run/beat,max-age=90s", "file /run/beat at most 1m30s old"),
        ("cmd", "user=postgres,cmd=pg_isready", "run pg_isready as postgres"),
        (
            "cmd",
            "pass=0+1,inconclusive=75,cmd=check -x",
            "run check -x passing with 0+1 inconclusive with 75",
        ),
        (
            "cmd",
            "expect=PONG,cmd=redis-cli ping",
            "run redis-cli ping whose output must contain \"PONG\"",
        ),
        ("cmd", "expect-regex=a\\,b,cmd=x", "run x whose output must match /a,b/"),
    ] {
        assert_eq!(shown(&[&format!("--health-{flag}"), value]), meaning, "{value}");
        assert_eq!(shown(&[&format!("--readiness-{flag}"), value]), meaning, "{value}");
    }
}

/// C-105, C-110, C-115 to C-121.
#[test]
fn what_the_other_kinds_cannot_be_is_refused_by_its_key() {
    for (flag, value, why) in [
        (
            "tcp",
            "1,send=\\q",
            "send: \"\\\\q\" is not \\r, \\n, \\t, \\0, \\\\ or \\x and two digits",
        ),
        ("grpc", "x", "\"x\" is not 50051, :50051 or port=50051,service=NAME"),
        (
            "grpc",
            "service=x",
            "port: is required, since the service does not publish exactly one TCP port",
        ),
        (
            "grpc",
            "1,host=a/b",
            "host: \"a/b\" is not NAME or NAME:PORT, an IPv6 address in [brackets]",
        ),
        ("file", "run/ready", "path: \"run/ready\" is not an absolute path without '..'"),
        ("file", "max-age=5s", "path: is required"),
        ("file", "/x,max-age=0", "max-age: 0ns is not in 1ms..=31622400s"),
        ("cmd", "pass=256,cmd=x", "pass[0]: 256 is not in 0..=255"),
        ("cmd", "inconclusive=0,cmd=x", "inconclusive: 0 is a command that could look"),
        ("cmd", "pass=3,inconclusive=3,cmd=x", "inconclusive: 3 passes as well"),
        ("cmd", "user=a b,cmd=x", "user: \"a b\" is not user, user:group, uid or uid:gid"),
    ] {
        let flag = format!("--health-{flag}");
        refused(&[&flag, value], &format!("{flag}: {why}"));
    }
    // Where it names no command after the keys, it is a line for the shell.
    assert_eq!(shown(&["--health-cmd", "user=x psql"]), "run /bin/sh -c 'user=x psql'");
}

/// C-125 to C-127.
#[test]
fn several_checks_of_a_role_are_joined_by_a_rule() {
    let words = ["--liveness-http", "/:80,period=5s", "--liveness-file", "/run/beat,max-age=30s"];
    let both = checks(&[&words[..], &["--liveness-match", "all"]].concat());
    let Some(Check { kind, timing }) = &both.liveness else { panic!("no liveness") };
    let how = "all of (GET http://:80/; file /run/beat at most 30s old)";
    assert_eq!(crate::output::checks::how(kind), how);
    assert_eq!(timing.period.get(), secs(5));
    assert!(both.readiness.is_none());
    let same = ["--health-tcp", "1", "--health-tcp", "2", "--health-match", "any"];
    assert_eq!(shown(&same), "any of (TCP connect to :1; TCP connect to :2)");
    for (words, why) in [
        (
            &["--health-tcp", "1", "--health-tcp", "2"][..],
            "--health-tcp contradicts --health-tcp: a role has one check, unless --health-match \
             says all or any",
        ),
        (
            &["--health-tcp", "1", "--health-match", "all"],
            "--health-match: needs two checks or more, such as an HTTP check and a file",
        ),
        (
            &["--readiness-match", "any"],
            "--readiness-match: needs two checks or more, such as an HTTP check and a file",
        ),
        (
            &[
                "--liveness-tcp",
                "1,period=1s",
                "--liveness-tcp",
                "2,period=2s",
                "--liveness-match",
                "all",
            ],
            "--liveness-tcp: period: is there twice",
        ),
        (
            &["--no-healthcheck", "--health-match", "all"],
            "--no-healthcheck contradicts --health-match: a role has one check",
        ),
    ] {
        refused(words, why);
    }
}

#[test]
fn timing_flags_alone_are_refused() {
    refused(
        &["--health-interval", "5s"],
        "--health-interval needs a check such as --health-http, or --health-preset: an image's \
         own HEALTHCHECK keeps its own timing",
    );
}

#[test]
fn a_startup_check_may_stand_beside_health_flags() {
    let checks = checks(&["--health-tcp", "1", "--startup-tcp", "2"]);
    assert!(checks.startup.is_some() && checks.liveness.is_some() && checks.readiness.is_some());
}

#[test]
fn nothing_said_is_left_to_the_image() {
    assert_eq!(read(&[]), Ok(HealthConfig::Auto));
    assert_eq!(read(&["--no-healthcheck"]), Ok(HealthConfig::Disabled));
}
