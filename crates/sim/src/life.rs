//! One run of a process, from its start to its crash or its end.

use std::{fmt, str::FromStr, sync::Arc, sync::Mutex, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    faults::{self, Fault},
    script::Who,
};

/// Before a process that ended by itself is started again.
pub const RESTART: Duration = Duration::from_secs(2);

/// Where a crash can be made to come: around everything that a process writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    Now,
    Before(Write),
    /// It is on its way, and what was asked for is done all the same where somebody else does it:
    /// by the runtime. A disk has not taken it yet.
    Amid(Write),
    After(Write),
}

/// What a process leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Write {
    /// Of the manager: a batch.
    Commit,
    /// What it tells a worker of one that is durable.
    Ack,
    /// Of a worker: its state file.
    Save,
    /// What it tells the manager.
    Report,
    Create,
    Start,
    Signal,
    Delete,
}

/// Whose process it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    Manager,
    Worker,
}

impl Host {
    pub const ALL: [Self; 2] = [Self::Manager, Self::Worker];

    pub const fn of(who: Who) -> Self {
        match who {
            Who::Manager => Self::Manager,
            Who::Node(_) => Self::Worker,
        }
    }
}

const WRITES: [(Write, Host, &str); 8] = [
    (Write::Commit, Host::Manager, "commit"),
    (Write::Ack, Host::Manager, "ack"),
    (Write::Save, Host::Worker, "save"),
    (Write::Report, Host::Worker, "report"),
    (Write::Create, Host::Worker, "create"),
    (Write::Start, Host::Worker, "start"),
    (Write::Signal, Host::Worker, "signal"),
    (Write::Delete, Host::Worker, "delete"),
];

impl Write {
    fn named(self) -> (Host, &'static str) {
        let (_, host, word) = WRITES.iter().find(|(write, ..)| *write == self).unwrap();
        (*host, word)
    }

    /// A step of a script can break a connection within a message: nothing else is amid of one.
    const fn is_message(self) -> bool {
        matches!(self, Self::Ack | Self::Report)
    }
}

impl Moment {
    pub fn of(host: Host) -> Vec<Self> {
        let writes = WRITES.iter().filter(|(_, of, _)| *of == host).map(|(write, ..)| *write);
        let moments = writes.flat_map(|write| {
            let amid = (!write.is_message()).then_some(Self::Amid(write));
            [Self::Before(write), Self::After(write)].into_iter().chain(amid)
        });
        std::iter::once(Self::Now).chain(moments).collect()
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now => f.write_str("now"),
            Self::Before(write) => write!(f, "before-{}", write.named().1),
            Self::Amid(write) => write!(f, "amid-{}", write.named().1),
            Self::After(write) => write!(f, "after-{}", write.named().1),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = Host::ALL.into_iter().flat_map(Self::of);
        all.find(|at| at.to_string() == text).ok_or_else(|| format!("{text:?} is no moment"))
    }
}

/// The ports of a process go dead with it: what asks them after that waits for ever.
#[derive(Debug, Default)]
pub struct Life {
    ended: CancellationToken,
    /// A write has failed, and it must end.
    faltered: CancellationToken,
    awaited: Mutex<Option<Moment>>,
}

impl Life {
    /// It ends at that moment.
    pub fn end_at(&self, moment: Moment) {
        if moment == Moment::Now {
            self.ended.cancel();
        } else {
            *self.awaited.lock().unwrap() = Some(moment);
        }
    }

    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    pub fn is_over(&self) -> bool {
        self.ended.is_cancelled()
    }

    pub fn falter(&self) {
        self.faltered.cancel();
    }

    pub async fn falters(&self) {
        self.faltered.cancelled().await;
    }

    /// Goes on only while the process lives.
    pub async fn lives(&self) {
        if self.is_over() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether the process ends at this moment, which has come.
    pub fn ends_at(&self, moment: Moment) -> bool {
        let is_awaited = |awaited: &mut Moment| *awaited == moment;
        let ends = !self.is_over() && self.awaited.lock().unwrap().take_if(is_awaited).is_some();
        if let (true, Moment::Before(write) | Moment::Amid(write) | Moment::After(write)) =
            (ends, moment)
        {
            faults::note(Fault::Crash(write.named().0, moment));
            self.ended.cancel();
        }
        ends
    }

    /// A moment at which the process may have to end.
    pub async fn passes(&self, moment: Moment) {
        self.ends_at(moment);
        self.lives().await;
    }
}

/// The run that there is now, and how the next one begins.
#[derive(Debug)]
pub struct Process {
    host: Host,
    life: Arc<Life>,
    down: Duration,
    /// It is to crash again while it starts.
    next: Option<Moment>,
}

impl Process {
    pub fn new(host: Host) -> Mutex<Self> {
        Mutex::new(Self { host, life: Arc::default(), down: RESTART, next: None })
    }

    pub fn crash(&mut self, at: Moment, down: Duration) {
        self.down = down;
        match (self.life.is_over(), at) {
            (true, Moment::Now) => {}
            (true, later) => self.next = Some(later),
            (false, at) => {
                if at == Moment::Now {
                    faults::note(Fault::Crash(self.host, at));
                }
                self.life.end_at(at);
            }
        }
    }

    pub fn begin(&mut self) -> Arc<Life> {
        self.life = Arc::default();
        if let Some(moment) = self.next.take() {
            faults::note(Fault::CrashOfAStart(self.host));
            self.life.end_at(moment);
        }
        Arc::clone(&self.life)
    }

    /// How long until the next run begins.
    pub fn rests(&mut self) -> Duration {
        std::mem::replace(&mut self.down, RESTART)
    }
}
