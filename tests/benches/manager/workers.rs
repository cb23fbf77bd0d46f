//! Workers that run nothing: what they are told to run is healthy at once.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Endpoint};
use warren_core::{id::TaskId, report::TaskReport, task::EndKind, time::Timestamp};
use warren_proto::v1::{
    self as pb, manager_message::Message as Down, session_client::SessionClient,
    worker_message::Message as Up,
};

use crate::tasks;

/// Of the manager's, which it says in its welcome.
const HEARTBEAT: Duration = Duration::from_secs(5);
const MESSAGE_MAX: usize = 64 << 20;

/// What a worker of the fleet is to say.
#[derive(Debug, Clone, Copy)]
pub enum Order {
    /// All of its tasks take traffic, or none.
    Ready(bool),
    /// This one has ended by itself.
    End(TaskId),
}

/// A task was given to a worker.
#[derive(Debug, Clone)]
pub struct Given {
    pub worker: usize,
    pub task: TaskId,
    pub at: Instant,
}

/// What happened to the fleet as a whole.
#[derive(Debug, Default)]
pub struct Seen {
    /// Reports that are acknowledged.
    pub acked: watch::Sender<usize>,
    pub sessions: watch::Sender<usize>,
    /// The last of each slot.
    pub slots: Mutex<HashMap<(String, u32), Given>>,
    pub given: watch::Sender<usize>,
    /// When a worker let the word of an end go.
    pub ended_at: Mutex<Option<Instant>>,
    open: AtomicUsize,
}

pub struct Fleet {
    pub seen: Arc<Seen>,
    orders: Vec<mpsc::Sender<Order>>,
    workers: JoinSet<()>,
}

impl Fleet {
    pub fn start(address: SocketAddr, count: usize) -> Self {
        let seen = Arc::new(Seen::default());
        let mut fleet = Self { seen, orders: Vec::new(), workers: JoinSet::new() };
        for number in 0..count {
            let (orders, from_bench) = mpsc::channel(1024);
            fleet.orders.push(orders);
            let worker = Worker {
                number,
                seen: Arc::clone(&fleet.seen),
                tasks: BTreeMap::new(),
                endpoint: Endpoint::from_shared(format!("http://{address}")).unwrap(),
            };
            fleet.workers.spawn(worker.run(from_bench));
        }
        fleet
    }

    pub fn size(&self) -> usize {
        self.orders.len()
    }

    pub async fn order(&self, worker: usize, order: Order) {
        self.orders[worker].send(order).await.unwrap();
    }

    pub async fn order_all(&self, order: Order) {
        for worker in 0..self.orders.len() {
            self.order(worker, order).await;
        }
    }

    pub async fn acked(&self, count: usize) {
        self.seen.acked.subscribe().wait_for(|acked| *acked >= count).await.unwrap();
    }

    pub async fn sessions(&self, count: usize) {
        self.seen.sessions.subscribe().wait_for(|open| *open == count).await.unwrap();
    }
}

struct Worker {
    number: usize,
    seen: Arc<Seen>,
    /// What runs, with the sequence of its last report, and whether it takes traffic.
    tasks: BTreeMap<TaskId, (u64, Timestamp, bool)>,
    endpoint: Endpoint,
}

type Outbox = mpsc::Sender<pb::WorkerMessage>;

impl Worker {
    /// Comes back for as long as it is asked to.
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            let Ok((outbox, inbound)) = self.open().await else {
                sleep(Duration::from_millis(20)).await;
                continue;
            };
            self.session(&outbox, inbound, &mut orders).await;
            let open = self.seen.open.fetch_sub(1, Relaxed) - 1;
            self.seen.sessions.send_replace(open);
        }
    }

    async fn open(&self) -> Result<(Outbox, Streaming<pb::ManagerMessage>), tonic::Status> {
        let channel = self.endpoint.connect().await;
        let channel = channel.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        let mut client = SessionClient::new(channel).max_decoding_message_size(MESSAGE_MAX);
        let (outbox, messages) = mpsc::channel(256);
        drop(outbox.try_send(message(Up::Hello(self.hello()))));
        let inbound = client.open(ReceiverStream::new(messages)).await?.into_inner();
        Ok((outbox, inbound))
    }

    fn hello(&self) -> pb::Hello {
        let report = |(task, (sequence, started_at, ready)): (&TaskId, &(_, _, _))| {
            (&tasks::works(*task, *sequence, *started_at, *ready)).into()
        };
        pb::Hello {
            node_id: format!("{:016x}", self.number + 1),
            node_name: format!("node-{}", self.number),
            epoch: 1,
            version: "bench".to_owned(),
            drivers: vec![pb::Driver::Containerd.into()],
            cpus: 64,
            memory_bytes: 256 << 30,
            tasks: self.tasks.iter().map(report).collect(),
            cluster_id: String::new(),
            labels: Vec::new(),
        }
    }

    async fn session(
        &mut self,
        outbox: &Outbox,
        mut inbound: Streaming<pb::ManagerMessage>,
        orders: &mut mpsc::Receiver<Order>,
    ) {
        let mut heartbeats = interval(HEARTBEAT);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let said = tokio::select! {
                heard = inbound.message() => match heard {
                    Ok(Some(pb::ManagerMessage { message })) => self.hears(outbox, message).await,
                    Ok(None) | Err(_) => return,
                },
                Some(order) = orders.recv() => self.obeys(outbox, order).await,
                _ = heartbeats.tick() => {
                    say(outbox, Up::Heartbeat(pb::Heartbeat { observer_score: 0 })).await
                }
            };
            if said.is_none() {
                return;
            }
        }
    }

    async fn hears(&mut self, outbox: &Outbox, message: Option<Down>) -> Option<()> {
        match message? {
            Down::Welcome(_) => {
                let open = self.seen.open.fetch_add(1, Relaxed) + 1;
                self.seen.sessions.send_replace(open);
            }
            Down::Ack(ack) => {
                self.seen.acked.send_modify(|acked| *acked += ack.reports.len());
            }
            Down::Assignments(assignments) => {
                let mut news = Vec::new();
                for put in assignments.put {
                    news.extend(self.put(put));
                }
                for id in assignments.remove {
                    self.tasks.remove(&id.parse().unwrap());
                }
                for report in news {
                    say(outbox, Up::Report((&report).into())).await?;
                }
            }
            Down::Call(_) => {}
        }
        Some(())
    }

    fn put(&mut self, put: pb::Assignment) -> Option<TaskReport> {
        let (task, worker) = (put.task_id.parse().unwrap(), self.number);
        if put.stop.is_some() {
            let (sequence, ..) = self.tasks.remove(&task)?;
            return Some(tasks::ended(task, sequence + 1, EndKind::Stopped));
        }
        if self.tasks.contains_key(&task) {
            return None;
        }
        let given = Given { worker, task, at: Instant::now() };
        self.seen.slots.lock().unwrap().insert((put.service_name, put.slot), given);
        self.seen.given.send_modify(|given| *given += 1);
        let started_at = tasks::now();
        self.tasks.insert(task, (1, started_at, true));
        Some(tasks::works(task, 1, started_at, true))
    }

    async fn obeys(&mut self, outbox: &Outbox, order: Order) -> Option<()> {
        match order {
            Order::Ready(ready) => {
                let mut reports = Vec::with_capacity(self.tasks.len());
                for (task, (sequence, started_at, was)) in &mut self.tasks {
                    (*sequence, *was) = (*sequence + 1, ready);
                    reports.push(tasks::works(*task, *sequence, *started_at, ready));
                }
                for report in reports {
                    say(outbox, Up::Report((&report).into())).await?;
                }
                Some(())
            }
            Order::End(task) => {
                let (sequence, ..) = self.tasks.remove(&task)?;
                let report = tasks::ended(task, sequence + 1, EndKind::Exited);
                *self.seen.ended_at.lock().unwrap() = Some(Instant::now());
                say(outbox, Up::Report((&report).into())).await
            }
        }
    }
}

async fn say(outbox: &Outbox, said: Up) -> Option<()> {
    outbox.send(message(said)).await.ok()
}

fn message(said: Up) -> pb::WorkerMessage {
    pb::WorkerMessage { message: Some(said) }
}
