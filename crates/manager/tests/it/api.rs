//! What users and other controllers are told: status codes, field paths, warnings, reflection.

use crate::support::{FakeWorker, Running, spec};
use tonic::Code;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};
use warren_proto::v1 as pb;
use warren_store::MemoryStore;

fn create(spec: pb::ServiceSpec) -> pb::CreateServiceRequest {
    pb::CreateServiceRequest { spec: Some(spec) }
}

fn update(expected_revision: Option<u64>, spec: pb::ServiceSpec) -> pb::UpdateServiceRequest {
    pb::UpdateServiceRequest { service: "web".to_owned(), spec: Some(spec), expected_revision }
}

#[tokio::test(start_paused = true)]
async fn refusals_have_the_right_code_and_name_what_is_wrong() {
    let running = Running::over(MemoryStore::default()).await;
    running.create("web", 1).await;
    let mut services = running.services();
    let mut wrong = spec("api", 1);
    let template = wrong.template.as_mut().unwrap();
    template.publish = vec![pb::Publish { host_port: 70_000, task_port: 80, protocol: 0 }];
    let get = |service: &str| pb::GetServiceRequest { service: service.to_owned() };
    let refusals = [
        services.create(create(wrong)).await.map(drop),
        services.create(pb::CreateServiceRequest { spec: None }).await.map(drop),
        services.create(create(spec("web", 1))).await.map(drop),
        services.update(update(Some(7), spec("web", 2))).await.map(drop),
        services.get(get("nope")).await.map(drop),
        services.get(get("")).await.map(drop),
    ];
    let expected = [
        (Code::InvalidArgument, "spec.template.publish[0].host_port: "),
        (Code::InvalidArgument, "spec: is required"),
        (Code::AlreadyExists, "service web exists"),
        (Code::Aborted, "service web has moved on from revision 7 to 1"),
        (Code::NotFound, "there is no service \"nope\""),
        (Code::InvalidArgument, "service: is required"),
    ];
    for (refusal, (code, beginning)) in refusals.into_iter().zip(expected) {
        let status = refusal.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().starts_with(beginning), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_is_created_changed_listed_and_found_by_name_and_id() {
    let running = Running::over(MemoryStore::default()).await;
    let web = running.create("web", 1).await;
    running.create("api", 1).await;
    let scaled = running.services().update(update(Some(1), spec("web", 4))).await.unwrap();
    assert_eq!(scaled.into_inner().service.unwrap().revision, 2);
    assert_eq!(running.detail(&web.id).await, running.detail("web").await);
    let listed = running.services().list(pb::ListServicesRequest {}).await.unwrap().into_inner();
    let names = listed.services.iter().map(|row| {
        let name = row.service.as_ref().unwrap().spec.as_ref().unwrap().name.clone();
        (name, row.summary.as_ref().unwrap().replicas)
    });
    assert_eq!(names.collect::<Vec<_>>(), [("api".to_owned(), 1), ("web".to_owned(), 4)]);
}

#[tokio::test(start_paused = true)]
async fn a_spec_that_nobody_looks_at_is_accepted_with_a_warning() {
    let running = Running::over(MemoryStore::default()).await;
    let mut blind = spec("web", 1);
    blind.template.as_mut().unwrap().health = None;
    let created = running.services().create(create(blind)).await.unwrap().into_inner();
    let warning = "no check is given: only the process of each task is watched";
    assert_eq!(created.warnings, [warning]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_up_is_not_forgotten() {
    let running = Running::over(MemoryStore::default()).await;
    let _worker = FakeWorker::join(&running, 1, 1).await;
    let request = pb::DeleteNodeRequest { node: "node-1".to_owned() };
    let refused = running.nodes().delete(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let rows = running.nodes().list(pb::ListNodesRequest {}).await.unwrap().into_inner().nodes;
    assert_eq!(rows.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_asked_to_end_is_stopped_and_its_slot_gets_another() {
    let running = Running::over(MemoryStore::default()).await;
    let mut worker = FakeWorker::join(&running, 1, 1).await;
    running.create("web", 1).await;
    let old = worker.run_healthy(1).await.remove(0);
    let request = pb::DeleteTaskRequest { task: "web.1".to_owned() };
    running.tasks().delete(request).await.unwrap();
    worker.until(|worker| worker.assigned[&old].stop.is_some()).await;
    worker.report(crate::support::report(&old, 2, pb::TaskState::Ended)).await;
    worker.until(|worker| !worker.wanted().is_empty()).await;
    assert_ne!(worker.wanted(), [old]);
}

#[tokio::test(start_paused = true)]
async fn history_is_listed_newest_last_and_followed_from_where_it_was_left() {
    let running = Running::over(MemoryStore::default()).await;
    running.create("web", 0).await;
    running.create("api", 0).await;
    let of = |service: &str, from| pb::WatchEventsRequest {
        service: service.to_owned(),
        from_sequence: from,
    };
    let limited = pb::ListEventsRequest { service: String::new(), limit: 1 };
    let last = running.events().list(limited).await.unwrap().into_inner().events.remove(0);
    assert_eq!(last.message, "service api is created with 0 replicas");
    let mut all = running.events().watch(of("", Some(0))).await.unwrap().into_inner();
    let mut new = running.events().watch(of("web", None)).await.unwrap().into_inner();
    running.services().update(update(None, spec("web", 1))).await.unwrap();
    for expected in ["service web is created", "service api is created", "service web is scaled"] {
        let event = all.message().await.unwrap().unwrap();
        assert!(event.message.starts_with(expected), "{}", event.message);
    }
    let event = new.message().await.unwrap().unwrap();
    assert_eq!(event.message, "service web is scaled from 0 to 1 replicas");
    let too_many = pb::ListEventsRequest { service: String::new(), limit: 5000 };
    let refused = running.events().list(too_many).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

/// The event messages of a service, and where a watch goes on from them.
async fn history(running: &Running, service: &str) -> Result<(Vec<String>, u64), Code> {
    let request = pb::ListEventsRequest { service: service.to_owned(), limit: 0 };
    let list = running.events().list(request).await.map_err(|status| status.code())?.into_inner();
    let messages = list.events.into_iter().map(|event| event.message).collect();
    Ok((messages, list.last_sequence))
}

#[tokio::test(start_paused = true)]
async fn the_history_of_a_service_that_is_gone_is_found_by_its_name_and_id() {
    let running = Running::over(MemoryStore::default()).await;
    let id = running.create("web", 0).await.id;
    running.create("api", 0).await;
    let request = pb::DeleteServiceRequest { service: "web".to_owned() };
    running.services().delete(request).await.unwrap();
    running.until_gone("web").await;
    let told = ["service web is created with 0 replicas", "service web is gone with all its tasks"];
    for text in ["web", &id] {
        let (messages, _) = history(&running, text).await.unwrap();
        assert_eq!(messages, told, "{text}");
    }
    running.create("web", 0).await;
    let (messages, _) = history(&running, "web").await.unwrap();
    assert_eq!(messages, [told[0], told[1], told[0]], "all that had the name");
    assert_eq!(history(&running, &id).await.unwrap().0, told);
    assert_eq!(history(&running, "never").await, Err(Code::NotFound));
}

#[tokio::test(start_paused = true)]
async fn a_list_of_events_says_where_a_watch_goes_on_so_that_none_is_missed() {
    let running = Running::over(MemoryStore::default()).await;
    running.create("web", 0).await;
    running.create("api", 0).await;
    let (messages, from) = history(&running, "web").await.unwrap();
    assert_eq!((messages.len(), from), (1, 2), "the cluster's newest, not the service's");
    running.services().update(update(None, spec("web", 1))).await.unwrap();
    let watch = pb::WatchEventsRequest { service: "web".to_owned(), from_sequence: Some(from) };
    let mut watch = running.events().watch(watch).await.unwrap().into_inner();
    let event = watch.message().await.unwrap().unwrap();
    assert_eq!(event.message, "service web is scaled from 0 to 1 replicas");
}

#[tokio::test(start_paused = true)]
async fn reflection_names_every_service() {
    let running = Running::over(MemoryStore::default()).await;
    let mut client = ServerReflectionClient::new(running.channel.clone());
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = client.server_reflection_info(tokio_stream::iter([request])).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("not a list of services");
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    for name in ["Services", "Tasks", "Nodes", "Images", "HealthApi", "Events", "Session"] {
        let full = format!("warren.v1.{name}");
        assert!(names.contains(&full.as_str()), "{full} is not in {names:?}");
    }
}
