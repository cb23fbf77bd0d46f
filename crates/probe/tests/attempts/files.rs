//! What is looked for among a task's files: that it is there, how old it is, a unix socket. The
//! task here is a process in a root directory of its own, that has filled it with traps.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime},
};

use tokio::{
    io::AsyncWriteExt,
    net::{UnixListener, UnixStream},
    task::JoinSet,
};
use warren_core::{
    bounds::Age,
    check::{CheckKind, Endpoint, FileCheck, HttpCheck, Payload, TcpCheck, TextMatch},
    clause::Clause,
    outcome::Outcome,
    spec::AbsolutePath,
};
use warren_probe::{Seen, Target};
use warren_runtime::Reach;

use crate::server::{
    EXPLICIT, LATE, LOCALHOST, REFUSED, TIMEOUT, header, look_at, read_head, target,
};

/// A process whose root directory is a directory of ours.
struct Jail {
    dir: tempfile::TempDir,
    process: Child,
}

impl Jail {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // By another process: what this one writes, a child of another test may hold open, and what
        // is open for writing cannot be run.
        let copied = Command::new("cp").arg("/bin/busybox").arg(dir.path()).status().unwrap();
        assert!(copied.success());
        fs::create_dir(dir.path().join("run")).unwrap();
        let process = Command::new("chroot")
            .arg(dir.path())
            .args(["/busybox", "sh", "-c", "echo up; exec /busybox sleep 300"])
            .stdout(Stdio::piped())
            .spawn();
        let mut process = process.unwrap();
        // It has its root once it speaks.
        let mut up = String::new();
        let stdout = process.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut up).unwrap();
        assert_eq!(up, "up\n");
        Self { dir, process }
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.dir.path().join(inside.trim_start_matches('/'))
    }

    fn target(&self) -> Target {
        target(Reach { netns: None, address: LOCALHOST, root_of: Some(self.process.id()) })
    }

    async fn look(&self, path: &str, max_age: Option<u64>) -> Seen {
        look_at(&self.target(), file(path, max_age), TIMEOUT).await
    }
}

impl Drop for Jail {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn absolute(path: &str) -> AbsolutePath {
    AbsolutePath::new(path).unwrap()
}

fn file(path: &str, max_age: Option<u64>) -> CheckKind {
    let max_age = max_age.map(|seconds| Age::new(Duration::from_secs(seconds)).unwrap());
    CheckKind::File(FileCheck { path: absolute(path), max_age })
}

fn written(path: &Path, when: SystemTime) {
    fs::File::create(path).unwrap().set_modified(when).unwrap();
}

/// C-120.
#[tokio::test]
async fn a_file_is_there_or_not() {
    let jail = Jail::start();
    let seen = jail.look("/run/ready", None).await;
    assert_eq!((seen.outcome, seen.clause), (EXPLICIT, Clause::new(120)));
    assert_eq!(seen.message, "/run/ready is not there");
    fs::write(jail.path("/run/ready"), "").unwrap();
    let seen = jail.look("/run/ready", None).await;
    assert_eq!((seen.outcome, seen.message.as_str()), (Outcome::Pass, "/run/ready is there"));
    assert_eq!(jail.look("/run", None).await.outcome, Outcome::Pass);
    assert_eq!(jail.look("/run/ready/x", None).await.outcome, EXPLICIT);
}

/// C-121.
#[tokio::test]
async fn a_file_is_fresh_or_too_old() {
    let jail = Jail::start();
    let now = SystemTime::now();
    let minute = Duration::from_mins(1);
    for (when, max_age, outcome, word) in [
        (now - minute, 90, Outcome::Pass, "ago"),
        (now - minute, 30, EXPLICIT, "ago, more than 30s"),
        (now + minute, 90, Outcome::Pass, "in the future"),
        (now + minute, 30, EXPLICIT, "in the future, more than 30s"),
    ] {
        written(&jail.path("/run/beat"), when);
        let seen = jail.look("/run/beat", Some(max_age)).await;
        assert_eq!((seen.outcome, seen.clause), (outcome, Clause::new(121)), "{}", seen.message);
        assert!(seen.message.starts_with("/run/beat was last written "), "{}", seen.message);
        assert!(seen.message.ends_with(word), "{}", seen.message);
    }
    let seen = jail.look("/run/none", Some(30)).await;
    assert_eq!((seen.outcome, seen.clause), (EXPLICIT, Clause::new(120)));
}

/// C-122: links are followed within the task's own root, and no further.
#[tokio::test]
async fn no_link_leads_out_of_the_task() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    fs::write(&secret, "").unwrap();
    let secret = secret.to_str().unwrap();
    let jail = Jail::start();
    fs::write(jail.path("/run/inside"), "").unwrap();
    let up = format!("{}{secret}", "../".repeat(40));
    for (link, to, there) in [
        ("/run/absolute", "/run/inside", true),
        ("/run/relative", "inside", true),
        ("/run/own-root", "/", true),
        ("/run/out", secret, false),
        ("/run/up", up.as_str(), false),
        ("/run/loop", "loop", false),
    ] {
        symlink(to, jail.path(link)).unwrap();
        let seen = jail.look(link, None).await;
        assert_eq!(seen.outcome == Outcome::Pass, there, "{link}: {}", seen.message);
        assert!(there || seen.outcome == EXPLICIT, "{link}: {seen:?}");
    }
    // By way of a directory.
    symlink(outside.path(), jail.path("/run/dir")).unwrap();
    assert_eq!(jail.look("/run/dir/secret", None).await.outcome, EXPLICIT);
    assert_eq!(jail.look(secret, None).await.outcome, EXPLICIT);
    let node = target(Reach { netns: None, address: LOCALHOST, root_of: None });
    let seen = look_at(&node, file(secret, None), TIMEOUT).await;
    assert_eq!(seen.outcome, Outcome::Pass, "a task without a container has the node's files");
}

/// C-32.
#[tokio::test]
async fn the_files_of_a_process_that_is_gone_are_not_looked_at() {
    let jail = Jail::start();
    fs::write(jail.path("/run/ready"), "").unwrap();
    let target = jail.target();
    drop(jail);
    let seen = look_at(&target, file("/run/ready", None), TIMEOUT).await;
    assert_eq!(seen.outcome, Outcome::Inconclusive, "{}", seen.message);
    assert!(seen.message.ends_with("the task's process is gone"), "{}", seen.message);
}

fn over(socket: &str) -> HttpCheck {
    let any_port = warren_core::bounds::Port::new(80).unwrap();
    HttpCheck { endpoint: Endpoint::Socket(absolute(socket)), ..HttpCheck::new(any_port) }
}

/// Answers every request, and returns what was asked.
fn serve(path: &Path, answer: &'static str) -> JoinSet<String> {
    let listener = UnixListener::bind(path).unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        head
    });
    serving
}

/// C-101.
#[tokio::test]
async fn http_goes_over_a_unix_socket_of_the_task() {
    let jail = Jail::start();
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let mut server = serve(&jail.path("/run/http.sock"), ok);
    symlink("/run/http.sock", jail.path("/link")).unwrap();
    let seen = look_at(&jail.target(), CheckKind::Http(over("/link")), TIMEOUT).await;
    assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
    assert_eq!(seen.message, "HTTP 200 from GET / over /link");
    let head = server.join_next().await.unwrap().unwrap();
    assert!(head.contains("\r\nHost: localhost\r\n"), "{head}");

    let mut server = serve(&jail.path("/run/named.sock"), ok);
    let named = HttpCheck { headers: vec![header("Host", "x.example")], ..over("/run/named.sock") };
    let seen = look_at(&jail.target(), CheckKind::Http(named), TIMEOUT).await;
    assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
    let head = server.join_next().await.unwrap().unwrap();
    assert!(head.contains("\r\nHost: x.example\r\n"), "{head}");
}

/// C-101.
#[tokio::test]
async fn tcp_goes_over_a_unix_socket_of_the_task() {
    let jail = Jail::start();
    let mut server = serve(&jail.path("/run/redis.sock"), "+PONG\r\n");
    let check = TcpCheck {
        endpoint: Endpoint::Socket(absolute("/run/redis.sock")),
        send: Payload::new(*b"PING\r\n\r\n").unwrap(),
        expect: Some(TextMatch::contains("+PONG").unwrap()),
        ..TcpCheck::new(warren_core::bounds::Port::new(1).unwrap())
    };
    let seen = look_at(&jail.target(), CheckKind::Tcp(check), TIMEOUT).await;
    assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
    assert_eq!(seen.message, "/run/redis.sock answered as expected: +PONG");
    assert_eq!(server.join_next().await.unwrap().unwrap(), "PING\r\n\r\n");
}

/// C-53 and C-101: a redirect of a socket stays on it.
#[tokio::test]
async fn a_redirect_over_a_unix_socket_does_not_leave_it() {
    for (location, leaves) in [("http://127.0.0.1/x", true), ("http://other/x", true)] {
        let jail = Jail::start();
        let away = format!("HTTP/1.1 302 X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        let _server = serve(&jail.path("/s"), away.leak());
        let seen = look_at(&jail.target(), CheckKind::Http(over("/s")), TIMEOUT).await;
        assert_eq!(seen.message.contains("leaves the task"), leaves, "{}", seen.message);
        assert_eq!(seen.outcome, EXPLICIT);
    }
}

/// C-101.
#[tokio::test]
async fn no_socket_no_listener_and_no_way_out_are_refused() {
    let outside = tempfile::tempdir().unwrap();
    let foreign = outside.path().join("docker.sock");
    let _foreign = UnixListener::bind(&foreign).unwrap();
    let jail = Jail::start();
    fs::write(jail.path("/file"), "").unwrap();
    symlink(&foreign, jail.path("/out")).unwrap();
    drop(UnixListener::bind(jail.path("/deserted")).unwrap());
    for (path, why) in [
        ("/none", "connection refused by /none: there is no such socket"),
        ("/out", "connection refused by /out: there is no such socket"),
        ("/file", "connection refused by /file: it is no socket"),
        ("/deserted", "connection refused by /deserted"),
    ] {
        let seen = look_at(&jail.target(), CheckKind::Http(over(path)), TIMEOUT).await;
        assert_eq!((seen.outcome, seen.message.as_str()), (REFUSED, why));
    }
}

/// C-6 and C-101.
#[tokio::test]
async fn a_unix_socket_that_nobody_accepts_from_is_late() {
    let jail = Jail::start();
    let path = jail.path("/full");
    let listener = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
    let listener = listener.unwrap();
    listener.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    listener.listen(0).unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = UnixStream::connect(&path).await {
        queued.push(stream);
    }
    let check = CheckKind::Http(over("/full"));
    let seen = look_at(&jail.target(), check, Duration::from_millis(150)).await;
    assert_eq!(seen.outcome, LATE, "{}", seen.message);
    assert!(seen.message.contains("no connection to /full within"), "{}", seen.message);
}
