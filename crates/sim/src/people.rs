//! Somebody who changes services by the API, one change after the other, and remembers what was
//! acknowledged.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::timeout};
use tonic::{Code, Status, transport::Channel};
use warren_core::{bounds::Ttl, service::Service};
use warren_proto::v1::{self as pb, services_client::ServicesClient, tasks_client::TasksClient};

use crate::{
    app::service,
    oracle::{Oracle, Wish},
    script::Step,
};

/// Nobody waits for longer.
const PATIENCE: Duration = Duration::from_secs(8);

pub struct People {
    pub channel: Channel,
    pub oracle: Arc<Oracle>,
    pub steps: mpsc::Receiver<Step>,
}

impl People {
    pub async fn run(mut self) {
        let mut version = 1;
        while let Some(step) = self.steps.recv().await {
            version += 1;
            let done = timeout(PATIENCE, Box::pin(self.ask(&step, version))).await;
            let done = done.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")));
            let said = match &done {
                Ok(()) => "done".to_owned(),
                Err(status) => format!("{:?}: {}", status.code(), status.message()),
            };
            self.oracle.transcript.say("people", format!("{step}: {said}"));
        }
    }

    async fn ask(&self, step: &Step, version: u64) -> Result<(), Status> {
        match step {
            Step::Create { name, replicas, habit } => {
                let spec = service(name, *replicas, *habit, version);
                let wish = Some(Wish::of(&spec));
                let request = pb::CreateServiceRequest { spec: Some((&spec).into()) };
                let created = Box::pin(async { self.services().create(request).await.map(drop) });
                self.wish(name, wish, created).await
            }
            Step::Scale { name, replicas } => {
                self.update(name, |wish| Wish { replicas: *replicas, ..wish }).await
            }
            Step::Roll { name, habit } => {
                self.update(name, |wish| Wish { habit: *habit, version, ..wish }).await
            }
            Step::Remove { name } => {
                let request = pb::DeleteServiceRequest { service: name.clone() };
                let deleted = Box::pin(async { self.services().delete(request).await.map(drop) });
                self.wish(name, None, deleted).await
            }
            Step::Pause { name, long } => {
                let (service, by) = (name.clone(), "people".to_owned());
                let long = Ttl::new(*long).unwrap();
                let request = pb::PauseChecksRequest { service, r#for: Some(long.into()), by };
                self.services().pause_checks(request).await.map(drop)
            }
            Step::Resume { name } => {
                let request = pb::ResumeChecksRequest { service: name.clone() };
                self.services().resume_checks(request).await.map(drop)
            }
            Step::Stop { slot } => {
                let request = pb::DeleteTaskRequest { task: slot.clone() };
                TasksClient::new(self.channel.clone()).delete(request).await.map(drop)
            }
            Step::Cut { .. }
            | Step::Part { .. }
            | Step::Mute { .. }
            | Step::Sever { .. }
            | Step::Crash { .. }
            | Step::FailWrite { .. }
            | Step::SlowDisk { .. }
            | Step::PowerOff { .. }
            | Step::Runtime { .. }
            | Step::Clock { .. }
            | Step::App { .. }
            | Step::Exit { .. }
            | Step::Heal => unreachable!("not for people: {step}"),
        }
    }

    /// Changes what is there, and nothing that came between.
    async fn update(&self, name: &str, change: impl FnOnce(Wish) -> Wish) -> Result<(), Status> {
        let request = pb::GetServiceRequest { service: name.to_owned() };
        let found = self.services().get(request).await?.into_inner().service.unwrap();
        let found = Service::try_from(found).unwrap();
        let wish = change(Wish::of(&found.spec));
        let spec = service(name, wish.replicas, wish.habit, wish.version);
        let request = pb::UpdateServiceRequest {
            service: name.to_owned(),
            spec: Some((&spec).into()),
            expected_revision: Some(found.revision),
        };
        let updated = Box::pin(async { self.services().update(request).await.map(drop) });
        self.wish(name, Some(wish), updated).await
    }

    async fn wish(
        &self,
        name: &str,
        wish: Option<Wish>,
        done: impl Future<Output = Result<(), Status>>,
    ) -> Result<(), Status> {
        self.oracle.wished(name, wish);
        let done = done.await;
        match &done {
            Ok(()) => self.oracle.acknowledged(name, wish),
            Err(status) if is_refused(status) => self.oracle.refused(name, wish),
            // Nobody knows; both are fine.
            Err(_) => {}
        }
        done
    }

    fn services(&self) -> ServicesClient<Channel> {
        ServicesClient::new(self.channel.clone())
    }
}

/// The manager has said that it did not do it.
fn is_refused(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument
            | Code::AlreadyExists
            | Code::NotFound
            | Code::FailedPrecondition
            | Code::Aborted
    )
}
