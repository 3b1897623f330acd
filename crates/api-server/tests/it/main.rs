//! The HTTP API over a real socket, on both stores.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod authorize;
mod bad_bodies;
mod bad_credentials;
mod conditional_requests;
mod cors;
mod description;
mod health;
mod hooked_repository;
mod introspection;
mod invalid_tokens;
mod metrics;
mod overload;
mod panics;
mod raw_http;
mod rotation;
mod service_clients;
mod sessions;
mod shutdown;
mod slow_clients;
mod slow_store;
mod subject_limits;
mod subjects;
mod test_app;
mod tls;
mod updates;
