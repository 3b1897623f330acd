//! Type of the `ServiceMonitor` objects of the Prometheus operator, which `k8s_openapi` does not
//! contain. The type has only the fields that the manifests use, and rejects all other fields.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ServiceMonitor {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    spec: ServiceMonitorSpec,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ServiceMonitorSpec {
    /// Name of a label of the Service. Prometheus uses the value of this label as the job name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    job_label: Option<String>,
    selector: LabelSelector,
    endpoints: Vec<Endpoint>,
}

/// An endpoint that Prometheus scrapes: one port of the Services that the selector selects.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Endpoint {
    /// Name of the port in the Service that Prometheus scrapes.
    port: String,
    path: String,
    interval: String,
    scrape_timeout: String,
}
