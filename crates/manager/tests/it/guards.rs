//! What guards hold, as users see it. R-n are clauses of docs/replacement.md.

use std::collections::BTreeMap;

use warren_core::rule::Rule;
use warren_manager::Transition;
use warren_proto::v1 as pb;
use warren_store::MemoryStore;

use crate::support::{FakeWorker, Running, at, healthy, report, spec, unhealthy};

impl Running {
    async fn why(&self, task: &str) -> pb::WhyTaskResponse {
        let request = pb::WhyTaskRequest { task: task.to_owned() };
        self.tasks().why(request).await.unwrap().into_inner()
    }

    async fn release(&self, service: &str) -> u32 {
        let request = pb::ReleaseServiceRequest { service: service.to_owned() };
        self.services().release(request).await.unwrap().into_inner().released
    }

    fn held(&self, rule: Rule) -> (u64, u64) {
        let counts = self.counters.guards().find(|(of, _)| *of == rule).unwrap().1;
        (counts.fired, counts.held)
    }
}

impl FakeWorker {
    /// All in one batch, as a dependency that goes away does it.
    async fn all_unhealthy(&mut self, tasks: &[String]) {
        for task in tasks {
            let message = pb::worker_message::Message::Report(unhealthy(task, 2));
            self.say(message).await;
        }
        let last = (tasks.last().unwrap().clone(), 2);
        self.until(|worker| worker.acked.contains(&last)).await;
    }
}

///
#[tokio::test(start_paused = true)]
async fn of_fifty_that_fail_at_one_moment_few_are_replaced_and_why_is_said() {
    let store = MemoryStore::default();
    let running = Running::over(store.clone()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    running.create("web", 50).await;
    let tasks = worker.run_healthy(50).await;
    worker.all_unhealthy(&tasks).await;
    worker.until(|worker| worker.assigned.len() > 50).await;
    // Those that were heard of before it was a burst have begun.
    let begun = worker.assigned.len() - 50;
    assert!((1..=4).contains(&begun), "{begun} of 50 are in replacement");
    let detail = running.detail("web").await;
    let held = &detail.held[0];
    assert_eq!(held.rule(), pb::Rule::Dependency);
    assert_eq!(held.slots.len(), 50 - begun);
    assert!(held.since.is_some() && held.reason.contains("is tried first"), "{held:?}");
    let text = detail.summary.unwrap().text;
    assert!(text.ends_with(&format!("{} held", 50 - begun)), "{text}");
    assert_eq!(running.held(Rule::Dependency), (50 - begun as u64, 50 - begun as u64));
    let tally = running.counters.tallies().services().into_values().next().unwrap();
    let suppressed = BTreeMap::from([(Rule::Dependency, 50 - begun as u64)]);
    assert_eq!(tally.suppressed, suppressed);
    assert_eq!(tally.replacements, BTreeMap::from([(Rule::Unhealthy, begun as u64)]));
    let changes = |from, to| {
        let of = |(transition, count): (&Transition, &u64)| {
            (transition.from == from && transition.to == to).then_some(*count)
        };
        tally.transitions.iter().filter_map(of).sum::<u64>()
    };
    assert_eq!((changes("starting", "healthy"), changes("healthy", "unhealthy")), (50, 50));
    assert_eq!(running.counters.tallies().heard().len(), 1);
    let why = running.why("web.50").await;
    let rules: Vec<pb::Rule> = why.events.iter().map(pb::Event::rule).collect();
    assert!(rules.contains(&pb::Rule::Fill) && rules.contains(&pb::Rule::Placed), "{rules:?}");
    assert!(rules.contains(&pb::Rule::Dependency), "{rules:?}");
    assert!(why.next.starts_with("its replacement is held by dependency"), "{}", why.next);

    // A restart changes nothing of it.
    drop(worker);
    running.kill().await;
    let running = Running::over(store).await;
    let known = tasks.iter().map(|task| unhealthy(task, 3)).collect();
    let mut hello = crate::support::hello(1, 1, known);
    hello.epoch = 1;
    let mut worker = FakeWorker::rejoin(&running, hello).await.unwrap();
    assert_eq!(running.detail("web").await.held[0].since, held.since);
    assert_eq!(running.held(Rule::Dependency), (0, 50 - begun as u64));
    assert_eq!(running.release("web").await, 50 - u32::try_from(begun).unwrap());
    worker.until(|worker| worker.assigned.len() >= 50 + 12).await;
    assert_eq!(running.held(Rule::Dependency).1, 0);
    let messages = running.messages().await;
    assert!(messages.iter().any(|m| m.starts_with("service web is released")));
}

///
#[tokio::test(start_paused = true)]
async fn what_tasks_say_is_broken_in_them_all_is_named_where_their_replacement_is_held() {
    let running = Running::over(MemoryStore::default()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    running.create("web", 3).await;
    let tasks = worker.run_healthy(3).await;
    let broken = |task: &String| {
        let mut report = unhealthy(task, 2);
        report.health.as_mut().unwrap().liveness = Some(pb::RoleHealth {
            verdict: pb::Verdict::Failing.into(),
            since: Some(at(1_002)),
            failures: 3,
            last: Some(pb::Attempt {
                at: Some(at(1_002)),
                latency: Some(prost_types::Duration::default()),
                outcome: pb::Outcome::FailExplicit.into(),
                message: "HTTP 503".to_owned(),
                components: vec!["postgres".to_owned()],
            }),
            ..pb::RoleHealth::default()
        });
        report
    };
    for task in &tasks {
        worker.report(broken(task)).await;
    }
    let detail = running.detail("web").await;
    let held = &detail.held[0];
    assert_eq!((held.rule(), held.slots.len()), (pb::Rule::Component, 2));
    assert!(held.reason.contains("say that postgres is broken"), "{}", held.reason);
    let why = running.why(&format!("web.{}", held.slots[1])).await;
    assert!(why.next.starts_with("its replacement is held by component"), "{}", why.next);
    assert!(why.events.iter().any(|event| event.seen.contains("postgres")), "{:?}", why.events);
    let messages = running.messages().await;
    assert!(messages.iter().any(|m| m.ends_with("held of web by component")), "{messages:?}");
}

///
#[tokio::test(start_paused = true)]
async fn a_slot_that_is_given_up_is_said_everywhere_and_release_tries_again() {
    let running = Running::over(MemoryStore::default()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    let restart = Some(pb::RestartPolicy { max_attempts: 1, window: None });
    let request =
        pb::CreateServiceRequest { spec: Some(pb::ServiceSpec { restart, ..spec("web", 1) }) };
    running.services().create(request).await.unwrap();
    for _ in 0..2 {
        worker.until(|worker| worker.wanted().len() == 1).await;
        let task = worker.wanted().remove(0);
        let mut ended = report(&task, 1, pb::TaskState::Ended);
        ended.status.as_mut().unwrap().end.as_mut().unwrap().at = Some(at(1_700_000_000));
        worker.report(ended).await;
        worker.until(|worker| !worker.wanted().contains(&task)).await;
    }
    assert_eq!(running.summary("web").await, "0/1 healthy, 1/1 gave up");
    let detail = running.detail("web").await;
    assert_eq!(detail.held[0].rule(), pb::Rule::GaveUp);
    let request = pb::ListEventsRequest { service: "web".to_owned(), limit: 0 };
    let events = running.events().list(request).await.unwrap().into_inner().events;
    let gave_up = events.iter().find(|event| event.kind() == pb::EventKind::GaveUp).unwrap();
    assert!(gave_up.message.contains("warren service release web"), "{}", gave_up.message);
    assert_eq!(running.held(Rule::GaveUp), (1, 1));
    assert_eq!(running.release("web").await, 1);
    worker.until(|worker| worker.wanted().len() == 1).await;
    worker.run_healthy(1).await;
    assert_eq!(running.summary("web").await, "1/1 healthy");
    assert_eq!(running.held(Rule::GaveUp), (1, 0));
}

///
#[tokio::test(start_paused = true)]
async fn a_starved_worker_says_so_and_its_timeouts_replace_nothing() {
    let running = Running::over(MemoryStore::default()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    running.create("web", 1).await;
    let task = worker.run_healthy(1).await.remove(0);
    let beat =
        |observer_score| pb::worker_message::Message::Heartbeat(pb::Heartbeat { observer_score });
    worker.say(beat(6)).await;
    let mut late = unhealthy(&task, 2);
    late.health.as_mut().unwrap().liveness = Some(pb::RoleHealth {
        verdict: pb::Verdict::Failing.into(),
        since: Some(at(1_002)),
        failures: 3,
        last: Some(pb::Attempt {
            at: Some(at(1_002)),
            latency: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
            outcome: pb::Outcome::FailTimeout.into(),
            message: "nothing".to_owned(),
            components: Vec::new(),
        }),
        ..pb::RoleHealth::default()
    });
    worker.report(late).await;
    assert_eq!(running.detail("web").await.held[0].rule(), pb::Rule::Observer);
    let node = running.node("node-1").await;
    assert_eq!((node.doubted.unwrap().score, node.observer_score), (6, Some(6)));
    worker.say(beat(0)).await;
    worker.until(|worker| worker.assigned.len() == 2).await;
    let node = running.node("node-1").await;
    assert_eq!((node.doubted, node.observer_score), (None, Some(0)));
    assert_eq!(running.detail("web").await.held, []);
    let new = worker.assigned.keys().find(|id| **id != task).unwrap().clone();
    worker.report(healthy(&new, 1)).await;
}
