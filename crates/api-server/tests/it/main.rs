//! Integration tests of the HTTP API over real sockets, with the embedded store and with Redis.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod administration;
mod authorize;
mod bad_bodies;
mod bad_credentials;
mod completion;
mod conditional_requests;
mod connection_limits;
mod cors;
mod description;
mod documented_problems;
mod health;
mod hidden_cookies;
mod hooked_repository;
mod idempotency;
mod introspection;
mod invalid_tokens;
mod merge_cookies;
mod metrics;
mod misconfigured_store;
mod overload;
mod panics;
mod pipelining;
mod raw_http;
mod rotation;
mod service_clients;
mod sessions;
mod shutdown;
mod slow_clients;
mod slow_store;
mod stalled_bodies;
mod subject_limits;
mod subjects;
mod test_app;
mod tls;
mod updates;
mod upstream;
