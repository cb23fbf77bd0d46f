//! The manager, started again whenever it ends.

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use tokio::{sync::mpsc, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use warren_manager::{Listener, Manager, ManagerFault, Policy, Timing, World};

use crate::{
    clock::WallClock,
    disk::{Database, SimStore},
    life::{Life, Moment, Process},
    net::{Door, Link},
    transcript::Transcript,
};

/// Connections that are dialled and not taken yet.
const BACKLOG: usize = 64;

/// A manager that cannot commit any more is looked at for so long, for whether it acknowledges
/// what it has not kept.
const LAST_WORDS: Duration = Duration::from_millis(300);

#[derive(Debug)]
pub struct ManagerHost {
    pub database: Arc<Database>,
    pub clock: Arc<WallClock>,
    pub door: Arc<Door>,
    pub links: Vec<Arc<Link>>,
    pub transcript: Arc<Transcript>,
    pub tracker: TaskTracker,
    pub process: Mutex<Process>,
}

impl ManagerHost {
    pub fn crash(&self, at: Moment, down: Duration) {
        self.process.lock().unwrap().crash(at, down);
    }

    /// Runs one manager after the other, for ever.
    pub async fn run(self: Arc<Self>) {
        loop {
            let life = self.process.lock().unwrap().begin();
            let (sender, connections) = mpsc::channel(BACKLOG);
            *self.door.sender.lock().unwrap() = Some(sender);
            *self.door.life.lock().unwrap() = Arc::clone(&life);
            self.door.muted.store(false, Ordering::Relaxed);
            let shutdown = CancellationToken::new();
            let manager = self.manager(&life).unwrap();
            let served = manager.serve(vec![Listener::Memory(connections)], shutdown.clone());
            let mut served = self.tracker.spawn(served);
            tokio::select! {
                biased;
                () = life.ended() => self.say("crashed"),
                () = life.falters() => {
                    self.door.muted.store(true, Ordering::Relaxed);
                    sleep(LAST_WORDS).await;
                    self.say("ends, because a commit failed");
                }
                ended = &mut served => match ended {
                    Ok(Ok(())) => self.say("ended"),
                    Ok(Err(fault)) => self.say(&format!("ended: {fault}")),
                    Err(panic) => panic!("the manager panicked: {panic}"),
                },
            }
            life.end_at(Moment::Now);
            *self.door.sender.lock().unwrap() = None;
            self.links.iter().for_each(|link| link.cut());
            served.abort();
            let down = self.process.lock().unwrap().rests();
            sleep(down).await;
        }
    }

    fn manager(&self, life: &Arc<Life>) -> Result<Manager, ManagerFault> {
        let cluster = self.database.cluster();
        self.say(&format!("starts at revision {}", cluster.revision));
        let store = SimStore { database: Arc::clone(&self.database), life: Arc::clone(life) };
        let world = Arc::clone(&self.clock) as Arc<dyn World>;
        let (timing, policy) = (Timing::default(), Policy::default());
        Manager::with_store(Box::new(store), cluster, world, timing, policy)
    }

    fn say(&self, text: &str) {
        self.transcript.say("manager", text);
    }
}
