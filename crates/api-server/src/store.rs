//! Observation of the session store: metrics and spans of store calls, and health checks.

pub(crate) mod health_monitor;
pub(crate) mod observed_repository;
pub(crate) mod sessions;
