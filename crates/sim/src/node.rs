//! One machine with a worker that is started again whenever it ends.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::watch, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use warren_core::id::NodeId;
use warren_runtime::Runtime;
use warren_worker::{Clock, Config, Drivers, Engine, Metrics, StateFile, WorkerFault};

use crate::{
    disk::{SimKeeper, StateDisk},
    life::{Host, Life, Moment, Process},
    machine::Machine,
    net::Link,
    runtime::SimRuntime,
    transcript::Transcript,
};

/// What a worker has in hand with its runtime comes to its end before the next one starts: to start
/// a process takes longer.
const DOWN_MIN: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub struct Node {
    pub id: NodeId,
    pub machine: Arc<Machine>,
    pub disk: Arc<StateDisk>,
    pub link: Arc<Link>,
    pub transcript: Arc<Transcript>,
    pub tracker: TaskTracker,
    process: Mutex<Process>,
}

impl Node {
    pub fn new(
        id: NodeId,
        machine: Arc<Machine>,
        disk: Arc<StateDisk>,
        link: Arc<Link>,
        transcript: Arc<Transcript>,
        tracker: TaskTracker,
    ) -> Self {
        let process = Process::new(Host::Worker);
        Self { id, machine, disk, link, transcript, tracker, process }
    }

    pub fn crash(&self, at: Moment, down: Duration) {
        self.process.lock().unwrap().crash(at, down);
    }

    /// Runs one worker after the other, for ever.
    pub async fn run(self: Arc<Self>) {
        loop {
            let life = self.process.lock().unwrap().begin();
            let shutdown = CancellationToken::new();
            let worker = Arc::clone(&self).work(Arc::clone(&life), shutdown.clone());
            let mut worker = self.tracker.spawn(worker);
            tokio::select! {
                biased;
                () = life.ended() => self.say("worker crashed"),
                ended = &mut worker => match ended {
                    Ok(Ok(())) => self.say("worker ended"),
                    Ok(Err(fault)) => self.say(&format!("worker ended: {fault}")),
                    Err(panic) => panic!("a worker panicked: {panic}"),
                },
            }
            life.end_at(Moment::Now);
            let down = self.process.lock().unwrap().rests().max(DOWN_MIN);
            self.link.loses_its_worker(down);
            shutdown.cancel();
            worker.abort();
            self.machine.is_in(&self.disk);
            sleep(down).await;
        }
    }

    async fn work(
        self: Arc<Self>,
        life: Arc<Life>,
        shutdown: CancellationToken,
    ) -> Result<(), WorkerFault> {
        let keeper = SimKeeper { disk: Arc::clone(&self.disk), life: Arc::clone(&life) };
        let state = StateFile::kept_by(Arc::new(keeper), self.disk.bytes(), self.id).await?;
        let (machine, disk) = (Arc::clone(&self.machine), Arc::clone(&self.disk));
        let runtime = SimRuntime { machine, disk, life: Arc::clone(&life) };
        let drivers = Drivers::new([Arc::new(runtime) as Arc<dyn Runtime>]);
        let config = Config {
            node_name: self.machine.name.clone(),
            version: "simulated".to_owned(),
            // Tasks here write no logs; removing them finds nothing.
            log_dir: PathBuf::from("/nonexistent"),
            archive_max: 0,
            cpus: 4,
            memory_bytes: 1 << 33,
            labels: warren_core::node::Labels::new(),
            clock: Arc::clone(&self.machine.clock) as Arc<dyn Clock>,
            metrics: Metrics::default(),
            engine: Engine::here(),
            echo: None,
            session: watch::Sender::default(),
        };
        warren_worker::run(config, state, drivers, self.link.channel(&life), shutdown).await
    }

    fn say(&self, text: &str) {
        self.transcript.say(&self.machine.name, text);
    }
}
