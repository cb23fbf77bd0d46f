//! What a command costs beyond what containerd and runc take for it: the same command by turns
//! through the driver and by the bare calls. `make hammer-exec` makes hundreds of both; the figures
//! are printed and nothing fails for them.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use containerd_client::services::v1::{
    DeleteProcessRequest, ExecProcessRequest, GetContainerRequest, StartRequest, WaitRequest,
    containers_client::ContainersClient, tasks_client::TasksClient,
};
use nix::{sys::stat::Mode, unistd::mkfifo};
use prost_types::Any;
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt, net::unix::pipe::OpenOptions};
use tonic::{Request, transport::Channel};
use warren_core::id::TaskId;
use warren_runtime::{ExecEnd, Runtime};

use crate::{hammer::runs, lab::Lab};

const PATIENT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_command_takes_about_what_containerd_and_runc_take() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let (task, _) = lab.run(&driver, |_| {}).await;
    let bare = Bare::of(&lab, task).await;
    let command = warren_core::check::Command::argv(vec!["true".to_owned()]).unwrap();
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..runs() {
        let begun = Instant::now();
        let rest = bare.run().await;
        theirs.push(begun.elapsed());
        bare.tasks.clone().delete_process(here(rest)).await.unwrap();
        let begun = Instant::now();
        let end = driver.exec(task, &command, None, PATIENT).await.unwrap();
        ours.push(begun.elapsed());
        assert!(matches!(end, ExecEnd::Exited { code: 0, .. }), "{end:?}");
    }
    let middle = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    println!(
        "{} times each, in the middle: {:.2?} by the bare calls, {:.2?} through the driver",
        runs(),
        middle(&mut theirs),
        middle(&mut ours)
    );
}

/// No deadline, no group, no bound: only what cannot be left out.
struct Bare {
    lab: PathBuf,
    tasks: TasksClient<Channel>,
    container: String,
    process: Vec<u8>,
}

impl Bare {
    async fn of(lab: &Lab, task: TaskId) -> Self {
        let channel = containerd_client::connect(lab.path("c.sock")).await.unwrap();
        let get = GetContainerRequest { id: task.to_string() };
        let mut containers = ContainersClient::new(channel.clone());
        let container = containers.get(here(get)).await.unwrap().into_inner().container.unwrap();
        let spec: Value = serde_json::from_slice(&container.spec.unwrap().value).unwrap();
        let mut process = spec["process"].clone();
        process["args"] = json!(["true"]);
        let process = process.to_string().into_bytes();
        let tasks = TasksClient::new(channel);
        Self { lab: lab.path(""), tasks, container: task.to_string(), process }
    }

    /// The rest, which the driver does behind its caller's back.
    async fn run(&self) -> DeleteProcessRequest {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let exec_id = format!("bare-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let container_id = self.container.clone();
        let mut tasks = self.tasks.clone();
        let spec = Any {
            type_url: "types.containerd.io/opencontainers/runtime-spec/1/Process".to_owned(),
            value: self.process.clone(),
        };
        let fifo = self.lab.join(&exec_id);
        mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        let mut pipe = OpenOptions::new().open_receiver(&fifo).unwrap();
        let output = fifo.to_string_lossy().into_owned();
        let exec = ExecProcessRequest {
            container_id: container_id.clone(),
            exec_id: exec_id.clone(),
            stdout: output.clone(),
            stderr: output,
            spec: Some(spec),
            ..ExecProcessRequest::default()
        };
        tasks.exec(here(exec)).await.unwrap();
        let start = StartRequest { container_id: container_id.clone(), exec_id: exec_id.clone() };
        tasks.start(here(start)).await.unwrap();
        let wait = WaitRequest { container_id: container_id.clone(), exec_id: exec_id.clone() };
        assert_eq!(tasks.wait(here(wait)).await.unwrap().into_inner().exit_status, 0);
        pipe.read_to_end(&mut Vec::new()).await.unwrap();
        DeleteProcessRequest { container_id, exec_id }
    }
}

/// In the namespace that the lab's driver uses.
fn here<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("containerd-namespace", "warren".parse().unwrap());
    request
}
