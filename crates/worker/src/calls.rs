//! Answers to what the manager asks of this worker, each on a stream of its own so that a long
//! log or a large image never delays health.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    io::AsyncWriteExt,
    sync::{Semaphore, mpsc, oneshot},
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Streaming, transport::Channel};
use warren_core::{Invalid, check::Role, id::TaskId, node::Driver, wire::enumerated};
use warren_proto::v1::{self as pb, call::Ask, call_output::Output, session_client::SessionClient};
use warren_runtime::{ImageRecord, Runtime, RuntimeError, logs};

use crate::{
    Config,
    agent::{AgentHandle, Event, NoTrials},
    leftovers,
    task::{NoCheck, Trials},
};

/// Calls that are answered at once. Followed logs hold theirs for as long as somebody looks.
const CALLS_MAX: usize = 64;
/// Calls beyond those that are failed at once. A manager that asks still more hears nothing.
const REFUSALS_MAX: usize = 64;
/// A worker that stops lets its answers say so, and waits no longer for those that hang.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Answers that wait for the network.
const OUTPUT_MAX: usize = 64;

#[derive(Debug, Clone)]
pub struct Calls {
    client: SessionClient<Channel>,
    agent: AgentHandle,
    config: Arc<Config>,
    permits: Arc<Semaphore>,
    shutdown: CancellationToken,
}

/// Why a call cannot be answered: told to the one who asked.
struct Failure(Code, String);

type Answered = Result<(), Failure>;
type Outputs = mpsc::Sender<pb::CallOutput>;
type Inputs = Streaming<pb::CallInput>;

impl Calls {
    pub fn new(
        client: SessionClient<Channel>,
        agent: AgentHandle,
        config: Arc<Config>,
        shutdown: CancellationToken,
    ) -> Self {
        Self { client, agent, config, permits: Arc::new(Semaphore::new(CALLS_MAX)), shutdown }
    }

    /// Answers in the background. Too many at once are failed, not queued.
    pub fn answer(&self, call: pb::Call, tracker: &TaskTracker) {
        if tracker.len() >= CALLS_MAX + REFUSALS_MAX {
            tracing::warn!(call.id = call.id, "far too many calls; one is not even refused");
            return;
        }
        let this = self.clone();
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        tracker.spawn(async move {
            let id = call.id;
            let too_late = async {
                this.shutdown.cancelled().await;
                tokio::time::sleep(LAST_WORDS).await;
            };
            let answered = tokio::select! {
                () = too_late => return,
                answered = this.admit(call, permit.is_ok()) => answered,
            };
            if let Err(error) = answered {
                tracing::debug!(call.id = id, %error, "a call was cut short");
            }
        });
    }

    async fn admit(&self, call: pb::Call, admitted: bool) -> Result<(), tonic::Status> {
        let pb::Call { id, ask } = call;
        match ask {
            Some(ask) if admitted => self.serve(id, ask).await,
            None => self.fail(id, Failure(Code::Unimplemented, "unknown call".to_owned())).await,
            Some(_) => {
                let text = "the node answers too many calls already".to_owned();
                self.fail(id, Failure(Code::ResourceExhausted, text)).await
            }
        }
    }

    async fn open(&self, id: u64) -> Result<(Outputs, Inputs), tonic::Status> {
        let (outputs, stream) = mpsc::channel(OUTPUT_MAX);
        // The channel is new and empty.
        drop(outputs.try_send(pb::CallOutput { output: Some(Output::CallId(id)) }));
        let inputs = self.client.clone().answer(ReceiverStream::new(stream)).await?.into_inner();
        Ok((outputs, inputs))
    }

    async fn fail(&self, id: u64, failure: Failure) -> Result<(), tonic::Status> {
        let (outputs, inputs) = self.open(id).await?;
        finish(outputs, inputs, Err(failure)).await;
        Ok(())
    }

    async fn serve(&self, id: u64, ask: Ask) -> Result<(), tonic::Status> {
        let (outputs, mut inputs) = self.open(id).await?;
        let answer = async {
            match ask {
                Ask::Logs(logs) => tokio::select! {
                    biased;
                    // The actors end too, and the log must not look complete because of that.
                    () = self.shutdown.cancelled() => {
                        Err(Failure(Code::Unavailable, "the worker is stopping".to_owned()))
                    }
                    answered = self.logs(logs, &outputs) => answered,
                },
                Ask::Check(check) => self.check(check, &outputs).await,
                Ask::Observe(observe) => self.observe(observe, &outputs).await,
                Ask::ListImages(pb::ListImagesCall {}) => self.list_images(&outputs).await,
                Ask::ImportImage(pb::ImportImageCall {}) => {
                    self.import(&mut inputs, &outputs).await
                }
            }
        };
        let answered = tokio::select! {
            biased;
            // When the one who asked goes away, so does the work.
            () = outputs.closed() => Ok(()),
            answered = answer => answered,
        };
        finish(outputs, inputs, answered).await;
        Ok(())
    }

    async fn logs(&self, call: pb::LogsCall, outputs: &Outputs) -> Answered {
        let pb::LogsCall { task_id, tail, follow } = call;
        let task = parse_task(&task_id)?;
        let (reply, answer) = oneshot::channel();
        self.agent.tell(Event::LogEnd { task, reply }).await;
        let Ok(Some(mut ended)) = answer.await else {
            return Err(Failure(Code::NotFound, format!("the node does not hold task {task}")));
        };
        let path = self.log_path(task);
        let complete = async move {
            // An actor that is gone has ended too.
            drop(ended.wait_for(|ended| *ended).await);
        };
        let mut lines = logs::read(path, tail, follow, complete);
        while let Some(line) = lines.recv().await {
            let line =
                line.map_err(|e| Failure(Code::Internal, format!("cannot read the log: {e}")))?;
            if outputs.send(log_line(line)).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn observe(&self, call: pb::ObserveCall, outputs: &Outputs) -> Answered {
        let tasks = call.task_ids.iter().map(|id| parse_task(id)).collect::<Result<_, _>>()?;
        let (reply, answer) = oneshot::channel();
        self.agent.tell(Event::Observe { tasks, reply }).await;
        for observation in answer.await.unwrap_or_default() {
            let output = Some(Output::Observation(observation.into()));
            if outputs.send(pb::CallOutput { output }).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn check(&self, call: pb::CheckCall, outputs: &Outputs) -> Answered {
        let pb::CheckCall { task_id, role } = call;
        let task = parse_task(&task_id)?;
        let role = match role {
            0 => None,
            number => Some(enumerated::<pb::Role, Role>("role", number).map_err(|e| refused(&e))?),
        };
        let trials = self.trials(task).await?;
        let wanted = trials.of(role).map_err(|none| from_no_check(task, &none))?;
        for wanted in wanted {
            let trial = trials.make(wanted).await;
            let output = Some(Output::Trial((&trial).into()));
            if outputs.send(pb::CallOutput { output }).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn trials(&self, task: TaskId) -> Result<Trials, Failure> {
        let (reply, answer) = oneshot::channel();
        self.agent.tell(Event::Try { task, reply }).await;
        match answer.await {
            Ok(Ok(trials)) => Ok(trials),
            Ok(Err(NoTrials::NotHeld)) => {
                Err(Failure(Code::NotFound, format!("the node does not hold task {task}")))
            }
            Ok(Err(NoTrials::NotRunning(state))) => {
                let why = format!("task {task} does not run, it is {state}: nothing to check");
                Err(Failure(Code::FailedPrecondition, why))
            }
            Err(_) => Err(Failure(Code::Unavailable, "the worker is stopping".to_owned())),
        }
    }

    async fn list_images(&self, outputs: &Outputs) -> Answered {
        let images = self.containerd()?.images().await.map_err(|error| from_runtime(&error))?;
        self.send_images(images, outputs).await;
        Ok(())
    }

    /// Takes the archive into a file first: a runtime reads it more than once.
    async fn import(&self, inputs: &mut Inputs, outputs: &Outputs) -> Answered {
        let runtime = Arc::clone(self.containerd()?);
        let archive = tempfile::Builder::new()
            .prefix(leftovers::ARCHIVE_PREFIX)
            .tempfile_in(&self.config.log_dir)
            .map_err(|e| not_kept(&e))?;
        let mut file = tokio::fs::File::from_std(archive.reopen().map_err(|e| not_kept(&e))?);
        let mut room = self.config.archive_max;
        while let Some(input) = inputs.next().await {
            let input =
                input.map_err(|status| Failure(status.code(), status.message().to_owned()))?;
            room = room.checked_sub(input.data.len() as u64).ok_or_else(|| {
                let most = self.config.archive_max >> 20;
                let why = format!("the archive is larger than {most} MiB, the most a node takes");
                Failure(Code::ResourceExhausted, why)
            })?;
            file.write_all(&input.data).await.map_err(|e| not_kept(&e))?;
        }
        file.flush().await.map_err(|e| not_kept(&e))?;
        let images = runtime
            .import(archive.path().to_owned())
            .await
            .map_err(|error| from_runtime(&error))?;
        self.send_images(images, outputs).await;
        Ok(())
    }

    async fn send_images(&self, images: Vec<ImageRecord>, outputs: &Outputs) {
        for record in images {
            let ImageRecord { name, digest, size_bytes, updated_at } = record;
            let image = pb::Image {
                name,
                digest,
                size_bytes,
                updated_at: Some(updated_at.into()),
                node_id: self.agent.identity.node.to_string(),
            };
            let output = Some(Output::Image(image));
            if outputs.send(pb::CallOutput { output }).await.is_err() {
                break;
            }
        }
    }

    fn containerd(&self) -> Result<&Arc<dyn Runtime>, Failure> {
        self.agent.drivers.get(Driver::Containerd).ok_or_else(|| {
            Failure(Code::FailedPrecondition, "the node has no containerd driver".to_owned())
        })
    }

    fn log_path(&self, task: TaskId) -> PathBuf {
        logs::path(&self.config.log_dir, task)
    }
}

/// Ends the answer. The other half of the stream is read to its end first: given up earlier, it
/// would be reset, and with it what is on its way up.
async fn finish(outputs: Outputs, mut inputs: Inputs, answered: Answered) {
    if let Err(Failure(code, message)) = answered {
        let failure = pb::CallFailure { code: code.into(), message };
        // The one who asked may have gone away.
        drop(outputs.send(pb::CallOutput { output: Some(Output::Failure(failure)) }).await);
    }
    drop(outputs);
    while let Ok(Some(_unwanted)) = inputs.message().await {}
}

fn not_kept(error: &io::Error) -> Failure {
    use io::ErrorKind::{QuotaExceeded, StorageFull};

    let is_full = matches!(error.kind(), QuotaExceeded | StorageFull);
    let code = if is_full { Code::ResourceExhausted } else { Code::Internal };
    Failure(code, format!("cannot keep the archive: {error}"))
}

fn parse_task(text: &str) -> Result<TaskId, Failure> {
    text.parse().map_err(|e| Failure(Code::InvalidArgument, format!("task_id: {e}")))
}

fn refused(invalid: &Invalid) -> Failure {
    Failure(Code::InvalidArgument, invalid.to_string())
}

fn from_no_check(task: TaskId, none: &NoCheck) -> Failure {
    match none {
        NoCheck::AtAll => {
            Failure(Code::FailedPrecondition, format!("task {task} has no checks to make"))
        }
        NoCheck::OfRole { wanted, there } => {
            let there: Vec<_> = there.iter().map(|role| role.name()).collect();
            let (wanted, there) = (wanted.name(), there.join(" and "));
            let why = format!("task {task} has no {wanted} check; it has {there}");
            Failure(Code::NotFound, why)
        }
    }
}

fn from_runtime(error: &RuntimeError) -> Failure {
    let code = match error {
        RuntimeError::Unavailable { .. } => Code::Unavailable,
        RuntimeError::NoSuchTask(_) => Code::NotFound,
        RuntimeError::Refused(_) => Code::InvalidArgument,
    };
    Failure(code, error.to_string())
}

fn log_line(line: logs::Line) -> pb::CallOutput {
    let logs::Line { at, stream, bytes } = line;
    let stream = match stream {
        logs::Stream::Stdout => pb::LogStream::Stdout,
        logs::Stream::Stderr => pb::LogStream::Stderr,
    };
    let line = pb::LogLine { at: Some(at.into()), stream: stream.into(), line: bytes };
    pb::CallOutput { output: Some(Output::Log(line)) }
}
