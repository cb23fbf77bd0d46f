//! The grid that attempts fall on: a fixed comb of the monotonic clock, shifted for each check of
//! each task so that tasks which start together are not attempted together.

use std::time::Duration;

use warren_core::{bounds::Period, check::Role, id::TaskId};

/// Time since the task's process started, on the worker's monotonic clock. Anchoring everything
/// at that moment is what makes a restarted worker go on with the same grid.
pub type Elapsed = Duration;

/// Where in `[0, period)` the grid of a check lies.
pub fn phase(task: TaskId, role: Role, period: Period) -> Duration {
    let ordinal = match role {
        Role::Startup => 1,
        Role::Liveness => 2,
        Role::Readiness => 3,
    };
    let hash = mix(task.as_u64() ^ mix(ordinal));
    // The hash as a fraction of 2^64, times the period.
    Duration::from_nanos_u128((u128::from(hash) * period.get().as_nanos()) >> 64)
}

/// The first point of the grid that is strictly after `after`. What was missed is not made up for.
pub fn next_due(after: Elapsed, phase: Duration, period: Period) -> Elapsed {
    let Some(beyond) = after.checked_sub(phase) else {
        return phase;
    };
    let period = period.get().as_nanos();
    phase + Duration::from_nanos_u128((beyond.as_nanos() / period + 1) * period)
}

/// The finalizer of splitmix64. Not std's hasher: that one may change with the compiler, and a
/// worker of tomorrow must find the grid of today. Ids are random already, but neighbours in
/// tests and in the ordinal are not; every bit of the input reaches every bit of the result.
const fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Period = Period::from_millis_const(1_000);

    // C-3: a phase that changed between versions would move every grid at an upgrade.
    #[test]
    fn the_mixer_is_splitmix64_and_stays_it() {
        // The published first outputs of splitmix64 from the seed 0.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(0x9e37_79b9_7f4a_7c15), 0x6e78_9e6a_a1b9_65f4);
        let phase = phase(TaskId::from_u64(1), Role::Liveness, PERIOD);
        assert_eq!(phase, Duration::from_nanos(FROZEN_PHASE));
    }

    const FROZEN_PHASE: u64 = 876_675_621;

    // C-3
    #[test]
    fn the_phases_of_a_thousand_tasks_are_spread_over_the_period() {
        for role in Role::ALL {
            let mut tenths = [0_u32; 10];
            for id in 0..1_000 {
                let phase = phase(TaskId::from_u64(id), role, PERIOD);
                assert!(phase < PERIOD.get());
                tenths[usize::try_from(phase.as_millis() / 100).unwrap()] += 1;
            }
            // 100 each on average; five standard deviations of the binomial are 47.
            assert!(tenths.iter().all(|count| (53..=147).contains(count)), "{tenths:?}");
        }
    }

    // C-3: the checks of one task do not fall together either.
    #[test]
    fn the_roles_of_a_task_have_phases_of_their_own() {
        let task = TaskId::from_u64(7);
        let phases = Role::ALL.map(|role| phase(task, role, PERIOD));
        assert!(phases[0] != phases[1] && phases[1] != phases[2] && phases[0] != phases[2]);
    }

    // C-4
    #[test]
    fn the_next_point_is_strictly_in_the_future_and_missed_ones_are_left_out() {
        let ms = Duration::from_millis;
        for (after, due) in [(0, 300), (299, 300), (300, 1_300), (1_299, 1_300), (5_400, 6_300)] {
            assert_eq!(next_due(ms(after), ms(300), PERIOD), ms(due), "after {after} ms");
        }
        assert_eq!(next_due(ms(0), ms(0), PERIOD), ms(1_000));
    }
}
