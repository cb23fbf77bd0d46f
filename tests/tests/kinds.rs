//! Every kind of check from the command line to a real container and back. C-n are clauses of
//! docs/checks.md.

use std::{fs, path::Path, process::Command, time::Duration};

use warren_tests::{Machine, Warren, eventually, have_root, text};

const LIMIT: Duration = Duration::from_secs(90);

/// An nginx that serves a unix socket, HTTP/2 without TLS, and TLS with a certificate for
/// `web.test` that nobody but its owner vouches for.
const NGINX: &str = r#"
daemon off; error_log stderr; pid /tmp/nginx.pid;
events {}
http {
    access_log off;
    server { listen unix:/run/web.sock; location / { return 200 "by the socket"; } }
    server { listen 81 http2; location / { return 200 "by HTTP/2"; } }
    server {
        listen 443 ssl; server_name web.test;
        ssl_certificate /tls/cert.pem; ssl_certificate_key /tls/key.pem;
        location / { return 200 "in secret"; }
    }
}
"#;

/// C-58, C-59, C-100, C-101, C-102, C-126, C-127
#[test]
fn http_in_all_its_forms_reaches_a_server_in_a_container() {
    if !have_root("kinds") {
        return;
    }
    let machine = Machine::new();
    let directory = machine.path().join("tls");
    let certificate = certificate(&directory);
    fs::write(directory.join("nginx.conf"), NGINX).unwrap();
    let warren = machine.run();
    warren.import("nginx");

    let create = |name: &str, checks: &str| {
        warren.ok(&format!(
            "service create {name} --image warren-test/nginx:1 --mount {}:/tls:ro --port tls=443 \
             --health-interval 1s --health-timeout 5s {checks} -- nginx -c /tls/nginx.conf",
            directory.display()
        ));
    };
    create("socket", "--health-http 'path=/,socket=/run/web.sock,body=by the socket'");
    create("h2c", "--health-http 'path=/,port=81,scheme=h2c,body=by HTTP/2'");
    let verified = format!("path=/,port=tls,scheme=https,tls={certificate}");
    create("tls", &format!("--health-http {verified},server-name=web.test"));
    create("other", &format!("--health-http {verified},server-name=other.test"));
    create("node", "--health-http path=/,port=tls,scheme=https,tls=node,server-name=web.test");
    create("any", "--health-match any --health-tcp 9 --health-http path=/,socket=/run/web.sock");
    create("all", "--health-match all --health-tcp 9 --health-http path=/,socket=/run/web.sock");

    for name in ["socket", "h2c", "tls", "any"] {
        warren.shows(name, "Health: 1/1 healthy", LIMIT);
    }
    for name in ["other", "node"] {
        fails(&warren, name, "certificate");
    }
    fails(&warren, "all", "(tcp): connection refused");
}

/// C-105, C-115 to C-118, C-160
#[test]
fn commands_and_conversations_reach_a_container() {
    if !have_root("kinds") {
        return;
    }
    let machine = Machine::new();
    let warren = machine.run();
    for image in ["busybox", "redis"] {
        warren.import(image);
    }
    let pace = "--health-interval 1s --health-timeout 5s";
    let busybox = format!("--image warren-test/busybox:1 -e WHO=app {pace}");
    let command =
        r#"["sh","-c","test \"$1\" = \"$(id -un)\" && echo \"I am $1\"; exit 3","sh","$(WHO)"]"#;
    let create = |name: &str, user: &str| {
        let check = format!("user={user},pass=0+3,expect=I am app,cmd={command}");
        let line = format!("service create {name} {busybox} --health-cmd");
        warren.ok((&*line, &[&*check, "--", "sleep", "1000"][..]));
    };
    create("app", "app");
    create("nobody", "root");
    create("unknown", "somebody");
    let redis = format!("--image warren-test/redis:1 --health-preset redis {pace}");
    warren.ok(&format!("service create open {redis} --wait"));
    warren.ok(&format!("service create closed {redis} -- redis-server --requirepass secret"));

    warren.shows("app", "Health: 1/1 healthy", LIMIT);
    fails(&warren, "nobody", "I am app");
    fails(&warren, "unknown", "somebody");
    fails(&warren, "closed", "NOAUTH");
}

/// C-120 to C-122: a worker that stops turning is seen by the file that it no longer touches.
#[test]
fn a_beat_that_stops_is_noticed_by_its_file() {
    if !have_root("kinds") {
        return;
    }
    let machine = Machine::new();
    let warren = machine.run();
    warren.import("busybox");
    warren.ok((
        "service create beat --image warren-test/busybox:1 --wait --health-interval 500ms \
         --health-retries 2 --health-file /tmp/beat,max-age=3s -- sh -c",
        &["while [ ! -e /tmp/stop ]; do touch /tmp/beat; sleep 0.2; done; exec sleep 1000"][..],
    ));
    let task = warren.task_id("beat.1");
    let root = format!("/proc/{}/root", warren.task_pid("beat.1"));
    fs::write(Path::new(&root).join("tmp/stop"), "").unwrap();
    eventually("another task", LIMIT, || {
        let shown = warren.ok("service inspect beat");
        let replaced = warren.task_id("beat.1") != task;
        if replaced && shown.contains("Health: 1/1 healthy") { Ok(()) } else { Err(shown) }
    });
    let why = warren.ok(&format!("task inspect {task}"));
    assert!(why.contains("/tmp/beat") && why.contains("liveness"), "{why}");
}

/// Waits until a task of a service has failed its check, or is about to, for what these words say.
fn fails(warren: &Warren, service: &str, words: &str) {
    eventually(&format!("{service} to fail for {words}"), LIMIT, || {
        let mut shown = text(&warren.cli(&format!("task inspect {service}.1")));
        shown += &text(&warren.cli(&format!("event ls {service}")));
        if shown.contains(words) { Ok(()) } else { Err(shown) }
    });
    let shown = warren.ok(&format!("service inspect {service}"));
    assert!(shown.contains("Health: 0/1 healthy"), "{shown}");
}

/// Makes a certificate for `web.test` that signs itself, and its key.
fn certificate(directory: &Path) -> String {
    fs::create_dir(directory).unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2".split(' '));
    openssl.args(["-subj", "/CN=web.test", "-addext", "subjectAltName=DNS:web.test"]);
    openssl.arg("-keyout").arg(directory.join("key.pem"));
    let made = openssl.arg("-out").arg(directory.join("cert.pem")).output().unwrap();
    assert!(made.status.success(), "{}", text(&made));
    directory.join("cert.pem").display().to_string()
}
