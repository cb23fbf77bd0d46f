//! Kafka, through the service's own consumer.

use std::{
    collections::BTreeMap,
    fmt,
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{Consumer as KafkaConsumer, ConsumerContext},
};

use super::{blocking::Thread, consumer::Consumer};
use crate::check::{Check, CheckError, Context, Details};

/// Of the check's timeout, so that what is wrong can still be told.
const SHARE: f64 = 0.8;

/// Looks whether a consumer of rdkafka is a member of its group, with partitions of its own, and
/// gets on: it is unhealthy when a partition has had work for `within` and its position has not
/// moved. The end of each partition is asked of its broker, so a broker that is gone shows as well.
///
/// Progress is what the service has taken from the consumer, whether it has committed it or not.
/// Where it has taken nothing since the partition became its own, what the group has committed
/// counts, and without that what comes from the first look on, or with [`Kafka::earliest`] the
/// whole partition.
///
/// A consumer beyond the number of partitions has none and is unhealthy: nothing tells it from one
/// that is in no group.
///
/// ```no_run
/// # fn build() -> Result<(), rdkafka::error::KafkaError> {
/// use std::{sync::Arc, time::Duration};
/// use rdkafka::{ClientConfig, consumer::StreamConsumer};
/// use vitals::Vitals;
///
/// let config = ClientConfig::new();
/// let consumer: Arc<StreamConsumer> = Arc::new(config.create()?);
/// let orders = vitals::kafka(Arc::clone(&consumer), Duration::from_secs(60));
/// let health = Vitals::new("billing", "1.0.0").critical("orders", orders);
/// # drop(health);
/// # Ok(())
/// # }
/// ```
pub fn kafka<K, C>(consumer: Arc<K>, within: Duration) -> Kafka<K, C>
where
    K: KafkaConsumer<C> + Send + Sync + 'static,
    C: ConsumerContext + 'static,
{
    let topics = Arc::new(Topics { within, earliest: false, known: Mutex::default() });
    Kafka { consumer, topics, thread: Thread::default(), context: PhantomData }
}

impl<K, C> Kafka<K, C> {
    /// For a consumer with `auto.offset.reset=earliest`: what was in a partition before the first
    /// look is work as well. The consumer itself does not tell how it is set.
    pub fn earliest(mut self) -> Self {
        let within = self.topics.within;
        self.topics = Arc::new(Topics { within, earliest: true, known: Mutex::default() });
        self
    }
}

/// See [`kafka()`].
pub struct Kafka<K, C> {
    consumer: Arc<K>,
    topics: Arc<Topics>,
    thread: Thread,
    context: PhantomData<fn() -> C>,
}

impl<K, C> fmt::Debug for Kafka<K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka").field("within", &self.topics.within).finish_non_exhaustive()
    }
}

struct Topics {
    within: Duration,
    earliest: bool,
    /// What was seen by the runs before.
    known: Mutex<BTreeMap<String, Consumer>>,
}

impl<K, C> Check for Kafka<K, C>
where
    K: KafkaConsumer<C> + Send + Sync + 'static,
    C: ConsumerContext + 'static,
{
    async fn check(&self, context: Context) -> Result<Details, CheckError> {
        let (consumer, topics) = (Arc::clone(&self.consumer), Arc::clone(&self.topics));
        let until = Instant::now() + context.timeout().mul_f64(SHARE);
        self.thread.run(move || topics.look(&*consumer, until)).await
    }
}

impl Topics {
    fn look<C: ConsumerContext>(
        &self,
        consumer: &impl KafkaConsumer<C>,
        until: Instant,
    ) -> Result<Details, CheckError> {
        if consumer.assignment_lost() {
            return Err(CheckError::new("it is no member of its group any more"));
        }
        let assignment = consumer.assignment()?;
        if assignment.count() == 0 {
            return Err(CheckError::new("no partition of any group is its own"));
        }
        let mut wanted = BTreeMap::<String, Vec<i32>>::new();
        for part in assignment.elements() {
            wanted.entry(part.topic().to_owned()).or_default().push(part.partition());
        }
        // All questions come first: an answer that fails to come leaves what is known as it is.
        let seen = Seen::ask(consumer, &wanted, self.earliest, until)?;
        // Nothing panics while it is held.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|topic, _| wanted.contains_key(topic));
        let (mut partitions, mut behind) = (0, 0);
        for (topic, numbers) in wanted {
            let progress = known.entry(topic.clone()).or_insert_with(|| Consumer::new(self.within));
            let new = progress.keep(&numbers);
            for number in numbers {
                let Some(end) = offset(&seen.ends, &topic, number) else { continue };
                progress.end(number, end);
                let unknown = new.contains(&number).then_some(end);
                if let Some(position) = seen.position(&topic, number).or(unknown) {
                    progress.position(number, position);
                }
            }
            let (count, lag) =
                progress.judge().map_err(|error| CheckError::new(format!("{topic}, {error}")))?;
            partitions += count;
            behind += lag;
        }
        Ok(Details::healthy().message(format!("{partitions} partitions, {behind} behind")))
    }
}

/// The answers of one run.
struct Seen {
    ends: TopicPartitionList,
    /// From the best word for where the consumer is to the least.
    positions: Vec<TopicPartitionList>,
}

impl Seen {
    fn ask<C: ConsumerContext>(
        consumer: &impl KafkaConsumer<C>,
        wanted: &BTreeMap<String, Vec<i32>>,
        earliest: bool,
        until: Instant,
    ) -> Result<Self, CheckError> {
        let ends = offsets(consumer, wanted, Offset::End, until)?;
        let taken = consumer.position()?;
        let untouched =
            taken.elements().iter().any(|part| !matches!(part.offset(), Offset::Offset(_)));
        let mut positions = vec![taken];
        // It has taken nothing of a partition since that became its own.
        if untouched {
            positions.push(consumer.committed(left(until))?);
            if earliest {
                positions.push(offsets(consumer, wanted, Offset::Beginning, until)?);
            }
        }
        Ok(Self { ends, positions })
    }

    fn position(&self, topic: &str, partition: i32) -> Option<i64> {
        self.positions.iter().find_map(|list| offset(list, topic, partition))
    }
}

/// The first or the last offsets of partitions, by one question to each of their brokers. It waits
/// behind the consumer's own fetch, which takes `fetch.wait.max.ms` when there is nothing to fetch.
fn offsets<C: ConsumerContext>(
    consumer: &impl KafkaConsumer<C>,
    wanted: &BTreeMap<String, Vec<i32>>,
    which: Offset,
    until: Instant,
) -> Result<TopicPartitionList, CheckError> {
    let mut asked = TopicPartitionList::new();
    for (topic, numbers) in wanted {
        for number in numbers {
            asked.add_partition_offset(topic, *number, which)?;
        }
    }
    let told = consumer.offsets_for_times(asked, left(until))?;
    for part in told.elements() {
        part.error()?;
    }
    Ok(told)
}

fn offset(list: &TopicPartitionList, topic: &str, partition: i32) -> Option<i64> {
    match list.find_partition(topic, partition)?.offset() {
        Offset::Offset(at) => Some(at),
        Offset::Beginning
        | Offset::End
        | Offset::Stored
        | Offset::Invalid
        | Offset::OffsetTail(_) => None,
    }
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}
