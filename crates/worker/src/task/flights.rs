//! The attempts under way. They are moved in turns: each that can go on goes one step, then each
//! one the next, so that those which began together also ask together, and mostly find their
//! answers together. Where one has ended, the next one has its memory, which is still warm.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Wake, Waker},
};

use futures::task::AtomicWaker;

/// So many places keep their memory for those that come, beside the ones in use.
const SPARE: usize = 256;
/// Whoever still can go on after so many turns goes on after others on this thread.
const TURNS: usize = 8;

/// Futures that have nothing to tell.
#[derive(Debug)]
pub struct Flights<F> {
    places: Vec<Place<F>>,
    /// Those that have memory, by their numbers.
    free: Vec<usize>,
    /// Those that have none.
    bare: Vec<usize>,
    ready: Arc<Ready>,
    /// Those of this turn.
    turn: Vec<usize>,
    /// So many have been begun.
    begun: u64,
}

/// For whoever wants to give a flight up.
#[derive(Debug)]
pub struct Handle {
    call: Arc<Call>,
    number: u64,
}

#[derive(Debug)]
struct Place<F> {
    /// None: its memory was given back.
    flight: Option<Pin<Box<Option<F>>>>,
    /// Of the flight that is or was the last one here.
    number: u64,
    call: Arc<Call>,
    waker: Waker,
}

/// That one can go on.
#[derive(Debug)]
struct Call {
    place: usize,
    called: AtomicBool,
    /// The number of a flight that is to go no further.
    given_up: AtomicU64,
    ready: Arc<Ready>,
}

/// Who can go on.
#[derive(Debug, Default)]
struct Ready {
    called: Mutex<Vec<usize>>,
    /// Nobody looks at them right now, so somebody has to be woken.
    asleep: AtomicBool,
    mover: AtomicWaker,
}

impl<F: Future> Flights<F> {
    pub fn new() -> Self {
        let (places, free, bare, turn) = Default::default();
        Self { places, free, bare, ready: Arc::default(), turn, begun: 0 }
    }

    /// It is moved with the others, the next time that they are.
    pub fn begin(&mut self, flight: F) -> Handle {
        self.ready.asleep.store(false, Ordering::SeqCst);
        let at = self.free.pop().or_else(|| self.bare.pop()).unwrap_or_else(|| {
            self.places.push(Place::new(self.places.len(), &self.ready));
            self.places.len() - 1
        });
        self.begun += 1;
        let place = &mut self.places[at];
        match &mut place.flight {
            Some(room) => room.as_mut().set(Some(flight)),
            none => *none = Some(Box::pin(Some(flight))),
        }
        place.number = self.begun;
        place.waker.wake_by_ref();
        Handle { call: Arc::clone(&place.call), number: self.begun }
    }

    /// Moves all that can go on. Whoever polls is woken when others can.
    pub fn make_headway(&mut self, cx: &Context<'_>) {
        self.ready.asleep.store(false, Ordering::SeqCst);
        for _ in 0..TURNS {
            if !self.take_turn() {
                self.ready.mover.register(cx.waker());
                self.ready.asleep.store(true, Ordering::SeqCst);
                // One may have been called since.
                if self.ready.called().is_empty() {
                    return;
                }
                self.ready.asleep.store(false, Ordering::SeqCst);
            }
        }
        cx.waker().wake_by_ref();
    }

    /// Whether there was anybody to move.
    fn take_turn(&mut self) -> bool {
        let mut turn = std::mem::take(&mut self.turn);
        std::mem::swap(&mut turn, &mut self.ready.called());
        let any = !turn.is_empty();
        for at in turn.drain(..) {
            self.step(at);
        }
        self.turn = turn;
        any
    }

    fn step(&mut self, at: usize) {
        let Place { flight, number, call, waker } = &mut self.places[at];
        call.called.store(false, Ordering::SeqCst);
        let Some(room) = flight else { return };
        let Some(flying) = room.as_mut().as_pin_mut() else { return };
        let goes_on = call.given_up.load(Ordering::SeqCst) != *number;
        if goes_on && flying.poll(&mut Context::from_waker(waker)).is_pending() {
            return;
        }
        room.as_mut().set(None);
        if self.free.len() < SPARE {
            self.free.push(at);
        } else {
            *flight = None;
            self.bare.push(at);
        }
    }
}

impl<F> Place<F> {
    fn new(place: usize, ready: &Arc<Ready>) -> Self {
        let (called, given_up) = (AtomicBool::new(false), AtomicU64::new(0));
        let call = Arc::new(Call { place, called, given_up, ready: Arc::clone(ready) });
        Self { flight: None, number: 0, waker: Waker::from(Arc::clone(&call)), call }
    }
}

impl Handle {
    /// The flight goes no further, and is dropped where it is. Nothing, if it has ended.
    pub fn give_up(&self) {
        self.call.given_up.store(self.number, Ordering::SeqCst);
        self.call.wake_by_ref();
    }
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.called.swap(true, Ordering::SeqCst) {
            return;
        }
        self.ready.called().push(self.place);
        if self.ready.asleep.load(Ordering::SeqCst) {
            self.ready.mover.wake();
        }
    }
}

impl Ready {
    fn called(&self) -> MutexGuard<'_, Vec<usize>> {
        // Nothing panics while it is held.
        self.called.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        future::{pending, poll_fn},
        rc::Rc,
        task::Poll,
    };

    use tokio::{sync::oneshot, task::JoinSet};

    use super::*;

    /// Goes on at once, after the others.
    async fn step() {
        let mut waited = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    #[test]
    fn those_that_begin_together_go_on_together() {
        let log = Rc::new(RefCell::new(Vec::new()));
        let mut flights = Flights::new();
        for name in ["a", "b", "c"] {
            let log = Rc::clone(&log);
            flights.begin(async move {
                for stage in 0..3 {
                    log.borrow_mut().push(format!("{name}{stage}"));
                    step().await;
                }
            });
        }
        flights.make_headway(&Context::from_waker(Waker::noop()));
        assert_eq!(log.borrow().join(" "), "a0 b0 c0 a1 b1 c1 a2 b2 c2");
    }

    #[tokio::test]
    async fn one_that_waits_is_moved_when_it_is_called_and_its_place_is_used_again() {
        let mut flights = Flights::new();
        let (mut telling, mut ended) = (JoinSet::new(), 0);
        for _ in 0..3 {
            let (tell, told) = oneshot::channel::<()>();
            let (end, mut over) = oneshot::channel();
            flights.begin(async move {
                told.await.unwrap();
                end.send(()).unwrap();
            });
            poll_fn(|cx| {
                flights.make_headway(cx);
                Poll::Ready(())
            })
            .await;
            assert!(over.try_recv().is_err());
            telling.spawn(async move { tell.send(()).unwrap() });
            poll_fn(|cx| {
                flights.make_headway(cx);
                Pin::new(&mut over).poll(cx)
            })
            .await
            .unwrap();
            ended += 1;
        }
        telling.join_all().await;
        assert_eq!((ended, flights.places.len(), flights.free.len()), (3, 1, 1));
    }

    #[test]
    fn what_has_ended_is_dropped_and_no_more_memory_is_kept_than_is_said() {
        let held = Rc::new(());
        let mut flights = Flights::new();
        let flight = || {
            let held = Rc::clone(&held);
            async move {
                step().await;
                drop(held);
            }
        };
        for _ in 0..2 * SPARE {
            flights.begin(flight());
        }
        let cx = Context::from_waker(Waker::noop());
        flights.make_headway(&cx);
        assert_eq!(Rc::strong_count(&held), 1);
        let kept = |flights: &Flights<_>| {
            let memory = flights.places.iter().filter_map(|place| place.flight.as_ref());
            memory.map(|room| &raw const **room).collect::<Vec<_>>()
        };
        let memory = kept(&flights);
        assert_eq!(memory.len(), SPARE);
        flights.begin(flight());
        assert_eq!(kept(&flights), memory, "it takes what was kept");
    }

    #[test]
    fn one_that_is_given_up_goes_no_further_and_the_next_one_in_its_place_does() {
        let log = Rc::new(RefCell::new(Vec::new()));
        let mut flights = Flights::new();
        let begin = |flights: &mut Flights<_>, name| {
            let (log, held) = (Rc::clone(&log), Rc::new(()));
            let dropped = Rc::downgrade(&held);
            let handle = flights.begin(async move {
                step().await;
                log.borrow_mut().push(name);
                pending::<()>().await;
                drop(held);
            });
            (handle, dropped)
        };
        let cx = Context::from_waker(Waker::noop());
        let (first, held) = begin(&mut flights, "first");
        first.give_up();
        flights.make_headway(&cx);
        assert_eq!((held.strong_count(), log.borrow().len()), (0, 0));
        let (second, held) = begin(&mut flights, "second");
        first.give_up();
        flights.make_headway(&cx);
        assert_eq!((flights.places.len(), held.strong_count()), (1, 1));
        assert_eq!(*log.borrow(), ["second"]);
        second.give_up();
        flights.make_headway(&cx);
        assert_eq!((held.strong_count(), flights.free.len()), (0, 1));
    }

    #[test]
    fn one_that_never_rests_leaves_room_for_others_on_the_thread() {
        let mut flights = Flights::new();
        flights.begin(async {
            loop {
                step().await;
            }
        });
        flights.make_headway(&Context::from_waker(Waker::noop()));
        assert_eq!(flights.free.len(), 0);
    }
}
