//! The manager asks a worker something: logs, live observations, images.
//!
//! The question goes over the node's session; the worker answers on a stream of its own, so that
//! logs and images never delay health.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};
use tonic::{Status, Streaming};
use warren_core::id::NodeId;
use warren_proto::v1::{self as pb, call::Ask};

use crate::{presence::SessionId, rejection::Rejection};

/// What goes down one session and is not on the wire yet. A worker that does not read slows its
/// own assignments and nobody else.
pub const OUTBOX_MAX: usize = 64;

/// Pieces of an archive on their way to a worker; each is at most 1 MiB.
const INPUTS_MAX: usize = 4;

/// Calls that wait for their answer to open, of all nodes. More than people or controllers ask
/// for at a time; each waits no longer than [`crate::Timing::call_open`].
const OPENING_MAX: usize = 1024;

/// Where a session's messages go.
pub type Outbox = mpsc::Sender<Result<pb::ManagerMessage, Status>>;

/// The sessions that can be asked, and the calls whose answers have not opened yet.
#[derive(Clone)]
pub struct Calls {
    state: Arc<Mutex<State>>,
    patience: Duration,
}

#[derive(Default)]
struct State {
    sessions: BTreeMap<NodeId, Open>,
    opening: BTreeMap<u64, Asker>,
    last_id: u64,
}

/// A session that can be asked.
struct Open {
    session: SessionId,
    outbox: Outbox,
    /// The observer's, as of the last heartbeat.
    score: Option<u32>,
}

/// What a worker answers. Dropped, it tells the worker that nobody listens any more.
pub type Outputs = Streaming<pb::CallOutput>;

/// What a worker is given to answer with. Closed, everything was sent; an error says that it will
/// never be.
pub type Inputs = mpsc::Sender<Result<pb::CallInput, Status>>;

/// The other end of [`Inputs`].
pub type FromAsker = mpsc::Receiver<Result<pb::CallInput, Status>>;

/// Whoever waits for an answer.
struct Asker {
    outputs: oneshot::Sender<Outputs>,
    /// None: the call takes no input, and its stream down ends at once. Were it left open, a
    /// worker that hangs up first would reset it, and lose what it has just put out.
    inputs: Option<FromAsker>,
}

impl Calls {
    pub fn new(patience: Duration) -> Self {
        Self { state: Arc::default(), patience }
    }

    /// The node can be asked over this session from now on, unless a later one was quicker.
    pub fn connect(&self, node: NodeId, session: SessionId, outbox: Outbox) {
        let mut state = self.state();
        if state.sessions.get(&node).is_none_or(|open| open.session < session) {
            state.sessions.insert(node, Open { session, outbox, score: None });
        }
    }

    /// A later session of the same node is not touched.
    pub fn disconnect(&self, node: NodeId, session: SessionId) {
        let mut state = self.state();
        if state.sessions.get(&node).is_some_and(|open| open.session == session) {
            state.sessions.remove(&node);
        }
    }

    /// The worker has said how starved it is.
    pub fn note_score(&self, node: NodeId, session: SessionId, score: u32) {
        let mut state = self.state();
        let open = state.sessions.get_mut(&node).filter(|open| open.session == session);
        if let Some(open) = open {
            open.score = Some(score);
        }
    }

    /// The last that was said of it, while the node is connected.
    pub fn score(&self, node: NodeId) -> Option<u32> {
        self.state().sessions.get(&node)?.score
    }

    pub fn connected(&self) -> Vec<NodeId> {
        self.state().sessions.keys().copied().collect()
    }

    /// Waits until the worker opens its answer.
    pub async fn ask(&self, node: NodeId, ask: Ask) -> Result<Outputs, Rejection> {
        self.call(node, ask, None).await
    }

    /// Likewise, for a call that the worker is given something for.
    pub async fn ask_with_input(
        &self,
        node: NodeId,
        ask: Ask,
    ) -> Result<(Outputs, Inputs), Rejection> {
        let (inputs, from_asker) = mpsc::channel(INPUTS_MAX);
        Ok((self.call(node, ask, Some(from_asker)).await?, inputs))
    }

    async fn call(
        &self,
        node: NodeId,
        ask: Ask,
        inputs: Option<FromAsker>,
    ) -> Result<Outputs, Rejection> {
        let (outbox, mut opening) = self.open(node, inputs)?;
        let call = pb::Call { id: opening.id, ask: Some(ask) };
        let message = pb::manager_message::Message::Call(call);
        let message = pb::ManagerMessage { message: Some(message) };
        let answered = async {
            outbox.send(Ok(message)).await.ok()?;
            // The outbox is let go, so that an ended session is noticed by its reader.
            drop(outbox);
            (&mut opening.outputs).await.ok()
        };
        match tokio::time::timeout(self.patience, answered).await {
            Ok(Some(outputs)) => Ok(outputs),
            Ok(None) => Err(not_connected(node)),
            Err(_) => {
                let why = format!("node {node} did not answer within {:?}", self.patience);
                Err(Rejection::Unavailable(why))
            }
        }
    }

    /// A worker opens its answer: hands it to whoever asked, and says what goes back.
    pub fn answered(&self, id: u64, outputs: Outputs) -> Result<Option<FromAsker>, Rejection> {
        let gone = || Rejection::NotFound(format!("nobody waits for call {id}"));
        let asker = self.state().opening.remove(&id).ok_or_else(gone)?;
        asker.outputs.send(outputs).map_err(|_| gone())?;
        Ok(asker.inputs)
    }

    fn open(
        &self,
        node: NodeId,
        inputs: Option<FromAsker>,
    ) -> Result<(Outbox, Opening), Rejection> {
        let mut state = self.state();
        let Some(open) = state.sessions.get(&node) else {
            return Err(not_connected(node));
        };
        let outbox = open.outbox.clone();
        if state.opening.len() >= OPENING_MAX {
            return Err(Rejection::Full("too many calls wait for their nodes".to_owned()));
        }
        state.last_id += 1;
        let id = state.last_id;
        let (asker, outputs) = oneshot::channel();
        state.opening.insert(id, Asker { outputs: asker, inputs });
        Ok((outbox, Opening { calls: self.clone(), id, outputs }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_connected(node: NodeId) -> Rejection {
    Rejection::Unavailable(format!("node {node} is not connected now"))
}

/// A call whose answer has not opened. Dropped, it is forgotten.
struct Opening {
    calls: Calls,
    id: u64,
    outputs: oneshot::Receiver<Outputs>,
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.calls.state().opening.remove(&self.id);
    }
}

/// One piece of an answer, with failures told apart.
pub fn output(message: pb::CallOutput) -> Result<Option<pb::call_output::Output>, Rejection> {
    use pb::call_output::Output;
    match message.output {
        Some(Output::Failure(pb::CallFailure { code, message })) => {
            Err(Rejection::Worker { code, message })
        }
        Some(
            output @ (Output::CallId(_)
            | Output::Log(_)
            | Output::Observation(_)
            | Output::Image(_)
            | Output::Trial(_)),
        ) => Ok(Some(output)),
        None => Ok(None),
    }
}
