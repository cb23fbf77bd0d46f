//! The one control loop. It alone decides what is written: it drains inputs, decides, plans, and
//! hands the batch to the writer, which answers once it is durable.
//!
//! It does not wait for that: the next batch is decided on top of this one. Nobody sees that before
//! both are durable, and a commit that fails ends the process.

use std::{collections::BTreeMap, sync::Arc};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use warren_core::{
    change::Change,
    cluster::Cluster,
    id::{ServiceId, TaskId},
    node::NodeState,
    restraint::Restraint,
    service::Service,
    time::Timestamp,
};
use warren_plan::{AtRest, Dirty, Plan, Policy, plan_dirty};

use crate::{
    apart::apart,
    config::Timing,
    counters::Counters,
    decide::{self, Draft, report::Settled},
    input::{Input, Joined, NodeInput, Reply},
    presence::Presence,
    rejection::Rejection,
    world::World,
    writer::{Answer, Batch},
};

pub struct Control {
    inputs: mpsc::Receiver<Input>,
    batches: mpsc::Sender<Batch>,
    /// With all that was decided, durable or not yet.
    cluster: Cluster,
    policy: Policy,
    timing: Timing,
    world: Arc<dyn World>,
    counters: Arc<Counters>,
    presence: Presence,
    /// When the next accusation of a task expires.
    expiries: BTreeMap<TaskId, Timestamp>,
    /// When the pause of a service's checks ends.
    pauses: BTreeMap<ServiceId, Timestamp>,
    wake_at: Option<Timestamp>,
    at_rest: AtRest,
    safety_pass: Instant,
    /// The first turn has been.
    started: bool,
}

/// What the loop is made of.
pub struct Parts {
    pub inputs: mpsc::Receiver<Input>,
    pub batches: mpsc::Sender<Batch>,
    pub cluster: Cluster,
    pub policy: Policy,
    pub timing: Timing,
    pub world: Arc<dyn World>,
    pub counters: Arc<Counters>,
}

/// Reports and requests that one batch takes. More would only keep the first of them waiting: the
/// disk writes as many in one go as fast as it writes any number.
const BATCH_MAX: usize = 4096;

/// Why the loop turns.
enum Wake {
    Inputs(Vec<Input>),
    Deadline,
    Ending,
}

impl Control {
    pub fn new(parts: Parts) -> Self {
        let Parts { inputs, batches, cluster, policy, timing, world, counters } = parts;
        let known = cluster.nodes().filter(|node| node.state != NodeState::Lost).map(|n| n.id);
        counters.start(&cluster);
        let now = Instant::now();
        let mut control = Self {
            presence: Presence::new(timing.grace, known, now),
            // Passed already: the first turn plans everything.
            safety_pass: now,
            expiries: BTreeMap::new(),
            pauses: BTreeMap::new(),
            wake_at: None,
            at_rest: AtRest::default(),
            started: false,
            inputs,
            batches,
            cluster: cluster.clone(),
            policy,
            timing,
            world,
            counters,
        };
        for task in cluster.tasks() {
            control.note_expiry(&cluster, task.id);
        }
        for service in cluster.services() {
            control.note_pause(service);
        }
        control
    }

    /// Turns until it is cancelled, or until the writer has ended.
    pub async fn run(mut self, ending: CancellationToken) {
        loop {
            // One batch at most waits for the disk. What arrives meanwhile makes the next.
            let Ok(place) = self.batches.clone().reserve_owned().await else { return };
            let inputs = match self.next(&ending).await {
                Wake::Inputs(inputs) => inputs,
                Wake::Deadline => Vec::new(),
                Wake::Ending => return,
            };
            let size = inputs.iter().map(Input::size).sum();
            place.send(apart(size, || self.turn(inputs)));
        }
    }

    async fn next(&mut self, ending: &CancellationToken) -> Wake {
        let deadline = self.deadline();
        let first = tokio::select! {
            biased;
            () = ending.cancelled() => return Wake::Ending,
            first = self.inputs.recv() => first,
            () = sleep_until(deadline) => return Wake::Deadline,
        };
        let Some(first) = first else { return Wake::Ending };
        let mut size = first.size();
        let mut inputs = vec![first];
        while size < BATCH_MAX
            && let Ok(next) = self.inputs.try_recv()
        {
            size += next.size();
            inputs.push(next);
        }
        Wake::Inputs(inputs)
    }

    /// The first moment at which time alone changes something.
    fn deadline(&self) -> Instant {
        let now = self.world.now();
        let expiries = self.expiries.values().chain(self.pauses.values()).copied();
        let by_clock = self.wake_at.into_iter().chain(expiries).min();
        let by_clock = by_clock.map(|at| Instant::now() + at.since(now));
        let deadlines = [by_clock, self.presence.next_deadline()];
        deadlines.into_iter().flatten().fold(self.safety_pass, Instant::min)
    }

    /// What the inputs come to, and whom to answer when it is durable.
    fn turn(&mut self, inputs: Vec<Input>) -> Batch {
        let before = self.cluster.clone();
        let mut draft = Draft::new(before.clone(), self.world.now());
        self.note_start(&mut draft);
        for node in self.presence.suspects(Instant::now()) {
            decide::node::suspect(&mut draft, node);
        }
        for node in self.presence.silent(Instant::now()) {
            decide::node::silent(&mut draft, node, self.timing.grace);
        }
        for task in self.expired(draft.now()) {
            decide::verdict::expire(&mut draft, task);
        }
        for service in self.over(draft.now()) {
            decide::service::pause_over(&mut draft, service);
        }
        let mut answers = Vec::with_capacity(inputs.len());
        for input in inputs {
            answers.push(self.decide(&mut draft, input));
        }
        self.plan(&before, &mut draft);
        let now = draft.now();
        let (cluster, changes) = draft.into_parts();
        self.note(&cluster, &changes);
        self.cluster = cluster.clone();
        Batch { cluster, changes: changes.into(), now, answers }
    }

    /// From now on, nothing is replaced for missing information for a while.
    fn note_start(&mut self, draft: &mut Draft) {
        if !std::mem::replace(&mut self.started, true) {
            let started_at = Some(draft.now());
            let restraint = (**draft.cluster().restraint()).clone();
            let restraint = Restraint { started_at, ..restraint };
            draft.put(Change::PutRestraint(Box::new(restraint)));
        }
    }

    fn decide(&mut self, draft: &mut Draft, input: Input) -> Answer {
        match input {
            Input::CreateService { spec, reply } => {
                let id = ServiceId::from_u64(self.world.random());
                answer(reply, draft.attempt(|d| decide::service::create(d, spec, id)))
            }
            Input::UpdateService { update, reply } => {
                answer(reply, draft.attempt(|d| decide::service::update(d, update)))
            }
            Input::DeleteService { service, reply } => {
                answer(reply, draft.attempt(|d| decide::service::remove(d, &service)))
            }
            Input::PauseChecks { service, pause, reply } => {
                let paused = draft.attempt(|d| decide::service::pause(d, &service, pause));
                answer(reply, paused)
            }
            Input::ResumeChecks { service, reply } => {
                answer(reply, draft.attempt(|d| decide::service::resume(d, &service)))
            }
            Input::StopTask { task, reply } => {
                answer(reply, draft.attempt(|d| decide::task::stop(d, &task)))
            }
            Input::JudgeTask { judgement, reply } => {
                answer(reply, draft.attempt(|d| decide::verdict::judge(d, judgement)))
            }
            Input::ReleaseService { service, reply } => {
                answer(reply, draft.attempt(|d| decide::service::release(d, &service)))
            }
            Input::Hello { hello, reply } => {
                let node = hello.node;
                let joined = draft.attempt(|d| decide::node::hello(d, hello)).map(|settled| {
                    for (task, how) in settled {
                        self.count(task, how);
                    }
                    let (session, replaced) = self.presence.joined(node);
                    Joined { session, replaced }
                });
                answer(reply, joined)
            }
            Input::Reports { node, epoch, reports, reply } => {
                for report in reports {
                    let task = report.task;
                    let settled = decide::report::take(draft, node, epoch, report);
                    self.count(task, settled);
                }
                answer(reply, Ok(()))
            }
            Input::Turn { reply } => answer(reply, Ok(())),
            Input::Node(input) => self.decide_node(draft, input),
        }
    }

    fn decide_node(&mut self, draft: &mut Draft, input: NodeInput) -> Answer {
        match input {
            NodeInput::Remove { node, reply } => {
                let removed = draft.attempt(|d| decide::node::remove(d, &node));
                answer(reply, removed.map(|node| self.presence.forget(node)))
            }
            NodeInput::SetAvailability { node, kind, reason, reply } => {
                let set = |d: &mut Draft| decide::node::set_availability(d, &node, kind, reason);
                answer(reply, draft.attempt(set))
            }
            NodeInput::SetLabels { node, wish, reply } => {
                answer(reply, draft.attempt(|d| decide::label::set(d, &node, wish)))
            }
            NodeInput::Suspicion { node, session, suspect } => {
                if self.presence.holds(node, session) && suspect {
                    decide::node::suspect(draft, node);
                } else if self.presence.holds(node, session) {
                    decide::node::heard(draft, node);
                }
                Box::new(|| {})
            }
            NodeInput::Score { node, session, score } => {
                if self.presence.holds(node, session) {
                    decide::node::score(draft, node, score);
                }
                Box::new(|| {})
            }
            NodeInput::SessionLost { node, session, silence } => {
                self.presence.lost(node, session, silence);
                Box::new(|| {})
            }
        }
    }

    fn count(&self, task: TaskId, settled: Settled) {
        self.counters.report(settled);
        if settled != Settled::Taken {
            tracing::debug!(task.id = %task, why = settled.name(), "report is not taken");
        }
    }

    /// Plans what the batch touches, or everything when time calls for it. Reads the state, never
    /// the inputs.
    fn plan(&mut self, before: &Cluster, draft: &mut Draft) {
        let (now, seed) = (draft.now(), self.world.random());
        let due = self.wake_at.is_some_and(|at| at <= now) || self.safety_pass <= Instant::now();
        let dirty = if due {
            self.safety_pass = Instant::now() + self.timing.safety_pass;
            self.wake_at = None;
            Dirty::all(draft.cluster())
        } else {
            Dirty::of(before, draft.cluster(), draft.changes())
        };
        let Plan { changes, wake_at } =
            plan_dirty(draft.cluster(), &self.policy, now, seed, dirty, &mut self.at_rest);
        for change in changes {
            draft.put(change);
        }
        self.wake_at = self.wake_at.into_iter().chain(wake_at).min();
    }

    /// What time will change of it is waited for.
    fn note(&mut self, after: &Cluster, changes: &[Change]) {
        for change in changes {
            match change {
                Change::PutHealth(id, _) | Change::RemoveTask(id) => self.note_expiry(after, *id),
                Change::PutService(service) => self.note_pause(service),
                Change::RemoveService(id) => {
                    self.pauses.remove(id);
                }
                Change::PutTask(_)
                | Change::PutNode(_)
                | Change::RemoveNode(_)
                | Change::PutRestraint(_)
                | Change::PutEvent(_)
                | Change::RemoveEvent(_)
                | Change::TrimEvents(_) => {}
            }
        }
    }

    fn expired(&self, now: Timestamp) -> Vec<TaskId> {
        let due = |(task, at): (&TaskId, &Timestamp)| (*at <= now).then_some(*task);
        self.expiries.iter().filter_map(due).collect()
    }

    fn over(&self, now: Timestamp) -> Vec<ServiceId> {
        let due = |(service, at): (&ServiceId, &Timestamp)| (*at <= now).then_some(*service);
        self.pauses.iter().filter_map(due).collect()
    }

    fn note_pause(&mut self, service: &Service) {
        match &service.checks_paused {
            Some(pause) => self.pauses.insert(service.id, pause.until),
            None => self.pauses.remove(&service.id),
        };
    }

    fn note_expiry(&mut self, cluster: &Cluster, id: TaskId) {
        let health = cluster.health(id);
        let next = health.and_then(|h| h.external.iter().map(|external| external.expires_at).min());
        match next {
            Some(at) => self.expiries.insert(id, at),
            None => self.expiries.remove(&id),
        };
    }
}

/// A caller that has gone away gets what it asked for all the same.
fn answer<T: Send + 'static>(reply: Reply<T>, result: Result<T, Rejection>) -> Answer {
    Box::new(move || drop(reply.send(result)))
}
