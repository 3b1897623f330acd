//! Exporter of trace spans. Counts exported and failed spans. Logs when exports begin to fail, and
//! when exports succeed again.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use metrics::counter;
use opentelemetry_otlp::{
    RetryPolicy, SpanExporter as OtlpExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};
use reqwest::redirect;

use crate::settings::TraceSettings;

/// Timeout for the export of one batch of spans. A batch that is not exported in this time is
/// dropped.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct CountedExporter {
    inner: OtlpExporter,
    is_failing: AtomicBool,
}

impl CountedExporter {
    pub(super) fn new(settings: &TraceSettings) -> anyhow::Result<Self> {
        let mut http = reqwest::blocking::Client::builder()
            .timeout(EXPORT_TIMEOUT)
            // Redirects are not followed. The request headers may contain an API key of the
            // collector, and no other host may receive this key.
            .redirect(redirect::Policy::none())
            .no_proxy();
        if settings.endpoint.scheme() == "http" {
            // Plain HTTP needs no root certificates. Without this line, the exporter could not be
            // created on a system that has no root certificates.
            http = http.tls_certs_only([]);
        }
        let headers: HashMap<String, String> = settings.headers.expose().collect();
        let inner = OtlpExporter::builder()
            .with_http()
            .with_http_client(http.build()?)
            .with_endpoint(settings.endpoint.as_str())
            .with_headers(headers)
            // Retries are disabled, because a batch that is retried would delay the next batches.
            .with_retry_policy(RetryPolicy::disabled())
            .with_timeout(EXPORT_TIMEOUT)
            .build()?;
        Ok(Self {
            inner,
            is_failing: AtomicBool::new(false),
        })
    }

    fn record_outcome(&self, spans: u64, result: OTelSdkResult) {
        let outcome = if result.is_ok() { "exported" } else { "failed" };
        counter!("tee_session_trace_spans_total", "outcome" => outcome).increment(spans);
        let was_failing = self.is_failing.swap(result.is_err(), Ordering::Relaxed);
        match result {
            Err(error) if !was_failing => tracing::warn!(
                %error,
                "Traces cannot be exported: spans are lost until the collector accepts them"
            ),
            Ok(()) if was_failing => tracing::info!("Traces are exported again"),
            _ => {}
        }
    }
}

impl SpanExporter for CountedExporter {
    /// Exports a batch of spans. Returns `Ok` even if the export fails. Otherwise the batch
    /// processor of the SDK would log every failure. `record_outcome` counts all failures, and logs
    /// only the first of consecutive failures.
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let result = self.inner.export(batch).await;
        self.record_outcome(spans, result);
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
