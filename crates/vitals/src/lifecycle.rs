//! The start and the end of a service: gates that must open, and the drain.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct Lifecycle {
    gates: Mutex<Vec<Blocker>>,
    drain: watch::Sender<Drain>,
    in_flight: watch::Sender<usize>,
}

#[derive(Debug)]
struct Blocker {
    name: String,
    open: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Drain {
    No,
    Draining,
    /// Whoever sends traffic has said that it stopped.
    Acknowledged,
}

impl Lifecycle {
    pub fn new() -> Self {
        Self {
            gates: Mutex::default(),
            drain: watch::Sender::new(Drain::No),
            in_flight: watch::Sender::new(0),
        }
    }

    fn gates(&self) -> MutexGuard<'_, Vec<Blocker>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A gate that is closed from now on. One of the same name closes again.
    pub fn close(&self, name: &str) {
        let mut gates = self.gates();
        match gates.iter_mut().find(|gate| gate.name == name) {
            Some(gate) => gate.open = false,
            None => gates.push(Blocker { name: name.to_owned(), open: false }),
        }
    }

    pub fn open(&self, name: &str) {
        if let Some(gate) = self.gates().iter_mut().find(|gate| gate.name == name) {
            gate.open = true;
        }
    }

    /// The names of the gates that are still closed.
    pub fn closed(&self) -> Vec<String> {
        self.gates().iter().filter(|gate| !gate.open).map(|gate| gate.name.clone()).collect()
    }

    pub fn is_draining(&self) -> bool {
        *self.drain.borrow() > Drain::No
    }

    /// Says whether this is what began it.
    pub fn drain(&self) -> bool {
        self.drain.send_if_modified(|drain| {
            let first = *drain == Drain::No;
            if first {
                *drain = Drain::Draining;
            }
            first
        })
    }

    pub fn acknowledge(&self) {
        self.drain.send_replace(Drain::Acknowledged);
    }

    pub async fn acknowledged(&self) {
        let mut drain = self.drain.subscribe();
        // The sender lives in `self`.
        drop(drain.wait_for(|drain| *drain == Drain::Acknowledged).await);
    }

    pub fn enter(&self) {
        self.in_flight.send_modify(|count| *count += 1);
    }

    pub fn leave(&self) {
        self.in_flight.send_modify(|count| *count = count.saturating_sub(1));
    }

    /// Until no work is in flight, `limit` at most; says how much still is.
    pub async fn idle(&self, limit: Duration) -> usize {
        let mut count = self.in_flight.subscribe();
        drop(tokio::time::timeout(limit, count.wait_for(|count| *count == 0)).await);
        *self.in_flight.borrow()
    }
}
