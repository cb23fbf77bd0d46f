//! One run: the parts put together, a script played, and the cluster brought to rest.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::Builder,
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::task::TaskTracker;
use warren_core::id::NodeId;

use crate::{
    chance::Chance,
    clock::WallClock,
    disk::{Database, StateDisk},
    faults::{self, Faults},
    life::{Host, Life, Process},
    machine::Machine,
    manager::ManagerHost,
    net::{Door, Link},
    node::Node,
    oracle::Oracle,
    people::People,
    rest,
    script::{Script, Step},
    transcript::Transcript,
};

/// Once all is well: backoff is five minutes at most, and one slot is updated at a time.
const REST_WITHIN: Duration = Duration::from_mins(40);
/// Between looks at whether the cluster has come to rest.
const LOOK: Duration = Duration::from_secs(5);
/// At rest nothing is written for so long.
const QUIET: Duration = Duration::from_secs(40);
/// Changes that people have thought of and not asked for yet.
const THOUGHTS_MAX: usize = 256;

/// A cluster that runs.
pub struct Sim {
    pub transcript: Arc<Transcript>,
    pub oracle: Arc<Oracle>,
    pub manager: Arc<ManagerHost>,
    pub nodes: Vec<Arc<Node>>,
    pub people: mpsc::Sender<Step>,
    pub tracker: TaskTracker,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub transcript: String,
    pub failure: Option<String>,
    /// Of the whole run, by the run's own clock.
    pub took: Duration,
    pub commits: u64,
    pub faults: Faults,
}

/// Plays the script on a thread of its own time.
pub fn play(script: &Script) -> Outcome {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    faults::take();
    runtime.block_on(async {
        let start = Instant::now();
        let sim = Sim::start(script);
        tokio::select! {
            biased;
            () = sim.oracle.broken.notified() => {}
            () = sim.live(script, start) => {}
        }
        Outcome {
            transcript: sim.transcript.text(),
            failure: sim.oracle.failure(),
            took: start.elapsed(),
            commits: sim.oracle.commits(),
            faults: faults::take(),
        }
    })
}

impl Sim {
    fn start(script: &Script) -> Self {
        let (start, seed) = (Instant::now(), script.seed);
        let chance = |stream| Chance::new(seed, stream);
        let transcript = Arc::new(Transcript::new(start));
        let tracker = TaskTracker::new();
        let clock = Arc::new(WallClock::new(start, chance(1)));
        let oracle = Arc::new(Oracle::new(Arc::clone(&transcript), Arc::clone(&clock)));
        let door: Arc<Door> = Arc::default();
        let links = u64::from(script.nodes) + 1;
        let link = |number: u64, name: Option<String>| {
            let oracle = name.map(|name| (name, Arc::clone(&oracle)));
            Link::new(start, (number, links), seed, &door, oracle, &tracker)
        };
        let node = |number: u32| {
            let (stream, name) = (u64::from(number), format!("n{number}"));
            let id = NodeId::from_u64(chance(100 + stream).draw());
            oracle.knows(&name, id);
            let clock = Arc::new(WallClock::new(start, chance(200 + stream)));
            let machine = Machine::new(name.clone(), clock, Arc::clone(&oracle), tracker.clone());
            Arc::new(Node::new(
                id,
                Arc::new(machine),
                Arc::new(StateDisk::new(chance(300 + stream))),
                link(stream, Some(name)),
                Arc::clone(&transcript),
                tracker.clone(),
            ))
        };
        let nodes: Vec<_> = (1..=script.nodes).map(node).collect();
        let people_link = link(0, None);
        let all = nodes.iter().map(|node| &node.link).chain([&people_link]);
        let manager = Arc::new(ManagerHost {
            database: Arc::new(Database::new(chance(2), Arc::clone(&oracle))),
            clock,
            door: Arc::clone(&door),
            links: all.map(Arc::clone).collect(),
            transcript: Arc::clone(&transcript),
            tracker: tracker.clone(),
            process: Process::new(Host::Manager),
        });
        let (people, steps) = mpsc::channel(THOUGHTS_MAX);
        let channel = people_link.channel(&Arc::new(Life::default()));
        let person = People { channel, oracle: Arc::clone(&oracle), steps };
        tracker.spawn(person.run());
        tracker.spawn(Arc::clone(&manager).run());
        for node in &nodes {
            tracker.spawn(Arc::clone(node).run());
        }
        Self { transcript, oracle, manager, nodes, people, tracker }
    }

    async fn live(&self, script: &Script, start: Instant) {
        for (at, step) in &script.steps {
            sleep_until(start + *at).await;
            self.step(step);
        }
        if !matches!(script.steps.last(), Some((_, Step::Heal))) {
            self.step(&Step::Heal);
        }
        let healed = Instant::now();
        let mut why = "nobody looked".to_owned();
        let mut quiet = (self.oracle.commits(), Instant::now());
        while healed.elapsed() < REST_WITHIN {
            sleep(LOOK).await;
            if quiet.0 != self.oracle.commits() {
                quiet = (self.oracle.commits(), Instant::now());
            }
            match rest::unrest(self) {
                Some(reason) => why = reason,
                None if quiet.1.elapsed() >= QUIET => return,
                None => "something is still written".clone_into(&mut why),
            }
        }
        self.oracle.fail(format!("no rest {REST_WITHIN:?} after all was well: {why}"));
    }
}
