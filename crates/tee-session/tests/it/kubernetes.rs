//! The manifests in `deploy/kubernetes`: they are what Kubernetes knows, they fit each other, and
//! they fit the binary.

mod binary;
mod manifests;
mod operation;
mod pod;
mod references;
mod schema;
mod service_monitor;
