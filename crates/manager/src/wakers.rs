//! Wakes the sessions of those nodes that are to hear of something. A thousand sessions that look
//! at every batch would cost more than the batch.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use warren_core::id::NodeId;

type Nodes = BTreeMap<NodeId, Arc<Notify>>;

#[derive(Clone, Default)]
pub struct Wakers(Arc<Mutex<Nodes>>);

/// One session's. Dropped, it is woken no more.
pub struct Waker {
    wakers: Wakers,
    node: NodeId,
    notify: Arc<Notify>,
}

impl Wakers {
    /// Whatever is published from now on wakes it. An earlier session of the node is about to be
    /// told that it was replaced, and needs nothing else.
    pub fn register(&self, node: NodeId) -> Waker {
        let notify = Arc::new(Notify::new());
        self.nodes().insert(node, Arc::clone(&notify));
        Waker { wakers: self.clone(), node, notify }
    }

    pub fn wake<'a>(&self, nodes: impl Iterator<Item = &'a NodeId>) {
        let known = self.nodes();
        for notify in nodes.filter_map(|node| known.get(node)) {
            notify.notify_one();
        }
    }

    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waker {
    /// Returns at once where it was woken since it last returned.
    pub async fn woken(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        let mut nodes = self.wakers.nodes();
        if nodes.get(&self.node).is_some_and(|notify| Arc::ptr_eq(notify, &self.notify)) {
            nodes.remove(&self.node);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const NODE: NodeId = NodeId::from_u64(1);
    const OTHER: NodeId = NodeId::from_u64(2);

    fn is_woken(waker: &Waker) -> bool {
        waker.woken().now_or_never().is_some()
    }

    #[test]
    fn only_the_named_nodes_wake_and_what_came_before_the_wait_counts() {
        let wakers = Wakers::default();
        let (one, other) = (wakers.register(NODE), wakers.register(OTHER));
        wakers.wake([NODE].iter());
        assert!(is_woken(&one) && !is_woken(&one) && !is_woken(&other));
    }

    #[test]
    fn the_end_of_a_replaced_session_leaves_its_successor_awake() {
        let wakers = Wakers::default();
        let old = wakers.register(NODE);
        let new = wakers.register(NODE);
        drop(old);
        wakers.wake([NODE].iter());
        assert!(is_woken(&new));
        drop(new);
        assert!(wakers.nodes().is_empty());
    }
}
