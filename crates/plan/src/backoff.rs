//! How long a slot waits after its tasks failed, all of it from rows that survive a restart.

use std::time::Duration;

use warren_core::{health::HealthStatus, id::TaskId, task::Phase, task::Task, time::Timestamp};

use crate::{Policy, health, mix};
use warren_core::cluster::Cluster;

/// The wait before the task with this id, which comes after so many failures in a row: none
/// after the first, then up to 5 s, doubling to 5 min, spread over the whole of it so that
/// slots that failed together don't come back together.
pub(crate) fn delay(policy: &Policy, attempt: u32, task: TaskId) -> Duration {
    let top = ceiling(policy, attempt);
    let top = u64::try_from(top.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(mix::scale(mix::mix(&[task.as_u64()]), top))
}

/// The longest wait after so many failures in a row.
fn ceiling(policy: &Policy, attempt: u32) -> Duration {
    match attempt.checked_sub(2) {
        None => Duration::ZERO,
        Some(doublings) => {
            let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
            policy.backoff_base.saturating_mul(factor).min(policy.backoff_max)
        }
    }
}

/// Whether the task's run was long and good enough to forgive what was before it.
pub(crate) fn ran_stably(cluster: &Cluster, policy: &Policy, task: &Task, now: Timestamp) -> bool {
    let Some(started) = task.status.started_at else {
        return false;
    };
    health::was_ready(cluster, task)
        && good_until(cluster, task, now).since(started) >= policy.stable_run
}

/// The end of the task's run, or of the good part of it.
fn good_until(cluster: &Cluster, task: &Task, now: Timestamp) -> Timestamp {
    let ended = match &task.status.phase {
        Phase::Ended(end) => end.at,
        Phase::Pending | Phase::Preparing | Phase::Running | Phase::Stopping => now,
    };
    let stopped = task.stop.as_ref().map_or(now, |stop| stop.at);
    let health = cluster.health(task.id).map(|health| health.effective(now));
    let unhealthy = health
        .filter(|health| health.status == HealthStatus::Unhealthy)
        .map_or(now, |health| health.since);
    now.min(ended).min(stopped).min(unhealthy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_begins_after_the_second_failure_and_doubles_to_its_bound() {
        let policy = Policy::default();
        let seconds: Vec<u64> = (0..11).map(|n| ceiling(&policy, n).as_secs()).collect();
        assert_eq!(seconds, [0, 0, 5, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(ceiling(&policy, u32::MAX), policy.backoff_max);
    }

    #[test]
    fn the_jitter_spreads_over_the_whole_wait_and_is_never_nothing() {
        let policy = Policy::default();
        let delays: Vec<Duration> =
            (0..1_000).map(|id| delay(&policy, 2, TaskId::from_u64(id))).collect();
        let second = Duration::from_secs(1);
        assert!(delays.iter().all(|&d| d > Duration::ZERO && d <= 5 * second));
        for fifth in 0..5 {
            let within = |d: &&Duration| (fifth * second..(fifth + 1) * second).contains(*d);
            let share = delays.iter().filter(within).count();
            assert!((120..280).contains(&share), "{share} of 1000 in second {fifth}");
        }
    }
}
