//! A node's runtime: it holds the tasks, and outlives the worker.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::task::TaskTracker;
use warren_core::{check::Role, id::TaskId};
use warren_runtime::{Exit, FoundState, Launch, Reach, Running, RuntimeError};

use crate::{
    app::{Finds, Habit, Mood},
    clock::WallClock,
    disk::StateDisk,
    faults::{self, Fault},
    oracle::Oracle,
};

#[derive(Debug)]
pub struct Machine {
    pub name: String,
    pub clock: Arc<WallClock>,
    pub oracle: Arc<Oracle>,
    pub tracker: TaskTracker,
    pub state: Mutex<State>,
}

#[derive(Debug, Default)]
pub struct State {
    pub tasks: BTreeMap<TaskId, Container>,
    /// Grows when the power fails: what was in hand then is not done.
    boot: u64,
    silent_until: Option<Instant>,
    moods: Vec<(String, Mood, Instant)>,
    /// Every program does what it should.
    pub well: bool,
}

#[derive(Debug)]
pub struct Container {
    pub launch: Launch,
    pub state: FoundState,
    pub started: Instant,
    /// One for each, so that who waits is told in an order that is ours.
    pub changed: watch::Sender<()>,
}

impl Container {
    pub fn habit(&self) -> Habit {
        self.launch.template.args[0].parse().unwrap()
    }

    /// Such as `web.1`.
    fn slot(&self) -> String {
        format!("{}.{}", self.launch.service_name, self.launch.slot)
    }
}

impl Machine {
    pub fn new(
        name: String,
        clock: Arc<WallClock>,
        oracle: Arc<Oracle>,
        tracker: TaskTracker,
    ) -> Self {
        Self { name, clock, oracle, tracker, state: Mutex::default() }
    }

    /// Everything that ran is gone.
    pub fn power_off(&self) {
        let tasks = {
            let mut state = self.state.lock().unwrap();
            state.boot += 1;
            std::mem::take(&mut state.tasks)
        };
        self.oracle.power_failed(&self.name);
        for container in tasks.values() {
            container.changed.send_replace(());
        }
    }

    pub fn fall_silent(&self, long: Duration) {
        let mut state = self.state.lock().unwrap();
        state.silent_until = Some(Instant::now() + long);
        // Who waits for an end is thrown out.
        for container in state.tasks.values() {
            container.changed.send_replace(());
        }
    }

    /// `which` is a service or one of its slots.
    pub fn set_mood(&self, which: &str, mood: Mood, long: Duration) {
        let until = Instant::now() + long;
        self.state.lock().unwrap().moods.push((which.to_owned(), mood, until));
    }

    /// Every task in the slot that runs here.
    pub fn exit(&self, slot: &str, code: i32) {
        let ids: Vec<TaskId> = {
            let state = self.state.lock().unwrap();
            let fits = |(_, container): &(&TaskId, &Container)| container.slot() == slot;
            state.tasks.iter().filter(fits).map(|(id, _)| *id).collect()
        };
        for id in ids {
            faults::note(Fault::Exit);
            self.exits(id, code, "exits");
        }
    }

    pub fn heal(&self) {
        let mut state = self.state.lock().unwrap();
        state.well = true;
        state.moods.clear();
        state.silent_until = None;
    }

    /// The tasks whose process runs.
    pub fn running(&self) -> Vec<TaskId> {
        let state = self.state.lock().unwrap();
        let runs = |c: &Container| matches!(c.state, FoundState::Running(_));
        state.tasks.iter().filter(|(_, c)| runs(c)).map(|(id, _)| *id).collect()
    }

    /// All that there is, running or not.
    pub fn held(&self) -> Vec<TaskId> {
        self.state.lock().unwrap().tasks.keys().copied().collect()
    }

    pub fn exits(&self, task: TaskId, code: i32, how: &str) {
        let mut state = self.state.lock().unwrap();
        let Some(container) = state.tasks.get_mut(&task) else { return };
        if let FoundState::Running(_) = container.state {
            let exit = Exit { code: Some(code), at: self.clock.read(), oom_killed: false };
            container.state = FoundState::Exited(exit);
            container.changed.send_replace(());
            let text = format!("task {} ({task}) {how} with {code}", container.slot());
            self.oracle.transcript.say(&self.name, text);
        }
    }

    /// A worker has ended: the next one must find all that runs in its file, or must have been
    /// told to forget it.
    pub fn is_in(&self, file: &StateDisk) {
        for task in self.running().into_iter().filter(|task| !file.has_named(*task)) {
            let name = &self.name;
            self.oracle.fail(format!("{task} runs on {name}, whose file has never named it"));
        }
    }

    pub fn is_silent(&self) -> bool {
        let until = self.state.lock().unwrap().silent_until;
        let is_silent = until.is_some_and(|until| Instant::now() < until);
        if is_silent {
            faults::note(Fault::SilentRuntime);
        }
        is_silent
    }

    pub fn boot(&self) -> u64 {
        self.state.lock().unwrap().boot
    }

    pub fn found(&self, task: TaskId) -> Option<(FoundState, watch::Receiver<()>)> {
        let state = self.state.lock().unwrap();
        let container = state.tasks.get(&task)?;
        Some((container.state.clone(), container.changed.subscribe()))
    }

    pub fn finds(&self, task: TaskId, role: Role) -> Option<Finds> {
        let state = self.state.lock().unwrap();
        let container = state.tasks.get(&task)?;
        let FoundState::Running(_) = container.state else { return None };
        if state.well {
            return Some(Finds::Good);
        }
        let (slot, now) = (container.slot(), Instant::now());
        let named = |which: &str| *which == slot || slot.split('.').next() == Some(which);
        let mood = state.moods.iter().find(|(which, _, until)| named(which) && now < *until);
        if let Some((_, mood, _)) = mood {
            faults::note(Fault::Mood(*mood));
            return Some(mood.finds(role));
        }
        let habit = container.habit();
        let finds = habit.finds(task, container.started.elapsed(), role);
        if finds != Finds::Good {
            faults::note(Fault::Habit(habit));
        }
        Some(finds)
    }

    pub fn start_now(self: &Arc<Self>, task: TaskId) -> Result<Running, RuntimeError> {
        let mut state = self.state.lock().unwrap();
        let container = state.tasks.get_mut(&task).ok_or(RuntimeError::NoSuchTask(task))?;
        match &container.state {
            FoundState::Running(running) => return Ok(running.clone()),
            FoundState::Exited(_) => return Err(RuntimeError::Refused("it has ended".to_owned())),
            FoundState::Created => {}
        }
        let reach = Reach { netns: None, address: IpAddr::V4(Ipv4Addr::LOCALHOST), root_of: None };
        let running = Running { pid: 4242, started_at: self.clock.read(), reach };
        container.state = FoundState::Running(running.clone());
        container.started = Instant::now();
        self.oracle.started(&self.name, task, &container.slot());
        if let Some(after) = container.habit().exits_after(task) {
            let machine = Arc::clone(self);
            self.tracker.spawn(async move {
                sleep(after).await;
                if !machine.state.lock().unwrap().well {
                    faults::note(Fault::Habit(Habit::Crashy));
                    machine.exits(task, 1, "exits");
                }
            });
        }
        Ok(running)
    }
}
