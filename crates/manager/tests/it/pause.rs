//! Pauses and changes of checks, as users and workers see them. C-n are clauses of docs/checks.md.

use std::time::Duration;

use tonic::{Code, Status};
use warren_core::rule::Rule;
use warren_proto::v1 as pb;
use warren_store::MemoryStore;

use crate::support::{FakeWorker, Running, healthy, hello, spec, unhealthy};

const fn span(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

impl Running {
    async fn pause(
        &self,
        service: &str,
        span: Option<prost_types::Duration>,
        by: &str,
    ) -> Result<pb::Service, Status> {
        let (service, by) = (service.to_owned(), by.to_owned());
        let request = pb::PauseChecksRequest { service, r#for: span, by };
        let paused = self.services().pause_checks(request).await?;
        Ok(paused.into_inner().service.unwrap())
    }

    async fn resume(&self, service: &str) -> Result<pb::Service, Status> {
        let request = pb::ResumeChecksRequest { service: service.to_owned() };
        let resumed = self.services().resume_checks(request).await?;
        Ok(resumed.into_inner().service.unwrap())
    }

    async fn paused(&self, service: &str) -> Option<pb::ChecksPause> {
        self.detail(service).await.service.unwrap().checks_paused
    }

    async fn update(&self, spec: pb::ServiceSpec) -> Result<pb::Service, Status> {
        let service = spec.name.clone();
        let request =
            pb::UpdateServiceRequest { service, spec: Some(spec), expected_revision: None };
        let updated = Box::pin(async { self.services().update(request).await }).await?;
        Ok(updated.into_inner().service.unwrap())
    }
}

// C-90
#[tokio::test(start_paused = true)]
async fn a_pause_that_cannot_be_names_its_field() {
    let running = Running::over(MemoryStore::default()).await;
    running.create("web", 1).await;
    let name = "x".repeat(129);
    for (service, long, by, code, beginning) in [
        ("web", None, "", Code::InvalidArgument, "for: is required"),
        ("web", Some(span(0)), "", Code::InvalidArgument, "for: 0ns is not in 1s..=86400s"),
        ("web", Some(span(86_401)), "", Code::InvalidArgument, "for: 86401s is not in 1s..=86400s"),
        ("web", Some(span(1)), "a\nb", Code::InvalidArgument, "by: "),
        ("web", Some(span(1)), &name, Code::InvalidArgument, "by: "),
        ("nope", Some(span(1)), "", Code::NotFound, "there is no service \"nope\""),
    ] {
        let status = running.pause(service, long, by).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().starts_with(beginning), "{status}");
    }
    assert_eq!(running.resume("nope").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(running.paused("web").await, None);
    assert_eq!(running.resume("web").await.unwrap().checks_paused, None, "nothing was paused");
}

// C-91, R-26
#[tokio::test(start_paused = true)]
async fn a_pause_reaches_the_worker_holds_replacements_and_ends_by_itself() {
    let running = Running::over(MemoryStore::default()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    running.create("web", 1).await;
    let task = worker.run_healthy(1).await.remove(0);
    let paused = running.pause("web", Some(span(600)), "ada").await.unwrap();
    let until = paused.checks_paused.as_ref().unwrap().until;
    worker.until(|worker| worker.assigned[&task].checks_paused_until == until).await;
    // Was on its way when it was paused.
    worker.report(unhealthy(&task, 2)).await;
    let held = running.task(&task).await.task.unwrap().held.unwrap();
    assert_eq!(held.rule(), pb::Rule::Paused);
    let why = pb::WhyTaskRequest { task: task.clone() };
    let why = running.tasks().why(why).await.unwrap().into_inner();
    assert!(why.next.contains("held by paused"), "{}", why.next);
    assert!(why.next.ends_with("it is decided when they go on"), "{}", why.next);
    assert_eq!(worker.wanted(), std::slice::from_ref(&task));
    worker.until(|worker| worker.assigned.len() == 2).await;
    assert_eq!(worker.assigned[&task].checks_paused_until, None, "nobody told it to go on");
    assert_eq!(running.paused("web").await, None);
    let said = running.messages().await;
    let paused =
        said.iter().position(|said| said == "the checks of web are paused by ada for 600s");
    let over = said.iter().position(|said| said == "the checks of web go on after their pause");
    assert!(paused.unwrap() < over.unwrap(), "{said:?}");
    let guard = running.counters.guards().find(|(rule, _)| *rule == Rule::Paused).unwrap().1;
    assert_eq!((guard.fired, guard.held), (1, 0));
}

// C-91
#[tokio::test(start_paused = true)]
async fn another_pause_takes_its_place_and_a_command_ends_it() {
    let running = Running::over(MemoryStore::default()).await;
    running.create("web", 1).await;
    running.pause("web", Some(span(10)), "").await.unwrap();
    running.pause("web", Some(span(600)), "").await.unwrap();
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(running.paused("web").await.is_some());
    running.resume("web").await.unwrap();
    assert_eq!(running.paused("web").await, None);
    let said = running.messages().await;
    assert!(said.contains(&"the checks of web go on as somebody asked".to_owned()), "{said:?}");
}

// C-91
#[tokio::test(start_paused = true)]
async fn a_manager_that_comes_back_knows_the_pause_and_its_end() {
    let store = MemoryStore::default();
    let running = Running::over(store.clone()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    running.create("web", 1).await;
    let task = worker.run_healthy(1).await.remove(0);
    let paused = running.pause("web", Some(span(600)), "ada").await.unwrap().checks_paused;
    running.kill().await;

    let running = Running::over(store).await;
    assert_eq!(running.paused("web").await, paused);
    let known = vec![healthy(&task, 1)];
    let mut worker = FakeWorker::rejoin(&running, hello(1, 1, known)).await.unwrap();
    let until = paused.unwrap().until;
    assert_eq!(worker.assigned[&task].checks_paused_until, until);
    worker.until(|worker| worker.assigned[&task].checks_paused_until.is_none()).await;
    assert_eq!(running.paused("web").await, None);
}

// C-92
#[tokio::test(start_paused = true)]
async fn other_checks_reach_the_task_that_runs_and_another_command_replaces_it() {
    let running = Running::over(MemoryStore::default()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    running.create("web", 1).await;
    let task = worker.run_healthy(1).await.remove(0);
    let mut next = spec("web", 1);
    let source = Some(pb::health_config::Source::Disabled(pb::health_config::Disabled {}));
    let disabled = Some(pb::HealthConfig { source });
    next.template.as_mut().unwrap().health.clone_from(&disabled);
    let updated = Box::pin(running.update(next.clone())).await.unwrap();
    assert_eq!((updated.revision, updated.template_revision), (2, 1));
    let health = |worker: &FakeWorker, task: &str| {
        worker.assigned[task].template.as_ref().unwrap().health.clone()
    };
    worker.until(|worker| health(worker, &task) == disabled).await;
    assert_eq!(worker.wanted(), std::slice::from_ref(&task));
    // Whatever that led to was decided with it.
    worker.report(healthy(&task, 2)).await;
    assert_eq!(running.detail("web").await.tasks.len(), 1);
    next.template.as_mut().unwrap().args = vec!["-v".to_owned()];
    let rolled = Box::pin(running.update(next)).await.unwrap();
    assert_eq!((rolled.revision, rolled.template_revision), (3, 3));
    worker.until(|worker| worker.assigned.len() == 2).await;
}

// C-92
#[tokio::test(start_paused = true)]
async fn other_checks_that_cannot_be_name_their_field_and_change_nothing() {
    let running = Running::over(MemoryStore::default()).await;
    let before = running.create("web", 1).await;
    let mut wrong = spec("web", 1);
    let health = wrong.template.as_mut().unwrap().health.as_mut().unwrap();
    let Some(pb::health_config::Source::Checks(checks)) = &mut health.source else {
        panic!("it has checks")
    };
    checks.readiness = checks.liveness.clone();
    let timing = pb::Timing { stop_grace_period: Some(span(1)), ..pb::Timing::default() };
    checks.readiness.as_mut().unwrap().timing = Some(timing);
    let refused = Box::pin(running.update(wrong)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let path = "spec.template.health.checks.readiness.timing.stop_grace_period: ";
    assert!(refused.message().starts_with(path), "{refused}");
    assert_eq!(running.detail("web").await.service.unwrap(), before);
}
