//! The disk holds what the cluster in memory holds, whatever the changes.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail like the test")]

#[path = "support/disk.rs"]
mod disk;
mod support;

use disk::Disk;
use proptest::prelude::*;
use support::{apply, commit, event, health, node, service, task};
use warren_core::{
    change::Change,
    id::{NodeId, ServiceId, TaskId},
};
use warren_store::RedbStore;

/// Few ids, so that puts, replacements and removals meet.
fn change() -> impl Strategy<Value = Change> {
    let id = 0..6_u64;
    prop_oneof![
        (id.clone(), 0..5_u32).prop_map(|(id, replicas)| service(id, replicas)),
        id.clone().prop_map(|id| Change::RemoveService(ServiceId::from_u64(id))),
        (id.clone(), id.clone(), proptest::option::of(id.clone()), any::<u64>())
            .prop_map(|(id, service, node, sequence)| task(id, service, node, sequence)),
        id.clone().prop_map(|id| Change::RemoveTask(TaskId::from_u64(id))),
        (id.clone(), 0..9_000_u64).prop_map(|(task, since)| health(task, since)),
        (id.clone(), any::<u64>()).prop_map(|(id, epoch)| node(id, epoch)),
        id.clone().prop_map(|id| Change::RemoveNode(NodeId::from_u64(id))),
        (1..20_u64).prop_map(event),
        (0..20_u64).prop_map(Change::RemoveEvent),
        (0..20_u64).prop_map(Change::TrimEvents),
    ]
}

proptest! {
    // Each case commits to a database; so many take a few seconds.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn memory_and_disk_agree(
        batches in proptest::collection::vec(proptest::collection::vec(change(), 0..12), 1..8)
    ) {
        let disk = Disk::default();
        let (mut store, mut cluster) = RedbStore::with_backend(disk.clone()).unwrap();
        for batch in &batches {
            apply(&mut cluster, batch);
            prop_assert_eq!(commit(&mut store, batch).unwrap(), cluster.revision);
        }
        drop(store);
        let (_store, reopened) = RedbStore::with_backend(disk).unwrap();
        prop_assert_eq!(reopened, cluster);
    }

    #[test]
    fn a_failing_disk_keeps_a_batch_whole_or_not_at_all_and_all_that_was_acknowledged(
        steps in proptest::collection::vec(
            (proptest::collection::vec(change(), 1..12), 0..24_i64, any::<bool>()),
            1..6,
        )
    ) {
        let disk = Disk::default();
        let (mut store, mut kept) = RedbStore::with_backend(disk.clone()).unwrap();
        for (batch, room, power_fails) in &steps {
            let mut next = kept.clone();
            apply(&mut next, batch);
            disk.fills_after(*room);
            if commit(&mut store, batch).is_ok() {
                disk.make_room();
                kept = next;
                continue;
            }
            drop(store);
            disk.make_room();
            if *power_fails {
                disk.lose_power();
            }
            let (reopened, found) = RedbStore::with_backend(disk.clone()).unwrap();
            prop_assert!(found == kept || found == next, "half of a batch: {found:?}");
            (store, kept) = (reopened, found);
        }
    }
}
