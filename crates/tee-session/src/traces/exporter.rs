//! An exporter that counts what it sends, and says when that begins to fail and when it is over.

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

/// A collector that takes longer loses the batch.
const EXPORTED_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct CountedExporter {
    inner: OtlpExporter,
    is_failing: AtomicBool,
}

impl CountedExporter {
    pub(super) fn new(settings: &TraceSettings) -> anyhow::Result<Self> {
        let mut http = reqwest::blocking::Client::builder()
            .timeout(EXPORTED_WITHIN)
            // The headers may hold a secret of the collector's: it must go nowhere else.
            .redirect(redirect::Policy::none())
            .no_proxy();
        if settings.endpoint.scheme() == "http" {
            // There will be no TLS: it has to work where no certificates are installed.
            http = http.tls_certs_only([]);
        }
        let headers: HashMap<String, String> = settings.headers.expose().collect();
        let inner = OtlpExporter::builder()
            .with_http()
            .with_http_client(http.build()?)
            .with_endpoint(settings.endpoint.as_str())
            .with_headers(headers)
            // Others wait behind a batch that is sent again.
            .with_retry_policy(RetryPolicy::disabled())
            .with_timeout(EXPORTED_WITHIN)
            .build()?;
        Ok(Self {
            inner,
            is_failing: AtomicBool::new(false),
        })
    }

    fn note(&self, spans: u64, result: OTelSdkResult) {
        let outcome = if result.is_ok() { "exported" } else { "failed" };
        counter!("tee_session_trace_spans_total", "outcome" => outcome).increment(spans);
        let was_failing = self.is_failing.swap(result.is_err(), Ordering::Relaxed);
        match result {
            Err(error) if !was_failing => tracing::warn!(
                %error,
                "Traces cannot be exported: their spans are lost until the collector takes them"
            ),
            Ok(()) if was_failing => tracing::info!("Traces are exported again"),
            _ => {}
        }
    }
}

impl SpanExporter for CountedExporter {
    /// A failure is noted here, and is none for the batch processor, which would log each.
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let result = self.inner.export(batch).await;
        self.note(spans, result);
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
