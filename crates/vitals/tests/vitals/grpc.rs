//! The health service of gRPC, asked by a client that others wrote.

use std::time::Duration;

use tokio_stream::StreamExt;
use tonic::{
    Code,
    service::Routes,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};
use vitals::{Component, Vitals, testing::FakeCheck};

const NAME: &str = "payments.v1.Payments";

struct World {
    database: FakeCheck,
    health: Vitals,
    client: HealthClient<Channel>,
    _server: tokio::task::JoinSet<()>,
}

async fn world() -> World {
    let database = FakeCheck::passing();
    let component = Component::critical("database", database.clone()).on_demand(Duration::ZERO);
    let health = Vitals::new("payments", "1").component(component);
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = format!("http://{}", incoming.local_addr().unwrap());
    let routes = Routes::new(health.grpc([NAME]));
    let mut server = tokio::task::JoinSet::new();
    server.spawn(async move {
        Server::builder().add_routes(routes).serve_with_incoming(incoming).await.unwrap();
    });
    let channel = Endpoint::from_shared(address).unwrap().connect().await.unwrap();
    World { database, health, client: HealthClient::new(channel), _server: server }
}

fn request(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn check_answers_for_known_names_and_refuses_others() {
    let mut world = world().await;
    for name in ["", NAME] {
        let answer = world.client.check(request(name)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    world.database.fail("down");
    let answer = world.client.check(request(NAME)).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::NotServing);
    assert_eq!(world.client.check(request("x")).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn watch_tells_each_change_and_drain_first_of_all() {
    let mut world = world().await;
    let mut watch = world.client.watch(request(NAME)).await.unwrap().into_inner();
    let mut next = async || watch.next().await.unwrap().unwrap().status();
    assert_eq!(next().await, ServingStatus::Serving);
    world.database.fail("down");
    assert_eq!(next().await, ServingStatus::NotServing);
    world.database.pass();
    assert_eq!(next().await, ServingStatus::Serving);
    world.health.drain();
    assert_eq!(next().await, ServingStatus::NotServing);
}

#[tokio::test]
async fn watch_of_an_unknown_name_says_so_and_stays_open() {
    let mut world = world().await;
    let mut watch = world.client.watch(request("x")).await.unwrap().into_inner();
    let first: HealthCheckResponse = watch.next().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);
    let more = tokio::time::timeout(Duration::from_millis(200), watch.next()).await;
    assert!(more.is_err(), "{more:?}");
}

/// The message of a list is this one's wire form: entries of a name and a state.
#[derive(Clone, PartialEq, prost::Message)]
struct Listed {
    #[prost(map = "string, message", tag = "1")]
    statuses: std::collections::HashMap<String, HealthCheckResponse>,
}

#[tokio::test]
async fn list_names_all() {
    let world = world().await;
    world.health.drain();
    let routes = Routes::new(world.health.grpc([NAME]));
    let mut grpc = tonic::client::Grpc::new(routes.prepare());
    grpc.ready().await.unwrap();
    let path = "/grpc.health.v1.Health/List".parse().unwrap();
    let codec = tonic_prost::ProstCodec::<(), Listed>::default();
    let answer = grpc.unary(tonic::Request::new(()), path, codec).await.unwrap().into_inner();
    let mut names: Vec<_> = answer.statuses.iter().map(|(n, s)| (n.as_str(), s.status())).collect();
    names.sort_unstable_by_key(|(name, _)| *name);
    let not = ServingStatus::NotServing;
    assert_eq!(names, [("", not), (NAME, not)]);
}
