//! Which nodes hold a session now, and until when the others may be silent.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use warren_core::id::NodeId;

use crate::input::Silence;

/// Numbers the sessions of one manager run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(u64);

/// Kept in memory only: after a restart every node has one grace to come back.
#[derive(Debug)]
pub struct Presence {
    grace: Duration,
    sessions: u64,
    present: BTreeMap<NodeId, Holder>,
    absent: BTreeMap<NodeId, Absent>,
}

#[derive(Debug)]
struct Absent {
    /// None once that was said.
    suspect_at: Option<Instant>,
    lost_at: Instant,
}

#[derive(Debug)]
struct Holder {
    session: SessionId,
    replaced: CancellationToken,
}

impl Presence {
    /// Nobody is present; those that were not lost have one grace, and most of it before they are
    /// suspect: their workers were told nothing of the manager's end.
    pub fn new(grace: Duration, known: impl Iterator<Item = NodeId>, now: Instant) -> Self {
        let absent = || Absent { suspect_at: Some(now + grace * 2 / 3), lost_at: now + grace };
        let absent = known.map(|node| (node, absent())).collect();
        Self { grace, sessions: 0, present: BTreeMap::new(), absent }
    }

    /// Takes the node over from whatever session held it. The token tells when that happens to
    /// this one.
    pub fn joined(&mut self, node: NodeId) -> (SessionId, CancellationToken) {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        let replaced = CancellationToken::new();
        let holder = Holder { session, replaced: replaced.clone() };
        if let Some(before) = self.present.insert(node, holder) {
            before.replaced.cancel();
        }
        self.absent.remove(&node);
        (session, replaced)
    }

    /// The session has ended; a later one of the same node is not touched.
    pub fn lost(&mut self, node: NodeId, session: SessionId, silence: Silence) {
        if self.holds(node, session) {
            self.present.remove(&node);
            let Silence { last_heard, suspect_at } = silence;
            let lost_at = last_heard + self.grace;
            self.absent.insert(node, Absent { suspect_at: Some(suspect_at), lost_at });
        }
    }

    /// The node's session is this one.
    pub fn holds(&self, node: NodeId, session: SessionId) -> bool {
        self.present.get(&node).is_some_and(|holder| holder.session == session)
    }

    /// The node is gone for good.
    pub fn forget(&mut self, node: NodeId) {
        self.absent.remove(&node);
    }

    /// Those whose grace has passed. Each is told once.
    pub fn silent(&mut self, now: Instant) -> Vec<NodeId> {
        let due = |(node, absent): (&NodeId, &Absent)| (absent.lost_at <= now).then_some(*node);
        let silent: Vec<NodeId> = self.absent.iter().filter_map(due).collect();
        for node in &silent {
            self.absent.remove(node);
        }
        silent
    }

    /// Those whose silence has become unusual. Each is told once.
    pub fn suspects(&mut self, now: Instant) -> Vec<NodeId> {
        let due = |(node, absent): (&NodeId, &mut Absent)| {
            absent.suspect_at.take_if(|at| *at <= now).map(|_| *node)
        };
        self.absent.iter_mut().filter_map(due).collect()
    }

    /// When the next silence becomes unusual, or too long.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.absent.values().map(|absent| absent.suspect_at.unwrap_or(absent.lost_at)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId::from_u64(1);
    const GRACE: Duration = Duration::from_secs(15);

    fn silence(last_heard: Instant) -> Silence {
        Silence { last_heard, suspect_at: last_heard + GRACE / 2 }
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_start_a_node_has_one_grace_to_come_back() {
        let start = Instant::now();
        let mut presence = Presence::new(GRACE, [NODE].into_iter(), start);
        assert_eq!(presence.silent(start + GRACE - Duration::from_millis(1)), []);
        assert_eq!(presence.next_deadline(), Some(start + GRACE * 2 / 3));
        assert_eq!(presence.suspects(start + GRACE * 2 / 3), [NODE]);
        assert_eq!(presence.suspects(start + GRACE), []);
        assert_eq!(presence.next_deadline(), Some(start + GRACE));
        assert_eq!(presence.silent(start + GRACE), [NODE]);
        assert_eq!(presence.silent(start + 2 * GRACE), []);
    }

    #[tokio::test(start_paused = true)]
    async fn the_grace_runs_from_the_last_word_and_a_new_session_ends_it() {
        let start = Instant::now();
        let mut presence = Presence::new(GRACE, [].into_iter(), start);
        let (session, _) = presence.joined(NODE);
        presence.lost(NODE, session, silence(start));
        assert_eq!(presence.next_deadline(), Some(start + GRACE / 2));
        presence.suspects(start + GRACE / 2);
        assert_eq!(presence.next_deadline(), Some(start + GRACE));
        presence.joined(NODE);
        assert_eq!(presence.next_deadline(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_session_that_ends_late_takes_nothing_from_the_new_one() {
        let start = Instant::now();
        let mut presence = Presence::new(GRACE, [].into_iter(), start);
        let (old, replaced) = presence.joined(NODE);
        let (_new, _) = presence.joined(NODE);
        assert!(replaced.is_cancelled());
        presence.lost(NODE, old, silence(start));
        assert_eq!(presence.silent(start + 2 * GRACE), []);
    }
}
