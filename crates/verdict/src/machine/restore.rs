//! Going on from a recorded health when a worker returns.

use std::sync::Arc;

use warren_core::{
    check::{Checks, Role},
    health::{Health, HealthStatus, RoleHealth, Verdict},
    id::TaskId,
    outcome::{Evidence, Outcome},
    time::Timestamp,
};

use super::{Life, Overall, TaskVerdicts};
use crate::{schedule::Elapsed, watch::Watch};

impl TaskVerdicts {
    /// Goes on from a record after a restart of the worker: verdicts and streaks stay, nothing
    /// is reported, and every check stays on its grid. `now` is the time since the process's
    /// start, measured anew.
    pub fn restore(
        task: TaskId,
        checks: &Arc<Checks>,
        started_at: Timestamp,
        saved: &Health,
        now: Elapsed,
    ) -> Self {
        let mut verdicts = Self::new(task, checks, started_at);
        for role in Role::ALL {
            let Some(from) = saved.roles.get(role) else {
                continue;
            };
            let gap = verdicts.timing(verdicts.sharing.confirmed_by(role));
            let gap = gap.map(Watch::least_gap).unwrap_or_default();
            let check = checks.get(role).as_ref();
            if let Some((run, check)) = verdicts.roles.get_mut(role).zip(check) {
                run.resume(&check.timing, from, now, since_last(from, started_at.after(now)), gap);
            }
            let lead = verdicts.sharing.lead(role) == role;
            if let Some(watch) = verdicts.watches.get_mut(role).filter(|_| lead) {
                watch.resume(from.last.clone(), now);
            }
        }
        if has_ended(saved) {
            verdicts.life = Life::Gone(saved.reason.clone());
        } else if let Some(culprit) = verdicts.culprit()
            && let Some(run) = verdicts.roles.get_mut(culprit)
        {
            run.blame(&saved.reason);
        } else {
            for role in Role::ALL {
                if let Some(run) = verdicts.roles.get_mut(role) {
                    run.window_mut().blame(&saved.reason);
                }
            }
        }
        verdicts.overall = Overall {
            status: saved.status,
            since: saved.since,
            ready: saved.ready,
            ready_since: saved.ready_since,
            was_ready: saved.was_ready,
            reason: saved.reason.clone(),
        };
        verdicts
    }
}

/// How long ago, at `now`, the last attempt of a role began. Both are of whole milliseconds, of
/// which less may have passed than they seem to be apart.
fn since_last(role: &RoleHealth, now: Timestamp) -> Elapsed {
    let apart = role.last.as_ref().map_or(Elapsed::ZERO, |last| now.since(last.at));
    apart.saturating_sub(Elapsed::from_millis(1))
}

/// Whether a recorded health is of a task whose process was gone.
fn has_ended(saved: &Health) -> bool {
    let roles = || Role::ALL.into_iter().filter_map(|role| saved.roles.get(role).as_deref());
    let gone = |role: &RoleHealth| {
        role.last.as_ref().is_some_and(|last| last.outcome == Outcome::Fail(Evidence::Gone))
    };
    let failing = |role: &RoleHealth| role.verdict == Verdict::Failing;
    saved.status == HealthStatus::Unhealthy && (roles().any(gone) || !roles().any(failing))
}
