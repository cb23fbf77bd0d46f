//! The log for a collector of OpenTelemetry.

use std::{net::SocketAddr, process::Command, sync::mpsc, thread, time::Duration};

use opentelemetry_proto::tonic::{
    collector::logs::v1::{
        ExportLogsServiceRequest, ExportLogsServiceResponse,
        logs_service_server::{LogsService, LogsServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
};
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};
use warren_tests::{Machine, binary, eventually, text};

const LIMIT: Duration = Duration::from_mins(1);

struct Collector(mpsc::Sender<ExportLogsServiceRequest>);

#[tonic::async_trait]
impl LogsService for Collector {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        // The test may have seen enough.
        let _ = self.0.send(request.into_inner());
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

/// A collector that ends with the test's process, and what it is sent.
fn collector() -> (SocketAddr, mpsc::Receiver<ExportLogsServiceRequest>) {
    let (told, received) = mpsc::channel();
    let (bound, address) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async move {
            let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            bound.send(incoming.local_addr().unwrap()).unwrap();
            let service = LogsServiceServer::new(Collector(told));
            Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
    });
    (address.recv().unwrap(), received)
}

fn said(value: Option<&Value>) -> String {
    match value {
        Some(Value::StringValue(text)) => text.clone(),
        other => format!("{other:?}"),
    }
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(said(found.value.as_ref().and_then(|value| value.value.as_ref())))
}

/// Each record as its message and the service that it is about.
fn records(request: &ExportLogsServiceRequest) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    for logs in &request.resource_logs {
        let attributes = &logs.resource.as_ref().unwrap().attributes;
        assert_eq!(attribute(attributes, "service.name").as_deref(), Some("warren"));
        for record in logs.scope_logs.iter().flat_map(|scope| &scope.log_records) {
            let body = record.body.as_ref().and_then(|body| body.value.as_ref());
            found.push((said(body), attribute(&record.attributes, "service.name")));
        }
    }
    found
}

#[test]
fn a_collector_is_told_what_the_log_says_to_the_last_line() {
    let machine = Machine::without_containerd();
    let (address, received) = collector();
    let endpoint = format!("http://{address}");
    let warren = machine.start("run", &["--otlp-endpoint", &endpoint]);
    warren.ok("service create web --replicas 0 --no-healthcheck -- /bin/true");
    let mut seen = Vec::new();
    let mut until = |message: &str, service: Option<&str>| {
        eventually(message, LIMIT, || {
            seen.extend(received.try_iter().flat_map(|request| records(&request)));
            let found = seen.iter().any(|(m, s)| m == message && s.as_deref() == service);
            if found { Ok(()) } else { Err(format!("{seen:#?}")) }
        });
    };
    until("cluster changed", Some("web"));
    assert_eq!(warren.stop(), Some(0));
    until("ending in order; another signal ends at once", None);
}

#[test]
fn a_collector_that_is_not_there_keeps_nobody_from_working_or_ending() {
    let machine = Machine::without_containerd();
    let warren = machine.start("run", &["--otlp-endpoint", "http://127.0.0.1:9"]);
    warren.ok("service create web --replicas 1 --no-healthcheck --wait -- /bin/sleep 1000");
    warren.ok("service rm web --wait");
    assert_eq!(warren.stop(), Some(0));
    let mut wrong = Command::new(binary());
    wrong.args(["manager", "--listen", "none", "--otlp-endpoint", "not a url", "--data-dir"]);
    let refused = wrong.arg(machine.path().join("wrong")).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    assert!(text(&refused).contains("--otlp-endpoint: "), "{}", text(&refused));
}
