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
    /// When a new task works, or most have recovered, the others are looked at once more, up to
    /// then: what was broken for all may be whole again.
    pub until: Option<Timestamp>,
    canary: Option<u32>,
    slots: BTreeSet<u32>,
}

/// Slots that fail, and since when.
type Failing = Vec<(Timestamp, u32)>;

/// How many within how long are too many for chance.
struct Burst {
    rule: Rule,
    slots: usize,
    window: Duration,
    /// So long after one works again the others have been looked at once more.
    look: Duration,
}

impl Breaker {
    /// Each closes when many slots fail within one moment, or for the same component within some
    /// minutes, and stays closed while as many fail, until a task that was made since works and
    /// the others have had one more look. What names a component comes first: it says more.
    pub fn all(
        slots: &BTreeMap<u32, Slot<'_>>,
        policy: &Policy,
        replicas: u32,
        now: Timestamp,
    ) -> Vec<Self> {
        let mut failing = Failing::new();
        let mut by_component: BTreeMap<&str, Failing> = BTreeMap::new();
        for (number, slot) in slots.range(..=replicas) {
            let Some((at, task)) = slot.failing() else { continue };
            failing.push((at, *number));
            for name in broken_components(slot.cluster, task).collect::<BTreeSet<_>>() {
                by_component.entry(name).or_default().push((at, *number));
            }
        }
        let failing_slots = || failing.iter().filter_map(|(_, number)| slots.get(number));
        let looks = failing_slots().filter_map(Slot::next_look);
        let look = looks.max().unwrap_or_default().min(policy.next_look_max);
        let burst = Burst {
            rule: Rule::Component,
            slots: policy.component_slots(replicas),
            window: policy.component_window,
            look,
        };
        let named = by_component.into_iter().filter_map(|(name, failing)| {
            let count = failing.len();
            let why = format!(
                "{count} of {replicas} slots fail and say that {name} is broken, which a restart \
                 would not mend"
            );
            Self::closed(slots, failing, &burst, &why, now)
        });
        let mut breakers: Vec<Self> = named.collect();
        let moments = failing_slots().filter_map(Slot::moment);
        let burst = Burst {
            rule: Rule::Dependency,
            slots: policy.breaker_slots(replicas),
            window: moments.fold(policy.moment, Duration::max),
            look,
        };
        let count = failing.len();
        let why = format!(
            "{count} of {replicas} slots fail since one moment, which a restart of all would not \
             mend"
        );
        breakers.extend(Self::closed(slots, failing, &burst, &why, now));
        breakers
    }

    fn closed(
        slots: &BTreeMap<u32, Slot<'_>>,
        mut failing: Failing,
        burst: &Burst,
        why: &str,
        now: Timestamp,
    ) -> Option<Self> {
        failing.sort_unstable();
        let held = |number| slots.get(&number).is_some_and(|slot| slot.is_held_by(burst.rule));
        let already = failing.iter().find(|(_, number)| held(*number)).map(|(at, _)| *at);
        let together = |run: &&[(Timestamp, u32)]| match run {
            [first, .., last] => last.0.since(first.0) <= burst.window,
            _ => false,
        };
        let begun = || failing.windows(burst.slots).find(together).map(|run| run[0].0);
        let from = already.or_else(begun)?;
        let new = slots.values().filter_map(|slot| slot.serves_since(from, burst.window)).min();
        let until = if failing.len() >= burst.slots {
            new.map(|works| works.after(burst.look))
        } else {
            // The others have recovered.
            let again = slots.values().filter_map(|slot| slot.recovered_since(from)).min();
            Some(again.into_iter().chain(new).min()?.after(burst.look))
        };
        // By the worker's clock: where that is wrong nobody waits for it.
        if until.is_some_and(|until| until <= now || now.after(2 * burst.look) < until) {
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
        let (canary, what) = match until {
            None => (Some(canary), format!("slot {canary} is tried first")),
            Some(_) => (None, "one works again, and the others are looked at once more".to_owned()),
        };
        let reason = format!("{why}: {what}");
        Some(Self { rule: burst.rule, reason, until, canary, slots: slots_of })
    }

    /// What has ended will not recover, so it waits for no further look.
    pub fn holds(&self, slot: u32, rule: Rule) -> bool {
        let may_recover = rule == Rule::Unhealthy;
        let waits = may_recover || (rule == Rule::Ended && self.until.is_none());
        waits && self.canary != Some(slot) && self.slots.contains(&slot)
    }
}
