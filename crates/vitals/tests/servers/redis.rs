use std::process::Command;

use vitals::Status;

use crate::server::{Server, directory, message, service, through_thick_and_thin, until};

fn start(flags: &'static [&'static str]) -> Server {
    Server::start(directory(), move |dir, port| {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--port"]).arg(port.to_string());
        command.arg("--dir").arg(dir).args(flags);
        command
    })
}

fn client(server: &Server) -> redis::Client {
    redis::Client::open(format!("redis://127.0.0.1:{}/", server.port)).unwrap()
}

#[tokio::test]
async fn a_client_sees_a_server_frozen_stopped_and_back() {
    let mut server = start(&[]);
    let health = service(vitals::redis(client(&server)));
    through_thick_and_thin(&health, &mut server).await;
    let target = health.last_report().components[0].target.clone().unwrap();
    assert_eq!(target, format!("127.0.0.1:{}", server.port));
}

#[tokio::test]
async fn a_connection_that_is_kept_sees_the_same() {
    let mut server = start(&[]);
    until(&service(vitals::redis(client(&server))), Status::Healthy).await;
    let manager = client(&server).get_connection_manager().await.unwrap();
    through_thick_and_thin(&service(vitals::redis(manager)), &mut server).await;
}

#[tokio::test]
async fn a_password_that_is_wrong_fails_and_is_not_shown() {
    let server = start(&["--requirepass", "right"]);
    let address = format!("redis://:wr0ng@127.0.0.1:{}/", server.port);
    let health = service(vitals::redis(redis::Client::open(address).unwrap()));
    let report = until(&health, Status::Unhealthy).await;
    assert!(!format!("{report:?}").contains("wr0ng"));
    let address = format!("redis://:right@127.0.0.1:{}/", server.port);
    let health = service(vitals::redis(redis::Client::open(address).unwrap()));
    until(&health, Status::Healthy).await;
}

#[tokio::test]
async fn a_cluster_that_is_not_whole_is_not_healthy() {
    let server = start(&["--cluster-enabled", "yes"]);
    let alone = service(vitals::redis(client(&server)));
    until(&alone, Status::Healthy).await;
    let health = service(vitals::redis(client(&server)).cluster());
    let report = until(&health, Status::Unhealthy).await;
    assert_eq!(message(&report), "cluster_state is fail");
    let mut connection = client(&server).get_multiplexed_async_connection().await.unwrap();
    let mut take_all = redis::cmd("CLUSTER");
    take_all.arg("ADDSLOTSRANGE").arg(0).arg(16383);
    let () = take_all.query_async(&mut connection).await.unwrap();
    until(&health, Status::Healthy).await;

    let nodes = redis::cluster::ClusterClient::new([client(&server).get_connection_info().clone()]);
    let connected = nodes.unwrap().get_async_connection().await.unwrap();
    let health = service(vitals::redis(connected).cluster());
    until(&health, Status::Healthy).await;
    let mut lose_one = redis::cmd("CLUSTER");
    lose_one.arg("DELSLOTS").arg(7);
    let () = lose_one.query_async(&mut connection).await.unwrap();
    let report = until(&health, Status::Unhealthy).await;
    assert_eq!(message(&report), "cluster_state is fail");
}
