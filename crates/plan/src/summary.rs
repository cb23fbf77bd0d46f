//! A service in a line.

use warren_core::{
    cluster::Cluster, health::HealthStatus, rule::Rule, service::Service, time::Timestamp,
};

use crate::{
    Policy,
    health::lost_node,
    service::slots,
    slot::{Live, Slot},
};

/// Each slot counts once: as healthy, given up, restarting, unhealthy, unknown or starting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    pub replicas: u32,
    /// A task of the slot is healthy, or runs and nobody looks.
    pub healthy: u32,
    /// Apart from the others: a task of the slot takes traffic.
    pub ready: u32,
    pub unhealthy: u32,
    /// Not healthy yet, for the first time, or not filled yet.
    pub starting: u32,
    /// Nobody could look for a while.
    pub unknown: u32,
    /// The last task failed, and the next one is not healthy yet.
    pub restarting: u32,
    /// Apart from the others: a task of the slot passes and fails by turns.
    pub flapping: u32,
    /// The slot failed too often, and no other task is tried.
    pub gave_up: u32,
    /// Apart from the others: a replacement is due, and held.
    pub held: u32,
}

impl Summary {
    /// Such as `3/3 healthy`, `0/2 healthy, 2/2 restarting` or
    /// `0/8 healthy, 8/8 unhealthy, 7 held`.
    pub fn text(&self) -> String {
        let replicas = self.replicas;
        let others = [
            (self.gave_up, "gave up"),
            (self.restarting, "restarting"),
            (self.unhealthy, "unhealthy"),
            (self.unknown, "unknown"),
            (self.starting, "starting"),
            (self.flapping, "flapping"),
        ];
        let healthy = format!("{}/{replicas} healthy", self.healthy);
        let others = others.into_iter().filter(|(count, _)| *count > 0);
        let parts = others.map(|(count, name)| format!("{count}/{replicas} {name}"));
        let held = (self.held > 0).then(|| format!("{} held", self.held));
        std::iter::once(healthy).chain(parts).chain(held).collect::<Vec<_>>().join(", ")
    }
}

pub fn summarize(cluster: &Cluster, service: &Service, now: Timestamp) -> Summary {
    let replicas = service.spec.replicas.get();
    let mut summary = Summary { replicas, ..Summary::default() };
    // No count depends on the policy.
    let policy = Policy::default();
    let slots = slots(cluster, &policy, service, now);
    for slot in slots.range(..=replicas).map(|(_, slot)| slot) {
        summary.ready += u32::from(slot.live().any(|live| live.health.ready));
        let flaps = |live: &Live| {
            let health = cluster.health(live.task.id).map(|health| &health.observed);
            health.is_some_and(|health| health.flapping_since().is_some())
                && lost_node(cluster, &live.task).is_none()
        };
        summary.flapping += u32::from(slot.live().any(flaps));
        summary.held += u32::from(slot.held().is_some_and(|held| held.rule != Rule::GaveUp));
        *summary.count_of(slot) += 1;
    }
    summary
}

impl Summary {
    fn count_of(&mut self, slot: &Slot<'_>) -> &mut u32 {
        if slot.live().any(|live: &Live| live.health.status.is_good()) {
            return &mut self.healthy;
        }
        if slot.is_held_by(Rule::GaveUp) {
            return &mut self.gave_up;
        }
        if slot.is_restarting() {
            return &mut self.restarting;
        }
        match slot.holder.as_ref().map(|live| live.health.status) {
            Some(HealthStatus::Healthy | HealthStatus::Unchecked) => &mut self.healthy,
            Some(HealthStatus::Unhealthy) => &mut self.unhealthy,
            Some(HealthStatus::Unknown) => &mut self.unknown,
            Some(HealthStatus::Starting) | None => &mut self.starting,
        }
    }
}
