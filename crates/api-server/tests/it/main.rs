//! The HTTP API over a real socket, on both stores.

mod bad_input;
mod health;
mod metrics;
mod raw_http;
mod service_clients;
mod sessions;
mod shutdown;
mod test_app;
