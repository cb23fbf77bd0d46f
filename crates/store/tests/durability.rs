//! What a commit promises, held against reopening, a killed process and a failing disk.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail like the test")]

#[path = "support/disk.rs"]
mod disk;
mod support;

use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::atomic::Ordering,
};

use disk::Disk;
use prost::Message;
use redb::{Database, ReadableDatabase, TableDefinition};
use support::{apply, commit, event, health, node, service, task};
use warren_core::{change::Change, cluster::Cluster, id::TaskId};
use warren_proto::v1 as pb;
use warren_store::{CommitFault, OpenFault, RedbStore, Store};

const META: TableDefinition<'_, (), &[u8]> = TableDefinition::new("meta-1");

#[test]
fn what_was_committed_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut cluster) = RedbStore::open(&dir.path().join("deep/er")).unwrap();
    assert_eq!(cluster, Cluster::default());
    for batch in [
        vec![service(1, 3), node(7, 1), event(1)],
        vec![task(11, 1, Some(7), 1), task(12, 1, None, 0), health(11, 5_000)],
        vec![Change::RemoveTask(TaskId::from_u64(12)), event(2), Change::TrimEvents(1)],
    ] {
        apply(&mut cluster, &batch);
        assert_eq!(commit(&mut store, &batch).unwrap(), cluster.revision);
    }
    drop(store);
    let (_store, reopened) = RedbStore::open(&dir.path().join("deep/er")).unwrap();
    assert_eq!(reopened, cluster);
    assert_eq!(reopened.revision, 3);
}

#[test]
fn a_second_opener_is_told_to_end_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let (_first, _) = RedbStore::open(dir.path()).unwrap();
    let second = RedbStore::open(dir.path()).map(drop).unwrap_err();
    assert!(matches!(second, OpenFault::InUse { .. }), "{second}");
    assert!(second.to_string().contains("end the manager that runs there"), "{second}");
}

#[test]
fn a_file_that_is_no_database_and_a_directory_that_cannot_be_made_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("warren.redb"), b"this is not a database at all").unwrap();
    let garbage = RedbStore::open(dir.path()).map(drop).unwrap_err();
    assert!(matches!(garbage, OpenFault::Unreadable { .. }), "{garbage}");
    let under_a_file = dir.path().join("warren.redb/data");
    let no_directory = RedbStore::open(&under_a_file).map(drop).unwrap_err();
    assert!(matches!(no_directory, OpenFault::Directory { .. }), "{no_directory}");
    assert!(no_directory.to_string().contains("--data-dir"), "{no_directory}");
}

#[test]
fn an_empty_file_is_not_taken_for_a_new_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("warren.redb");
    std::fs::write(&path, b"").unwrap();
    let empty = RedbStore::open(dir.path()).map(drop).unwrap_err();
    assert!(matches!(empty, OpenFault::Empty { .. }), "{empty}");
    assert_eq!(std::fs::metadata(path).unwrap().len(), 0, "it is left as it is");
}

#[test]
fn a_cluster_keeps_the_id_that_it_began_with_and_no_other_has_it() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let id = |dir: &tempfile::TempDir| RedbStore::open(dir.path()).unwrap().0.cluster_id();
    assert_eq!(id(&dir), id(&dir));
    assert_ne!(id(&dir), id(&other));
    let files = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name());
    assert_eq!(files.collect::<Vec<_>>(), ["warren.redb"], "nothing is left beside it");
}

/// One page after the other is overwritten. Some are not in use, or do not matter yet.
#[test]
fn damage_anywhere_inside_is_a_fault_with_a_sentence() {
    const PAGE: usize = 4096;
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = RedbStore::open(dir.path()).unwrap();
    let tasks: Vec<Change> = (1..400).map(|id| task(id, 1, None, 0)).collect();
    commit(&mut store, &tasks).unwrap();
    drop(store);
    let path = dir.path().join("warren.redb");
    let whole = std::fs::read(&path).unwrap();
    let used = |page: &usize| whole[page * PAGE..].iter().take(PAGE).any(|byte| *byte != 0);
    let mut faults = 0;
    for page in (0..whole.len() / PAGE).filter(used) {
        let mut damaged = whole.clone();
        damaged[page * PAGE..][..PAGE].fill(0xff);
        std::fs::write(&path, damaged).unwrap();
        if let Err(fault) = RedbStore::open(dir.path()) {
            assert!(fault.to_string().contains("put back a copy"), "page {page}: {fault}");
            faults += 1;
        }
    }
    assert!(faults > 10, "{faults} faults in {} pages", whole.len() / PAGE);
}

#[test]
fn a_newer_schema_and_a_foreign_database_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("warren.redb");
    let meta = pb::MetaRow { schema: 99, revision: 5, cluster_id: "x".to_owned() };
    put_raw(&path, META, &meta.encode_to_vec());
    let newer = RedbStore::open(dir.path()).map(drop).unwrap_err();
    assert!(matches!(newer, OpenFault::Newer { found: 99, known: 2, .. }), "{newer}");
    assert_eq!(raw(&path, META), meta.encode_to_vec(), "it is left as it is");
    std::fs::remove_file(&path).unwrap();
    put_raw(&path, TableDefinition::new("songs"), b"la");
    let foreign = RedbStore::open(dir.path()).map(drop).unwrap_err();
    assert!(matches!(foreign, OpenFault::Foreign { .. }), "{foreign}");
}

#[test]
fn a_row_that_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    drop(RedbStore::open(dir.path()).unwrap());
    let path = dir.path().join("warren.redb");
    let tasks: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("tasks-1");
    let database = Database::open(path).unwrap();
    let tx = database.begin_write().unwrap();
    tx.open_table(tasks).unwrap().insert(255, [0xff; 3].as_slice()).unwrap();
    tx.commit().unwrap();
    drop(database);
    let damaged = RedbStore::open(dir.path()).map(drop).unwrap_err();
    assert!(damaged.to_string().contains("00000000000000ff in tasks-1"), "{damaged}");
}

fn raw(path: &std::path::Path, table: TableDefinition<'_, (), &'static [u8]>) -> Vec<u8> {
    let database = Database::open(path).unwrap();
    let tx = database.begin_read().unwrap();
    let row = tx.open_table(table).unwrap().get(()).unwrap();
    row.unwrap().value().to_vec()
}

fn put_raw(path: &std::path::Path, table: TableDefinition<'_, (), &'static [u8]>, bytes: &[u8]) {
    let database = Database::create(path).unwrap();
    let tx = database.begin_write().unwrap();
    tx.open_table(table).unwrap().insert((), bytes).unwrap();
    tx.commit().unwrap();
}

#[test]
fn after_one_failed_sync_nothing_more_is_written_and_the_batch_is_there_whole_or_not_at_all() {
    let disk = Disk::default();
    let (mut store, mut before) = RedbStore::with_backend(disk.clone()).unwrap();
    let first = [service(1, 1), task(1, 1, None, 0)];
    apply(&mut before, &first);
    commit(&mut store, &first).unwrap();

    disk.broken.store(true, Ordering::Relaxed);
    let second: Vec<Change> = (2..200).map(|id| task(id, 1, None, 0)).collect();
    let fault = commit(&mut store, &second).unwrap_err();
    assert!(matches!(fault, CommitFault::Database(_)), "{fault}");
    // The disk is well again, and still nobody may build on what is not known.
    let later = commit(&mut store, &[service(2, 1)]).unwrap_err();
    assert!(matches!(later, CommitFault::Ended), "{later}");
    drop(store);

    let mut after = before.clone();
    apply(&mut after, &second);
    let (_store, reopened) = RedbStore::with_backend(disk).unwrap();
    assert!(reopened == before || reopened == after, "revision {}", reopened.revision);
}

#[test]
fn a_full_disk_fails_the_commit_and_what_was_acknowledged_survives_the_power_too() {
    let disk = Disk::default();
    let (mut store, mut kept) = RedbStore::with_backend(disk.clone()).unwrap();
    let first = [service(1, 1), task(1, 1, None, 0)];
    apply(&mut kept, &first);
    commit(&mut store, &first).unwrap();

    disk.fills_after(0);
    let fault = commit(&mut store, &[service(2, 1)]).unwrap_err();
    assert!(matches!(fault, CommitFault::Database(_)), "{fault}");
    drop(store);
    disk.make_room();
    disk.lose_power();
    let (mut store, reopened) = RedbStore::with_backend(disk).unwrap();
    assert_eq!(reopened, kept);
    commit(&mut store, &[service(2, 1)]).unwrap();
}

const CHILD_DIR: &str = "WARREN_STORE_TEST_DIR";

#[test]
#[ignore = "the next test runs it as a process of its own and kills it"]
fn child_that_commits_until_it_is_killed() {
    let dir = env::var_os(CHILD_DIR).expect("run by the next test");
    let (mut store, _) = RedbStore::open(dir.as_ref()).unwrap();
    let mut out = io::stdout();
    for id in 1.. {
        let batch = [task(2 * id, 1, None, 0), task(2 * id + 1, 1, None, 0)];
        let revision = commit(&mut store, &batch).unwrap();
        writeln!(out, "durable {revision}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "child_that_commits_until_it_is_killed", "--ignored", "--nocapture"])
        .env(CHILD_DIR, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let acknowledged = lines
        .filter_map(|line| line.strip_prefix("durable ").and_then(|n| n.parse::<u64>().ok()))
        .nth(20)
        .expect("the child commits");
    child.kill().unwrap();
    child.wait().unwrap();

    let (_store, cluster) = RedbStore::open(dir.path()).unwrap();
    assert!(cluster.revision >= acknowledged, "{} < {acknowledged}", cluster.revision);
    // Each batch puts two tasks: half a batch would show.
    assert_eq!(cluster.tasks().count() as u64, 2 * cluster.revision);
}
