//! Integration tests of the domain: the example of an adapter.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod map_adapter;
