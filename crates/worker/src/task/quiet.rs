//! A future that is left alone until it has something to say.
//!
//! A task's actor waits for much that hardly ever happens and for its checks, which happen all the
//! time. Whoever polls them all whenever one of them moves spends more on the silent ones, whose
//! memory has gone cold, than on the attempt.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// Polls what is in it only when that was woken.
pub struct Quiet<F> {
    future: F,
    bell: Arc<Bell>,
    /// The same one, as the future knows it.
    waker: Waker,
}

struct Bell {
    rung: AtomicBool,
    listener: Mutex<Waker>,
}

impl<F: Future + Unpin> Quiet<F> {
    pub fn new(future: F) -> Self {
        let listener = Mutex::new(Waker::noop().clone());
        let bell = Arc::new(Bell { rung: AtomicBool::new(true), listener });
        Self { future, waker: Arc::clone(&bell).into(), bell }
    }
}

impl<F: Future + Unpin> Future for Quiet<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        {
            // Nothing panics while it is held.
            let mut listener = this.bell.listener.lock().unwrap_or_else(PoisonError::into_inner);
            listener.clone_from(cx.waker());
        }
        // After the listener: a bell that rings in between is heard now or by it.
        if !this.bell.rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        Pin::new(&mut this.future).poll(&mut Context::from_waker(&this.waker))
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).clone();
        listener.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::poll_fn};

    use futures::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn it_is_polled_once_and_then_when_it_was_woken() {
        let (sender, mut receiver) = oneshot::channel();
        let polls = Cell::new(0);
        let counted = poll_fn(|cx| {
            polls.set(polls.get() + 1);
            receiver.poll_unpin(cx)
        });
        let mut quiet = Quiet::new(counted);
        for _ in 0..3 {
            assert!((&mut quiet).now_or_never().is_none());
        }
        assert_eq!(polls.get(), 1);
        sender.send(7).unwrap();
        assert_eq!(quiet.await, Ok(7));
        assert_eq!(polls.get(), 2);
    }

    #[tokio::test]
    async fn it_wakes_whoever_asked_last() {
        let (sender, receiver) = oneshot::channel();
        let mut quiet = Quiet::new(receiver);
        assert!((&mut quiet).now_or_never().is_none());
        let waits = async { quiet.await.unwrap() };
        let ((), heard) = tokio::join!(
            async {
                tokio::task::yield_now().await;
                sender.send(7).unwrap();
            },
            waits
        );
        assert_eq!(heard, 7);
    }
}
