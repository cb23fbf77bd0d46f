//! This machine's own disk and memory.

use vitals::Status;

use crate::server::{message, service, until};

#[tokio::test]
async fn the_disk_is_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let room = vitals::disk(dir.path()).degraded_below(0.0).unhealthy_below(0.0);
    let report = until(&service(room), Status::Healthy).await;
    assert!(message(&report).contains(" GB free"), "{}", message(&report));
    let no_room = vitals::disk(dir.path()).unhealthy_below(100.1);
    until(&service(no_room), Status::Unhealthy).await;
    let report = until(&service(vitals::disk("/no/such/place")), Status::Unhealthy).await;
    assert!(message(&report).contains("No such file"), "{}", message(&report));
}

#[tokio::test]
async fn the_memory_is_looked_at() {
    let enough = vitals::memory().degraded_above(100.0).unhealthy_above(100.0);
    let report = until(&service(enough), Status::Healthy).await;
    assert!(message(&report).ends_with(" used"), "{}", message(&report));
    until(&service(vitals::memory().unhealthy_above(0.0)), Status::Unhealthy).await;
}

#[tokio::test]
async fn a_check_that_blocks_costs_one_thread_however_long_it_does() {
    use std::sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };

    let (release, held) = mpsc::channel::<()>();
    let (held, runs) = (Mutex::new(held), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&runs);
    let health = service(vitals::blocking(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        let _ = held.lock().unwrap().recv();
        Ok(())
    }));
    let report = until(&health, Status::Unhealthy).await;
    assert_eq!(message(&report), "no answer within 1 s");
    let report = until(&health, Status::Unhealthy).await;
    assert_eq!(message(&report), "the run before still blocks its thread");
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    drop(release);
    until(&health, Status::Healthy).await;
}
