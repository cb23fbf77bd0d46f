//! Databases of earlier versions, and databases as files: looked at, written whole.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail like the test")]

mod support;

use std::{
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
use redb::{Database, ReadableDatabase, TableDefinition};
use support::{apply, commit, event, health, node, service, task};
use tempfile::TempDir;
use warren_core::{cluster::Cluster, id::TaskId, task::ReportMark};
use warren_store::{CopyFault, OpenFault, RedbStore, SCHEMA, Store, inspect, write_whole};

/// As the last version with schema 1 left it when it was killed: one service, a hundred tasks.
const SCHEMA_1: &[u8] = include_bytes!("fixtures/schema-1.redb.gz");

fn schema_1() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("warren.redb");
    let mut bytes = Vec::new();
    GzDecoder::new(SCHEMA_1).read_to_end(&mut bytes).unwrap();
    fs::write(&path, bytes).unwrap();
    (dir, path)
}

fn has_table(path: &Path, name: &str) -> bool {
    let database = Database::open(path).unwrap();
    let tx = database.begin_read().unwrap();
    tx.open_table(TableDefinition::<u64, &[u8]>::new(name)).is_ok()
}

fn is_the_old_cluster(cluster: &Cluster) {
    assert_eq!(cluster.services().count(), 1);
    assert_eq!(cluster.tasks().count(), 100);
    assert_eq!(cluster.nodes().count(), 2);
    assert!(cluster.events().count() > 300);
    for task in cluster.tasks() {
        let health = cluster.health(task.id).unwrap();
        assert!(health.observed.ready && health.reported == ReportMark::default());
        assert_eq!(cluster.reported(task), task.reported);
        assert!(task.reported.sequence > 0, "{}", task.id);
    }
}

#[test]
fn a_database_of_schema_1_becomes_one_of_today_and_loses_nothing() {
    let (dir, path) = schema_1();
    let (mut store, mut cluster) = RedbStore::open(dir.path()).unwrap();
    is_the_old_cluster(&cluster);
    let batch = [health(1, 5_000)];
    apply(&mut cluster, &batch);
    assert_eq!(commit(&mut store, &batch).unwrap(), cluster.revision);
    let id = store.cluster_id();
    drop(store);
    assert!(has_table(&path, "health-2") && !has_table(&path, "health-1"));
    let (store, reopened) = RedbStore::open(dir.path()).unwrap();
    assert_eq!((store.cluster_id(), reopened), (id, cluster));
}

#[test]
fn a_migration_that_meets_a_row_that_is_none_changes_nothing_and_names_it() {
    let (dir, path) = schema_1();
    let rows: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("health-1");
    let database = Database::open(&path).unwrap();
    let tx = database.begin_write().unwrap();
    tx.open_table(rows).unwrap().insert(u64::MAX, [0xff; 3].as_slice()).unwrap();
    tx.commit().unwrap();
    drop(database);
    for _ in 0..2 {
        let fault = RedbStore::open(dir.path()).map(drop).unwrap_err();
        assert!(fault.to_string().contains("ffffffffffffffff in health-1"), "{fault}");
        assert!(has_table(&path, "health-1") && !has_table(&path, "health-2"));
    }
}

#[test]
fn a_look_changes_no_byte_not_even_of_what_a_crash_or_an_earlier_version_left() {
    let (_dir, path) = schema_1();
    let before = fs::read(&path).unwrap();
    let found = inspect(&path).unwrap();
    assert_eq!(found.schema, 1);
    is_the_old_cluster(&found.cluster);
    assert!(fs::read(&path).unwrap() == before);
}

#[test]
fn a_look_at_what_is_in_use_missing_empty_foreign_or_newer_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("warren.redb");
    let fault = |path: &Path| inspect(path).unwrap_err();
    assert!(matches!(fault(&path), OpenFault::Unreadable { .. }));
    let (store, _) = RedbStore::open(dir.path()).unwrap();
    assert!(matches!(fault(&path), OpenFault::InUse { .. }), "{}", fault(&path));
    drop(store);
    assert_eq!(inspect(&path).unwrap().schema, SCHEMA);
    let other = dir.path().join("other");
    fs::write(&other, b"").unwrap();
    assert!(matches!(fault(&other), OpenFault::Empty { .. }));
    fs::write(&other, b"this is not a database at all").unwrap();
    assert!(matches!(fault(&other), OpenFault::Unreadable { .. }));
    let songs = dir.path().join("songs");
    drop(Database::create(&songs).unwrap());
    assert!(matches!(fault(&songs), OpenFault::Foreign { .. }));
}

#[test]
fn a_look_finds_a_bit_that_has_flipped_in_a_row_and_leaves_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("copy");
    let (cluster, id) = some_cluster();
    write_whole(&path, id, &cluster, false).unwrap();
    let mut damaged = fs::read(&path).unwrap();
    let needle = b"event 77";
    let at: Vec<usize> =
        (0..damaged.len()).filter(|at| damaged[*at..].starts_with(needle)).collect();
    assert!(!at.is_empty());
    for at in at {
        damaged[at] ^= 1;
    }
    fs::write(&path, &damaged).unwrap();
    let fault = inspect(&path).unwrap_err();
    assert!(fault.to_string().contains("damaged"), "{fault}");
    assert!(fs::read(&path).unwrap() == damaged);
}

fn some_cluster() -> (Cluster, warren_core::id::ClusterId) {
    let mut cluster = Cluster::default();
    let mut batch = vec![service(1, 3), node(7, 1)];
    for id in 1..200 {
        batch.extend([task(id, 1, Some(7), id), health(id, 5_000 + id), event(id)]);
    }
    apply(&mut cluster, &batch);
    cluster.revision = 77;
    (cluster, warren_core::id::ClusterId::from_u64(0xabc))
}

#[test]
fn what_is_written_whole_is_read_back_whole_and_is_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("warren.redb");
    let (cluster, id) = some_cluster();
    write_whole(&path, id, &cluster, false).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let found = inspect(&path).unwrap();
    assert_eq!((found.cluster_id, &found.cluster), (id, &cluster));
    let (store, opened) = RedbStore::open(dir.path()).unwrap();
    assert_eq!((store.cluster_id(), opened), (id, cluster));
    drop(store);
    let names = fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["warren.redb"], "nothing is left beside it");
}

#[test]
fn a_copy_overwrites_only_what_it_is_told_to_and_names_what_is_in_its_way() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("copy");
    let (cluster, id) = some_cluster();
    fs::write(&path, "mine").unwrap();
    let fault = write_whole(&path, id, &cluster, false).unwrap_err();
    assert!(matches!(fault, CopyFault::Exists { .. }), "{fault}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    write_whole(&path, id, &cluster, true).unwrap();
    assert_eq!(inspect(&path).unwrap().cluster.task(TaskId::from_u64(5)).unwrap().slot, 1);
    let nowhere = dir.path().join("no/such/directory");
    let fault = write_whole(&nowhere, id, &cluster, false).unwrap_err();
    assert!(fault.to_string().contains("see that its directory is there"), "{fault}");
}
