//! Tests of the client against sites on real sockets.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod addresses;
mod answers;
mod connections;
mod login_over;
mod never_twice;
mod streaming;
mod test_site;
mod tls;
