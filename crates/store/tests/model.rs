//! The disk holds what the cluster in memory holds, whatever the changes.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail like the test")]

mod support;

use proptest::prelude::*;
use support::{Disk, apply, commit, event, health, node, service, task};
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
}
