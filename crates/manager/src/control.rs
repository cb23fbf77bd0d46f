//! The one control loop. It alone writes: it drains inputs, decides, plans, commits, publishes,
//! and then answers, so that what was acknowledged is durable.

use std::{collections::BTreeMap, sync::Arc};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::{mpsc, watch},
    task::block_in_place,
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
use warren_plan::{Dirty, Plan, Policy, plan, plan_dirty};
use warren_store::{CommitFault, Store};

use crate::{
    config::Timing,
    counters::Counters,
    decide::{self, Draft, report::Settled},
    input::{Input, Joined, NodeInput, QUEUE_MAX, Reply},
    journal,
    presence::Presence,
    publish::Published,
    rejection::Rejection,
    world::World,
};

pub struct Control {
    inputs: mpsc::Receiver<Input>,
    published: watch::Sender<Arc<Published>>,
    store: Box<dyn Store>,
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
    safety_pass: Instant,
    /// The first turn has been.
    started: bool,
}

/// What the loop is made of.
pub struct Parts {
    pub inputs: mpsc::Receiver<Input>,
    pub published: watch::Sender<Arc<Published>>,
    pub store: Box<dyn Store>,
    pub policy: Policy,
    pub timing: Timing,
    pub world: Arc<dyn World>,
    pub counters: Arc<Counters>,
}

/// So many inputs take the loop milliseconds.
const LARGE: usize = 32;

/// Does long work where it keeps no reader waiting: the other tasks of this thread go on meanwhile.
/// A runtime of one thread, as in the simulation, has nowhere else to go.
fn apart<T>(large: bool, work: impl FnOnce() -> T) -> T {
    let elsewhere = Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
    if large && elsewhere { block_in_place(work) } else { work() }
}

/// Why the loop turns.
enum Wake {
    Inputs(Vec<Input>),
    Deadline,
    Ending,
}

/// Sent once the batch is durable.
type Answer = Box<dyn FnOnce() + Send>;

impl Control {
    pub fn new(parts: Parts) -> Self {
        let Parts { inputs, published, store, policy, timing, world, counters } = parts;
        let cluster = published.borrow().cluster.clone();
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
            started: false,
            inputs,
            published,
            store,
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

    /// Turns until it is cancelled, or until a commit fails: then nobody knows what the disk
    /// holds, and the process must end.
    pub async fn run(mut self, ending: CancellationToken) -> Result<(), CommitFault> {
        loop {
            match self.next(&ending).await {
                Wake::Inputs(inputs) => self.turn(inputs).await?,
                Wake::Deadline => self.turn(Vec::new()).await?,
                Wake::Ending => return Ok(()),
            }
        }
    }

    async fn next(&mut self, ending: &CancellationToken) -> Wake {
        let deadline = self.deadline();
        let mut inputs = Vec::new();
        tokio::select! {
            biased;
            () = ending.cancelled() => Wake::Ending,
            count = self.inputs.recv_many(&mut inputs, QUEUE_MAX) => {
                if count == 0 { Wake::Ending } else { Wake::Inputs(inputs) }
            }
            () = sleep_until(deadline) => Wake::Deadline,
        }
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

    /// One batch, from inputs to answers.
    async fn turn(&mut self, inputs: Vec<Input>) -> Result<(), CommitFault> {
        let before = Arc::clone(&self.published.borrow());
        let large = inputs.len() >= LARGE;
        let (draft, answers) = apart(large, || self.draft(&before, inputs));
        self.commit(&before, draft, large).await?;
        for answer in answers {
            answer();
        }
        Ok(())
    }

    /// What the batch comes to, and whom to answer when it is durable.
    fn draft(&mut self, before: &Published, inputs: Vec<Input>) -> (Draft, Vec<Answer>) {
        let mut draft = Draft::new(before.cluster.clone(), self.world.now());
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
        self.plan(&before.cluster, &mut draft);
        (draft, answers)
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
        let Plan { changes, wake_at } = if due {
            self.safety_pass = Instant::now() + self.timing.safety_pass;
            self.wake_at = None;
            plan(draft.cluster(), &self.policy, now, seed)
        } else {
            let dirty = Dirty::of(before, draft.cluster(), draft.changes());
            plan_dirty(draft.cluster(), &self.policy, now, seed, dirty)
        };
        for change in changes {
            draft.put(change);
        }
        self.wake_at = self.wake_at.into_iter().chain(wake_at).min();
    }

    /// Nothing is published before it is durable.
    async fn commit(
        &mut self,
        before: &Published,
        draft: Draft,
        large: bool,
    ) -> Result<(), CommitFault> {
        let now = draft.now();
        let (mut cluster, changes) = draft.into_parts();
        if changes.is_empty() {
            return Ok(());
        }
        let batch: Arc<[Change]> = changes.into();
        self.counters.tallies().commit_begins();
        cluster.revision = self.store.commit(Arc::clone(&batch)).await?;
        self.counters.tallies().commit_ends();
        apart(large, || {
            // Not `now`, which was before the disk had its turn.
            self.counters.batch(&before.cluster, &batch, self.world.now());
            self.note(&cluster, &batch);
            self.published.send_replace(Arc::new(before.next(cluster, &batch, now)));
        });
        Ok(())
    }

    /// What is durable is logged, and waited for.
    fn note(&mut self, after: &Cluster, batch: &[Change]) {
        for change in batch {
            journal::log(change);
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
