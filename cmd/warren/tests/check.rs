//! `warren check` as it is typed: what it prints, and its exit codes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, UdpSocket},
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
    thread,
    time::{Duration, SystemTime},
};

use tonic::{
    service::Routes,
    transport::{Server, server::TcpIncoming},
};

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

fn check(words: &[&str]) -> Ended {
    check_with(words, &[])
}

fn check_with(words: &[&str], variables: &[(&str, &str)]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_warren"))
        .arg("check")
        .args(words)
        // Nobody is there, and nobody is to ask for it.
        .envs(["http_proxy", "HTTP_PROXY", "ALL_PROXY"].map(|name| (name, "http://127.0.0.1:9")))
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Gives each connection this answer and tells what was asked.
fn server(answer: &'static str) -> (SocketAddr, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, heard) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                request.push(byte[0]);
            }
            // Nobody may be listening any more.
            drop(asked.send(String::from_utf8(request).unwrap()));
            drop(stream.write_all(answer.as_bytes()));
        }
    });
    (address, heard)
}

const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";
const BROKEN: &str = "HTTP/1.1 503 No\r\nContent-Length: 7\r\n\r\nno disk";

/// C-154, and C-57: no proxy.
#[test]
fn http_goes_to_the_url_and_tells_each_phase_and_the_clause() {
    let (address, heard) = server(FINE);
    let port = address.port();
    let seen = check(&["http", &format!("http://localhost:{port}/health?deep=1")]);
    assert_eq!((seen.code, seen.err.as_str()), (Some(0), ""), "{}", seen.out);
    let asked = heard.recv().unwrap();
    assert!(asked.starts_with("GET /health?deep=1 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains(&format!("\r\nHost: localhost:{port}\r\n")), "{asked}");
    assert!(asked.contains("\r\nUser-Agent: warren-check/"), "{asked}");
    let query = check(&["http", &format!("HTTP://localhost:{port}?deep=2")]);
    assert_eq!((query.code, query.err.as_str()), (Some(0), ""), "{}", query.out);
    let asked = heard.recv().unwrap();
    assert!(asked.starts_with("GET /?deep=2 HTTP/1.1\r\n"), "{asked}");
    let check = format!("Check: GET http://localhost:{port}/health?deep=1, timeout 5s\n");
    for told in
        [&check, "Outcome: pass\n", "Latency: connect ", ", first byte ", ", total ", "C-51: "]
    {
        assert!(seen.out.contains(told), "{told}: {}", seen.out);
    }
}

/// C-120, C-121, C-154: of this machine.
#[test]
fn a_file_is_looked_for_here() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("beat");
    let path = path.to_str().unwrap();
    let none = check(&["file", path]);
    assert_eq!(none.code, Some(1), "{}", none.err);
    assert!(none.out.contains(&format!("Check: file {path}, timeout 5s\n")), "{}", none.out);
    assert!(none.out.contains("Outcome: fail (explicit)\n"), "{}", none.out);
    let file = std::fs::File::create(path).unwrap();
    for words in [&["file", path][..], &["file", &format!("{path},max-age=1h")]] {
        let seen = check(words);
        assert_eq!((seen.code, seen.err.as_str()), (Some(0), ""), "{}", seen.out);
    }
    file.set_modified(SystemTime::now() - Duration::from_hours(2)).unwrap();
    let old = check(&["file", &format!("path={path},max-age=1h"), "-o", "json"]);
    assert_eq!(old.code, Some(1), "{}", old.out);
    let json: serde_json::Value = serde_json::from_str(&old.out).unwrap();
    assert_eq!(json["clause"], 121, "{json:#}");
}

/// C-154 and C-160: what is told of each role, and which outcome counts.
#[test]
fn a_preset_is_asked_here_and_each_of_its_checks_is_told() {
    let (address, heard) = server(BROKEN);
    let seen = check(&["preset", &format!("nginx,port={}", address.port())]);
    assert_eq!((seen.code, seen.err.as_str()), (Some(1), ""), "{}", seen.out);
    let sections: Vec<&str> = seen.out.split("\n\n").collect();
    let [lives, serves] = sections[..] else { panic!("{}", seen.out) };
    let url = format!("Check: GET http://{address}/ expecting");
    for (section, role, codes, outcome) in [
        (lives, "startup, liveness", "200-599", "pass"),
        (serves, "readiness", "200-499", "fail (explicit)"),
    ] {
        let told = format!("Role: {role}\n{url} {codes}, timeout 5s\nOutcome: {outcome}\n");
        assert!(section.starts_with(&told), "{told}: {section}");
    }
    assert!(heard.recv().unwrap().contains(&format!("\r\nHost: {address}\r\n")));

    let json = check(&["preset", &format!("nginx,port={}", address.port()), "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["trials"][1]["roles"], serde_json::json!(["ROLE_READINESS"]), "{json:#}");

    let (address, _heard) = server(FINE);
    let [host, port] = [address.ip().to_string(), address.port().to_string()];
    let nginx = format!("nginx,port={port}");
    let seen = check(&["preset", &nginx, "--address", &host, "--timeout", "20s"]);
    assert_eq!(seen.code, Some(0), "{}", seen.out);
    assert!(seen.out.contains("timeout 20s"), "{}", seen.out);
}

/// C-154 and C-160: a client of the server that is in the PATH here.
#[test]
fn a_preset_that_is_a_command_runs_it_here() {
    let path = tempfile::tempdir().unwrap();
    let client = path.path().join("pg_isready");
    let ends = |code: u8| {
        std::fs::write(&client, format!("#!/bin/sh\necho \"asked $*\"; exit {code}\n")).unwrap();
        std::fs::set_permissions(&client, std::fs::Permissions::from_mode(0o755)).unwrap();
        let seen = check_with(
            &["preset", "postgres,port=5433"],
            &[("PATH", path.path().to_str().unwrap()), ("WARREN_TASK_IP", "127.0.0.9")],
        );
        assert!(seen.out.contains("Seen: "), "{}{}", seen.out, seen.err);
        assert!(seen.out.contains("asked -h 127.0.0.9 -p 5433\n"), "{}", seen.out);
        assert!(seen.out.starts_with("Role: startup, liveness, readiness\n"), "{}", seen.out);
        seen.code
    };
    assert_eq!([ends(0), ends(2)], [Some(0), Some(1)]);
}

#[test]
fn a_failure_exits_1_with_its_evidence() {
    let (address, _heard) = server(BROKEN);
    let port = address.port();
    let seen = check(&["http", &format!("/x:{port},header=X-A:1")]);
    assert_eq!(seen.code, Some(1));
    assert!(seen.out.contains("Outcome: fail (explicit)\n"), "{}", seen.out);
    assert!(
        seen.out.contains("HTTP 503 from GET /x") && seen.out.contains("no disk"),
        "{}",
        seen.out
    );
    let expected = check(&["http", &format!("/x:{port},status=503")]);
    assert_eq!(expected.code, Some(0), "{}", expected.out);

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let seen = check(&["tcp", &nobody.to_string(), "-o", "json"]);
    assert_eq!(seen.code, Some(1));
    let json: serde_json::Value = serde_json::from_str(&seen.out).unwrap();
    assert_eq!(json["attempt"]["outcome"], "OUTCOME_FAIL_REFUSED", "{json:#}");
    assert_eq!((&json["clause"], &json["roles"]), (&61.into(), &serde_json::json!([])));
    let bracketed = check(&["tcp", "1", "--address", "[::1]"]);
    assert!(bracketed.out.contains("TCP connect to [::1]:1, "), "{}", bracketed.out);
    assert_eq!(bracketed.code, Some(1), "{}", bracketed.err);
    let yaml = check(&["tcp", &address.to_string(), "-o", "yaml"]);
    assert!(yaml.code == Some(0) && yaml.out.contains("clause: 60\n"), "{}", yaml.out);
}

/// C-154, C-110, C-111: against a server that says yes, one that does not know the service, one
/// that speaks something else, and none.
#[test]
fn grpc_asks_a_health_service() {
    let server = tokio::runtime::Runtime::new().unwrap();
    let health = vitals::Vitals::new("shop", "1");
    let incoming = server.block_on(async { TcpIncoming::bind("127.0.0.1:0".parse().unwrap()) });
    let incoming = incoming.unwrap();
    let port = incoming.local_addr().unwrap().port();
    let routes = Routes::new(health.grpc(["shop.Cart"]));
    server.spawn(Server::builder().add_routes(routes).serve_with_incoming(incoming));
    for words in [
        &["grpc", &format!("localhost:{port}")][..],
        &["grpc", &format!("{port},service=shop.Cart")],
        &["grpc", &format!(":{port}"), "--address", "127.0.0.1"],
    ] {
        let seen = check(words);
        assert_eq!((seen.code, seen.err.as_str()), (Some(0), ""), "{words:?}: {}", seen.out);
        assert!(seen.out.contains("SERVING") && seen.out.contains("C-110: "), "{}", seen.out);
    }
    let unknown = check(&["grpc", &format!("{port},service=shop.Till")]);
    assert_eq!(unknown.code, Some(1), "{}", unknown.out);
    assert!(unknown.out.contains("C-111: "), "{}", unknown.out);
    let (other, _heard) = self::server(FINE);
    let junk = check(&["grpc", &other.to_string()]);
    assert_eq!(junk.code, Some(1), "{}", junk.out);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = check(&["grpc", &nobody.to_string(), "--timeout", "20s"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.out.contains("Outcome: fail (refused)"), "{}", refused.out);
    assert_eq!(check(&["grpc", "no-such-host.invalid:1"]).code, Some(125));
}

#[test]
fn a_command_runs_here_and_is_killed_at_its_time() {
    let seen = check(&["exec", "test -n \"$PATH\" && pwd"]);
    assert_eq!(seen.code, Some(0), "{}", seen.out);
    assert!(seen.out.contains(&format!("Seen: {}", std::env::current_dir().unwrap().display())));
    let seen = check(&["exec", "--", "sh", "-c", "echo why; exit 7"]);
    assert_eq!(seen.code, Some(1));
    assert!(seen.out.contains("Seen: exit code 7: why\n"), "{}", seen.out);
    assert!(seen.out.contains("Clause: C-70: "), "{}", seen.out);
    let seen = check(&["exec", "--", "echo", "$(HOME)"]);
    assert!(seen.out.contains("Check: run echo '$(HOME)', timeout 5s\n"), "{}", seen.out);
    assert!(seen.out.contains("Seen: $(HOME)\n"), "{}", seen.out);
    let seen = check(&["exec", "no-such-program"]);
    assert!(seen.code == Some(1) && seen.out.contains("not found in PATH"), "{}", seen.out);
    let words = ["exec", "--timeout", "100ms", "--", "sh", "-c", "sleep 300 & sleep 300"];
    let seen = check(&words);
    assert_eq!(seen.code, Some(1));
    assert!(seen.out.contains("fail (timeout)") && seen.out.contains("C-72"), "{}", seen.out);
}

/// C-154: the whole attempt has one deadline, and a name server may be what is late.
#[test]
fn a_name_that_is_not_resolved_in_time_exits_125() {
    let Ok(silent) = UdpSocket::bind("127.0.0.53:53").or_else(|_| UdpSocket::bind("127.0.0.77:53"))
    else {
        println!("SKIPPED: being a name server needs root");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let servers = directory.path().join("resolv.conf");
    std::fs::write(&servers, format!("nameserver {}\n", silent.local_addr().unwrap().ip()))
        .unwrap();
    let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
    let warren = env!("CARGO_BIN_EXE_warren");
    let words = ["check", "http", "http://web.example/", "--timeout", "300ms"];
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(&servers).arg(warren).args(words);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    if said.contains("unshare: ") || said.contains("mount: ") {
        println!("SKIPPED: {said}");
        return;
    }
    let why = "error: cannot resolve \"web.example\": no answer within 300ms\n";
    assert_eq!((output.status.code(), said.as_str()), (Some(125), why));
}

#[test]
fn what_nobody_could_look_at_exits_125_and_wrong_usage_2() {
    let seen = check(&["http", "http://no-such-host.invalid/"]);
    assert_eq!(seen.code, Some(125), "{}", seen.err);
    assert!(seen.err.contains("cannot resolve \"no-such-host.invalid\""), "{}", seen.err);
    for (words, named) in [
        (
            &["http", "/health"][..],
            "CHECK: port: is required; say :8080/health or http://HOST/health",
        ),
        (&["grpc", "service=x"], "CHECK: port: is required; say :50051 or HOST:50051"),
        (
            &["http", "http://localhost:abc/"],
            "CHECK: port: \"abc\" is not a number, and only a service's ports have names",
        ),
        (&["http", "ftp://localhost/"], "URL: ftp:// is not http:// or https://"),
        (&["http", "WSS://localhost/"], "URL: wss:// is not http:// or https://"),
        (&["http", "http://"], "URL: \"http://\" names no host; say http://HOST/, or :80/ for"),
        (&["http", "http:///x"], "URL: \"http:///x\" names no host"),
        (&["http", "http://local host/"], "URL: \"local host\" is not a host's name or address"),
        (&["http", "http://x/#top"], "CHECK: path: \"/#top\" has a fragment"),
        (&["http", "http://x#top"], "CHECK: path: \"/#top\" has a fragment"),
        (&["tcp", "a b:80"], "CHECK: \"a b\" is not a host's name or address"),
        (&["tcp", "80", "--address", "a b"], "--address: \"a b\" is not a host's name or"),
        (&["tcp", "80", "--address", ""], "--address: \"\" is not a host's name or address"),
        (&["http", "example.org"], "\"example.org\" is not http://HOST/, HOST:8080/health, :8080"),
        (&["http", "localhost/health"], "\"localhost/health\" is not http://HOST/, HOST:8080/h"),
        (&["tcp", "127.0.0.1"], "\"127.0.0.1\" is not HOST:6379, :6379, 6379 or port=6379"),
        (&["tcp", "localhost"], "\"localhost\" is not HOST:6379, :6379, 6379 or port=6379"),
        (&["grpc", "localhost"], "\"localhost\" is not HOST:50051, :50051, 50051 or port="),
        (&["http", "/a?b=1,c=2"], "; a comma within a value is \\,"),
        (
            &["http", "/:80,status=200,304"],
            "CHECK: status: several are joined by +, as in status=200+304",
        ),
        (
            &["exec", "sleep", "3"],
            "CMD: is one argument; quote the command, or say it after --, as in -- sleep 3",
        ),
        (&["http", "http://x/,mood=good"], "\"mood\" is not a key here"),
        (&["tcp", "70000"], "CHECK: port: 70000"),
        (&["tcp", "80", "--timeout", "never"], "--timeout: "),
        (&["tcp", "80,timeout=1s", "--timeout", "2s"], "--timeout: contradicts timeout="),
        // Five seconds are the default as well.
        (&["http", "/ok:80,timeout=5s", "--timeout", "2s"], "--timeout: contradicts timeout="),
        (&["http", "http://x/", "--address", "y"], "--address: contradicts"),
        (&["http", "/:80,host=a,header=host:b"], "CHECK: host: contradicts a header Host"),
        (&["exec", ""], "CMD: names no program"),
        (&["file", "x"], "PATH: path: \"x\" is not an absolute path"),
        (&["preset", "auto"], "NAME: auto goes by a service's image, and here is none; there are"),
        (&["preset", "reddis"], "NAME: \"reddis\" is not a preset; there are"),
        (&["preset", "redis,port=0"], "NAME: port: 0 is not in 1..=65535"),
        (&["preset", "mysql", "--address", "h"], "--address: is not for a preset that runs a"),
        (&["grpc", "host"], "CHECK: "),
        (&["grpc", "80,tls=maybe"], "CHECK: tls: \"maybe\" is not any, node or a CA's file"),
    ] {
        let seen = check(words);
        assert_eq!(seen.code, Some(2), "{words:?}: {}{}", seen.out, seen.err);
        assert!(seen.err.contains(named), "{words:?}: {}", seen.err);
    }
}
