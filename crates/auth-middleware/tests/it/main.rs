//! Integration tests of the authentication middleware in an Actix Web application, with the
//! embedded store.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod current_session;
mod example;
mod failure_log;
mod invalid_token_limit;
mod options;
