//! Knows what was said, and holds every step to the promises.

mod batch;
mod wishes;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::Notify;
use warren_core::{
    change::Change,
    cluster::Cluster,
    id::{NodeId, ServiceId, TaskId},
    report::TaskReport,
    task::ReportMark,
    time::Timestamp,
};
use warren_proto::v1 as pb;

pub use self::wishes::Wish;
use self::wishes::Wishes;
use crate::{clock::WallClock, transcript::Transcript};

/// What the manager hears of later than this has its own time shown.
const LATE: Duration = Duration::from_secs(1);

const MARK_MAX: ReportMark = ReportMark { epoch: u64::MAX, sequence: u64::MAX };

#[derive(Debug)]
pub struct Oracle {
    pub transcript: Arc<Transcript>,
    /// The manager's.
    clock: Arc<WallClock>,
    known: Mutex<Known>,
    pub broken: Notify,
}

#[derive(Debug, Default)]
struct Known {
    /// The first promise that was broken.
    failure: Option<String>,
    cluster: Cluster,
    nodes: BTreeMap<String, NodeId>,
    /// Every report that left a worker.
    sent: BTreeMap<(TaskId, ReportMark), (NodeId, TaskReport)>,
    /// Where each task was started.
    started: BTreeMap<TaskId, String>,
    wishes: Wishes,
    /// Slots whose working task was stopped for its health, and when.
    bare: BTreeMap<(ServiceId, u32), Timestamp>,
    /// Services of which the batch in hand puts a slot at stake.
    at_stake: BTreeSet<ServiceId>,
    /// The largest budget that each service has had.
    budgets: BTreeMap<ServiceId, usize>,
    pub commits: u64,
}

impl Oracle {
    pub fn new(transcript: Arc<Transcript>, clock: Arc<WallClock>) -> Self {
        Self { transcript, clock, known: Mutex::default(), broken: Notify::new() }
    }

    pub fn knows(&self, name: &str, node: NodeId) {
        self.known.lock().unwrap().nodes.insert(name.to_owned(), node);
    }

    pub fn failure(&self) -> Option<String> {
        self.known.lock().unwrap().failure.clone()
    }

    pub fn commits(&self) -> u64 {
        self.known.lock().unwrap().commits
    }

    pub fn fail(&self, why: impl Into<String>) {
        let why = why.into();
        self.transcript.say("oracle", format!("BROKEN: {why}"));
        self.known.lock().unwrap().failure.get_or_insert(why);
        self.broken.notify_one();
    }

    fn hold(&self, found: Vec<String>) {
        for why in found {
            self.fail(why);
        }
    }

    pub fn hello(&self, node: &str, hello: pb::Hello) {
        let (epoch, count) = (hello.epoch, hello.tasks.len());
        self.transcript.say(node, format!("opens a session: epoch {epoch}, {count} tasks"));
        for report in hello.tasks {
            self.sent(node, epoch, report);
        }
    }

    pub fn report(&self, node: &str, epoch: u64, report: pb::TaskReport) {
        let said = self.sent(node, epoch, report);
        self.transcript.say(node, format!("reports {said}"));
    }

    fn sent(&self, node: &str, epoch: u64, report: pb::TaskReport) -> String {
        let report = TaskReport::try_from(report).unwrap();
        let health = report.health.as_ref().map_or_else(String::new, |health| {
            let ready = if health.ready { ", ready" } else { "" };
            format!(", {}{ready}", health.status.name())
        });
        let (task, phase) = (report.task, report.status.phase.name());
        let said = format!("{task} {phase}{health}");
        let mut known = self.known.lock().unwrap();
        let node = known.nodes[node];
        let mark = ReportMark { epoch, sequence: report.sequence };
        known.sent.insert((task, mark), (node, report));
        said
    }

    /// Acknowledged means durable, or refused for good.
    pub fn ack(&self, node: &str, epoch: u64, ack: pb::Ack) {
        let mut lost = Vec::new();
        let known = self.known.lock().unwrap();
        let node_id = known.nodes[node];
        for pb::AckedReport { task_id, sequence } in ack.reports {
            let (id, mark) = (task_id.parse().unwrap(), ReportMark { epoch, sequence });
            let Some(task) = known.cluster.task(id) else { continue };
            let Some((_, report)) = known.sent.get(&(id, mark)) else {
                lost.push(format!("{node} hears of a report of {id} that it never sent"));
                continue;
            };
            let superseded = known.cluster.node(node_id).is_some_and(|node| node.epoch > epoch);
            let refused = task.node() != Some(node_id)
                || superseded
                || !task.status.phase.may_become(&report.status.phase);
            if known.cluster.reported(task) < mark && !refused {
                lost.push(format!("{node}'s report {sequence} of {id} is acknowledged, not kept"));
            }
        }
        drop(known);
        self.hold(lost);
    }

    /// A task's process was started.
    pub fn started(&self, machine: &str, task: TaskId, slot: &str) {
        self.transcript.say(machine, format!("starts task {slot} ({task})"));
        let mut broken = Vec::new();
        let mut known = self.known.lock().unwrap();
        match known.cluster.task(task) {
            // Removed while its assignment was on its way.
            None => {}
            Some(known_task) => {
                if known_task.node() != known.nodes.get(machine).copied() {
                    broken.push(format!("{machine} starts {task}, which is not placed there"));
                }
                if !self.clock.was_stepped() && self.clock.read() < known_task.not_before {
                    broken.push(format!("{machine} starts {task} before its backoff is over"));
                }
            }
        }
        if let Some(before) = known.started.insert(task, machine.to_owned()) {
            broken.push(format!("{machine} starts {task}, which was started on {before}"));
        }
        drop(known);
        self.hold(broken);
    }

    /// What ran there is gone. A task that nobody was told to run may be started a second time:
    /// the power may have failed between its start and the worker's note of it.
    pub fn power_failed(&self, machine: &str) {
        let mut known = self.known.lock().unwrap();
        let Known { sent, started, .. } = &mut *known;
        started.retain(|task, on| {
            let ran = |(_, report): &(NodeId, TaskReport)| report.status.started_at.is_some();
            let marks = (*task, ReportMark::default())..=(*task, MARK_MAX);
            on != machine || sent.range(marks).any(|(_, sent)| ran(sent))
        });
    }

    pub fn committed(&self, before: &Cluster, after: &Cluster, batch: &[Change]) {
        for change in batch {
            if let Change::PutEvent(event) = change {
                let late = self.clock.read().since(event.at);
                let when = if late < LATE { String::new() } else { format!(" ({late:?} ago)") };
                self.transcript.say("manager", format!("{}{when}", event.message));
            }
        }
        let mut known = self.known.lock().unwrap();
        known.commits += 1;
        known.cluster = after.clone();
        let (now, stepped) = (self.clock.read(), self.clock.was_stepped());
        let found = batch::check(&mut known, before, batch, now, stepped);
        drop(known);
        self.hold(found);
    }

    pub fn wished(&self, name: &str, wish: Option<Wish>) {
        self.known.lock().unwrap().wishes.wished(name, wish);
    }

    pub fn refused(&self, name: &str, wish: Option<Wish>) {
        self.known.lock().unwrap().wishes.refused(name, wish);
    }

    pub fn acknowledged(&self, name: &str, wish: Option<Wish>) {
        let mut known = self.known.lock().unwrap();
        known.wishes.acknowledged(name, wish);
        let cluster = known.cluster.clone();
        let found = known.wishes.check(&cluster);
        drop(known);
        self.hold(found);
    }
}
