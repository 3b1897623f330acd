//! The middleware in an application, on the memory adapter.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod current_session;
mod example;
