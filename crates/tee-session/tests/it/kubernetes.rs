//! Tests that the manifests in `deploy/kubernetes` are valid, agree with each other, and agree with
//! the binary.

mod binary;
mod manifests;
mod operation;
mod pod;
mod references;
mod schema;
mod service_monitor;
