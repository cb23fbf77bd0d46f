//! The log for a collector of OpenTelemetry, over OTLP, beside the one on stderr.
//!
//! Warren's trail is events, each with its facts as fields, so it is the signal of logs that is
//! exported: there are no spans.

use std::time::Duration;

use anyhow::{Context, Result};
use opentelemetry::KeyValue;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{LogExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    logs::{SdkLogger, SdkLoggerProvider},
};
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::{EnvFilter, Layer, registry::LookupSpan};

/// A collector that takes longer is told later; what does not fit meanwhile is dropped.
const TIMEOUT: Duration = Duration::from_secs(5);
/// What exporting itself would say would have to be exported as well.
const ITS_OWN: &str = "trace,h2=off,hyper=off,hyper_util=off,tonic=off,tower=off,opentelemetry=off,\
                       opentelemetry_sdk=off,opentelemetry-otlp=off";

/// Sends until it is dropped, which waits for what is still to be sent.
pub struct Export {
    provider: SdkLoggerProvider,
    /// Of its own, so that it neither waits for the process nor the process for it.
    _runtime: Runtime,
}

impl Export {
    /// To a collector's OTLP/gRPC address, such as `http://127.0.0.1:4317`. Whether it is there
    /// shows later.
    pub fn to(endpoint: &str) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("otlp")
            .enable_all()
            .build()
            .context("cannot start the runtime of the log's export")?;
        let within = runtime.enter();
        let exporter = LogExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(TIMEOUT)
            .build()
            .with_context(|| format!("cannot export the log to {endpoint}"))?;
        drop(within);
        let resource = Resource::builder()
            .with_service_name("warren")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkLoggerProvider::builder()
            .with_resource(resource)
            .with_batch_exporter(exporter)
            .build();
        Ok(Self { provider, _runtime: runtime })
    }

    /// What hands the log over, for the subscriber.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    {
        let bridge: OpenTelemetryTracingBridge<SdkLoggerProvider, SdkLogger> =
            OpenTelemetryTracingBridge::new(&self.provider);
        bridge.with_filter(EnvFilter::new(ITS_OWN))
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        // A collector that is not there has been complained of.
        drop(self.provider.shutdown());
    }
}
