//! What the manager cannot know itself, it asks the worker.

use crate::support::{FakeWorker, Running, TIMING};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};
use warren_proto::v1::{self as pb, call::Ask, call_output::Output, import_image_request::Part};
use warren_store::MemoryStore;

/// The worker's side of one call.
struct Answering {
    ask: Ask,
    up: mpsc::Sender<pb::CallOutput>,
    down: Streaming<pb::CallInput>,
}

async fn answer(worker: &mut FakeWorker) -> Answering {
    worker.until(|worker| !worker.calls.is_empty()).await;
    let pb::Call { id, ask } = worker.calls.pop_front().unwrap();
    let (up, outputs) = mpsc::channel(8);
    up.send(pb::CallOutput { output: Some(Output::CallId(id)) }).await.unwrap();
    let down = worker.client.answer(ReceiverStream::new(outputs)).await.unwrap().into_inner();
    Answering { ask: ask.unwrap(), up, down }
}

impl Answering {
    async fn put(&self, output: Output) {
        self.up.send(pb::CallOutput { output: Some(output) }).await.unwrap();
    }

    /// Ends the outputs and waits for the manager to have read them.
    async fn finish(mut self) {
        drop(self.up);
        assert_eq!(self.down.message().await.unwrap(), None);
    }
}

fn line(text: &str) -> pb::LogLine {
    pb::LogLine { at: None, stream: pb::LogStream::Stdout.into(), line: text.into() }
}

fn image(name: &str) -> pb::Image {
    pb::Image { name: name.to_owned(), ..pb::Image::default() }
}

fn logs(task: &str) -> pb::TaskLogsRequest {
    pb::TaskLogsRequest { task: task.to_owned(), tail: Some(2), follow: true }
}

#[tokio::test(start_paused = true)]
async fn logs_are_followed_until_the_client_goes_and_the_worker_notices() {
    let running = Running::over(MemoryStore::default()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    running.create("web", 1).await;
    let task = worker.run_healthy(1).await.remove(0);
    let mut tasks = running.tasks();
    let (lines, answering) = tokio::join!(tasks.logs(logs("web.1")), answer(&mut worker));
    let mut lines = lines.unwrap().into_inner();
    let expected = pb::LogsCall { task_id: task, tail: Some(2), follow: true };
    assert_eq!(answering.ask, Ask::Logs(expected));
    answering.put(Output::Log(line("hello"))).await;
    assert_eq!(lines.message().await.unwrap().unwrap().line, b"hello");
    drop(lines);
    answering.up.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_fails_a_call_says_why_in_its_own_code() {
    let running = Running::over(MemoryStore::default()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    running.create("web", 1).await;
    worker.run_healthy(1).await;
    let mut tasks = running.tasks();
    let (lines, answering) = tokio::join!(tasks.logs(logs("web.1")), answer(&mut worker));
    let failure =
        pb::CallFailure { code: Code::NotFound.into(), message: "the log is gone".to_owned() };
    answering.put(Output::Failure(failure)).await;
    let refused = lines.unwrap().into_inner().message().await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::NotFound, "the log is gone"));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_gone_or_does_not_answer_is_unavailable() {
    let running = Running::over(MemoryStore::default()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    running.create("web", 1).await;
    worker.run_healthy(1).await;
    let asked = tokio::time::Instant::now();
    let mute = running.tasks().logs(logs("web.1")).await.map(drop).unwrap_err();
    assert_eq!((mute.code(), asked.elapsed()), (Code::Unavailable, TIMING.call_open));
    drop(worker);
    let gone = running.tasks().logs(logs("web.1")).await.map(drop).unwrap_err();
    assert_eq!(gone.code(), Code::Unavailable);
    let observed = running.tasks().observe(pb::ObserveRequest::default()).await.unwrap();
    assert_eq!(observed.into_inner().observations, []);
}

#[tokio::test(start_paused = true)]
async fn observations_and_images_are_gathered() {
    let running = Running::over(MemoryStore::default()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    running.create("web", 1).await;
    let task = worker.run_healthy(1).await.remove(0);
    let request = pb::ObserveRequest { service: "web".to_owned(), tasks: vec![] };
    let mut tasks = running.tasks();
    let seen = async {
        let answering = answer(&mut worker).await;
        let call = pb::ObserveCall { task_ids: vec![task.clone()] };
        assert_eq!(answering.ask, Ask::Observe(call));
        let seen = pb::Observation { task_id: task.clone(), ..pb::Observation::default() };
        answering.put(Output::Observation(seen)).await;
        answering.finish().await;
    };
    let (observed, ()) = tokio::join!(tasks.observe(request), seen);
    assert_eq!(observed.unwrap().into_inner().observations[0].task_id, task);
    let mut images = running.images();
    let held = async {
        let answering = answer(&mut worker).await;
        answering.put(Output::Image(image("docker.io/library/nginx:latest"))).await;
        answering.finish().await;
    };
    let (listed, ()) = tokio::join!(images.list(pb::ListImagesRequest::default()), held);
    let listed = listed.unwrap().into_inner().images;
    assert_eq!(
        (listed[0].name.as_str(), listed[0].node_id.as_str()),
        ("docker.io/library/nginx:latest", "0000000000000001",)
    );
}

/// The worker answers the next call with a failure.
async fn fail(worker: &mut FakeWorker, code: Code, why: &str) {
    let answering = answer(worker).await;
    let failure = pb::CallFailure { code: code.into(), message: why.to_owned() };
    answering.put(Output::Failure(failure)).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_images_cannot_be_listed_is_named_with_the_reason() {
    let running = Running::over(MemoryStore::default()).await;
    let mut first = FakeWorker::join(&running, 1, 1).await;
    let mut second = FakeWorker::join(&running, 2, 1).await;
    let mut images = running.images();
    let held = async {
        let answering = answer(&mut first).await;
        answering.put(Output::Image(image("app:1"))).await;
        answering.finish().await;
    };
    let down = fail(&mut second, Code::Unavailable, "containerd: connection refused");
    let all = images.list(pb::ListImagesRequest::default());
    let (listed, (), ()) = tokio::join!(all, held, down);
    let listed = listed.unwrap().into_inner();
    assert_eq!(listed.images[0].name, "app:1");
    let [unasked] = &listed.unasked[..] else { panic!("{:?}", listed.unasked) };
    assert_eq!(unasked.node_name, "node-2");
    assert_eq!(unasked.reason, "containerd: connection refused");

    drop(second);
    let down = fail(&mut first, Code::Unavailable, "containerd: connection refused");
    let all = images.list(pb::ListImagesRequest::default());
    let (listed, ()) = tokio::join!(all, down);
    let none = listed.unwrap_err();
    let why = "no node can be asked for its images: node-1: containerd: connection refused; \
               node-2: node 0000000000000002 is not connected now";
    assert_eq!((none.code(), none.message()), (Code::Unavailable, why));
}

#[tokio::test(start_paused = true)]
async fn a_check_by_hand_is_asked_of_the_task_s_worker() {
    let running = Running::over(MemoryStore::default()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    running.create("web", 1).await;
    let task = worker.run_healthy(1).await.remove(0);
    let mut tasks = running.tasks();
    let mut again = tasks.clone();
    let request =
        |role: pb::Role| pb::CheckTaskRequest { task: "web.1".to_owned(), role: role.into() };
    let made = async {
        let answering = answer(&mut worker).await;
        let call = pb::CheckCall { task_id: task.clone(), role: pb::Role::Readiness.into() };
        assert_eq!(answering.ask, Ask::Check(call));
        answering.put(Output::Trial(pb::Trial { clause: 51, ..pb::Trial::default() })).await;
        answering.finish().await;
    };
    let (seen, ()) = tokio::join!(tasks.check(request(pb::Role::Readiness)), made);
    assert_eq!(seen.unwrap().into_inner().trials[0].clause, 51);

    let unknown = pb::CheckTaskRequest { role: 9, ..request(pb::Role::Readiness) };
    let refused = again.check(unknown).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::InvalidArgument, "role: 9 is not known here")
    );
    drop(worker);
    let away = again.check(request(pb::Role::Liveness)).await.unwrap_err();
    assert_eq!(away.code(), Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn an_archive_goes_to_the_only_node_with_containerd() {
    let running = Running::over(MemoryStore::default()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    let piece = |data: &[u8]| pb::ImportImageRequest { part: Some(Part::Data(data.to_vec())) };
    let first = pb::ImportImageRequest { part: Some(Part::Node(String::new())) };
    let mut images = running.images();
    let pieces = tokio_stream::iter([first, piece(b"arch"), piece(b"ive")]);
    let take = async {
        let mut answering = answer(&mut worker).await;
        let mut archive = Vec::new();
        while let Some(input) = answering.down.message().await.unwrap() {
            archive.extend(input.data);
        }
        answering.put(Output::Image(image("app:1"))).await;
        drop(answering.up);
        archive
    };
    let (imported, archive) = tokio::join!(images.import(pieces), take);
    assert_eq!(archive, b"archive");
    assert_eq!(imported.unwrap().into_inner().images[0].name, "app:1");
}

#[tokio::test(start_paused = true)]
async fn an_archive_that_breaks_off_never_looks_complete() {
    let running = Running::over(MemoryStore::default()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    let (up, pieces) = mpsc::channel(8);
    let first = pb::ImportImageRequest { part: Some(Part::Node("node-1".to_owned())) };
    up.send(first).await.unwrap();
    let mut images = running.images();
    let mut import = tokio::task::JoinSet::new();
    import.spawn(async move { images.import(ReceiverStream::new(pieces)).await });
    let mut answering = answer(&mut worker).await;
    let data = pb::ImportImageRequest { part: Some(Part::Data(b"half".to_vec())) };
    up.send(data).await.unwrap();
    assert_eq!(answering.down.message().await.unwrap().unwrap().data, b"half");
    import.abort_all();
    let broken = answering.down.message().await.unwrap_err();
    assert_eq!(broken.code(), Code::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn what_a_worker_put_out_before_it_hung_up_is_not_lost() {
    let running = Running::over(MemoryStore::default()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    let mut images = running.images();
    let held = async {
        let answering = answer(&mut worker).await;
        for number in 0..100 {
            answering.put(Output::Image(image(&format!("app:{number}")))).await;
        }
        drop(answering);
        worker.hear().await
    };
    let list = images.list(pb::ListImagesRequest::default());
    let listed = tokio::select! { listed = list => listed, _ = held => unreachable!() };
    assert_eq!(listed.unwrap().into_inner().images.len(), 100);
}
