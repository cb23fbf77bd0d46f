//! The next batch is decided while the last one is on its way to the disk, and nobody hears of
//! either before it is there.

use std::{sync::Arc, time::Duration};

use crate::support::{Running, TIMING, TestWorld, spec};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::sleep,
};
use tonic::{Code, Status, async_trait};
use warren_core::{change::Change, cluster::Cluster, id::ClusterId};
use warren_manager::{Manager, ManagerFault, Policy, Pulse};
use warren_proto::v1 as pb;
use warren_store::{CommitFault, MemoryStore, Store};

/// Each commit waits until the test lets it.
#[derive(Clone)]
struct SlowStore {
    kept: MemoryStore,
    may_commit: Arc<Semaphore>,
    begun: watch::Sender<usize>,
}

#[async_trait]
impl Store for SlowStore {
    fn cluster_id(&self) -> ClusterId {
        self.kept.cluster_id()
    }

    async fn commit(&mut self, batch: Arc<[Change]>) -> Result<u64, CommitFault> {
        self.begun.send_modify(|begun| *begun += 1);
        self.may_commit.acquire().await.unwrap().forget();
        self.kept.commit(batch).await
    }
}

impl SlowStore {
    async fn begins(&self, count: usize) {
        self.begun.subscribe().wait_for(|begun| *begun == count).await.unwrap();
    }
}

/// The first batch, which says that the manager has started, is durable.
async fn start() -> (SlowStore, Running, Pulse) {
    let (kept, may_commit) = (MemoryStore::default(), Arc::new(Semaphore::new(1)));
    let store = SlowStore { kept, may_commit, begun: watch::Sender::new(0) };
    let (world, boxed) = (Arc::new(TestWorld::new()), Box::new(store.clone()));
    let manager =
        Manager::with_store(boxed, Cluster::default(), world, TIMING, Policy::default()).unwrap();
    let pulse = manager.pulse();
    let running = Running::serve(manager).await;
    pulse.beat().await.unwrap();
    assert_eq!(*store.begun.borrow(), 1);
    (store, running, pulse)
}

type Created = JoinSet<Result<(), Status>>;

fn create(running: &Running, name: &str) -> Created {
    let mut services = running.services();
    let request = pb::CreateServiceRequest { spec: Some(spec(name, 1)) };
    let mut created = JoinSet::new();
    created.spawn(async move { services.create(request).await.map(drop) });
    created
}

async fn answer(mut created: Created) -> Result<(), Status> {
    created.join_next().await.unwrap().unwrap()
}

fn is_answered<T: 'static>(asked: &mut JoinSet<T>) -> bool {
    asked.try_join_next().is_some()
}

async fn listed(running: &Running) -> Vec<String> {
    let listed = running.services().list(pb::ListServicesRequest {}).await.unwrap().into_inner();
    let name = |row: pb::ServiceRow| row.service.unwrap().spec.unwrap().name;
    listed.services.into_iter().map(name).collect()
}

/// Time passes only when nobody has anything to do.
async fn all_is_decided() {
    sleep(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_never_overtakes_the_commit_that_it_rests_on() {
    let (store, running, pulse) = start().await;
    let mut first = create(&running, "first");
    store.begins(2).await;
    let mut second = create(&running, "second");
    all_is_decided().await;
    // Has nothing to write, and says all the same that what came before is durable.
    let mut beat = JoinSet::new();
    beat.spawn(async move { pulse.beat().await });
    all_is_decided().await;
    assert!(!is_answered(&mut first) && !is_answered(&mut second) && !is_answered(&mut beat));
    assert_eq!(*store.begun.borrow(), 2, "one commit at a time");
    assert_eq!(listed(&running).await, Vec::<String>::new());

    store.may_commit.add_permits(1);
    answer(first).await.unwrap();
    store.begins(3).await;
    all_is_decided().await;
    assert!(!is_answered(&mut second) && !is_answered(&mut beat));
    assert_eq!(listed(&running).await, ["first"]);

    store.may_commit.add_permits(1);
    answer(second).await.unwrap();
    beat.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(listed(&running).await, ["first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_decided_on_top_of_a_failed_commit_is_neither_written_nor_shown() {
    let (store, running, _pulse) = start().await;
    let first = create(&running, "first");
    store.begins(2).await;
    let others = [create(&running, "second"), create(&running, "third")];
    all_is_decided().await;
    let durable = store.kept.cluster();
    store.kept.fail();
    store.may_commit.add_permits(3);
    for refused in [first].into_iter().chain(others) {
        assert_eq!(answer(refused).await.unwrap_err().code(), Code::Unavailable);
    }
    let fault = running.ended().await.unwrap_err();
    assert!(matches!(fault, ManagerFault::Commit(_)), "{fault}");
    assert_eq!((*store.begun.borrow(), store.kept.cluster()), (2, durable));
}

#[tokio::test(start_paused = true)]
async fn what_was_decided_before_an_orderly_end_is_written() {
    let (store, running, _pulse) = start().await;
    let first = create(&running, "first");
    store.begins(2).await;
    let second = create(&running, "second");
    all_is_decided().await;
    running.shutdown.cancel();
    store.may_commit.add_permits(2);
    running.ended().await.unwrap();
    let kept = store.kept.cluster();
    let names: Vec<_> = kept.services().map(|service| service.spec.name.to_string()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    // Whether they heard of it is their connection's luck.
    drop((answer(first).await, answer(second).await));
}
