//! Integration tests of the client over real connections, against a server with scripted responses.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod any_call;
mod connections;
mod problems;
mod repetition;
mod scripted_server;
mod secrecy;
mod upstream;
mod wire_format;
