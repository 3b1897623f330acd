//! The client against a server that does what a test says, over real connections.
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
mod wire_format;
