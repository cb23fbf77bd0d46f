//! The bare socket loop: the system calls that an attempt cannot do without, and next to nothing
//! else. No names, no limits, no deadlines, no verdicts. What the worker takes beyond it is its
//! own.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use crate::{
    child,
    show::Lateness,
    targets::{PORT, Plan, address},
};

/// As the worker's timer ticks.
const TICK: Duration = Duration::from_millis(1);

/// Each target has one connection at most, so it has the slot of that.
struct Loop {
    poll: Poll,
    streams: Vec<Option<mio::net::TcpStream>>,
    lateness: Lateness,
    kept: bool,
}

/// `kept`: one connection for all attempts at a target. Else each has its own.
pub fn run(plan: &Plan, mode: &str) {
    let kept = mode == "kept";
    let streams = (0..plan.targets).map(|_| None).collect();
    let poll = Poll::new().unwrap();
    let mut this = Loop { poll, streams, lateness: Lateness::default(), kept };
    let requests = child::requests();
    child::ready();
    let begin = Instant::now();
    let each = plan.period / u32::try_from(plan.targets).unwrap();
    let mut due: VecDeque<(Instant, usize)> = (0..plan.targets)
        .map(|target| (begin + each * u32::try_from(target).unwrap(), target))
        .collect();
    let mut events = Events::with_capacity(1024);
    loop {
        let now = Instant::now();
        while let Some((at, target)) = due.pop_front_if(|(at, _)| *at <= now) {
            this.lateness.add(now - at);
            this.ask(target);
            due.push_back((at + plan.period, target));
        }
        this.poll.poll(&mut events, Some(TICK)).unwrap();
        for event in &events {
            this.hear(event);
        }
        if requests.try_recv().is_ok() {
            child::answer(&this.lateness.take());
        }
    }
}

impl Loop {
    fn ask(&mut self, target: usize) {
        if self.streams[target].is_some() {
            // Where each has its own connection, the last one still waits for its answer.
            if self.kept {
                drop(self.send(target));
            }
            return;
        }
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).unwrap();
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        // Under way, and over loopback mostly there already.
        let _ = socket.connect(&SocketAddr::from((address(target), PORT)).into());
        self.streams[target] = Some(mio::net::TcpStream::from_std(TcpStream::from(socket)));
        let interest = match self.send(target) {
            Ok(()) => Interest::READABLE,
            Err(_not_yet) => Interest::READABLE | Interest::WRITABLE,
        };
        let stream = self.streams[target].as_mut().unwrap();
        self.poll.registry().register(stream, Token(target), interest).unwrap();
    }

    fn send(&self, target: usize) -> std::io::Result<()> {
        let host = address(target);
        let close = if self.kept { "" } else { "Connection: close\r\n" };
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {host}:{PORT}\r\nUser-Agent: bare/1\r\nAccept: */*\r\n\
             {close}\r\n"
        );
        self.streams[target].as_ref().unwrap().write_all(request.as_bytes())
    }

    fn hear(&mut self, event: &mio::event::Event) {
        let target = event.token().0;
        if event.is_writable() && !event.is_readable() {
            return drop(self.send(target));
        }
        let mut answer = [0; 4096];
        let Some(stream) = &mut self.streams[target] else { return };
        match stream.read(&mut answer) {
            Ok(bytes) => assert!(answer[..bytes].starts_with(b"HTTP/1.1 200 OK"), "{bytes}"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{}: {error}", address(target)),
        }
        if !self.kept {
            self.streams[target] = None;
        }
    }
}
