//! Kafka, by librdkafka's own brokers for tests: they speak the protocol, groups included.

use std::{sync::Arc, time::Duration};

use rdkafka::{
    ClientConfig,
    consumer::{Consumer, StreamConsumer},
    mocking::MockCluster,
    producer::{FutureProducer, FutureRecord},
};
use tokio::{sync::watch, task::JoinSet};
use vitals::Status;

use crate::server::{message, service, until};

const TOPIC: &str = "orders";
const WITHIN: Duration = Duration::from_millis(500);

fn client(servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers).set("session.timeout.ms", "6000");
    config.set("reconnect.backoff.max.ms", "200").set("topic.metadata.refresh.interval.ms", "500");
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_must_be_a_member_and_get_on() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, 2, 1).unwrap();
    let servers = cluster.bootstrap_servers();
    let producer: FutureProducer = client(&servers).create().unwrap();
    let consumer: StreamConsumer = client(&servers)
        .set("group.id", "billing")
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "100")
        .create()
        .unwrap();
    let consumer = Arc::new(consumer);
    let health = service(vitals::kafka(Arc::clone(&consumer), WITHIN));
    let report = until(&health, Status::Unhealthy).await;
    assert_eq!(message(&report), "no partition of any group is its own");

    // The service: it takes what comes, or stands with what it has.
    consumer.subscribe(&[TOPIC]).unwrap();
    let stands = watch::Sender::new(false);
    let mut taking = JoinSet::new();
    let (taker, mut told) = (Arc::clone(&consumer), stands.subscribe());
    taking.spawn(async move {
        loop {
            told.wait_for(|stands| !stands).await.unwrap();
            drop(taker.recv().await);
        }
    });
    until(&health, Status::Healthy).await;
    let send = async |partition| {
        let record = FutureRecord::<(), str>::to(TOPIC).partition(partition).payload("order");
        producer.send(record, Duration::from_secs(30)).await.unwrap();
    };
    for partition in [0, 1, 0] {
        send(partition).await;
    }
    let told = "2 partitions, 0 behind";
    let mut report = until(&health, Status::Healthy).await;
    while message(&report) != told {
        tokio::time::sleep(Duration::from_millis(50)).await;
        report = until(&health, Status::Healthy).await;
    }

    // It stands with one message in its hand, and more come.
    stands.send_replace(true);
    for _ in 0..3 {
        send(0).await;
    }
    let report = until(&health, Status::Unhealthy).await;
    let said = message(&report);
    assert!(said.starts_with("orders, partition 0: ") && said.contains("no progress"), "{said}");
    stands.send_replace(false);
    until(&health, Status::Healthy).await;

    // A broker that is gone, and back.
    cluster.broker_down(1).unwrap();
    let report = until(&health, Status::Unhealthy).await;
    assert_ne!(message(&report), "");
    cluster.broker_up(1).unwrap();
    until(&health, Status::Healthy).await;

    // It leaves its group.
    consumer.unsubscribe();
    let report = until(&health, Status::Unhealthy).await;
    assert_eq!(message(&report), "no partition of any group is its own");
}
