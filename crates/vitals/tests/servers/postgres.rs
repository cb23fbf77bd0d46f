use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use vitals::Status;

use crate::server::{
    Server, directory, message, service, through_thick_and_thin, unprivileged, until,
};

/// Debian keeps each version's programs in a directory of its own.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").unwrap();
    let paths = versions.map(|version| version.unwrap().path().join("bin").join(name));
    paths.filter(|path| path.exists()).max().unwrap()
}

fn start() -> Server {
    let dir = directory();
    let mut init = Command::new(program("initdb"));
    init.args(["--no-sync", "--auth=trust", "--username=app", "-D"]).arg(dir.path().join("data"));
    init.stdout(Stdio::null());
    if let Some(user) = unprivileged() {
        use std::os::unix::process::CommandExt;
        init.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    assert!(init.status().unwrap().success());
    Server::start(dir, |dir: &Path, port| {
        let mut command = Command::new(program("postgres"));
        command.arg("-D").arg(dir.join("data")).args(["-h", "127.0.0.1", "-F", "-p"]);
        command.arg(port.to_string()).arg("-k").arg(dir);
        command
    })
}

fn options(server: &Server) -> PgConnectOptions {
    PgConnectOptions::new().host("127.0.0.1").port(server.port).username("app").database("postgres")
}

#[tokio::test]
async fn sqlx_sees_a_server_frozen_stopped_and_back() {
    let mut server = start();
    let pool = PgPoolOptions::new().max_connections(2).connect_lazy_with(options(&server));
    let health = service(vitals::postgres(pool));
    through_thick_and_thin(&health, &mut server).await;
    let target = health.last_report().components[0].target.clone().unwrap();
    assert_eq!(target, format!("127.0.0.1:{}/postgres", server.port));
}

#[tokio::test]
async fn a_pool_that_is_exhausted_shows() {
    let server = start();
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options(&server));
    let health = service(vitals::postgres(pool.clone()));
    until(&health, Status::Healthy).await;
    let taken = pool.acquire().await.unwrap();
    let report = until(&health, Status::Unhealthy).await;
    assert_eq!(message(&report), "no answer within 1 s");
    drop(taken);
    until(&health, Status::Healthy).await;
}

fn deadpool(server: &Server, size: usize) -> deadpool_postgres::Pool {
    let mut config = deadpool_postgres::Config::new();
    config.host = Some("127.0.0.1".to_owned());
    config.port = Some(server.port);
    config.user = Some("app".to_owned());
    config.dbname = Some("postgres".to_owned());
    config.pool = Some(deadpool_postgres::PoolConfig::new(size));
    config.create_pool(None, tokio_postgres::NoTls).unwrap()
}

#[tokio::test]
async fn a_deadpool_that_is_exhausted_shows() {
    let server = start();
    let pool = deadpool(&server, 1);
    let health = service(vitals::postgres(pool.clone()));
    until(&health, Status::Healthy).await;
    let taken = pool.get().await.unwrap();
    let report = until(&health, Status::Unhealthy).await;
    assert_eq!(message(&report), "no answer within 1 s");
    drop(taken);
    until(&health, Status::Healthy).await;
}

#[tokio::test]
async fn deadpool_and_a_bare_client_see_the_same() {
    let mut server = start();
    let health = service(vitals::postgres(deadpool(&server, 2)));
    through_thick_and_thin(&health, &mut server).await;

    let address = format!("host=127.0.0.1 port={} user=app dbname=postgres", server.port);
    let (client, connection) =
        tokio_postgres::connect(&address, tokio_postgres::NoTls).await.unwrap();
    let mut connections = tokio::task::JoinSet::new();
    connections.spawn(async move { drop(connection.await) });
    let health = service(vitals::postgres(Arc::new(client)));
    until(&health, Status::Healthy).await;
    server.stop();
    until(&health, Status::Unhealthy).await;
    tokio::time::timeout(Duration::from_mins(1), connections.join_all()).await.unwrap();
}
