//! Sessions whose control loop is the test.

use std::sync::Arc;

use http_body_util::Full;
use prost::{Message, bytes::Bytes};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::sleep,
};
use tokio_util::task::TaskTracker;
use tonic::codec::{DecodeBuf, Decoder};
use warren_store::{MemoryStore, Store};

use super::*;
use crate::{
    calls::Calls,
    config::Timing,
    counters::Counters,
    presence::Presence,
    publish::Published,
    wakers::Wakers,
    world::{RealWorld, World},
};

/// What a worker of this node sends at once: its hello, and then a whole batch of reports.
fn all_at_once(node: u64) -> Streaming<pb::WorkerMessage> {
    let hello = pb::Hello {
        node_id: format!("{node:016x}"),
        node_name: format!("node-{node}"),
        epoch: 1,
        ..pb::Hello::default()
    };
    // What is in it is not asked here, so that it cannot be understood does not matter.
    let report = |sequence| pb::TaskReport { sequence, ..pb::TaskReport::default() };
    let reports = (1..=u64::from(BATCH_MAX)).map(|sequence| Up::Report(report(sequence)));
    let mut body = Vec::new();
    for message in [Up::Hello(hello)].into_iter().chain(reports) {
        let message = pb::WorkerMessage { message: Some(message) }.encode_to_vec();
        body.push(0);
        body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        body.extend(message);
    }
    Streaming::new_request(Plain, Full::new(Bytes::from(body)), None, None)
}

struct Plain;

impl Decoder for Plain {
    type Item = pb::WorkerMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        Self::Item::decode(buffer).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

fn context() -> (Context, mpsc::Receiver<Input>) {
    let store = MemoryStore::default();
    let published = Arc::new(Published::new(store.cluster(), RealWorld.now()));
    let (inputs, taken) = mpsc::channel(crate::input::QUEUE_MAX);
    let timing = Timing::default();
    let context = Context {
        handle: Handle::new(inputs, watch::channel(published).1, Arc::new(RealWorld)),
        calls: Calls::new(timing.call_open),
        timing,
        counters: Arc::new(Counters::default()),
        cluster_id: store.cluster_id(),
        ending: CancellationToken::new(),
        tracker: TaskTracker::new(),
        wakers: Wakers::default(),
        in_hand: Arc::new(Semaphore::new(IN_HAND_MAX)),
    };
    (context, taken)
}

/// The disk does not follow, and every worker has a batch to say.
#[tokio::test(start_paused = true)]
async fn all_sessions_together_decode_no_more_reports_than_may_be_in_hand() {
    let may = IN_HAND_MAX / BATCH_MAX as usize;
    let (context, mut inputs) = context();
    let mut presence = Presence::new(context.timing.grace, std::iter::empty(), Instant::now());
    let (mut sessions, mut heard) = (JoinSet::new(), Vec::new());
    for node in 0..may as u64 + 2 {
        let (outbox, down) = mpsc::channel(8);
        heard.push(down);
        sessions.spawn(serve(context.clone(), all_at_once(node), outbox));
    }
    let mut waiting = Vec::new();
    let mut take = async |waiting: &mut Vec<_>| {
        // The clock is paused: it goes on when nobody has anything left to do.
        while let Ok(Some(input)) = timeout(Duration::from_millis(1), inputs.recv()).await {
            if let Input::Hello { hello, reply } = input {
                let (session, replaced) = presence.joined(hello.node);
                reply.send(Ok(Joined { session, replaced })).unwrap();
                continue;
            }
            let Input::Reports { reply, .. } = input else { panic!("{input:?}") };
            waiting.push(reply);
        }
    };
    take(&mut waiting).await;
    assert_eq!(waiting.len(), may);
    assert_eq!(context.in_hand.available_permits(), 0);
    for decoded in [may + 1, may + 2] {
        waiting.remove(0).send(Ok(())).unwrap();
        take(&mut waiting).await;
        assert_eq!(waiting.len(), may, "of {decoded}");
    }
    for reply in waiting {
        reply.send(Ok(())).unwrap();
    }
    sleep(Duration::from_millis(1)).await;
    assert_eq!(context.in_hand.available_permits(), IN_HAND_MAX);
}
