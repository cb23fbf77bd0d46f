use std::process::Command;

use vitals::Status;

use crate::server::{Server, directory, service, through_thick_and_thin, until};

#[tokio::test]
async fn a_client_sees_a_server_frozen_stopped_and_back() {
    let mut server = Server::start(directory(), |_, port| {
        let mut command = Command::new("nats-server");
        command.args(["--addr", "127.0.0.1", "--port"]).arg(port.to_string());
        command
    });
    let address = format!("127.0.0.1:{}", server.port);
    let options = async_nats::ConnectOptions::new().retry_on_initial_connect();
    let client = options.connect(address).await.unwrap();
    let health = service(vitals::nats(client));
    until(&health, Status::Healthy).await;
    through_thick_and_thin(&health, &mut server).await;
}
