//! Attempts look inside the task's network namespace, and nowhere else. These need root.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::Command,
    sync::mpsc,
    thread::JoinHandle,
};

use nix::{
    sched::{CloneFlags, unshare},
    unistd::{Uid, gettid},
};
use warren_core::{
    check::{CheckKind, HttpCheck},
    outcome::Outcome,
};
use warren_runtime::Reach;

use crate::server::{REFUSED, Server, TIMEOUT, When, answer, look, look_at, port, target, tcp};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace with a thread in it. It goes with the thread.
struct Space {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    proc: PathBuf,
}

impl Space {
    /// `None`, and a line that says why, where this machine does not let us.
    fn new() -> Option<Self> {
        if !Uid::effective().is_root() {
            println!("SKIPPED: making a network namespace needs root");
            return None;
        }
        let (jobs, queue) = mpsc::channel::<Job>();
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let made = unshare(CloneFlags::CLONE_NEWNET);
            sender.send((made, gettid())).unwrap();
            for job in queue {
                job();
            }
        });
        let (made, thread_id) = receiver.recv().unwrap();
        if let Err(errno) = made {
            println!("SKIPPED: cannot make a network namespace: {errno}");
            return None;
        }
        let proc = PathBuf::from(format!("/proc/{}/task/{thread_id}", std::process::id()));
        let space = Self { jobs: Some(jobs), thread: Some(thread), proc };
        let up = space.inside(|| Command::new("ip").args(["link", "set", "lo", "up"]).status());
        match up {
            Ok(status) if status.success() => Some(space),
            other => {
                println!("SKIPPED: cannot run `ip link set lo up`: {other:?}");
                None
            }
        }
    }

    fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, receiver) = mpsc::channel();
        let job = Box::new(move || sender.send(work()).unwrap());
        self.jobs.as_ref().unwrap().send(job).unwrap();
        receiver.recv().unwrap()
    }

    fn listen(&self, port: u16) -> TcpListener {
        self.inside(move || TcpListener::bind((LOOPBACK, port)).unwrap())
    }

    fn reach(&self) -> Reach {
        Reach { netns: Some(self.proc.join("ns/net")), address: LOOPBACK, root_of: None }
    }

    /// Leaves port 40000 as the only one for clients. `false`, and a line that says why, where
    /// that cannot be set.
    fn has_one_client_port(&self) -> bool {
        let range = "/proc/sys/net/ipv4/ip_local_port_range";
        match self.inside(move || fs::write(range, "40000 40000")) {
            Ok(()) => true,
            Err(error) => {
                println!("SKIPPED: cannot write {range}: {error}");
                false
            }
        }
    }

    /// How many of its IPv4 connections are in `TIME_WAIT`.
    fn time_waits(&self) -> usize {
        let table = fs::read_to_string(self.proc.join("net/tcp")).unwrap();
        let states = table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(3));
        states.filter(|state| *state == "06").count()
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.jobs.take();
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

fn http(address: SocketAddr) -> CheckKind {
    CheckKind::Http(HttpCheck::new(port(address)))
}

/// C-80.
#[tokio::test]
async fn a_listener_of_the_host_never_makes_a_task_healthy() {
    let Some(space) = Space::new() else { return };
    let host = Server::start(|_| answer(200, "", ""));
    let task = target(space.reach());
    for kind in [tcp(host.address), http(host.address)] {
        let seen = look_at(&task, kind.clone(), TIMEOUT).await;
        assert_eq!(seen.outcome, REFUSED, "{}", seen.message);
        // The thread is back: what it connects now, it connects at home.
        let seen = look(LOOPBACK, kind, TIMEOUT).await;
        assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
    }
}

#[tokio::test]
async fn the_thread_is_back_at_home_after_each_attempt() {
    let Some(space) = Space::new() else { return };
    let home = || fs::read_link("/proc/thread-self/ns/net").unwrap();
    let before = home();
    let inside = space.listen(0).local_addr().unwrap();
    look_at(&target(space.reach()), tcp(inside), TIMEOUT).await;
    assert_eq!(home(), before);
    assert_ne!(fs::read_link(space.proc.join("ns/net")).unwrap(), before);
}

/// C-80.
#[tokio::test]
async fn two_tasks_on_the_same_port_are_told_apart() {
    let (Some(good), Some(bad)) = (Space::new(), Space::new()) else {
        return;
    };
    let fine = Server::on(good.listen(8080), When::Asked, |_| answer(200, "", "fine"));
    let broken = Server::on(bad.listen(8080), When::Asked, |_| answer(500, "", "broken"));
    assert_eq!(fine.address, broken.address);
    let (good, bad) = (target(good.reach()), target(bad.reach()));
    for _ in 0..5 {
        let seen = look_at(&good, http(fine.address), TIMEOUT).await;
        assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
        let seen = look_at(&bad, http(fine.address), TIMEOUT).await;
        assert!(seen.message.ends_with("HTTP 500 from GET / on port 8080: broken"), "{seen:?}");
    }
}

#[tokio::test]
async fn no_attempt_leaves_a_time_wait() {
    let Some(space) = Space::new() else { return };
    // Each way of closing: the server first, the client first, the body cut at 10 KiB.
    let counted = Server::on(space.listen(0), When::Asked, |_| answer(200, "", "fine"));
    let to_the_end = Server::on(space.listen(0), When::Asked, |_| {
        vec![crate::server::send("HTTP/1.0 200 OK\r\n\r\nall of it")]
    });
    let long = Server::on(space.listen(0), When::Asked, |_| answer(200, "", &"x".repeat(100_000)));
    let task = target(space.reach());
    for _ in 0..50 {
        for server in [&counted, &to_the_end, &long] {
            for kind in [http(server.address), tcp(server.address)] {
                let seen = look_at(&task, kind, TIMEOUT).await;
                assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
            }
        }
    }
    // The count can fail: a connection that both sides close leaves one.
    assert_eq!(space.time_waits(), 0);
    space.inside(|| {
        let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        drop(client);
        drop(listener.accept().unwrap());
    });
    assert_eq!(space.time_waits(), 1);
}

#[tokio::test]
async fn a_connection_that_meets_only_itself_is_refused() {
    let Some(space) = Space::new() else { return };
    if !space.has_one_client_port() {
        return;
    }
    let only = SocketAddr::new(LOOPBACK, 40_000);
    let kept = CheckKind::Http(HttpCheck::new(port(only)).kept().unwrap());
    for kind in [tcp(only), http(only), kept] {
        let seen = look_at(&target(space.reach()), kind, TIMEOUT).await;
        assert_eq!(seen.outcome, REFUSED, "{}", seen.message);
        assert!(seen.message.ends_with("it met only itself"), "{}", seen.message);
    }
}

#[tokio::test]
async fn ports_that_ran_out_are_not_the_tasks_fault() {
    let Some(space) = Space::new() else { return };
    if !space.has_one_client_port() {
        return;
    }
    let listener = space.listen(8080);
    let held = space.inside(|| std::net::TcpStream::connect((LOOPBACK, 8080)).unwrap());
    let address = listener.local_addr().unwrap();
    let seen = look_at(&target(space.reach()), tcp(address), TIMEOUT).await;
    assert_eq!(seen.outcome, Outcome::Inconclusive, "{}", seen.message);
    drop(held);
}

#[tokio::test]
async fn a_task_that_has_lost_its_address_is_refused() {
    let Some(space) = Space::new() else { return };
    let address = SocketAddr::from(([192, 0, 2, 1], 8080));
    let lost = Reach { address: address.ip(), ..space.reach() };
    let seen = look_at(&target(lost), tcp(address), TIMEOUT).await;
    assert_eq!(seen.outcome, REFUSED, "{}", seen.message);
    assert_eq!(seen.message, "no connection to 192.0.2.1:8080: Network is unreachable");
}

#[tokio::test]
async fn a_namespace_that_is_gone_is_not_the_tasks_fault() {
    let gone =
        Reach { netns: Some(PathBuf::from("/proc/0/ns/net")), address: LOOPBACK, root_of: None };
    let seen = look_at(&target(gone), tcp(SocketAddr::new(LOOPBACK, 80)), TIMEOUT).await;
    assert_eq!(seen.outcome, Outcome::Inconclusive);
    assert!(
        seen.message.starts_with("cannot open the task's network namespace /proc/0/ns/net: "),
        "{}",
        seen.message
    );
    let other =
        Reach { netns: Some(PathBuf::from("/proc/self/ns/uts")), address: LOOPBACK, root_of: None };
    let seen = look_at(&target(other), tcp(SocketAddr::new(LOOPBACK, 80)), TIMEOUT).await;
    assert_eq!(seen.outcome, Outcome::Inconclusive);
    assert!(seen.message.starts_with("cannot enter the task's network namespace: "));
}

#[tokio::test]
async fn a_target_keeps_looking_where_it_first_looked() {
    let Some(space) = Space::new() else { return };
    let server = Server::on(space.listen(8080), When::Asked, |_| answer(200, "", ""));
    let task = target(space.reach());
    // The name is gone, as that of a process that ended; the namespace is not.
    drop(space);
    let seen = look_at(&task, http(server.address), TIMEOUT).await;
    assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.message);
}
