//! Attempts at a running task by hand: at its own checks, with the same prober and its permits,
//! and outside of its verdicts.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until},
};
use warren_core::{check::Role, trial::Trial};
use warren_verdict::CheckGroup;

use super::checking::Watched;

/// Between the starts of two attempts at one task by hand: whoever asks in a loop shall not load
/// the task more than a quick check of its own would.
const GAP: Duration = Duration::from_millis(100);

/// One at a time, and when the next one may begin.
pub type Turn = Mutex<Option<Instant>>;

/// What it takes to make them. Holds the task's network open, so drop it soon.
#[derive(Debug)]
pub struct Trials {
    pub(super) watched: Arc<Watched>,
    pub(super) groups: Vec<Arc<CheckGroup>>,
}

/// Why there is nothing to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoCheck {
    AtAll,
    OfRole { wanted: Role, there: Vec<Role> },
}

impl Trials {
    /// The checks of this role, or of all; never empty.
    pub fn of(&self, role: Option<Role>) -> Result<Vec<&CheckGroup>, NoCheck> {
        let wanted = |group: &&CheckGroup| role.is_none_or(|role| group.roles.contains(&role));
        let found: Vec<_> = self.groups.iter().map(|group| &**group).filter(wanted).collect();
        match role {
            _ if !found.is_empty() => Ok(found),
            Some(wanted) if !self.groups.is_empty() => {
                let there = self.groups.iter().flat_map(|group| group.roles).copied().collect();
                Err(NoCheck::OfRole { wanted, there })
            }
            Some(_) | None => Err(NoCheck::AtAll),
        }
    }

    pub async fn make(&self, wanted: &CheckGroup) -> Trial {
        let CheckGroup { role: _, roles, check } = wanted;
        let Watched { clock, prober, target, turn, .. } = &*self.watched;
        let mut turn = turn.lock().await;
        if let Some(not_before) = *turn {
            sleep_until(not_before).await;
        }
        *turn = Some(Instant::now() + GAP);
        let asked = clock.now();
        let seen = prober.attempt(target, &check.kind, check.timing.timeout.get()).await;
        seen.trial(asked, roles.to_vec(), check.clone())
    }
}
