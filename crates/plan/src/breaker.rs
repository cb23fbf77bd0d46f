//! Much of a service fails for what its tasks share: replacing all of them would mend nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use warren_core::{rule::Rule, time::Timestamp};

use crate::{Policy, health::broken_components, slot::Slot};

/// All but one replacement of some slots are held.
#[derive(Debug)]
pub(crate) struct Breaker {
    pub rule: Rule,
    pub reason: String,
    canary: u32,
    slots: BTreeSet<u32>,
}

/// Slots that fail, and since when.
type Failing = Vec<(Timestamp, u32)>;

/// How many within how long are too many for chance.
struct Burst {
    rule: Rule,
    slots: usize,
    window: Duration,
}

impl Breaker {
    /// Each closes when many slots fail within one moment, or for the same component within some
    /// minutes, and stays closed while as many fail, until a task that was made since works. What
    /// names a component comes first: it says more.
    pub fn all(slots: &BTreeMap<u32, Slot<'_>>, policy: &Policy, replicas: u32) -> Vec<Self> {
        let mut failing = Failing::new();
        let mut by_component: BTreeMap<&str, Failing> = BTreeMap::new();
        for (number, slot) in slots.range(..=replicas) {
            let Some((at, task)) = slot.failing() else { continue };
            failing.push((at, *number));
            for name in broken_components(slot.cluster, task).collect::<BTreeSet<_>>() {
                by_component.entry(name).or_default().push((at, *number));
            }
        }
        let burst = Burst {
            rule: Rule::Component,
            slots: policy.component_slots(replicas),
            window: policy.component_window,
        };
        let named = by_component.into_iter().filter_map(|(name, failing)| {
            let count = failing.len();
            let why = format!(
                "{count} of {replicas} slots fail and say that {name} is broken, which a restart \
                 would not mend"
            );
            Self::closed(slots, failing, &burst, &why)
        });
        let mut breakers: Vec<Self> = named.collect();
        let moments = failing.iter().filter_map(|(_, number)| slots.get(number)?.moment());
        let burst = Burst {
            rule: Rule::Dependency,
            slots: policy.breaker_slots(replicas),
            window: moments.fold(policy.moment, Duration::max),
        };
        let count = failing.len();
        let why = format!(
            "{count} of {replicas} slots fail since one moment, which a restart of all would not \
             mend"
        );
        breakers.extend(Self::closed(slots, failing, &burst, &why));
        breakers
    }

    fn closed(
        slots: &BTreeMap<u32, Slot<'_>>,
        mut failing: Failing,
        burst: &Burst,
        why: &str,
    ) -> Option<Self> {
        if failing.len() < burst.slots {
            return None;
        }
        failing.sort_unstable();
        let held = |number| slots.get(&number).is_some_and(|slot| slot.is_held_by(burst.rule));
        let already = failing.iter().find(|(_, number)| held(*number)).map(|(at, _)| *at);
        let together = |run: &&[(Timestamp, u32)]| match run {
            [first, .., last] => last.0.since(first.0) <= burst.window,
            _ => false,
        };
        let begun = || failing.windows(burst.slots).find(together).map(|run| run[0].0);
        let from = already.or_else(begun)?;
        if slots.values().any(|slot| slot.serves_since(from, burst.window)) {
            return None;
        }
        let slots_of: BTreeSet<u32> = failing.into_iter().map(|(_, number)| number).collect();
        // The same order for each of them, so that no two hold each other's.
        let order = |number: &u32| {
            let slot = slots.get(number);
            let barred = slot.is_some_and(Slot::is_barred);
            let begun = slot.is_some_and(Slot::is_in_replacement);
            let kept = slot.is_some_and(|slot| {
                !slot.is_held_by(Rule::Component) && !slot.is_held_by(Rule::Dependency)
            });
            (barred, !begun, !kept, *number)
        };
        let canary = slots_of.iter().copied().min_by_key(order)?;
        let reason = format!("{why}: slot {canary} is tried first");
        Some(Self { rule: burst.rule, reason, canary, slots: slots_of })
    }

    pub fn holds(&self, slot: u32) -> bool {
        slot != self.canary && self.slots.contains(&slot)
    }
}
