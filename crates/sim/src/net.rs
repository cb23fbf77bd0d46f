//! The network: one link for each machine, which carries its connections to the manager late, not
//! at all, or only until it is cut.
//!
//! No two links deliver in the same millisecond. So the order in which the manager hears of
//! things depends on the seed alone, and not on which of two tasks of one moment tokio wakes
//! first.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split},
    sync::{Notify, mpsc},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;
use warren_proto::v1::{manager_message::Message as Down, worker_message::Message as Up};

use crate::{
    chance::Chance,
    faults::{self, Fault},
    life::{Life, Moment, Write},
    oracle::Oracle,
    tap,
    tap::Tap,
};

/// What a kernel would buffer.
const BUFFER: usize = 64 * 1024;

/// As the worker's own endpoint has it, see `warren worker`.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the manager takes connections, while it runs.
#[derive(Debug, Default)]
pub struct Door {
    pub sender: Mutex<Option<mpsc::Sender<DuplexStream>>>,
    /// The manager's.
    pub life: Mutex<Arc<Life>>,
    /// A manager that is on its way out is heard and not listened to: in which order it closes
    /// its connections is up to tonic, which draws lots.
    pub muted: AtomicBool,
}

#[derive(Debug)]
pub struct Link {
    start: Instant,
    /// This link's residue, and how many there are: two lanes for each link.
    lane: (u64, u64),
    chance: Mutex<Chance>,
    door: Arc<Door>,
    /// Whose word it carries; nobody's whose messages are looked at.
    oracle: Option<(String, Arc<Oracle>)>,
    tracker: TaskTracker,
    /// Of the process at this end.
    life: Mutex<Arc<Life>>,
    /// It is gone, and what it said last comes so late.
    gone: Mutex<CancellationToken>,
    late: Mutex<Duration>,
    /// A hello is on its way.
    greets: AtomicBool,
    greeted: Notify,
    /// By lane.
    parted: [AtomicBool; 2],
    /// The connection breaks within the piece after so many more of that lane.
    severs: Mutex<Option<(Lane, u32)>>,
    /// Wakes in the order in which was waited; a watch would draw lots.
    mended: Notify,
    cut: Mutex<CancellationToken>,
}

/// From the node to the manager, or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    Up,
    Down,
}

impl Lane {
    pub const ALL: [Self; 2] = [Self::Up, Self::Down];
}

/// Of a connection: whose it is.
struct End {
    life: Arc<Life>,
    /// The worker is gone: it says no more, and hears nothing.
    gone: CancellationToken,
}

impl End {
    async fn reads(&self, from: &mut ReadHalf<DuplexStream>, buffer: &mut [u8]) -> Option<usize> {
        let read = tokio::select! {
            biased;
            () = self.gone.cancelled() => return None,
            read = from.read(buffer) => read,
        };
        read.ok().filter(|count| *count > 0)
    }
}

impl Link {
    pub fn new(
        start: Instant,
        (number, links): (u64, u64),
        seed: u64,
        door: &Arc<Door>,
        oracle: Option<(String, Arc<Oracle>)>,
        tracker: &TaskTracker,
    ) -> Arc<Self> {
        Arc::new(Self {
            start,
            lane: (2 * number, 2 * links),
            chance: Mutex::new(Chance::new(seed, 1000 + number)),
            door: Arc::clone(door),
            oracle,
            tracker: tracker.clone(),
            life: Mutex::default(),
            gone: Mutex::default(),
            late: Mutex::default(),
            greets: AtomicBool::default(),
            greeted: Notify::new(),
            parted: Default::default(),
            severs: Mutex::default(),
            mended: Notify::new(),
            cut: Mutex::default(),
        })
    }

    /// A channel for one run of a process.
    pub fn channel(self: &Arc<Self>, life: &Arc<Life>) -> Channel {
        *self.life.lock().unwrap() = Arc::clone(life);
        let (link, life) = (Arc::clone(self), Arc::clone(life));
        let connector = service_fn(move |_| {
            let (link, life) = (Arc::clone(&link), Arc::clone(&life));
            async move {
                life.lives().await;
                link.dial().await.map(TokioIo::new)
            }
        });
        Endpoint::from_static("http://manager")
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .connect_with_connector_lazy(connector)
    }

    /// All connections break, and both ends hear of it.
    pub fn cut(&self) {
        std::mem::take(&mut *self.cut.lock().unwrap()).cancel();
    }

    /// The worker is gone, for so long. What it has said may be lost, or may still be on its way;
    /// then the manager hears it, and of the end, about when it hears of the next worker.
    pub fn loses_its_worker(&self, down: Duration) {
        let (comes, later) = {
            let mut chance = self.chance.lock().unwrap();
            (chance.one_in(2), Duration::from_millis(chance.between(0, 2_000)))
        };
        if comes {
            *self.late.lock().unwrap() = down + later;
            std::mem::take(&mut *self.gone.lock().unwrap()).cancel();
        } else {
            self.cut();
        }
    }

    /// Both ends hear of it, and neither knows how much of the last message has come.
    pub fn sever(&self, lane: Lane, after: u32) {
        *self.severs.lock().unwrap() = Some((lane, after));
    }

    fn is_severed_by_this(&self, lane: Lane) -> bool {
        let mut severs = self.severs.lock().unwrap();
        match &mut *severs {
            Some((on, left)) if *on == lane && *left > 0 => *left -= 1,
            Some((on, _)) if *on == lane => {
                faults::note(Fault::Severed(lane));
                return severs.take().is_some();
            }
            Some(_) | None => {}
        }
        false
    }

    pub fn part(&self, lanes: &[Lane], parted: bool) {
        for lane in lanes {
            self.parted[*lane as usize].store(parted, Ordering::Relaxed);
        }
        if !parted {
            self.mended.notify_waiters();
        }
    }

    async fn dial(self: &Arc<Self>) -> io::Result<DuplexStream> {
        let (link, cut) = (Arc::clone(self), self.cut.lock().unwrap().clone());
        let near = End {
            life: Arc::clone(&self.life.lock().unwrap()),
            gone: self.gone.lock().unwrap().clone(),
        };
        self.pass(Lane::Up).await;
        let door = self.door.sender.lock().unwrap().clone();
        let door = door.ok_or(io::ErrorKind::ConnectionRefused)?;
        let far =
            End { life: Arc::clone(&self.door.life.lock().unwrap()), gone: near.gone.clone() };
        let (dialled, client) = duplex(BUFFER);
        let (server, taken) = duplex(BUFFER);
        door.send(taken).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
        self.tracker.spawn(async move {
            tokio::select! {
                biased;
                () = cut.cancelled() => {}
                () = link.carry((client, near), (server, far)) => {}
            }
        });
        Ok(dialled)
    }

    async fn carry(&self, client: (DuplexStream, End), server: (DuplexStream, End)) {
        let (from_client, to_client) = split(client.0);
        let (from_server, to_server) = split(server.0);
        let epoch = Mutex::new(None);
        let mut heard = (Tap::up(), Tap::down());
        let up = self.pump((Lane::Up, client.1), from_client, to_server, |bytes| {
            let mut news = false;
            for message in heard.0.feed(bytes) {
                news |= self.hear_worker(&epoch, &message);
            }
            news
        });
        let down = self.pump((Lane::Down, server.1), from_server, to_client, |bytes| {
            let mut news = false;
            for message in heard.1.feed(bytes) {
                news |= self.hear_manager(&epoch, &message);
            }
            news
        });
        tokio::join!(biased; up, down);
    }

    /// `hear` says whether something in these bytes is news: a report, or that one is taken.
    async fn pump(
        &self,
        (lane, end): (Lane, End),
        mut from: ReadHalf<DuplexStream>,
        mut to: WriteHalf<DuplexStream>,
        mut hear: impl FnMut(&[u8]) -> bool,
    ) {
        let mut buffer = vec![0; BUFFER];
        let write = if lane == Lane::Up { Write::Report } else { Write::Ack };
        while let Some(count) = end.reads(&mut from, &mut buffer).await {
            let is_news = self.oracle.is_some() && hear(&buffer[..count]);
            if is_news {
                end.life.ends_at(Moment::Before(write));
            }
            self.pass(lane).await;
            if lane == Lane::Up && end.gone.is_cancelled() {
                self.come_late().await;
            }
            if lane == Lane::Down && self.door.muted.load(Ordering::Relaxed) {
                continue;
            }
            let severed = self.is_severed_by_this(lane);
            let passes = if severed { count / 2 } else { count };
            if to.write_all(&buffer[..passes]).await.is_err() {
                return;
            }
            if severed {
                self.cut();
                continue;
            }
            if lane == Lane::Up && self.greets.swap(false, Ordering::Relaxed) {
                self.greeted.notify_waiters();
            }
            if is_news {
                end.life.ends_at(Moment::After(write));
            }
        }
        // The other end is told in its turn; if it is gone too, nobody is left to hear.
        self.pass(lane).await;
        if lane == Lane::Down && self.door.muted.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        drop(to.shutdown().await);
    }

    /// Right after the next worker's hello, unless that takes long.
    async fn come_late(&self) {
        let late = *self.late.lock().unwrap();
        tokio::select! {
            biased;
            () = self.greeted.notified() => {}
            () = sleep(late) => {}
        }
        if self.is_parted(Lane::Up) {
            self.pass(Lane::Up).await;
        }
        // Nobody else is heard by the manager in this moment.
        self.until_slot(Lane::Down).await;
        faults::note(Fault::LastWords);
    }

    fn is_parted(&self, lane: Lane) -> bool {
        self.parted[lane as usize].load(Ordering::Relaxed)
    }

    /// Takes as long as the way takes now.
    async fn pass(&self, lane: Lane) {
        loop {
            let latency = self.latency();
            sleep(latency).await;
            self.until_slot(lane).await;
            let mended = self.mended.notified();
            let [up, down] = [Lane::Up, Lane::Down].map(|lane| self.is_parted(lane));
            match (self.is_parted(lane), up && down) {
                (false, _) => return,
                (true, true) => faults::note(Fault::Parted),
                (true, false) => faults::note(Fault::HalfOpen(lane)),
            }
            mended.await;
        }
    }

    /// Mostly a few milliseconds, and now and then a good part of a second.
    fn latency(&self) -> Duration {
        let mut chance = self.chance.lock().unwrap();
        let most = if chance.one_in(50) { 800 } else { 12 };
        Duration::from_millis(chance.between(0, most))
    }

    async fn until_slot(&self, lane: Lane) {
        let (first, slots) = self.lane;
        let slot = first + u64::from(lane == Lane::Down);
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap();
        let wait = (slot + slots - now % slots) % slots;
        sleep_until(self.start + Duration::from_millis(now + wait)).await;
    }

    /// Whether it is a report.
    fn hear_worker(&self, epoch: &Mutex<Option<u64>>, message: &[u8]) -> bool {
        let Some((name, oracle)) = &self.oracle else { return false };
        match tap::from_worker(message) {
            Some(Up::Hello(hello)) => {
                *epoch.lock().unwrap() = Some(hello.epoch);
                self.greets.store(true, Ordering::Relaxed);
                oracle.hello(name, hello);
                false
            }
            Some(Up::Report(report)) => {
                if let Some(epoch) = *epoch.lock().unwrap() {
                    oracle.report(name, epoch, report);
                }
                true
            }
            Some(Up::Heartbeat(_)) | None => false,
        }
    }

    /// Whether it says that a report is taken.
    fn hear_manager(&self, epoch: &Mutex<Option<u64>>, message: &[u8]) -> bool {
        let Some((name, oracle)) = &self.oracle else { return false };
        let (Some(Down::Ack(ack)), Some(epoch)) =
            (tap::from_manager(message), *epoch.lock().unwrap())
        else {
            return false;
        };
        oracle.ack(name, epoch, ack);
        true
    }
}
