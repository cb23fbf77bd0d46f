//! Kafka, by librdkafka's own brokers for tests: they speak the protocol, groups included.

use std::{
    panic,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    consumer::{Consumer, StreamConsumer},
    mocking::MockCluster,
    producer::{DefaultProducerContext, FutureProducer, FutureRecord},
};
use tokio::{runtime, task::JoinSet, time::timeout};
use vitals::{Status, Vitals};

use crate::server::{message, service};

const TOPIC: &str = "orders";
const WITHIN: Duration = Duration::from_millis(500);
/// For one thing to come true on a loaded machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// For a whole test. A call into librdkafka that does not return ends no sooner.
const BOUND: Duration = Duration::from_mins(7);

const ALONE: &str = "no partition of any group is its own";
const AHEAD: &str = "2 partitions, 0 behind";

/// Runs a test, which ends whatever librdkafka does: its thread is not waited for beyond the bound,
/// and a runtime that is never dropped waits for nobody.
fn bounded<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let (ended, end) = mpsc::channel();
    let thread = thread::spawn(move || {
        let _ended: mpsc::Sender<()> = ended;
        let runtime = runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        Box::leak(Box::new(runtime)).block_on(test());
    });
    match end.recv_timeout(BOUND) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("a call has not returned for {BOUND:?}"),
        Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => {}
    }
    if let Err(panicked) = thread.join() {
        panic::resume_unwind(panicked);
    }
}

/// A broker with a topic of two partitions, who sends to it, and one consumer. None of them is ever
/// dropped: to close them waits for brokers that a test may have stopped.
struct Kafka {
    cluster: &'static MockCluster<'static, DefaultProducerContext>,
    producer: &'static FutureProducer,
    consumer: &'static Arc<StreamConsumer>,
}

fn leak<T>(it: T) -> &'static T {
    Box::leak(Box::new(it))
}

impl Kafka {
    fn start() -> Self {
        let cluster = leak(MockCluster::new(1).unwrap());
        cluster.create_topic(TOPIC, 2, 1).unwrap();
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("reconnect.backoff.max.ms", "200");
        let producer = config.clone().create().unwrap();
        let consumer: StreamConsumer = config
            .set("group.id", "billing")
            .set("auto.offset.reset", "earliest")
            .set("auto.commit.interval.ms", "200")
            .set("fetch.wait.max.ms", "100")
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "200")
            .create()
            .unwrap();
        Self { cluster, producer: leak(producer), consumer: leak(Arc::new(consumer)) }
    }

    fn check(&self) -> vitals::Kafka<StreamConsumer, rdkafka::consumer::DefaultConsumerContext> {
        vitals::kafka(Arc::clone(self.consumer), WITHIN)
    }

    /// The service: it takes what comes until it is dropped.
    fn take(&self) -> JoinSet<()> {
        let consumer = self.consumer;
        let mut taking = JoinSet::new();
        taking.spawn(async {
            loop {
                // What failed is tried again by the client itself.
                drop(consumer.recv().await);
            }
        });
        taking
    }

    async fn send(&self, partition: i32) {
        let record = FutureRecord::<(), str>::to(TOPIC).partition(partition).payload("order");
        timeout(PATIENCE, self.producer.send(record, PATIENCE)).await.unwrap().unwrap();
    }

    /// Asks until the component says what is expected.
    async fn until(&self, health: &Vitals, expected: Status, said: impl Fn(&str) -> bool) {
        let started = Instant::now();
        loop {
            let report = timeout(PATIENCE, health.report()).await.unwrap();
            if report.status == expected && said(message(&report)) {
                return;
            }
            if started.elapsed() > PATIENCE {
                let position = self.consumer.position();
                panic!("not {expected:?}: {report:#?}, the consumer is at {position:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn no_progress(said: &str) -> bool {
    said.starts_with("orders, partition 0: ") && said.contains(" behind and no progress for ")
}

#[test]
fn a_consumer_must_be_a_member() {
    bounded(|| async {
        let kafka = Kafka::start();
        let health = service(kafka.check());
        kafka.until(&health, Status::Unhealthy, |said| said == ALONE).await;
        kafka.consumer.subscribe(&[TOPIC]).unwrap();
        let _taking = kafka.take();
        kafka.until(&health, Status::Healthy, |said| said == AHEAD).await;
        kafka.consumer.unsubscribe();
        kafka.until(&health, Status::Unhealthy, |said| said == ALONE).await;
    });
}

#[test]
fn a_consumer_must_get_on() {
    bounded(|| async {
        let kafka = Kafka::start();
        let health = service(kafka.check());
        kafka.consumer.subscribe(&[TOPIC]).unwrap();
        let mut taking = kafka.take();
        kafka.until(&health, Status::Healthy, |said| said == AHEAD).await;
        for partition in [0, 1, 0] {
            kafka.send(partition).await;
        }
        kafka.until(&health, Status::Healthy, |said| said == AHEAD).await;
        // It stands, with a message in its hand or not, and more come.
        taking.shutdown().await;
        for _ in 0..3 {
            kafka.send(0).await;
        }
        kafka.until(&health, Status::Unhealthy, no_progress).await;
        let _taking = kafka.take();
        kafka.until(&health, Status::Healthy, |said| said == AHEAD).await;
    });
}

#[test]
fn what_came_before_the_first_look_is_work_for_a_consumer_from_the_earliest() {
    bounded(|| async {
        let kafka = Kafka::start();
        let before = service(kafka.check());
        kafka.consumer.subscribe(&[TOPIC]).unwrap();
        let mut joining = kafka.take();
        kafka.until(&before, Status::Healthy, |said| said == AHEAD).await;
        joining.shutdown().await;
        for _ in 0..3 {
            kafka.send(0).await;
        }
        kafka.until(&before, Status::Unhealthy, no_progress).await;
        // Nothing has been taken and nothing committed: what is there is all that can be told.
        let (latest, earliest) = (service(kafka.check()), service(kafka.check().earliest()));
        kafka.until(&latest, Status::Healthy, |said| said == AHEAD).await;
        kafka.until(&earliest, Status::Unhealthy, no_progress).await;
        let _taking = kafka.take();
        for health in [&before, &latest, &earliest] {
            kafka.until(health, Status::Healthy, |said| said == AHEAD).await;
        }
    });
}

#[test]
fn a_broker_that_is_gone_shows_and_is_back_by_itself() {
    bounded(|| async {
        let kafka = Kafka::start();
        let health = service(kafka.check());
        kafka.consumer.subscribe(&[TOPIC]).unwrap();
        let _taking = kafka.take();
        kafka.send(0).await;
        kafka.until(&health, Status::Healthy, |said| said == AHEAD).await;
        kafka.cluster.broker_down(1).unwrap();
        kafka.until(&health, Status::Unhealthy, |said| !said.is_empty()).await;
        kafka.cluster.broker_up(1).unwrap();
        kafka.until(&health, Status::Healthy, |said| said == AHEAD).await;
    });
}
