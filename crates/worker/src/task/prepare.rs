//! From an assignment to a running process.

use std::sync::Arc;

use tokio::time::Instant;
use warren_core::{
    check::{Checks, HealthConfig},
    spec::{Pull, Workload},
    task::{Phase, TaskEnd},
};
use warren_runtime::{ImageFacts, Launch, Runtime, RuntimeError};

use super::{Actor, Process, RETRY_FIRST, RETRY_LAST, Wanted, end, unwanted};

impl Actor {
    /// Gets the image, creates the container and starts it, unless it is no longer wanted.
    pub(super) async fn prepare(&mut self) -> Result<Process, TaskEnd> {
        let (runtime, launch) = (Arc::clone(&self.runtime), self.launch.clone());
        let mut orders = self.orders.clone();
        let facts = tokio::select! {
            biased;
            () = unwanted(&mut orders) => return Err(end::stopped_before(self.now())),
            facts = self.get_image(&runtime, &launch) => facts?,
        };
        self.carry_out(|| runtime.create(&launch)).await?;
        let before = Instant::now();
        let running = self.carry_out(|| runtime.start(launch.task)).await?;
        let born = Some((before, Instant::now()));
        self.status.checks = Some(self.resolve(&facts));
        self.heeded.checks_given = launch.template.health != HealthConfig::Auto;
        Ok(Process { running, born })
    }

    /// May take long; nothing but files is lost when it is given up.
    async fn get_image(
        &mut self,
        runtime: &Arc<dyn Runtime>,
        launch: &Launch,
    ) -> Result<ImageFacts, TaskEnd> {
        let (message, pull) = match &launch.template.workload {
            Workload::Image { image, pull, command: _ } => {
                (format!("getting the image {image}"), *pull)
            }
            Workload::Process { .. } => (String::new(), Pull::Never),
        };
        self.enter(Phase::Preparing, message).await;
        self.carry_out(|| facts(runtime, launch, pull)).await
    }

    /// Calls until the runtime answers or nobody wants the task any more. A call that was begun
    /// is waited for: given up, it could still take effect after the task was deleted.
    async fn carry_out<T, F>(&mut self, mut call: impl FnMut() -> F) -> Result<T, TaskEnd>
    where
        F: Future<Output = Result<T, RuntimeError>>,
    {
        let mut orders = self.orders.clone();
        let mut pause = RETRY_FIRST;
        while self.orders.borrow().wanted == Wanted::Run {
            match call().await {
                Ok(done) => return Ok(done),
                Err(error @ RuntimeError::Unavailable { .. }) => {
                    if pause == RETRY_FIRST {
                        tracing::warn!(task.id = %self.task(), %error, "waiting for the runtime");
                        self.status.message = error.to_string();
                        self.publish(None).await;
                    }
                }
                Err(error @ (RuntimeError::NoSuchTask(_) | RuntimeError::Refused(_))) => {
                    return Err(end::not_started(&error, self.now()));
                }
            }
            tokio::select! {
                biased;
                () = unwanted(&mut orders) => {}
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(RETRY_LAST);
        }
        Err(end::stopped_before(self.now()))
    }

    pub(super) fn resolve(&self, facts: &ImageFacts) -> Arc<Checks> {
        self.context.groups.share(self.launch.template.checks(facts.checks.as_ref()))
    }
}

/// What must be known of the image.
pub(super) async fn facts(
    runtime: &Arc<dyn Runtime>,
    launch: &Launch,
    pull: Pull,
) -> Result<ImageFacts, RuntimeError> {
    match &launch.template.workload {
        Workload::Process { .. } => Ok(ImageFacts::default()),
        Workload::Image { image, .. } => runtime.ensure_image(image, pull).await,
    }
}
