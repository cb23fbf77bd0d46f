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

use crate::{chance::Chance, life::Life, oracle::Oracle, tap, tap::Tap};

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
    /// By lane.
    parted: [AtomicBool; 2],
    /// The connection breaks within the piece after so many more of that lane.
    severs: Mutex<Option<(Lane, u32)>>,
    /// Wakes in the order in which was waited; a watch would draw lots.
    mended: Notify,
    cut: Mutex<CancellationToken>,
}

/// From the node to the manager, or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    Up,
    Down,
}

impl Lane {
    pub const ALL: [Self; 2] = [Self::Up, Self::Down];
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
            parted: Default::default(),
            severs: Mutex::default(),
            mended: Notify::new(),
            cut: Mutex::default(),
        })
    }

    /// A channel for one run of a process.
    pub fn channel(self: &Arc<Self>, life: &Arc<Life>) -> Channel {
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

    /// Both ends hear of it, and neither knows how much of the last message has come.
    pub fn sever(&self, lane: Lane, after: u32) {
        *self.severs.lock().unwrap() = Some((lane, after));
    }

    fn is_severed_by_this(&self, lane: Lane) -> bool {
        let mut severs = self.severs.lock().unwrap();
        match &mut *severs {
            Some((on, left)) if *on == lane && *left > 0 => *left -= 1,
            Some((on, _)) if *on == lane => return severs.take().is_some(),
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
        self.pass(Lane::Up).await;
        let door = self.door.sender.lock().unwrap().clone();
        let door = door.ok_or(io::ErrorKind::ConnectionRefused)?;
        let (near, client) = duplex(BUFFER);
        let (server, far) = duplex(BUFFER);
        door.send(far).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
        let (link, cut) = (Arc::clone(self), self.cut.lock().unwrap().clone());
        self.tracker.spawn(async move {
            tokio::select! {
                biased;
                () = cut.cancelled() => {}
                () = link.carry(client, server) => {}
            }
        });
        Ok(near)
    }

    async fn carry(&self, client: DuplexStream, server: DuplexStream) {
        let (from_client, to_client) = split(client);
        let (from_server, to_server) = split(server);
        let epoch = Mutex::new(None);
        let mut heard = (Tap::up(), Tap::down());
        let up = self.pump(Lane::Up, from_client, to_server, |bytes| {
            for message in heard.0.feed(bytes) {
                self.hear_worker(&epoch, &message);
            }
        });
        let down = self.pump(Lane::Down, from_server, to_client, |bytes| {
            for message in heard.1.feed(bytes) {
                self.hear_manager(&epoch, &message);
            }
        });
        tokio::join!(biased; up, down);
    }

    async fn pump(
        &self,
        lane: Lane,
        mut from: ReadHalf<DuplexStream>,
        mut to: WriteHalf<DuplexStream>,
        mut hear: impl FnMut(&[u8]),
    ) {
        let mut buffer = vec![0; BUFFER];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            if self.oracle.is_some() {
                hear(&buffer[..count]);
            }
            self.pass(lane).await;
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
            }
        }
        // The other end is told in its turn; if it is gone too, nobody is left to hear.
        self.pass(lane).await;
        if lane == Lane::Down && self.door.muted.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        drop(to.shutdown().await);
    }

    /// Takes as long as the way takes now.
    async fn pass(&self, lane: Lane) {
        loop {
            let latency = self.latency();
            sleep(latency).await;
            self.until_slot(lane).await;
            let mended = self.mended.notified();
            if !self.parted[lane as usize].load(Ordering::Relaxed) {
                return;
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

    fn hear_worker(&self, epoch: &Mutex<Option<u64>>, message: &[u8]) {
        let Some((name, oracle)) = &self.oracle else { return };
        match tap::from_worker(message) {
            Some(Up::Hello(hello)) => {
                *epoch.lock().unwrap() = Some(hello.epoch);
                oracle.hello(name, hello);
            }
            Some(Up::Report(report)) => {
                if let Some(epoch) = *epoch.lock().unwrap() {
                    oracle.report(name, epoch, report);
                }
            }
            Some(Up::Heartbeat(_)) | None => {}
        }
    }

    fn hear_manager(&self, epoch: &Mutex<Option<u64>>, message: &[u8]) {
        let Some((name, oracle)) = &self.oracle else { return };
        if let (Some(Down::Ack(ack)), Some(epoch)) =
            (tap::from_manager(message), *epoch.lock().unwrap())
        {
            oracle.ack(name, epoch, ack);
        }
    }
}
