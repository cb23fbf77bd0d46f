//! One component at work: at most one run at a time, ended from outside.

use std::{
    any::Any,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::watch,
    task::{JoinError, JoinSet},
};

use crate::{
    check::{AnyCheck, CheckError, Context, Details},
    clock::{Clock, Moment},
    settings::{Component, Settings},
    state::{Outcome, Reason, State, View, Want},
    status::{Status, Weight},
};

/// How much later than the timeout somebody who waits gives up for the run's own supervisor, which
/// may be stuck on a blocked runtime.
const GRACE: Duration = Duration::from_millis(25);

pub(crate) struct Live {
    pub name: String,
    pub weight: Weight,
    pub target: Option<String>,
    pub settings: Settings,
    check: Arc<dyn AnyCheck>,
    state: Mutex<State>,
    /// Turns whenever a run ended or was given up.
    turned: watch::Sender<()>,
    /// What was said last of its state.
    said: Mutex<Option<Status>>,
}

/// A run to wait for.
pub(crate) struct Flight {
    id: u64,
    since: Moment,
}

impl Live {
    pub fn new(component: Component) -> Self {
        let Component { name, weight, check, target, settings } = component;
        Self {
            name,
            weight,
            target,
            settings,
            check,
            state: Mutex::default(),
            turned: watch::Sender::new(()),
            said: Mutex::default(),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn view(&self, now: Moment) -> View {
        self.state().view(now, &self.settings)
    }

    /// Sees to it that there will be a fresh result; says what to wait for.
    pub fn ask(self: &Arc<Self>, clock: &Clock, home: &Handle, turned: &Turned) -> Option<Flight> {
        let want = self.state().want(clock.now(), &self.settings);
        self.follow(want, clock, home, turned)
    }

    /// A periodic run is due.
    pub fn due(self: &Arc<Self>, clock: &Clock, home: &Handle, turned: &Turned) {
        let want = self.state().due(clock.now(), self.settings.thresholds);
        self.follow(want, clock, home, turned);
        turned(self);
    }

    fn follow(
        self: &Arc<Self>,
        want: Want,
        clock: &Clock,
        home: &Handle,
        turned: &Turned,
    ) -> Option<Flight> {
        match want {
            Want::Nothing => None,
            Want::Join { id, since } => Some(Flight { id, since }),
            Want::Launch { id, since } => {
                let supervised =
                    Arc::clone(self).supervise(id, since, clock.clone(), Arc::clone(turned));
                // It ends with the run, and there is one run at a time.
                home.spawn(supervised);
                Some(Flight { id, since })
            }
        }
    }

    /// Until the run has a result, its own or that it took too long. Holds even where the run's
    /// supervisor does not get its turn.
    pub async fn settled(self: &Arc<Self>, flight: Flight, clock: &Clock, turned: &Turned) {
        let Flight { id, since } = flight;
        let mut turns = self.turned.subscribe();
        let over = turns.wait_for(|()| !self.state().is_on_its_way(id));
        tokio::select! {
            biased;
            _ = over => {}
            () = clock.sleep_until(since + self.settings.timeout + GRACE) => {
                self.give_up(id, clock.now(), turned);
            }
        }
    }

    async fn supervise(self: Arc<Self>, id: u64, since: Moment, clock: Clock, turned: Turned) {
        let timeout = self.settings.timeout;
        let mut run = JoinSet::new();
        run.spawn(Arc::clone(&self.check).run(Context { timeout }));
        // An answer that is seen late is still an answer, so the run is looked at first.
        let mut ended = tokio::select! {
            biased;
            ended = run.join_next() => ended,
            () = clock.sleep_until(since + timeout) => None,
        };
        if ended.is_none() {
            self.give_up(id, clock.now(), &turned);
            run.abort_all();
            ended = run.join_next().await;
        }
        let at = clock.now();
        let result = result(ended);
        let outcome = Outcome { at, latency: at.saturating_sub(since), result };
        self.state().ended(id, outcome, self.settings.thresholds);
        self.turn(&turned);
    }

    fn give_up(self: &Arc<Self>, id: u64, now: Moment, turned: &Turned) {
        if self.state().overdue(id, now, &self.settings) {
            self.turn(turned);
        }
    }

    fn turn(self: &Arc<Self>, turned: &Turned) {
        // Listeners first: who waits for the run may ask what they were told.
        turned(self);
        self.turned.send_replace(());
    }

    /// The word for the state before, when this one is news.
    pub fn news(&self, status: Status) -> Option<&'static str> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let before = said.replace(status);
        (before != Some(status)).then_some(before.map_or("unknown", Status::word))
    }
}

/// Told after each change of a component's state.
pub(crate) type Turned = Arc<dyn Fn(&Live) + Send + Sync>;

type Ended = Option<Result<Result<Details, CheckError>, JoinError>>;

fn result(ended: Ended) -> Result<Details, (Reason, String)> {
    match ended {
        Some(Ok(Ok(details))) => Ok(details),
        Some(Ok(Err(error))) => Err((Reason::Failed, error.message().to_owned())),
        Some(Err(error)) => match error.try_into_panic() {
            Ok(panic) => Err((Reason::Panicked, format!("panicked: {}", said(&*panic)))),
            Err(_) => Err((Reason::Failed, "aborted".to_owned())),
        },
        None => Err((Reason::Failed, "did not run".to_owned())),
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&str>().copied();
    literal.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
